// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

#include "maps/fd.h"
#include "tests/support/clock.h"

namespace slogate::support {

// Raised once and for all; threads can ask for it and poll() its descriptor.
class Flag {
 public:
  Flag();

  void raise();
  [[nodiscard]] bool raised() const { return raised_.load(std::memory_order_acquire); }
  // Readable from the moment the flag is raised.
  [[nodiscard]] int fd() const { return event_.get(); }

 private:
  Fd event_;
  std::atomic<bool> raised_{false};
};

// Waits until `fd` reports one of `events` (poll's), `stop` is raised or the deadline has passed.
// Returns what `fd` reported, 0 when nothing; fd -1 waits for the other two only.
short wait_for(int fd, short events, Deadline deadline, const Flag& stop);

// Returns false when `stop` came first.
bool sleep_until(Deadline deadline, const Flag& stop);

// The same, but right to about a microsecond where a processor is free: sleeps until 100 us before
// the deadline (a timer wakes late by tens of us) and watches the clock for the rest.
bool sleep_until_exactly(Deadline deadline, const Flag& stop);

}  // namespace slogate::support
