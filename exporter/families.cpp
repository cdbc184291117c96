// SPDX-License-Identifier: Apache-2.0
#include "exporter/families.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "exporter/verdicts.h"
#include "exporter/workloads.h"

namespace slogate {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// A family with one series per row; a row whose value is missing has none.
template <typename Row>
struct Metric {
  const char* name;
  MetricType type;
  const char* help;
  std::optional<double> (*value)(const Row&);
};

std::optional<double> seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

// Each timed run stands for the SLOGATE_RUN_SAMPLE runs it was drawn from. Mean times runs would be
// the same in the long run, but it falls whenever a quick run lowers the mean, and a counter that
// falls reads as one that was reset.
std::optional<double> run_seconds(const ProbeStatus& probe) {
  return std::chrono::duration<double>(probe.timed_total).count() * SLOGATE_RUN_SAMPLE;
}

// A map without a limit of its own has neither a capacity nor pressure.
std::optional<double> if_limited(const MapStatus& map, double value) {
  return map.capacity == 0 ? std::nullopt : std::optional(value);
}

constexpr Metric<MapStatus> kMapMetrics[] = {
    {"slogate_bpf_map_entries", MetricType::Gauge, "Entries in use of a BPF map.",
     [](const MapStatus& map) -> std::optional<double> {
       return static_cast<double>(map.entries);
     }},
    {"slogate_bpf_map_capacity", MetricType::Gauge, "Entries a BPF map has room for.",
     [](const MapStatus& map) { return if_limited(map, static_cast<double>(map.capacity)); }},
    {"slogate_bpf_map_bytes", MetricType::Gauge, "Memory of a BPF map, as the kernel charges it.",
     [](const MapStatus& map) -> std::optional<double> { return static_cast<double>(map.bytes); }},
    {"slogate_bpf_map_pressure_ratio", MetricType::Gauge, "Share of a BPF map's capacity in use.",
     [](const MapStatus& map) { return if_limited(map, map.pressure()); }},
    {"slogate_bpf_map_resizes_total", MetricType::Counter, "How often a BPF map grew or shrank.",
     [](const MapStatus& map) -> std::optional<double> {
       return static_cast<double>(map.resizes);
     }},
};

constexpr Metric<ProbeStatus> kProbeMetrics[] = {
    {"slogate_bpf_program_attached", MetricType::Gauge, "1 when a BPF program is attached, else 0.",
     [](const ProbeStatus& probe) -> std::optional<double> { return probe.attached ? 1 : 0; }},
    {"slogate_bpf_program_runs_total", MetricType::Counter,
     "Runs of a BPF program, counted without atomics: a few may be missing.",
     [](const ProbeStatus& probe) -> std::optional<double> {
       return static_cast<double>(probe.runs);
     }},
    {"slogate_bpf_program_run_seconds_total", MetricType::Counter,
     "Estimate of the time spent in a BPF program: one run in 1024 is timed and stands for all.",
     run_seconds},
};

constexpr Metric<AgentStatus> kAgentMetrics[] = {
    {"slogate_ticks_total", MetricType::Counter, "How often the agent has read the maps.",
     [](const AgentStatus& agent) -> std::optional<double> {
       return static_cast<double>(agent.ticks);
     }},
    {"slogate_tick_seconds_total", MetricType::Counter, "Time the agent spent reading the maps.",
     [](const AgentStatus& agent) { return seconds(agent.total_ticks); }},
};
static_assert(SLOGATE_RUN_SAMPLE == 1024, "the help text above says so");

Labels labels_of(const MapStatus& map) {
  return {{"map", label_value(map.name)}};
}
Labels labels_of(const ProbeStatus& probe) {
  return {{"program", std::string(kProbes[probe.probe].name)}};
}
Labels labels_of(const AgentStatus&) {
  return {};
}

ClientMetric series(Labels labels, MetricType type, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return metric;
}

template <typename Row>
void add_rows(std::vector<MetricFamily>& families, std::span<const Metric<Row>> metrics,
              std::span<const Row> rows) {
  for (const Metric<Row>& metric : metrics) {
    MetricFamily family{metric.name, metric.help, metric.type, {}};
    for (const Row& row : rows)
      if (const auto value = metric.value(row))
        family.metric.push_back(series(labels_of(row), metric.type, *value));
    families.push_back(std::move(family));
  }
}

MetricFamily lost_samples(const AgentStatus& agent) {
  MetricFamily family{
      "slogate_lost_samples_total",
      "Samples that could not be kept where they belong, by the place that lost them.",
      MetricType::Counter,
      {}};
  for (size_t site = 0; site < kSites.size(); ++site)
    family.metric.push_back(series({{"site", std::string(kSites[site].name)}}, family.type,
                                   static_cast<double>(agent.lost[site])));
  return family;
}

MetricFamily build_info(const AgentStatus& agent) {
  MetricFamily family{
      "slogate_build_info", "1; the labels say what runs here.", MetricType::Gauge, {}};
  Labels labels = {{"version", label_value(agent.version)}, {"kernel", label_value(agent.kernel)}};
  family.metric.push_back(series(std::move(labels), family.type, 1));
  return family;
}

}  // namespace

std::vector<MetricFamily> to_families(const Snapshot& snapshot) {
  auto families = to_workload_families(sum_by_labels(snapshot.workloads), *snapshot.drop_reasons);
  families.push_back(lost_samples(snapshot.agent));
  add_rows<MapStatus>(families, kMapMetrics, snapshot.maps);
  add_rows<ProbeStatus>(families, kProbeMetrics, snapshot.probes);
  add_rows<AgentStatus>(families, kAgentMetrics, {&snapshot.agent, 1});
  std::ranges::move(to_verdict_families(*snapshot.verdicts), std::back_inserter(families));
  families.push_back(build_info(snapshot.agent));

  std::erase_if(families, [](const MetricFamily& family) { return family.metric.empty(); });
  for (MetricFamily& family : families) std::ranges::sort(family.metric, {}, &ClientMetric::label);
  return families;
}

}  // namespace slogate
