// SPDX-License-Identifier: Apache-2.0
#include "agent/arms.h"

#include <algorithm>

namespace slogate {
namespace {

bool matches(const Selector& selector, const std::string& path) {
  const auto* globs = std::get_if<std::vector<Glob>>(&selector);
  return globs && std::ranges::any_of(*globs, [&](const Glob& glob) { return glob.matches(path); });
}

void add_open(ArmReading& to, const Inflight& inflight, Histogram OpenRequests::*side) {
  for (const std::chrono::nanoseconds age : inflight.overdue)
    ++((*to.open).*side)[slogate_bucket(static_cast<uint64_t>(age.count()))];
}

}  // namespace

std::optional<Counts> added(const Counts& now, const Counts& before) {
  if (!continues(now, before)) return std::nullopt;
  Counts difference = now;
  difference -= before;
  return difference;
}

std::string selector_text(const Selector& selector) {
  std::string text;
  if (const auto* pods = std::get_if<PodSelector>(&selector)) {
    for (const auto& [key, value] : pods->labels)
      text += fmt::format("{}{}={}", text.empty() ? "" : ",", key, value);
    return fmt::format("pods of {} with {}", pods->namespace_, text);
  }
  for (const Glob& glob : std::get<std::vector<Glob>>(selector))
    text += (text.empty() ? "" : ", ") + glob.pattern();
  return text;
}

Arms::Role Arms::role_of(const std::string& path) const {
  if (path.empty()) return Role::Unknown;  // its name may come later
  if (matches(slo_.canary, path)) return Role::Canary;
  if (slo_.baseline && matches(*slo_.baseline, path)) return Role::Baseline;
  return Role::Neither;
}

void Arms::update(Member& member, const Workload& workload, TickTime now) {
  if (member.role == Role::Unknown) {
    member.role = role_of(workload.path);
    member.path = workload.path;
    member.first_seen = now.monotonic;
    member.lost = workload.lost;
    if (member.role == Role::Baseline) member.half = halves_++ % 2;
  }
  member.seen = looks_;
  if (member.role == Role::Unknown || member.role == Role::Neither) return;
  member.gone = workload.gone;
  member.server = workload.server;
  member.client = workload.client;
  member.newly_lost += workload.lost - std::min(workload.lost, member.lost);
  member.lost = workload.lost;
}

void Arms::look(const std::vector<Workload>& workloads, TickTime now) {
  ++looks_;
  looked_ = true;
  for (const Workload& workload : workloads) update(members_[workload.id], workload, now);
  std::erase_if(members_, [this](const auto& entry) { return entry.second.seen != looks_; });
}

void Arms::read_member(Member& member, const CgroupCounts& counts, uint64_t id, ArmReading& to,
                       TickTime now) const {
  to.lost += std::exchange(member.newly_lost, 0);
  const bool warming = now.monotonic - member.first_seen < slo_.warmup;
  if (!member.gone) {
    ++to.cgroups;
    to.warming += warming ? 1 : 0;
  }
  const auto found = counts.find(id);
  if (found == counts.end()) return;
  const auto before = std::exchange(member.before, found->second);
  if (warming) return;
  if (before && before != found->second)
    if (const auto grown = added(*found->second, *before)) to.added += *grown;
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
  for (auto& [id, member] : members_) {
    if (member.role == Role::Canary)
      read_member(member, counts, id, seen.canary, now);
    else if (member.role == Role::Baseline)
      read_member(member, counts, id, seen.baseline[member.half], now);
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

std::vector<std::string> Arms::paths(Role role) const {
  std::vector<std::string> found;
  for (const auto& [id, member] : members_)
    if (member.role == role && !member.gone) found.push_back(member.path);
  std::ranges::sort(found);
  return found;
}

}  // namespace slogate
