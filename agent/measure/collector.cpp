// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/collector.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "agent/base/log.h"
#include "agent/host/syscalls.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// A walk of the tree costs milliseconds per thousand cgroups; names that only it can find wait.
constexpr auto kScanInterval = 10s;

// Ticks come a second apart, give or take less than this.
constexpr auto kTickJitter = 500ms;

// How often the kernel is asked for the runs that it left out.
constexpr auto kMissedInterval = 5s;

// Each tick asks after one cgroup in this many whether it is still there.
constexpr uint64_t kGoneShare = 10;

std::shared_ptr<const Counts> plus(const std::shared_ptr<const Counts>& a,
                                   const std::shared_ptr<const Counts>& b) {
  if (!a) return b;
  auto total = std::make_shared<Counts>(*a);
  *total += *b;
  return total;
}

PortShare& share_of(Workload& workload, uint16_t port) {
  const auto found = std::ranges::find(workload.ports, port, &PortShare::port);
  return found != workload.ports.end() ? *found : workload.ports.emplace_back(port);
}

// Books a slot's counts to their class. Two slots of one owner are rare and add up.
void add_counts(Workload& workload, const Owner& owner,
                const std::shared_ptr<const Counts>& counts) {
  if (owner.class_ == SLOGATE_CLASS_service) {
    workload.service = plus(workload.service, counts);
    if (owner.port == 0) return;
    PortShare& share = share_of(workload, owner.port);
    share.counts = plus(share.counts, counts);
    return;
  }
  const auto found = std::ranges::find(workload.others, owner.class_,
                                       [](const auto& other) { return other.first; });
  if (found == workload.others.end())
    workload.others.emplace_back(owner.class_, counts);
  else
    found->second = plus(found->second, counts);
}

// How many samples there are in all: a measure of how busy an owner is.
uint64_t total(const Counts& counts) {
  uint64_t samples = 0;
  for (const Histogram& histogram : counts.histograms) samples += count(histogram);
  return samples + std::accumulate(counts.counters.begin(), counts.counters.end(), uint64_t{0});
}

template <typename T>
void log_result(std::string_view subject, const Result<T>& result) {
  log_change(subject, result ? "" : result.error().line());
}

void add_open(Inflight& inflight, std::chrono::nanoseconds age) {
  ++inflight.requests;
  inflight.oldest = std::max(inflight.oldest, age);
  if (age >= kOverdue) inflight.overdue.push_back(age);
}

}  // namespace

Collector::Collector(Maps& maps, const Probes& probes, CgroupNames& names, PodNames& pods,
                     OwnerEvents& events, Sizer& sizer, const KernelFeatures& features,
                     AgentStatus about, const CgroupFilter& filter)
    : maps_(maps),
      probes_(probes),
      names_(names),
      pods_(pods),
      events_(events),
      sizer_(sizer),
      status_(std::move(about)),
      filter_(filter),
      drop_reasons_(
          std::make_shared<const std::vector<std::string>>(counted_drop_reasons(features))) {}

Measurements Collector::tick(TickTime now, std::chrono::nanoseconds inventory_interval) {
  const auto started = std::chrono::steady_clock::now();
  maps_.control().beat();
  log_result("maps", sizer_.keep_room(now));
  Measurements seen;
  // The inventory first: what it settles is in the slots when they are read.
  take_inventory(now, inventory_interval);
  read_slots(now);
  forget_names(now);
  learn_names(now);
  check_gone(now);
  seen.workloads = workloads(now);
  // Together with the workloads, these are all there is at one moment: nothing leaves in between.
  seen.removed = std::make_shared<const Counts>(maps_.slab().totals());
  seen.unattributed = std::make_shared<const Counts>(maps_.slab().unattributed());
  log_result("release", sizer_.make_room(tenants(now), now));

  seen.probes = probes_.status(maps_.runs());
  if (now.monotonic >= next_missed_) {
    next_missed_ = now.monotonic + kMissedInterval;
    missed_ = probes_.missed();
  }
  for (ProbeStatus& probe : seen.probes) probe.missed = missed_[probe.probe];
  seen.maps = maps_.status(sockets_);
  seen.resizes.assign(maps_.resizer().resizes().begin(), maps_.resizer().resizes().end());
  seen.drop_reasons = drop_reasons_;
  for (size_t site = 0; site < SLOGATE_SITES; ++site)
    status_.lost[site] = maps_.control().lost(static_cast<slogate_site>(site));
  status_.problems = current_problems();
  status_.refused_calls = refused_system_calls();
  status_.now = now.system;
  status_.ticked = now.monotonic;
  ++status_.ticks;
  last_tick_ = now.monotonic;
  status_.last_tick = std::chrono::steady_clock::now() - started;
  status_.total_ticks += status_.last_tick;
  seen.agent = status_;
  return seen;
}

// The marks of changes are left for the tick, which also wants to know.
CgroupCounts Collector::read(const std::unordered_set<uint64_t>& cgroups) const {
  CgroupCounts found;
  for (size_t i = SLOGATE_FIRST_SLOT; i < slots_.size() && i < maps_.slab().slots(); ++i) {
    const Owner& owner = slots_[i].owner;
    if (owner.class_ != SLOGATE_CLASS_service || !cgroups.contains(owner.cgroup)) continue;
    std::shared_ptr<const Counts> counts = slots_[i].counts;
    if (const uint64_t marks = maps_.slab().dirty(i); marks != 0) {
      auto newer = std::make_shared<Counts>(*counts);
      maps_.slab().copy(i, *newer, marks);
      counts = std::move(newer);
    }
    if (maps_.slab().owner(i) != owner) continue;
    ServiceCounts& of = found[owner.cgroup];
    of.all = plus(of.all, counts);
    if (owner.port != 0) of.ports[owner.port] = plus(of.ports[owner.port], counts);
  }
  return found;
}

// A little early rather than a whole tick late: ticks are not exactly a second apart.
void Collector::take_inventory(TickTime now, std::chrono::nanoseconds interval) {
  if (walked_ && now.monotonic - *walked_ < interval - kTickJitter) return;
  if (walks_.is_all_due(maps_.control().unlisted(), now.monotonic)) return visit_all(now);
  (probes_.calls_roll() ? sockets_.on_roll : sockets_.with_news) = walk(SLOGATE_WALK_news, now);
  if (++news_walks_ % SLOGATE_QUIET_VISITS == 0)
    log_result("quiet sockets", probes_.take_inventory(SLOGATE_WALK_quiet));
}

void Collector::visit_all(TickTime now) {
  const uint32_t unlisted = maps_.control().unlisted();
  const auto started = std::chrono::steady_clock::now();
  sockets_.remembered = walk(SLOGATE_WALK_all, now);
  walks_.note_all(unlisted, now.monotonic, std::chrono::steady_clock::now() - started);
}

uint64_t Collector::walk(slogate_walk what, TickTime now) {
  walked_ = now.monotonic;
  const uint64_t before = visits();
  auto open = probes_.take_inventory(what);
  log_result("inventory", open);
  open_ = open ? std::move(*open) : std::vector<slogate_inflight>{};
  return visits() - before;
}

// Of sockets, by whichever of the two can be attached.
uint64_t Collector::visits() const {
  const slogate_runs runs = maps_.runs();
  return runs.runs[SLOGATE_PROBE_inventory] + runs.runs[SLOGATE_PROBE_roll_call];
}

void Collector::read_slots(TickTime now) {
  slots_.resize(maps_.slab().slots());
  for (size_t i = SLOGATE_FIRST_SLOT; i < slots_.size(); ++i) read_slot(i, now);
}

void Collector::read_slot(size_t number, TickTime now) {
  Slot& slot = slots_[number];
  const Owner owner = maps_.slab().owner(number);
  if (owner.cgroup == 0) {
    if (slot.counts) slot = {};
    return;
  }
  const uint64_t marks = maps_.slab().take_dirty(number);
  const bool same_owner = slot.counts && slot.owner == owner;
  if (same_owner && marks == 0) {
    slot.rate = 0;
    return;
  }
  auto counts = same_owner ? std::make_shared<Counts>(*slot.counts) : std::make_shared<Counts>();
  maps_.slab().copy(number, *counts, same_owner ? marks : SLOGATE_DIRTY_ALL);
  const uint64_t samples = total(*counts);
  const double passed = seconds(now.monotonic - last_tick_);
  const uint64_t before = same_owner ? slot.samples : 0;
  slot.rate = passed > 0 ? static_cast<double>(samples - before) / passed : 0;
  if (slot.owner.cgroup != owner.cgroup) {
    slot.missed = false;
    slot.gone.reset();
  }
  slot.owner = owner;
  slot.counts = std::move(counts);
  slot.samples = samples;
  slot.changed = now.monotonic;
}

// Before names are learned: those that come now may belong to slots that were not read yet.
void Collector::forget_names(TickTime now) {
  if (now.monotonic < next_forget_) return;
  next_forget_ = now.monotonic + kScanInterval;
  std::unordered_set<uint64_t> known;
  for (const Slot& slot : slots_) known.insert(slot.owner.cgroup);
  for (const auto& [cgroup, samples] : maps_.left_out()) known.insert(cgroup);
  names_.keep_only(known);
}

void Collector::learn_names(TickTime now) {
  events_.drain();
  if (now.monotonic < next_scan_) return;
  const bool unknown = std::any_of(slots_.begin(), slots_.end(), [this](const Slot& slot) {
    return slot.owner.cgroup != 0 && !slot.gone && names_.path(slot.owner.cgroup).empty();
  });
  if (!unknown) return;
  next_scan_ = now.monotonic + kScanInterval;
  const auto scanned = names_.scan();
  log_result("cgroup names", scanned);
  if (!scanned || !names_.saw_all()) return;
  // Those that went while no agent was here. Twice, as the tree changes while it is walked.
  for (Slot& slot : slots_) {
    if (slot.owner.cgroup == 0 || !names_.path(slot.owner.cgroup).empty()) continue;
    if (std::exchange(slot.missed, true) && !slot.gone) slot.gone = now.monotonic;
  }
}

void Collector::check_gone(TickTime now) {
  // Without the tree they would all seem to be gone.
  const auto readable = names_.check_root();
  log_result("cgroup tree", readable);
  if (!readable) return;
  for (Slot& slot : slots_) {
    const uint64_t id = slot.owner.cgroup;
    if (id == 0 || id % kGoneShare != status_.ticks % kGoneShare) continue;
    if (names_.path(id).empty()) continue;
    if (names_.exists(id))
      slot.gone.reset();
    else if (!slot.gone)
      slot.gone = now.monotonic;
  }
}

std::vector<Tenant> Collector::tenants(TickTime now) const {
  std::vector<Tenant> tenants;
  for (size_t i = SLOGATE_FIRST_SLOT; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (!slot.counts) continue;
    tenants.push_back({.slot = i,
                       .gone_seconds = slot.gone ? seconds(now.monotonic - *slot.gone) : -1,
                       .idle_seconds = seconds(now.monotonic - slot.changed),
                       .rate = slot.rate});
  }
  return tenants;
}

std::vector<Workload> Collector::workloads(TickTime now) const {
  std::unordered_map<uint64_t, Workload> by_cgroup;
  for (const Slot& slot : slots_) {
    if (slot.owner.cgroup == 0) continue;
    Workload& workload = by_cgroup[slot.owner.cgroup];
    workload.id = slot.owner.cgroup;
    workload.gone = slot.gone.has_value();
    add_counts(workload, slot.owner, slot.counts);
  }
  for (const slogate_inflight& request : open_) {
    if (request.ref.slot >= slots_.size()) continue;
    const Owner& owner = slots_[request.ref.slot].owner;
    if (owner.cgroup == 0 || owner.generation != request.ref.generation ||
        owner.class_ != SLOGATE_CLASS_service)
      continue;
    Workload& workload = by_cgroup[owner.cgroup];
    const std::chrono::nanoseconds opened(request.opened);
    // As it was then: the answer may have come since.
    const auto age = std::max(*walked_ - opened, std::chrono::nanoseconds(0));
    add_open(request.role == SLOGATE_ROLE_client ? workload.client : workload.server, age);
    if (owner.port != 0) add_open(share_of(workload, owner.port).server, age);
  }
  return shown(std::move(by_cgroup), now);
}

std::vector<Workload> Collector::shown(std::unordered_map<uint64_t, Workload> by_cgroup,
                                       TickTime now) const {
  static const auto nothing = std::make_shared<const Counts>();
  for (const auto& [cgroup, samples] : maps_.left_out()) {
    by_cgroup[cgroup].id = cgroup;
    by_cgroup[cgroup].lost = samples;
  }
  std::vector<Workload*> order;
  order.reserve(by_cgroup.size());
  for (auto& [id, workload] : by_cgroup) {
    workload.path = names_.path(id);
    if (!filter_.shows(workload.path)) continue;
    if (!workload.service) workload.service = nothing;
    workload.pod = pods_.of(id, workload.path, now.monotonic);
    order.push_back(&workload);
  }
  pods_.forget_others();
  std::ranges::sort(order, [](const Workload* a, const Workload* b) {
    return std::tie(a->path, a->id) < std::tie(b->path, b->id);
  });
  std::vector<Workload> rows;
  rows.reserve(order.size());
  for (Workload* workload : order) rows.push_back(std::move(*workload));
  return rows;
}

}  // namespace slogate
