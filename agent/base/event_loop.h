// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "maps/error.h"
#include "maps/fd.h"

namespace slogate {

// What the tick's thread waits for: a timer, signals, and descriptors.
class EventLoop {
 public:
  // Blocks `signals` in this thread, and in those it starts from then on: they arrive here.
  static Result<EventLoop> make(std::chrono::milliseconds interval, std::vector<int> signals);

  struct Handlers {
    std::function<void()> tick;
    std::function<bool(int)> signal;  // false ends run()
  };
  // Calls `handler` from run() whenever `fd` is readable; both must outlive the loop.
  void watch(int fd, std::function<void()> handler);
  // From now on ticks come at this interval, the first one after it.
  Result<void> set_interval(std::chrono::milliseconds interval);
  Result<void> run(const Handlers& handlers);

 private:
  EventLoop(Fd timer, Fd signals) : timer_(std::move(timer)), signals_(std::move(signals)) {}
  Result<void> set_timer(std::chrono::nanoseconds first, std::chrono::milliseconds interval);

  Fd timer_, signals_;
  std::chrono::milliseconds interval_{};
  std::vector<std::pair<int, std::function<void()>>> watched_;
};

}  // namespace slogate
