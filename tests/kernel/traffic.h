// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>

#include "agent/measure/probes.h"
#include "tests/kernel/world.h"

namespace slogate {

// Every request that was answered was counted once, or the kernel says that it left out a run of a
// program for it: 7.3 does (docs/kernels.md), others were not seen to.
inline void expect_all_counted(uint64_t counted, uint64_t answered, uint64_t missed_runs) {
  EXPECT_LE(counted, answered);
  EXPECT_GE(counted + missed_runs, answered);
}
[[nodiscard]] inline uint64_t all_missed(const Probes::Missed& missed) {
  uint64_t sum = 0;
  for (const auto& runs : missed) sum += runs.value_or(0);
  return sum;
}

// Requests over loopback from a process of its own until stop(): each client asks again `think`
// after an answer. With no pause at all a few of them were seen to keep the kernel's grace-period
// thread off a small machine's CPUs for minutes ("rcu_preempt kthread starved" in its log), and
// most that is tested here waits for grace periods. Server and client belong to the same cgroup.
class Traffic {
 public:
  explicit Traffic(const TestCgroup& cgroup, int connections = 4,
                   std::chrono::microseconds think = std::chrono::microseconds(20));
  // Ends it after the last answer has been read; how many requests were answered in all.
  uint64_t stop();

 private:
  struct Shared;  // memory that both processes see
  struct Unmap {
    void operator()(Shared* shared) const;
  };
  static Shared* make_shared_memory();
  static void work(Shared& shared, int connections, std::chrono::microseconds think);

  std::unique_ptr<Shared, Unmap> shared_;
  Child child_;
};

}  // namespace slogate
