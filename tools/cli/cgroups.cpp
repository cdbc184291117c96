// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/cgroups.h"

#include "tools/cli/fields.h"
#include "tools/cli/table.h"
#include "tools/cli/units.h"

namespace slogate::cli {
namespace {

// A count that should be 0.
Cell bad_count(std::optional<double> count, std::string_view colour) {
  return {to_count(count), count.value_or(0) > 0 ? colour : kPlain};
}

void add_row(Table& table, const CgroupRow& row) {
  table.add({{row.name + (row.gone ? " (gone)" : ""), row.gone ? kDim : kPlain},
             {row.role.empty() ? "-" : row.role},
             {to_count(row.requests)},
             {to_duration(row.p50)},
             {to_duration(row.p90)},
             {to_duration(row.p99)},
             {to_duration(row.p999)},
             {to_count(row.connections)},
             bad_count(row.errors, kRed),
             bad_count(row.connection_errors, kRed),
             {to_count(row.client_gone)},
             bad_count(row.retransmits, kYellow),
             bad_count(row.drops, kYellow),
             bad_count(row.lost, kRed)});
}

}  // namespace

std::string render_cgroups(const Json& cgroups, const Style& style) {
  Table table({{.title = "CGROUP", .right = false, .elastic = true},
               {.title = "ROLE", .right = false},
               {.title = "REQUESTS"},
               {.title = "P50"},
               {.title = "P90", .spare = 5},
               {.title = "P99"},
               {.title = "P99.9", .spare = 3},
               {.title = "CONNECTIONS", .spare = 4},
               {.title = "ERRORS"},
               {.title = "CONN ERRORS", .spare = 8},
               {.title = "CLIENT GONE", .spare = 7},
               {.title = "RETRANSMITS", .spare = 2},
               {.title = "DROPS", .spare = 1},
               {.title = "LOST", .spare = 6}});
  for (const Json& cgroup : cgroups) add_row(table, parse_cgroup(cgroup));
  return table.render(style);
}

Outcome<Report> show_cgroups(const Fetch& fetch, const std::string& pattern, const Output& output) {
  const std::string target =
      pattern.empty() ? "/v1/cgroups" : "/v1/cgroups?match=" + percent_encode(pattern);
  return show(fetch, target, output, [&](const Json& cgroups, const Style& style) {
    if (!cgroups.empty()) return render_cgroups(cgroups, style);
    return pattern.empty() ? std::string("No cgroup has used TCP since the agent started.\n")
                           : fmt::format("No cgroup that used TCP matches {}.\n", pattern);
  });
}

}  // namespace slogate::cli
