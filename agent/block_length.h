// SPDX-License-Identifier: Apache-2.0
// How long a block has to be, measured on the baseline against itself: evidence of blocks is worth
// what it claims only where slow times come independently from block to block.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>

#include "agent/evidence.h"

namespace slogate {

// Blocks are so many readings long.
inline constexpr std::chrono::milliseconds kReadInterval{250};
inline constexpr size_t kFirstBlock = 4, kLongestBlock = 120;  // 1 s until more is known; 30 s
// From so many readings on (one minute) the measurement counts.
inline constexpr size_t kLeastHistory = 240, kMostHistory = 1200;

// One reading of the baseline: its two halves, or everything in the first where there is one
// cgroup only.
struct SplitReading {
  Trial first, second;
};

// How much more the events vary than independent ones would (1): squared differences between the
// halves over blocks of `readings`, or, where there is one half, between neighbouring blocks, in
// units of what the binomial split would give. 1 where nothing can be said.
[[nodiscard]] double dispersion(std::span<const SplitReading> history, size_t readings);

// Twice the shortest block beyond which dispersion stops growing: 1 to kLongestBlock readings.
// kFirstBlock while the history is short.
[[nodiscard]] size_t plan_block(std::span<const SplitReading> history);

}  // namespace slogate
