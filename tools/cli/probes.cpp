// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/probes.h"

#include "tools/cli/fields.h"
#include "tools/cli/table.h"
#include "tools/cli/units.h"

namespace slogate::cli {
namespace {

Cell state_cell(const Json& probe) {
  if (probe.at("attached").get<bool>()) return {"attached", kGreen};
  return probe.value("degraded", false) ? Cell{"missing", kRed} : Cell{"not needed", kDim};
}

std::string duration_of_run(const Json& probe) {
  const auto ns = number_at(probe, "/ns_per_run");
  return ns ? fmt::format("{:.0f} ns", *ns) : "-";
}

// The reasons stand below the table: the verifier's are long.
std::string reasons(const Json& probes) {
  std::string text;
  for (const Json& probe : probes) {
    const std::string program = printable(probe.at("program").get<std::string>());
    if (const std::string reason = probe.value("reason", ""); !reason.empty())
      text += fmt::format("{}: {}\n", program, printable(reason));
    if (const auto skipped = number_at(probe, "/skipped"); skipped.value_or(0) > 0)
      text += fmt::format("{}: {} runs were left out to keep the CPU budget\n", program,
                          to_count(skipped));
    if (const auto missed = number_at(probe, "/missed"); missed.value_or(0) > 0)
      text += fmt::format("{}: {} runs were left out by the kernel, see docs/method.md\n", program,
                          to_count(missed));
  }
  return text.empty() ? text : "\n" + text;
}

}  // namespace

std::string render_probes(const Json& probes, const Style& style) {
  Table table({{.title = "PROGRAM", .right = false},
               {.title = "ATTACHED TO", .right = false, .spare = 1},
               {.title = "STATE", .right = false},
               {.title = "RUNS"},
               {.title = "PER RUN"},
               {.title = "LOST WITHOUT IT", .right = false, .elastic = true}});
  for (const Json& probe : probes) {
    const std::string target = probe.value("attached_to", "");
    table.add({{probe.at("program").get<std::string>()},
               {target.empty() ? "-" : target},
               state_cell(probe),
               {to_count(number_at(probe, "/runs"))},
               {duration_of_run(probe)},
               {probe.value("what", "")}});
  }
  return table.render(style) + reasons(probes);
}

Outcome<Report> show_probes(const Fetch& fetch, const Output& output) {
  return show(fetch, "/v1/probes", output, render_probes);
}

}  // namespace slogate::cli
