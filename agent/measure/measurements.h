// SPDX-License-Identifier: Apache-2.0
// Everything one tick read. Nothing here refers to a map, a file descriptor or a clock.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/base/log.h"
#include "agent/measure/workload.h"
#include "maps/map_status.h"

namespace slogate {

// Of the agent's heap, within the last minute, in bytes: what is in use, and what is kept free for
// later.
struct HeapStatus {
  size_t used = 0, free = 0;
};

struct AgentStatus {
  std::string version, kernel;
  std::chrono::system_clock::time_point started, now;
  // CLOCK_MONOTONIC of the same moments: the other clock may be set.
  std::chrono::nanoseconds began{0}, ticked{0};
  uint64_t ticks = 0;
  std::chrono::nanoseconds last_tick{0};       // how long the last tick took
  std::chrono::nanoseconds total_ticks{0};     // and all of them together
  std::array<uint64_t, SLOGATE_SITES> lost{};  // samples lost, by site
  CpuStatus cpu;
  HeapStatus heap;
  CurrentProblems problems;
  uint64_t refused_calls = 0;      // of the system, see restrict_system_calls()
  std::vector<std::string> notes;  // what an operator should know, e.g. of a hybrid cgroup tree
};

// A list that costs nothing to copy: between two ticks, snapshots share theirs.
template <typename T>
class SharedList {
 public:
  SharedList& operator=(std::vector<T> list) {
    list_ = std::make_shared<std::vector<T>>(std::move(list));
    return *this;
  }
  const std::vector<T>& operator*() const { return *list_; }
  const std::vector<T>* operator->() const { return list_.get(); }
  [[nodiscard]] auto begin() const { return list_->cbegin(); }
  [[nodiscard]] auto end() const { return list_->cend(); }
  [[nodiscard]] size_t size() const { return list_->size(); }
  // To be changed before anybody else has it; a copy where somebody has.
  std::vector<T>& edit() {
    if (list_.use_count() > 1) *this = std::vector<T>(*list_);
    return *list_;
  }

 private:
  std::shared_ptr<std::vector<T>> list_ = std::make_shared<std::vector<T>>();
};

struct Measurements {
  AgentStatus agent;
  SharedList<Workload> workloads;  // by path
  // Counts of cgroups that are gone and no longer among the workloads, and of what found no slot;
  // never null. All workloads and these together are everything that was ever counted.
  std::shared_ptr<const Counts> removed = std::make_shared<const Counts>();
  std::shared_ptr<const Counts> unattributed = std::make_shared<const Counts>();
  std::vector<MapStatus> maps;
  std::vector<Resize> resizes;  // the latest, oldest first
  std::vector<ProbeStatus> probes;
  // Names of the running kernel's drop reasons by number, without SKB_DROP_REASON_; "" where the
  // number has none or does not count as a drop. Never null.
  std::shared_ptr<const std::vector<std::string>> drop_reasons;
};

}  // namespace slogate
