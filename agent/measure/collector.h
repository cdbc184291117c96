// SPDX-License-Identifier: Apache-2.0
// One tick: what the maps hold becomes values.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/base/tick_time.h"
#include "agent/config/cgroup_filter.h"
#include "agent/measure/cgroup_names.h"
#include "agent/measure/measurements.h"
#include "agent/measure/pod_names.h"
#include "agent/measure/probes.h"
#include "agent/measure/sizer.h"
#include "agent/measure/walks.h"
#include "maps/maps.h"
#include "maps/owner_events.h"

namespace slogate {

// Reads the maps. Between two ticks it keeps the last values of each slot and shares those that did
// not change with the next measurements, so that a tick costs what changed, not what exists.
class Collector {
 public:
  // `about`: version, kernel, start and notes of every tick. `filter` may change between two.
  Collector(Maps& maps, const Probes& probes, CgroupNames& names, PodNames& pods,
            OwnerEvents& events, Sizer& sizer, const KernelFeatures& features, AgentStatus about,
            const CgroupFilter& filter);

  // What cannot be read now is logged and missing from this tick only. The sockets are walked
  // when the last walk is as old as `inventory_interval`, give or take half a second.
  Measurements tick(TickTime now, std::chrono::nanoseconds inventory_interval);

  // Visits all sockets, not only those that have news. Before connections that were left out are
  // watched again: what came meanwhile is not to be counted.
  void visit_all(TickTime now);

  // Between two ticks: what sockets of class `service` of these cgroups counted up to now. Those
  // that the last tick did not know are left out.
  [[nodiscard]] CgroupCounts read(const std::unordered_set<uint64_t>& cgroups) const;

 private:
  // What is remembered of a slot from tick to tick.
  struct Slot {
    Owner owner;
    std::shared_ptr<const Counts> counts;  // null while nobody owns it
    uint64_t samples = 0;                  // in all of the counts
    double rate = 0;                       // samples per second in the last tick
    std::chrono::nanoseconds changed{0};
    std::optional<std::chrono::nanoseconds> gone;  // since when its cgroup is known to be gone
    bool missed = false;                           // a walk of the tree did not find its cgroup
  };

  void take_inventory(TickTime now, std::chrono::nanoseconds interval);
  // How many sockets were visited.
  uint64_t walk(slogate_walk what, TickTime now);
  [[nodiscard]] uint64_t visits() const;
  void read_slots(TickTime now);
  void read_slot(size_t number, TickTime now);
  void forget_names(TickTime now);
  void learn_names(TickTime now);
  void check_gone(TickTime now);
  [[nodiscard]] std::vector<Tenant> tenants(TickTime now) const;
  [[nodiscard]] std::vector<Workload> workloads(TickTime now) const;
  [[nodiscard]] std::vector<Workload> shown(std::unordered_map<uint64_t, Workload> by_cgroup,
                                            TickTime now) const;

  Maps& maps_;
  const Probes& probes_;
  CgroupNames& names_;
  PodNames& pods_;
  OwnerEvents& events_;
  Sizer& sizer_;
  AgentStatus status_;
  const CgroupFilter& filter_;
  std::shared_ptr<const std::vector<std::string>> drop_reasons_;
  std::vector<Slot> slots_;
  std::chrono::nanoseconds next_scan_{0}, next_forget_{0}, last_tick_{0};
  // Of the last inventory: requests without an answer, and when it was.
  std::vector<slogate_inflight> open_;
  std::optional<std::chrono::nanoseconds> walked_;
  uint64_t news_walks_ = 0;  // over sockets that have news
  Walks walks_;              // over all
  Maps::Sockets sockets_;
  std::chrono::nanoseconds next_missed_{0};
  Probes::Missed missed_;
};

}  // namespace slogate
