// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/arms.h"

#include <algorithm>

namespace slogate {
namespace {

bool matches(const std::vector<Glob>& globs, const Workload& workload) {
  return std::ranges::any_of(globs, [&](const Glob& glob) { return glob.matches(workload.path); });
}

bool matches(const PodSelector& selector, const Workload& workload) {
  const Pod* pod = workload.pod.pod.get();
  return pod && pod->namespace_ == selector.namespace_ &&
         std::ranges::includes(pod->labels, selector.labels);
}

bool matches(const RevisionSelector& selector, const Workload& workload) {
  const Pod* pod = workload.pod.pod.get();
  return pod &&
         std::ranges::find(selector.replica_sets, pod->owner.uid) != selector.replica_sets.end();
}

bool matches(const TrackSelector& selector, const Workload& workload) {
  const Pod* pod = workload.pod.pod.get();
  const auto is = [pod](const char* key, const std::string& value) {
    const auto found = pod->annotations.find(key);
    return found != pod->annotations.end() && found->second == value;
  };
  return pod && pod->namespace_ == selector.namespace_ && is("workload", selector.workload) &&
         is("track", selector.track);
}

bool matches(const Selector& selector, const Workload& workload) {
  return std::visit([&](const auto& one) { return matches(one, workload); }, selector);
}

void add_open(ArmReading& to, const Inflight& inflight, Histogram OpenRequests::*side) {
  for (const std::chrono::nanoseconds age : inflight.overdue)
    ++((*to.open).*side)[slogate_bucket(static_cast<uint64_t>(age.count()))];
}

}  // namespace

bool selects_pods(const Slo& slo) {
  const auto by_pod = [](const Selector& one) {
    return !std::holds_alternative<std::vector<Glob>>(one);
  };
  return slo.container || by_pod(slo.canary) || (slo.baseline && by_pod(*slo.baseline));
}

Arms::Arms(const Slo& slo) : slo_(slo), by_pod_(selects_pods(slo)) {}

std::optional<Counts> added(const Counts& now, const Counts& before) {
  if (!continues(now, before)) return std::nullopt;
  Counts difference = now;
  difference -= before;
  return difference;
}

std::string selector_text(const Selector& selector) {
  std::string text;
  if (const auto* revisions = std::get_if<RevisionSelector>(&selector)) return revisions->text;
  if (const auto* track = std::get_if<TrackSelector>(&selector))
    return fmt::format("{} pods of {}/{}", track->track, track->namespace_, track->workload);
  if (const auto* pods = std::get_if<PodSelector>(&selector)) {
    for (const auto& [key, value] : pods->labels)
      text += fmt::format("{}{}={}", text.empty() ? "" : ",", key, value);
    return fmt::format("pods of {} with {}", pods->namespace_, text);
  }
  for (const Glob& glob : std::get<std::vector<Glob>>(selector))
    text += (text.empty() ? "" : ", ") + glob.pattern();
  return text;
}

Arms::Role Arms::role_of(const Workload& workload) const {
  // A name may come later, and so may the pod: which cgroups never have one is not known here.
  const bool settled = !workload.path.empty() && (!by_pod_ || workload.pod.pod);
  if (slo_.container && workload.pod.container != *slo_.container)
    return settled ? Role::Neither : Role::Unknown;
  if (matches(slo_.canary, workload)) return Role::Canary;
  if (slo_.baseline && matches(*slo_.baseline, workload)) return Role::Baseline;
  return settled ? Role::Neither : Role::Unknown;
}

// Most cgroups are in neither arm of most SLOs, and stay so. An id that has another path is another
// cgroup.
void Arms::meet(const Workload& workload, TickTime now) {
  const size_t path_hash = std::hash<std::string>()(workload.path);
  if (const auto other = others_.find(workload.id); other != others_.end()) {
    if (other->second.path_hash == path_hash) {
      other->second.seen = looks_;
      return;
    }
    others_.erase(other);
  }
  Member& member = members_[workload.id];
  if (member.role != Role::Unknown && member.path != workload.path) {
    restarts_.left(workload.id, now.monotonic);
    member = {};
  }
  member.seen = looks_;
  if (member.role == Role::Unknown) {
    member.role = role_of(workload);
    member.path = workload.path;
    member.first_seen = now.monotonic;
    member.lost = workload.lost;
    if (member.role == Role::Baseline) member.half = halves_++ % 2;
    if (member.role == Role::Canary) restarts_.arrived(workload);
  }
  if (member.role == Role::Neither) {
    members_.erase(workload.id);
    others_.emplace(workload.id, Other{path_hash, looks_});
  } else if (member.role != Role::Unknown) {
    update(member, workload);
    if (member.role == Role::Canary) follow(member, workload);
  }
}

void Arms::follow(Member& member, const Workload& workload) {
  if (member.pod == workload.pod.pod) return;
  const auto before = std::exchange(member.pod, workload.pod.pod);
  if (before && member.pod) restarts_.changed(*before, *member.pod, slo_.container);
}

void Arms::begin_rollout(TickTime now) {
  for (const auto& [id, member] : members_)
    if (member.gone) restarts_.left(id, now.monotonic);
  restarts_.forget(now.monotonic, std::chrono::nanoseconds(0));
}

void Arms::update(Member& member, const Workload& workload) const {
  member.gone = workload.gone;
  if (slo_.port) {
    const auto share = std::ranges::find(workload.ports, *slo_.port, &PortShare::port);
    member.server = share != workload.ports.end() ? share->server : Inflight{};
  } else {
    member.server = workload.server;
    member.client = workload.client;
  }
  member.newly_lost += workload.lost - std::min(workload.lost, member.lost);
  member.lost = workload.lost;
}

void Arms::look(const std::vector<Workload>& workloads, TickTime now) {
  ++looks_;
  looked_ = true;
  for (const Workload& workload : workloads) meet(workload, now);
  std::erase_if(members_, [&](const auto& entry) {
    const bool left = entry.second.seen != looks_;
    if (left) restarts_.left(entry.first, now.monotonic);
    return left;
  });
  restarts_.forget(now.monotonic, kRestartPatience);
  std::erase_if(others_, [this](const auto& entry) { return entry.second.seen != looks_; });
}

// Null where nothing is known of the cgroup.
std::shared_ptr<const Counts> Arms::judged_counts(const CgroupCounts& counts, uint64_t id) const {
  const auto of = counts.find(id);
  if (of == counts.end()) return nullptr;
  if (!slo_.port) return of->second.all;
  static const auto nothing = std::make_shared<const Counts>();
  const auto port = of->second.ports.find(*slo_.port);
  return port == of->second.ports.end() ? nothing : port->second;
}

void Arms::read_member(Member& member, std::shared_ptr<const Counts> counts, ArmReading& to,
                       TickTime now) const {
  to.lost += std::exchange(member.newly_lost, 0);
  const bool warming = now.monotonic - member.first_seen < slo_.warmup;
  if (!member.gone) {
    ++to.cgroups;
    to.warming += warming ? 1 : 0;
  }
  if (!counts) return;
  const auto before = std::exchange(member.before, counts);
  if (warming) return;
  if (before && before != counts)
    if (const auto grown = added(*counts, *before)) {
      to.added += *grown;
      if (grown->counters[SLOGATE_COUNTER_listener_gaps] != 0) to.gap = Gap::Listener;
    }
  if (looked_) {
    add_open(to, member.server, &OpenRequests::server);
    add_open(to, member.client, &OpenRequests::client);
  }
  for (const Inflight* side : {&member.server, &member.client}) {
    to.overdue += side->overdue.size();
    to.oldest = std::max(to.oldest, side->oldest);
  }
}

Observation Arms::read(const CgroupCounts& counts, TickTime now) {
  Observation seen{.now = now, .canary = {}, .baseline = {}};
  if (looked_)
    for (ArmReading* arm : {&seen.canary, &seen.baseline[0], &seen.baseline[1]})
      arm->open.emplace();
  seen.canary.gap = restarts_.take();
  for (auto& [id, member] : members_) {
    if (member.role == Role::Canary)
      read_member(member, judged_counts(counts, id), seen.canary, now);
    else if (member.role == Role::Baseline)
      read_member(member, judged_counts(counts, id), seen.baseline[member.half], now);
  }
  looked_ = false;
  return seen;
}

std::vector<uint64_t> Arms::cgroups() const {
  std::vector<uint64_t> ids;
  for (const auto& [id, member] : members_)
    if (member.role == Role::Canary || member.role == Role::Baseline) ids.push_back(id);
  return ids;
}

std::vector<uint64_t> Arms::canary_ids() const {
  std::vector<uint64_t> ids;
  for (const auto& [id, member] : members_)
    if (member.role == Role::Canary && !member.gone) ids.push_back(id);
  std::ranges::sort(ids);
  return ids;
}

std::vector<std::string> Arms::paths(Role role) const {
  std::vector<std::string> found;
  for (const auto& [id, member] : members_)
    if (member.role == role && !member.gone) found.push_back(member.path);
  std::ranges::sort(found);
  return found;
}

}  // namespace slogate
