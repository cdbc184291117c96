// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "agent/canary/analysis.h"
#include "agent/snapshot.h"

namespace slogate {

// Keeps the latest events and finds those between two ticks.
class EventBook {
 public:
  void add(const std::vector<VerdictChange>& changes);
  void add(const std::vector<BreakerChange>& changes);
  // Resizes, losses and steps of the budget that `now` has and the tick before had not; the first
  // tick's are old.
  void compare(const Snapshot& now);
  // Oldest first; the same value until something is added.
  [[nodiscard]] std::shared_ptr<const std::deque<Event>> list() const { return list_; }

 private:
  void add(Event event);

  std::shared_ptr<const std::deque<Event>> list_ = std::make_shared<const std::deque<Event>>();
  uint64_t next_ = 1;
  bool first_ = true;
  std::array<uint64_t, SLOGATE_SITES> lost_{};
  uint64_t resized_ = 0;
  int step_ = 0;
};

}  // namespace slogate
