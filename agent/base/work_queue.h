// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <string>

#include "maps/error.h"
#include "maps/fd.h"

namespace slogate {

// Work that one thread hands to another and waits for: requests that change something are done by
// the thread that ticks, between two ticks, so that nothing else ever writes.
class WorkQueue {
 public:
  // What was done, as a sentence for whoever asked.
  using Outcome = Result<std::string>;
  using Work = std::function<Outcome()>;

  static Result<WorkQueue> make();

  // Waits until the work is done, or gives up after `patience`: then it will not be done later.
  Outcome run(Work work, std::chrono::milliseconds patience);

  // For the other thread: readable when there is work, and do it.
  [[nodiscard]] int poll_fd() const { return wake_.get(); }
  void work();

 private:
  struct Entry;
  explicit WorkQueue(Fd wake) : wake_(std::move(wake)), mutex_(std::make_unique<std::mutex>()) {}

  Fd wake_;
  std::unique_ptr<std::mutex> mutex_;
  std::deque<std::shared_ptr<Entry>> entries_;
};

}  // namespace slogate
