// SPDX-License-Identifier: Apache-2.0
// How long a block has to be, measured on the baseline against itself: evidence of blocks is worth
// what it hypotheses only where slow times come independently from block to block.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>

#include "agent/canary/evidence.h"

namespace slogate {

// Blocks are so many readings long.
inline constexpr std::chrono::milliseconds kReadInterval{250};
inline constexpr size_t kFirstBlock = 4, kLongestBlock = 120;  // 1 s until more is known; 30 s
// From so many readings on (one minute) the measurement counts; older ones than the last (five
// minutes) do not.
inline constexpr size_t kLeastHistory = 240, kMostHistory = 1200;

// One reading of two that are compared: the baseline's halves, the baseline and its canary, or,
// where the baseline is one cgroup, all of it and nothing.
struct SplitReading {
  Trial first, second;
};

// Before that, while a canary is new: for so many of its readings (six seconds), where so many of
// the baseline (eight seconds: the least that can show any) show no bursts, blocks are of 500 ms.
// One that is bad from its first request on is vetoed in 4 s then instead of 8, and bursts have but
// these seconds to hit one arm alone: 500 ms until a minute was seen made bursts of 2 s end in five
// times as many vetoes.
inline constexpr size_t kHastyBlock = 2, kHastyReadings = 24, kHastyHistory = 32;

// What is compared to see how much events vary for no reason.
enum class Comparison {
  // The halves with each other in each block, as they should not differ; neighbouring blocks where
  // there is one half. What hits both halves cancels, what hits neighbours does not.
  Baseline,
  // The difference of the two in one block with that in the next: neither what hits both at once
  // nor what always tells the second from the first counts.
  Differences,
};

// How much more the events of blocks of `readings` vary than independent ones would (1): squared
// differences in units of their expectation. 1 where nothing can be said.
[[nodiscard]] double dispersion(std::span<const SplitReading> history, size_t readings,
                                Comparison comparison = Comparison::Baseline);

// Twice the shortest block beyond which dispersion stops growing, as far as the history tells: 1 to
// kLongestBlock readings.
[[nodiscard]] size_t measure_block(std::span<const SplitReading> history,
                                   Comparison comparison = Comparison::Baseline);

// The same, and kFirstBlock while the history is short.
[[nodiscard]] size_t plan_block(std::span<const SplitReading> history,
                                Comparison comparison = Comparison::Baseline);

// Of events that may be rare. None at all are no bursts: 1. Where there are too few to compare
// them, twice as long as the longest of their runs, from one reading to the next, and kFirstBlock
// at least.
[[nodiscard]] size_t plan_rare_block(std::span<const SplitReading> history,
                                     Comparison comparison = Comparison::Baseline);

}  // namespace slogate
