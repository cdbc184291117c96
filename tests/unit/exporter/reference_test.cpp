// SPDX-License-Identifier: Apache-2.0
// docs/metrics.md: every family there is, as the exporter writes it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "tests/support/exposition.h"

namespace slogate {
namespace {

using namespace support;
using prometheus::MetricFamily;

// From which every family follows.
Snapshot everything() {
  Snapshot snapshot = full();
  snapshot.agent.problems = {{"state", ""}};
  snapshot.kubernetes.emplace();
  snapshot.peers = std::make_shared<const PeersStatus>();
  snapshot.breakers = std::make_shared<const Breakers>(Breakers{{{.slo = "demo"}}});
  Verdicts verdicts;
  Slo slo{
      .name = "demo", .port = {}, .container = {}, .canary = {}, .baseline = {}, .objectives = {}};
  verdicts.slos.push_back(std::make_shared<const SloStatus>(SloStatus{.slo = slo,
                                                                      .objectives = {},
                                                                      .canary = {"/demo/canary"},
                                                                      .baseline = {"/demo/stable"},
                                                                      .notes = {}}));
  Verdict verdict{.slo = "demo", .message = {}, .objectives = {}};
  verdict.outcomes_known = verdict.expected_seconds = 1;
  verdict.lenders = {{.node = "worker-2"}};
  verdict.objectives.push_back({.objective = "request p99 max 15 ms",
                                .canary = {},
                                .baseline = {},
                                .components = {{.name = "p99/r2"}}});
  verdicts.list.push_back(std::make_shared<const Verdict>(std::move(verdict)));
  snapshot.verdicts = std::make_shared<const Verdicts>(std::move(verdicts));
  return snapshot;
}

// Labels whose values are the same on every node, so that a query can name them.
bool has_listed_values(const std::string& label) {
  static const std::set<std::string> labels = {"arm",  "code",  "direction", "error",   "format",
                                               "kind", "layer", "outcome",   "part",    "protocol",
                                               "role", "site",  "state",     "verdict", "cause"};
  return labels.contains(label);
}

// By their names, the values of those that have a list.
std::map<std::string, std::set<std::string>> labels_of(const MetricFamily& family) {
  std::map<std::string, std::set<std::string>> labels;
  for (const prometheus::ClientMetric& metric : family.metric)
    for (const auto& [name, value] : metric.label) {
      auto& values = labels[name];
      if (has_listed_values(name)) values.insert(fmt::format("`{}`", value));
    }
  return labels;
}

const char* type_of(const MetricFamily& family) {
  switch (family.type) {
    case prometheus::MetricType::Counter:
      return "counter";
    case prometheus::MetricType::Gauge:
      return "gauge";
    default:
      return "histogram";
  }
}

bool is_of_slos(const MetricFamily& family) {
  return std::regex_search(family.name,
                           std::regex("^slogate_(verdict|evidence|slo|lenders|breaker)"));
}
bool is_of_workloads(const MetricFamily& family) {
  return !is_of_slos(family) && !family.metric.empty() && labels_of(family).contains("cgroup");
}
bool is_of_maps(const MetricFamily& family) {
  return family.name.starts_with("slogate_bpf_");
}

std::string row_of(const MetricFamily& family) {
  std::vector<std::string> labels;
  for (const auto& [name, values] : labels_of(family)) {
    if (name == "cgroup") continue;  // every family of workloads has it
    labels.push_back(values.empty() ? fmt::format("`{}`", name)
                                    : fmt::format("`{}`: {}", name, fmt::join(values, ", ")));
  }
  return fmt::format("| `{}` | {} | {} | {} |\n", family.name, type_of(family),
                     labels.empty() ? "" : fmt::format("{}", fmt::join(labels, "; ")), family.help);
}

std::string section(const char* title, const char* text, std::span<const MetricFamily> families,
                    bool (*belongs)(const MetricFamily&)) {
  std::string out = fmt::format(
      "\n## {}\n{}\n\n| metric | type | labels | what |\n|---|---|---|---|\n", title, text);
  for (const MetricFamily& family : families)
    if (belongs(family)) out += row_of(family);
  return out;
}

std::string reference() {
  const std::vector<MetricFamily> families = model_of(everything());
  std::string out =
      "# Metrics\n\n"
      "Everything that `/metrics` has. `SLOGATE_WRITE_DOCS=1 unit_tests "
      "--gtest_filter='MetricsReference.*'` writes this page\n"
      "from the exporter's own tables, and the same test fails where the two differ. How they are "
      "scraped, when series come and go:\n"
      "[operation.md](operation.md#metrics); rules, alerts, dashboard: "
      "[prometheus.md](prometheus.md); what each signal spans: [method.md](method.md).\n\n"
      "Durations are seconds, shares are between 0 and 1. A counter never falls while its series "
      "lives.\n";
  out += section("Workloads",
                 "Each has the labels of its workload: `namespace`, `pod` and `container` for the "
                 "container of a pod, else "
                 "`cgroup`.",
                 families, is_of_workloads);
  out += section("SLOs", "`slo` is the SLO's name, and `revision` its rollout's.", families,
                 is_of_slos);
  out += section("BPF maps and programs", "What measuring costs, and what it lacks.", families,
                 is_of_maps);
  out += section("The agent", "What it is, what it takes, and what it fails at.", families,
                 [](const MetricFamily& family) {
                   return !is_of_workloads(family) && !is_of_slos(family) && !is_of_maps(family);
                 });
  return out;
}

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(MetricsReference, IsWhatTheExporterWrites) {
  const std::string path = SLOGATE_SOURCE_DIR "/docs/metrics.md";
  if (std::getenv("SLOGATE_WRITE_DOCS")) std::ofstream(path) << reference();
  EXPECT_EQ(contents_of(path), reference())
      << "SLOGATE_WRITE_DOCS=1 unit_tests --gtest_filter='MetricsReference.*' writes it anew";
}

// A family that needs more than everything() has would be missing without a word.
TEST(MetricsReference, HasEveryNameInTheExporter) {
  const std::string page = reference();
  const std::regex name("\"(slogate_[a-z_]+)\"");
  size_t found = 0;
  for (const auto& file : std::filesystem::directory_iterator(SLOGATE_SOURCE_DIR "/exporter")) {
    if (file.path().extension() != ".cpp") continue;
    const std::string text = contents_of(file.path());
    for (std::sregex_iterator at(text.begin(), text.end(), name), end; at != end; ++at, ++found)
      EXPECT_NE(page.find(fmt::format("`{}`", (*at)[1].str())), std::string::npos)
          << (*at)[1].str() << " of " << file.path();
  }
  EXPECT_GT(found, 20u);
}

}  // namespace
}  // namespace slogate
