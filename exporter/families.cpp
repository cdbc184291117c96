// SPDX-License-Identifier: Apache-2.0
#include "exporter/families.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "exporter/samples.h"
#include "exporter/verdicts.h"
#include "exporter/workloads.h"

namespace slogate {
namespace {

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
    {"slogate_bpf_map_entries", MetricType::gauge, "Entries in use of a BPF map.",
     [](const MapStatus& map) -> std::optional<double> {
       return static_cast<double>(map.entries);
     }},
    {"slogate_bpf_map_capacity", MetricType::gauge, "Entries a BPF map has room for.",
     [](const MapStatus& map) { return if_limited(map, static_cast<double>(map.capacity)); }},
    {"slogate_bpf_map_bytes", MetricType::gauge, "Memory of a BPF map, as the kernel charges it.",
     [](const MapStatus& map) -> std::optional<double> { return static_cast<double>(map.bytes); }},
    {"slogate_bpf_map_pressure_ratio", MetricType::gauge, "Share of a BPF map's capacity in use.",
     [](const MapStatus& map) { return if_limited(map, map.pressure()); }},
    {"slogate_bpf_map_resizes_total", MetricType::counter, "How often a BPF map grew or shrank.",
     [](const MapStatus& map) -> std::optional<double> {
       return static_cast<double>(map.resizes);
     }},
};

constexpr Metric<ProbeStatus> kProbeMetrics[] = {
    {"slogate_bpf_program_attached", MetricType::gauge, "1 when a BPF program is attached, else 0.",
     [](const ProbeStatus& probe) -> std::optional<double> { return probe.attached ? 1 : 0; }},
    {"slogate_bpf_program_runs_total", MetricType::counter,
     "Runs of a BPF program, counted without atomics: a few may be missing.",
     [](const ProbeStatus& probe) -> std::optional<double> {
       return static_cast<double>(probe.runs);
     }},
    {"slogate_bpf_program_skipped_runs_total", MetricType::counter,
     "Runs of a BPF program that the CPU budget left out, counted like the others.",
     [](const ProbeStatus& probe) -> std::optional<double> {
       return static_cast<double>(probe.skipped);
     }},
    {"slogate_bpf_program_missed_runs_total", MetricType::counter,
     "Runs of a BPF program that the kernel left out: they had interrupted another one of it on "
     "the same CPU.",
     [](const ProbeStatus& probe) -> std::optional<double> {
       if (!probe.missed) return std::nullopt;
       return static_cast<double>(*probe.missed);
     }},
    {"slogate_bpf_program_run_seconds_total", MetricType::counter,
     "Estimate of the time spent in a BPF program: one run in 1024 is timed and stands for all.",
     run_seconds},
};

constexpr Metric<AgentStatus> kAgentMetrics[] = {
    {"slogate_ticks_total", MetricType::counter, "How often the agent has read the maps.",
     [](const AgentStatus& agent) -> std::optional<double> {
       return static_cast<double>(agent.ticks);
     }},
    {"slogate_tick_seconds_total", MetricType::counter, "Time the agent spent reading the maps.",
     [](const AgentStatus& agent) { return seconds(agent.total_ticks); }},
    {"slogate_cpu_budget_ratio", MetricType::gauge,
     "What the agent and its programs may take of all CPUs of the node; 1 is no limit.",
     [](const AgentStatus& agent) -> std::optional<double> { return agent.cpu.budget; }},
    {"slogate_watched_connections_ratio", MetricType::gauge,
     "Share of the connections that are counted: below 1 only where the CPU budget is exceeded.",
     [](const AgentStatus& agent) -> std::optional<double> { return agent.cpu.watched; }},
    {"slogate_refused_system_calls_total", MetricType::counter,
     "System calls that the agent made and does not allow itself: a defect, or an attack.",
     [](const AgentStatus& agent) -> std::optional<double> {
       return static_cast<double>(agent.refused_calls);
     }},
};
static_assert(SLOGATE_RUN_SAMPLE == 1024, "the help text above says so");

// The scrapes of one format.
struct FormatRow {
  std::string_view name;
  ScrapeStats stats;
};

constexpr Metric<FormatRow> kScrapeMetrics[] = {
    {"slogate_scrapes_total", MetricType::counter, "Scrapes that were answered, by format.",
     [](const FormatRow& format) -> std::optional<double> {
       return static_cast<double>(format.stats.scrapes);
     }},
    {"slogate_scrape_seconds_total", MetricType::counter,
     "Time the agent spent making the answers to scrapes.",
     [](const FormatRow& format) { return seconds(format.stats.total); }},
    {"slogate_scrape_bytes", MetricType::gauge, "Size of the scrape before, as it was sent.",
     [](const FormatRow& format) -> std::optional<double> {
       return static_cast<double>(format.stats.last_bytes);
     }},
    {"slogate_scrape_series", MetricType::gauge,
     "Series in the scrape before; a native histogram is one.",
     [](const FormatRow& format) -> std::optional<double> {
       return static_cast<double>(format.stats.last_series);
     }},
};

Labels labels_of(const MapStatus& map) {
  return {{"map", label_value(map.name)}};
}
Labels labels_of(const ProbeStatus& probe) {
  return {{"program", std::string(kProbes[probe.probe].name)}};
}
Labels labels_of(const AgentStatus&) {
  return {};
}
Labels labels_of(const FormatRow& format) {
  return {{"format", std::string(format.name)}};
}

template <typename Row>
void write_rows(std::span<const Metric<Row>> metrics, std::span<const Row> rows, Sink& sink) {
  for (const Metric<Row>& metric : metrics) {
    Samples samples{{metric.name, metric.help, metric.type}};
    for (const Row& row : rows)
      if (const auto value = metric.value(row)) samples.values.emplace_back(labels_of(row), *value);
    write_samples(std::move(samples), sink);
  }
}

void write_lost_samples(const AgentStatus& agent, Sink& sink) {
  Samples samples{{"slogate_lost_samples_total",
                   "Samples that could not be kept where they belong, by the place that lost them.",
                   MetricType::counter}};
  for (size_t site = 0; site < kSites.size(); ++site)
    samples.values.push_back(
        {{{"site", std::string(kSites[site].name)}}, static_cast<double>(agent.lost[site])});
  write_samples(std::move(samples), sink);
}

void write_cpu(const CpuStatus& cpu, Sink& sink) {
  write_samples({{"slogate_cpu_ratio",
                  "Share of all CPUs of the node that the agent and its BPF programs took lately.",
                  MetricType::gauge},
                 {{{{"part", "agent"}}, cpu.agent}, {{{"part", "programs"}}, cpu.programs}}},
                sink);
}

void write_problems(const AgentStatus& agent, Sink& sink) {
  Samples samples{{"slogate_problem",
                   "1 while something the agent does for itself fails, 0 when it is well again.",
                   MetricType::gauge}};
  for (const auto& [subject, problem] : agent.problems)
    samples.values.push_back({{{"subject", subject}}, problem.empty() ? 0.0 : 1.0});
  write_samples(std::move(samples), sink);
}

void write_scrapes(const AllScrapeStats& scrapes, Sink& sink) {
  std::array<FormatRow, kFormats.size()> rows;
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = {kFormats[i], scrapes[i]};
  write_rows<FormatRow>(kScrapeMetrics, rows, sink);
}

void write_left_out(size_t left_out, Sink& sink) {
  write_samples(
      {{"slogate_scrape_workloads_left_out",
        "Workloads that are not in this scrape because of metrics.max_series.", MetricType::gauge},
       {{{}, static_cast<double>(left_out)}}},
      sink);
}

void write_kubernetes(const KubernetesStatus& kubernetes, Sink& sink) {
  const bool up = kubernetes.synced && kubernetes.trouble.empty();
  write_samples(
      {{"slogate_kubernetes_up", "1 while what is known of this node's pods is up to date, else 0.",
        MetricType::gauge},
       {{{}, up ? 1.0 : 0.0}}},
      sink);
}

void write_peers(const PeersStatus& peers, Sink& sink) {
  const auto family = [&](const char* name, const char* help, MetricType type, auto values) {
    write_samples({{name, help, type}, std::move(values)}, sink);
  };
  using Values = decltype(Samples::values);
  family("slogate_peer_bytes_total",
         "What was exchanged with agents of other nodes, encrypted, by direction.",
         MetricType::counter,
         Values{{{{"direction", "in"}}, static_cast<double>(peers.bytes_in)},
                {{{"direction", "out"}}, static_cast<double>(peers.bytes_out)}});
  family("slogate_peer_askers", "Agents of other nodes that ask this one for readings.",
         MetricType::gauge, Values{{{}, static_cast<double>(peers.askers)}});
  family("slogate_peer_turned_away_total",
         "Connections to peer_listen that did not show they are an agent's, or were too many.",
         MetricType::counter, Values{{{}, static_cast<double>(peers.turned_away)}});
  std::map<std::string_view, double> states = {
      {"away", 0}, {"connecting", 0}, {"open", 0}, {"resting", 0}, {"self", 0}};
  for (const PeerStatus& peer : peers.peers) ++states[peer.state];
  Values by_state;
  for (const auto& [state, count] : states)
    by_state.push_back({{{"state", std::string(state)}}, count});
  family("slogate_peers", "Agents of other nodes that were chosen to be asked, by state.",
         MetricType::gauge, std::move(by_state));
}

void write_invalid_slos(const Verdicts& verdicts, Sink& sink) {
  write_samples({{"slogate_slos_invalid", "SLOs of pods that cannot be judged as they stand.",
                  MetricType::gauge},
                 {{{}, static_cast<double>(verdicts.problems.size())}}},
                sink);
}

void write_build_info(const AgentStatus& agent, Sink& sink) {
  write_samples(
      {{"slogate_build_info", "1; the labels say what runs here.", MetricType::gauge},
       {{{{"version", label_value(agent.version)}, {"kernel", label_value(agent.kernel)}}, 1}}},
      sink);
}

void write_agent(const Snapshot& snapshot, const AllScrapeStats& scrapes, Sink& sink) {
  write_lost_samples(snapshot.agent, sink);
  write_cpu(snapshot.agent.cpu, sink);
  write_problems(snapshot.agent, sink);
  write_rows<MapStatus>(kMapMetrics, snapshot.maps, sink);
  write_rows<ProbeStatus>(kProbeMetrics, snapshot.probes, sink);
  write_rows<AgentStatus>(kAgentMetrics, {&snapshot.agent, 1}, sink);
  write_scrapes(scrapes, sink);
  if (snapshot.kubernetes) write_kubernetes(*snapshot.kubernetes, sink);
  if (snapshot.peers) write_peers(*snapshot.peers, sink);
  write_build_info(snapshot.agent, sink);
}

}  // namespace

void write_families(const Snapshot& snapshot, const Sheet& sheet, const MetricsSettings& settings,
                    const AllScrapeStats& scrapes, Part part, Sink& sink) {
  std::vector<SheetRow> some;
  if (part != Part::All) {
    const std::set<Labels> arms = workloads_in_arms(snapshot);
    std::ranges::copy_if(sheet.rows, std::back_inserter(some), [&](const SheetRow& row) {
      return arms.contains(*row.labels) == (part == Part::Slos);
    });
  }
  const size_t left_out = write_workload_families(part == Part::All ? sheet.rows : some,
                                                  *snapshot.drop_reasons, settings, sink);
  write_left_out(left_out, sink);
  if (part != Part::Slos) write_agent(snapshot, scrapes, sink);
  if (part != Part::Others) {
    write_verdict_families(snapshot, sink);
    write_invalid_slos(*snapshot.verdicts, sink);
  }
  sink.finish();
}

}  // namespace slogate
