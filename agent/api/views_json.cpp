// SPDX-License-Identifier: Apache-2.0
#include "agent/api/views_json.h"

#include <fmt/format.h>

#include <string_view>

#include "agent/base/tick_time.h"
#include "agent/canary/arms.h"

namespace slogate {
namespace {

struct QuantileInfo {
  const char* name;
  double q;
};
constexpr QuantileInfo kQuantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

Json signal_json(const Histogram& histogram, uint64_t count) {
  Json json = {{"count", count}, {"sum", number(sum(histogram))}};
  for (const QuantileInfo& row : kQuantiles)
    json[row.name] = number(quantile(histogram, row.q).value_or(0));
  return json;
}

Json signals_json(const Counts& counts) {
  Json json = Json::object();
  for (size_t i = 0; i < kSignals.size(); ++i)
    if (const uint64_t n = count(counts.histograms[i]); n != 0)
      json[std::string(kSignals[i].name)] = signal_json(counts.histograms[i], n);
  return json;
}

Json drops_json(const Counts& counts, const std::vector<std::string>& reasons) {
  Json json = Json::object();
  for (size_t i = 0; i < counts.drops.size(); ++i) {
    if (counts.drops[i] == 0) continue;
    const std::string name = i == 0 ? "OTHER" : i < reasons.size() ? reasons[i] : "";
    if (!name.empty()) json[name] = counts.drops[i];
  }
  return json;
}

Json counters_json(const Counts& counts, const std::vector<std::string>& reasons) {
  Json json = Json::object();
  for (size_t i = 0; i < kCounters.size(); ++i) {
    const CounterInfo& row = kCounters[i];
    Json* at = &json[std::string(row.family)];
    for (const CounterLabel& label : row.labels)
      if (!label.name.empty()) at = &(*at)[std::string(label.value)];
    *at = counts.counters[i];
  }
  json["drops"] = drops_json(counts, reasons);
  return json;
}

Json inflight_json(const Inflight& inflight) {
  return {{"requests", inflight.requests}, {"oldest_seconds", seconds(inflight.oldest)}};
}

Json classes_json(const Workload& workload, const std::vector<std::string>& reasons) {
  Json json = Json::object();
  for (const auto& [which, counts] : workload.others)
    json[std::string(kClasses[which])] = {{"signals", signals_json(*counts)},
                                          {"counters", counters_json(*counts, reasons)}};
  return json;
}

Json pod_json(const PodContainer& of) {
  return {{"namespace", of.pod->namespace_},
          {"name", of.pod->name},
          {"container", of.container},
          {"uid", of.pod->uid}};
}

Json kubernetes_json(const KubernetesStatus& kubernetes) {
  return {{"node", kubernetes.node},
          {"synced", kubernetes.synced},
          {"trouble", kubernetes.trouble},
          {"pods", kubernetes.pods}};
}

Json buckets_json(const Histogram& histogram) {
  Json json = Json::array();
  for (size_t i = 0; i < histogram.size(); ++i)
    json.push_back({{"le", number(bucket_edge(i))}, {"count", histogram[i]}});
  return json;
}

Json lost_json(const AgentStatus& agent) {
  Json json = Json::object();
  for (size_t i = 0; i < kSites.size(); ++i) json[std::string(kSites[i].name)] = agent.lost[i];
  return json;
}

Json degraded_json(const std::vector<ProbeStatus>& probes) {
  Json json = Json::array();
  for (const ProbeStatus& probe : probes)
    if (probe.degraded)
      json.push_back({{"program", kProbes[probe.probe].name},
                      {"reason", probe.reason},
                      {"without", kProbes[probe.probe].what}});
  return json;
}

Json cpu_json(const CpuStatus& cpu) {
  Json off = Json::array();
  for (const slogate_probe probe : cpu.off) off.push_back(kProbes[probe].name);
  return {{"budget", number(cpu.budget)},     {"agent", number(cpu.agent)},
          {"programs", number(cpu.programs)}, {"step", cpu.step},
          {"watched", number(cpu.watched)},   {"off", std::move(off)}};
}

Json problems_json(const CurrentProblems& problems) {
  Json json = Json::object();
  for (const auto& [subject, problem] : problems)
    if (!problem.empty()) json[subject] = problem;
  return json;
}

// What no cgroup of the list holds.
Json rest_json(const Counts& counts, const std::vector<std::string>& reasons) {
  return {{"signals", signals_json(counts)}, {"counters", counters_json(counts, reasons)}};
}

// Each loss is one map's doing; most maps can lose nothing.
Json lost_by_site_json(const MapStatus& map) {
  Json json = Json::object();
  if (!map.site.empty()) json[std::string(map.site)] = map.lost;
  return json;
}

// The latest changes of one map's size.
Json resizes_json(const std::vector<Resize>& resizes, const std::string& map) {
  Json json = Json::array();
  for (const Resize& resize : resizes)
    if (resize.map == map)
      json.push_back({{"time", to_rfc3339(resize.time)},
                      {"from", resize.from},
                      {"to", resize.to},
                      {"reason", resize.reason}});
  return json;
}

Json peer_json(const PeerStatus& peer) {
  return {{"address", peer.address},
          {"node", peer.name},
          {"state", peer.state},
          {"reason", peer.reason},
          {"lends", peer.lends},
          {"answer_age_seconds", peer.age.count() == 0 ? Json() : Json(seconds(peer.age))},
          {"bytes_in", peer.bytes_in},
          {"bytes_out", peer.bytes_out}};
}

Json peers_json(const PeersStatus& peers) {
  Json asked = Json::array();
  for (const PeerStatus& peer : peers.peers) asked.push_back(peer_json(peer));
  return {{"listens", peers.listens},         {"askers", peers.askers},
          {"turned_away", peers.turned_away}, {"last_refusal", peers.last_refusal},
          {"bytes_in", peers.bytes_in},       {"bytes_out", peers.bytes_out},
          {"asked", std::move(asked)}};
}

}  // namespace

Json status_json(const Snapshot& snapshot) {
  const AgentStatus& agent = snapshot.agent;
  Json json = {{"version", agent.version},
               {"kernel", agent.kernel},
               {"started", to_rfc3339(agent.started)},
               {"uptime_seconds", seconds(agent.ticked - agent.began)},
               {"ticks", agent.ticks},
               {"tick_seconds", seconds(agent.last_tick)},
               {"cgroups", snapshot.workloads.size()},
               {"lost", lost_json(agent)},
               {"removed", rest_json(*snapshot.removed, *snapshot.drop_reasons)},
               {"unattributed", rest_json(*snapshot.unattributed, *snapshot.drop_reasons)},
               {"degraded", degraded_json(snapshot.probes)},
               {"cpu", cpu_json(agent.cpu)},
               {"heap", {{"used_bytes", agent.heap.used}, {"free_bytes", agent.heap.free}}},
               {"problems", problems_json(agent.problems)},
               {"notes", agent.notes}};
  if (snapshot.kubernetes) json["kubernetes"] = kubernetes_json(*snapshot.kubernetes);
  if (snapshot.peers) json["peers"] = peers_json(*snapshot.peers);
  return json;
}

Json cgroup_json(const Workload& workload, const std::vector<std::string>& drop_reasons) {
  Json json = {
      {"id", workload.id},
      {"path", workload.path},
      {"gone", workload.gone},
      {"signals", signals_json(*workload.service)},
      {"counters", counters_json(*workload.service, drop_reasons)},
      {"inflight",
       {{"server", inflight_json(workload.server)}, {"client", inflight_json(workload.client)}}},
      {"lost", workload.lost}};
  if (workload.pod.pod) json["pod"] = pod_json(workload.pod);
  if (!workload.others.empty()) json["classes"] = classes_json(workload, drop_reasons);
  return json;
}

Json histograms_json(const Workload& workload) {
  Json signals = Json::object();
  for (size_t i = 0; i < kSignals.size(); ++i)
    signals[std::string(kSignals[i].name)] = buckets_json(workload.service->histograms[i]);
  return {{"id", workload.id}, {"path", workload.path}, {"signals", std::move(signals)}};
}

Json map_json(const MapStatus& map, const std::vector<Resize>& resizes) {
  return {{"name", map.name},
          {"type", map.type},
          {"entries", map.entries},
          {"capacity", map.capacity == 0 ? Json(nullptr) : Json(map.capacity)},
          {"bytes", map.bytes},
          {"pressure", number(map.pressure())},
          {"resizes", map.resizes},
          {"lost", map.lost},
          {"lost_by_site", lost_by_site_json(map)},
          {"latest_resizes", resizes_json(resizes, map.name)}};
}

Json contents_json(const std::string& map, const MapContents& contents) {
  Json entries = Json::array();
  for (const auto& row : contents.rows) {
    Json entry = Json::object();
    for (size_t i = 0; i < row.size(); ++i)
      std::visit([&](const auto& value) { entry[contents.columns[i]] = value; }, row[i]);
    entries.push_back(std::move(entry));
  }
  return {{"name", map},
          {"columns", contents.columns},
          {"entries", std::move(entries)},
          {"left_out", contents.left_out}};
}

Json probe_json(const ProbeStatus& probe) {
  const ProbeInfo& info = kProbes[probe.probe];
  const auto ns = probe.ns_per_run();
  return {{"program", info.name},
          {"object", info.object},
          {"tracepoint", info.tracepoint},
          {"attached", probe.attached},
          {"attached_to", probe.attached_to},
          {"reason", probe.reason},
          {"degraded", probe.degraded},
          {"what", info.what},
          {"runs", probe.runs},
          {"skipped", probe.skipped},
          {"missed", probe.missed ? Json(*probe.missed) : Json(nullptr)},
          {"ns_per_run", number(ns)}};
}

Json slo_json(const SloStatus& status, const Verdict& verdict) {
  const Slo& slo = status.slo;
  return {{"name", slo.name},
          {"canary", selector_text(slo.canary)},
          {"baseline", slo.baseline ? Json(selector_text(*slo.baseline)) : Json(nullptr)},
          {"objectives", status.objectives},
          {"alpha", number(slo.alpha)},
          {"warmup_seconds", number(seconds(slo.warmup))},
          {"pass_within_seconds", number(seconds(slo.pass_within))},
          {"node_margin", number(slo.node_margin)},
          {"weight",
           {{"from", number(slo.weight.from)},
            {"step", number(slo.weight.step)},
            {"every_seconds", number(seconds(slo.weight.every))},
            {"most", number(slo.weight.most)}}},
          {"cgroups", {{"canary", status.canary}, {"baseline", status.baseline}}},
          {"notes", status.notes},
          {"verdict", kDecisions[static_cast<size_t>(verdict.decision)]},
          {"expected_seconds", number(verdict.expected_seconds)}};
}

Json event_json(const Event& event) {
  return {{"id", event.id},          {"time", to_rfc3339_ms(event.time)},
          {"type", event.type},      {"subject", event.subject},
          {"from", event.from},      {"to", event.to},
          {"message", event.message}};
}

Json breaker_json(const Breakers* breakers, std::string_view slo) {
  const BreakerStatus* status = breakers ? breakers->find(slo) : nullptr;
  if (status == nullptr) return nullptr;
  const auto time = [](const auto& moment) {
    return moment ? Json(to_rfc3339_ms(*moment)) : Json();
  };
  return {{"state", status->open ? "open" : "closed"},
          {"dry_run", status->dry_run},
          {"by_hand", status->by_hand},
          {"since", time(status->since)},
          {"until", time(status->until)},
          {"targets", status->targets},
          {"note", status->note},
          {"refused", status->counts.refused},
          {"would_refuse", status->counts.would_refuse},
          {"exempt", status->counts.exempt}};
}

Json gate_json(const Verdict& verdict, bool open) {
  const std::string_view decision = kDecisions[static_cast<size_t>(verdict.decision)];
  Json json = {{"slo", verdict.slo},
               {"verdict", decision},
               {"reason", kReasons[static_cast<size_t>(verdict.reason)]},
               {"message", verdict.message}};
  if (!open) json["error"] = fmt::format("{}: {}", decision, verdict.message);
  return json;
}

std::string event_lines(const std::deque<Event>& events, uint64_t& last) {
  std::string lines;
  for (const Event& event : events)
    if (event.id > last) lines += dump(event_json(event));
  if (!events.empty()) last = events.back().id;
  return lines;
}

}  // namespace slogate
