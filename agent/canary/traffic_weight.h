// SPDX-License-Identifier: Apache-2.0
// Which share of the traffic a canary has earned: from bounds that hold at every moment, never from
// what the figures happen to be. No data never raises it.
#pragma once

#include <array>
#include <vector>

#include "agent/canary/hypotheses.h"
#include "agent/canary/tally.h"

namespace slogate {

// The formula's constants. Percent of the traffic; deltas are shares of one.
inline constexpr double kLeastTrafficWeight = 5, kMostTrafficWeight = 50;
inline constexpr double kLatencyBreak = 0.5, kErrorBreak = 0.02;
inline constexpr double kLatencyFree = 0.19, kErrorFree = 0.001;
// At most so much more in each step of so many blocks.
inline constexpr double kTrafficWeightStep = 5;
inline constexpr size_t kTrafficWeightBlocks = 30;

// least + safety * (most - least), with safety = max(.1, exp(-10 latency) * max(.2, 1 - 20 error)),
// the deltas less what is free and not below 0. What is not finite counts as infinitely bad.
[[nodiscard]] double to_traffic_weight(double latency_delta, double error_delta);

// Rounded half up to a tenth: floor(10 weight + 0.5) / 10.
[[nodiscard]] double round_traffic_weight(double weight);

// How much slower the canary is (0.2: by a fifth) and how much more often it fails (a difference of
// shares): with a chance of at most alpha that any of the four is ever wrong.
struct Bounds {
  double latency_low, latency_high, error_low, error_high;
};

// Sums from which the bounds follow at any time, by inverting the tests of evidence.h.
class BoundSums {
 public:
  // One block; `edges` are the baseline's at kBoundQuantiles, from before this block.
  void add(const Tally& canary, const Tally& baseline, size_t latency_signal, const Edges& edges);
  // Infinite where nothing is known yet.
  [[nodiscard]] Bounds bounds(double alpha) const;

  static constexpr std::array<double, 2> kBoundQuantiles = {0.95, 0.99};

 private:
  // Stretches by 2^(j/8) for j from kFirstShift on.
  static constexpr int kFirstShift = -8;
  static constexpr size_t kShifts = 33;
  using GridSums = std::array<double, 6>;
  void add_latency(const Tally& canary, const Tally& baseline, size_t signal, size_t level,
                   size_t edge);
  void add_errors(const Trial& canary, const Trial& baseline);

  std::array<std::array<GridSums, kBoundQuantiles.size()>, kShifts> slower_{}, quicker_{};
  GridSums more_{}, fewer_{}, stakes_{};
};

// The next weight: moves only as far as `bounds` force or justify it.
[[nodiscard]] double next_traffic_weight(double now, const Bounds& bounds);

}  // namespace slogate
