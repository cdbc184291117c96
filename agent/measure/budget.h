// SPDX-License-Identifier: Apache-2.0
// What the agent and its programs may cost, and what is left out to stay below that.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "agent/measure/workload.h"

namespace slogate {

// What is left out at a step: at 0 nothing, at 1 what no SLO needs, from 2 on also a part of the
// connections: one in 2, 4, ... 64 is watched.
inline constexpr int kOptionalStep = 1;
inline constexpr int kMostSteps = 7;

// One connection in how many is watched at a step; a power of 2.
[[nodiscard]] constexpr uint32_t watched_one_in(int step) {
  return step <= kOptionalStep ? 1 : 1u << (step - kOptionalStep);
}

// Whether what answers say is read of servers that no SLO is about, too.
[[nodiscard]] constexpr bool reads_all_answers(int step) {
  return step < kOptionalStep;
}

// The programs that are left out from kOptionalStep on.
[[nodiscard]] std::vector<slogate_probe> optional_programs();

// Time of CPUs since some moment, all of them added.
struct CpuTime {
  std::chrono::nanoseconds agent{0}, programs{0};
};

// What the programs on the path of packets have cost, from their counts of a tick and those of the
// one before: each one's runs, times the mean of those that were timed meanwhile. What the
// iterators cost is the agent's own time.
class ProgramCost {
 public:
  // The total so far; never falls.
  std::chrono::nanoseconds add(std::span<const ProbeStatus> probes);

 private:
  struct Seen {
    uint64_t runs = 0, timed = 0;
    std::chrono::nanoseconds timed_total{0};
  };
  std::array<Seen, SLOGATE_PROBES> seen_;
  double total_ns_ = 0;
  bool first_ = true;
};

// Decides how much is left out. A state machine without a clock: one step more after kPatience of
// windows that all were beyond the budget, one less after as long in which even twice the programs'
// share would have been below it; so a short load changes nothing, and what was left out comes back
// once that will not bring it beyond the budget again.
class Budget {
 public:
  static constexpr std::chrono::seconds kWindow{10};
  static constexpr int kPatience = 9;  // windows

  // `ratio`: of the node's CPUs together, above 0; 1 is no limit. `cpus`: at least 1.
  Budget(double ratio, unsigned cpus) : cpus_(cpus) { set_ratio(ratio); }
  void set_ratio(double ratio) { status_.budget = ratio; }

  // Totals so far, at a moment of CLOCK_MONOTONIC. Whether the step is another one now.
  bool look(const CpuTime& spent, std::chrono::nanoseconds now);

  // The step, and shares of the last window; `watched` and the switched off programs are the
  // caller's to fill in.
  [[nodiscard]] const CpuStatus& status() const { return status_; }

 private:
  bool judge_window();

  unsigned cpus_;
  bool first_ = true;
  CpuTime before_;
  std::chrono::nanoseconds since_{0};
  int over_ = 0, under_ = 0;  // windows in a row
  CpuStatus status_;
};

}  // namespace slogate
