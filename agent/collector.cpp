// SPDX-License-Identifier: Apache-2.0
#include "agent/collector.h"

#include <algorithm>
#include <tuple>

#include "agent/log.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// A walk of the tree costs milliseconds per thousand cgroups; names that only it can find wait.
constexpr auto kScanInterval = 10s;

// Each tick asks after one cgroup in this many whether it is still there.
constexpr uint64_t kGoneShare = 10;

bool any_matches(const std::vector<Glob>& globs, std::string_view path) {
  return std::any_of(globs.begin(), globs.end(),
                     [path](const Glob& glob) { return glob.matches(path); });
}

std::shared_ptr<const Counts> plus(const std::shared_ptr<const Counts>& a,
                                   const std::shared_ptr<const Counts>& b) {
  if (!a) return b;
  auto total = std::make_shared<Counts>(*a);
  *total += *b;
  return total;
}

// Books a slot's counts to their class. Two slots of one owner are rare and add up.
void add_counts(Workload& workload, slogate_class klass,
                const std::shared_ptr<const Counts>& counts) {
  if (klass == SLOGATE_CLASS_service) {
    workload.service = plus(workload.service, counts);
    return;
  }
  const auto found = std::find_if(workload.others.begin(), workload.others.end(),
                                  [klass](const auto& other) { return other.first == klass; });
  if (found == workload.others.end())
    workload.others.emplace_back(klass, counts);
  else
    found->second = plus(found->second, counts);
}

void add_open(Inflight& inflight, std::chrono::nanoseconds age) {
  ++inflight.requests;
  inflight.oldest = std::max(inflight.oldest, age);
}

}  // namespace

bool CgroupFilter::shows(std::string_view path) const {
  return path.empty() || (any_matches(include, path) && !any_matches(exclude, path));
}

Collector::Collector(Maps& maps, const Probes& probes, CgroupNames& names, OwnerEvents& events,
                     const KernelFeatures& features, AgentStatus about, CgroupFilter filter)
    : maps_(maps),
      probes_(probes),
      names_(names),
      events_(events),
      status_(std::move(about)),
      filter_(std::move(filter)),
      drop_reasons_(
          std::make_shared<const std::vector<std::string>>(counted_drop_reasons(features))) {}

std::shared_ptr<const Snapshot> Collector::tick(TickTime now) {
  const auto started = std::chrono::steady_clock::now();
  const auto room = maps_.keep_headroom();
  log_change("maps", room ? "" : room.error().line());
  auto snapshot = std::make_shared<Snapshot>();
  // The inventory first: what it settles is in the slots when they are read.
  const auto open = take_inventory();
  read_slots();
  learn_names(now);
  check_gone();
  snapshot->workloads = workloads(open, now);

  snapshot->probes = probes_.status(maps_.runs());
  snapshot->maps = maps_.status(sockets_);
  snapshot->drop_reasons = drop_reasons_;
  for (size_t site = 0; site < SLOGATE_SITES; ++site)
    status_.lost[site] = maps_.lost(static_cast<slogate_site>(site));
  status_.now = now.system;
  ++status_.ticks;
  status_.last_tick = std::chrono::steady_clock::now() - started;
  status_.total_ticks += status_.last_tick;
  snapshot->agent = status_;
  return snapshot;
}

std::vector<slogate_inflight> Collector::take_inventory() {
  const uint64_t before = maps_.runs().runs[SLOGATE_PROBE_inventory];
  auto open = probes_.take_inventory();
  sockets_ = maps_.runs().runs[SLOGATE_PROBE_inventory] - before;
  log_change("inventory", open ? "" : open.error().line());
  return open ? std::move(*open) : std::vector<slogate_inflight>{};
}

void Collector::read_slots() {
  slots_.resize(maps_.slots());
  for (size_t i = SLOGATE_FIRST_SLOT; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    const Owner owner = maps_.owner(i);
    const bool changed = maps_.take_dirty(i);
    if (owner.cgroup == 0) {
      slot = {};
    } else if (changed || !slot.counts || slot.owner.generation != owner.generation) {
      auto counts = std::make_shared<Counts>();
      maps_.copy(i, *counts);
      slot = {owner, std::move(counts)};
    }
  }
}

void Collector::learn_names(TickTime now) {
  events_.drain();
  if (now.monotonic < next_scan_) return;
  const bool unknown = std::any_of(slots_.begin(), slots_.end(), [this](const Slot& slot) {
    return slot.owner.cgroup != 0 && names_.path(slot.owner.cgroup).empty();
  });
  if (!unknown) return;
  next_scan_ = now.monotonic + kScanInterval;
  const auto done = names_.scan();
  log_change("cgroup names", done ? "" : done.error().line());
}

void Collector::check_gone() {
  for (const Slot& slot : slots_) {
    const uint64_t id = slot.owner.cgroup;
    if (id == 0 || id % kGoneShare != status_.ticks % kGoneShare) continue;
    if (names_.exists(id))
      gone_.erase(id);
    else
      gone_.insert(id);
  }
}

std::vector<Workload> Collector::workloads(const std::vector<slogate_inflight>& open,
                                           TickTime now) const {
  std::unordered_map<uint64_t, Workload> by_cgroup;
  for (const Slot& slot : slots_) {
    if (slot.owner.cgroup == 0) continue;
    Workload& workload = by_cgroup[slot.owner.cgroup];
    workload.id = slot.owner.cgroup;
    add_counts(workload, slot.owner.class_, slot.counts);
  }
  for (const slogate_inflight& request : open) {
    if (request.ref.slot >= slots_.size()) continue;
    const Owner& owner = slots_[request.ref.slot].owner;
    if (owner.cgroup == 0 || owner.generation != request.ref.generation ||
        owner.class_ != SLOGATE_CLASS_service)
      continue;
    Workload& workload = by_cgroup[owner.cgroup];
    const std::chrono::nanoseconds age = now.monotonic - std::chrono::nanoseconds(request.opened);
    add_open(request.role == SLOGATE_ROLE_client ? workload.client : workload.server,
             std::max(age, std::chrono::nanoseconds(0)));
  }
  return shown(std::move(by_cgroup));
}

std::vector<Workload> Collector::shown(std::unordered_map<uint64_t, Workload> by_cgroup) const {
  static const auto kNothing = std::make_shared<const Counts>();
  std::vector<Workload> rows;
  rows.reserve(by_cgroup.size());
  for (auto& [id, workload] : by_cgroup) {
    workload.path = names_.path(id);
    if (!filter_.shows(workload.path)) continue;
    workload.gone = gone_.contains(id);
    if (!workload.service) workload.service = kNothing;
    rows.push_back(std::move(workload));
  }
  std::sort(rows.begin(), rows.end(), [](const Workload& a, const Workload& b) {
    return std::tie(a.path, a.id) < std::tie(b.path, b.id);
  });
  return rows;
}

}  // namespace slogate
