// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <future>
#include <list>

#include "maps/error.h"

namespace slogate {

// Calls into the kernel that return only when every BPF program that runs at that moment has ended,
// as each change of a map of maps does. On a busy node without kernel preemption that was seen to
// take tens of seconds. So the agent makes them on threads of their own, and finishes what follows
// when it comes by again; tests and the start of an agent simply wait.
class KernelWait {
 public:
  using Call = std::function<Result<void>()>;
  using Finish = std::function<Result<void>(const Result<void>& outcome)>;

  KernelWait() = default;
  KernelWait(const KernelWait&) = delete;
  KernelWait& operator=(const KernelWait&) = delete;
  // Waits for the calls that are under way, and leaves the steps that would have followed them to
  // the next agent, as if this one had been killed.
  ~KernelWait() = default;

  // From now on calls are made on other threads.
  void use_threads() { threads_ = true; }

  // Makes the call. `finish` follows on the thread that calls run() or poll(), with its outcome:
  // here when there are no threads.
  Result<void> run(Call call, Finish finish);

  // Finishes the calls that have returned, in the order of their beginning; gives the first error.
  Result<void> poll();

  // Whether nothing is under way.
  [[nodiscard]] bool idle() const { return jobs_.empty(); }

 private:
  struct Job {
    std::future<Result<void>> outcome;
    Finish finish;
  };
  bool threads_ = false;
  std::list<Job> jobs_;
};

}  // namespace slogate
