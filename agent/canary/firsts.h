// SPDX-License-Identifier: Apache-2.0
// What a comparison of latencies allows where the arms' connections differ in how long they live.
//
// The first request on a connection may be slower than the next, or quicker: the server fills the
// caches of a new session, or is asked for nothing but its version. Of each value nobody knows
// whether it was the first, but how many were is known: as many as there were connections. Where
// the canary has them for a share c of its values and the baseline for b, where q of the first
// values are slow and p of the others, the same for both arms,
//
//   canary = c q + (1 - c) p,   baseline = b q + (1 - b) p,   0 <= p, q <= 1,
//
// so that with c > b the canary's share is at most both c/b times the baseline's, and (1 - c)/(1 -
// b) times the baseline's and (c - b)/(1 - b); with c < b the same holds of the others, which are
// not first. That many more say nothing against the canary.
#pragma once

#include <array>
#include <optional>

#include "agent/canary/tally.h"

namespace slogate {

// The part of each arm's values of a signal that may be the first on their connections; both 0
// where they do not differ so that it could be told.
struct FirstShares {
  double canary = 0, baseline = 0;

  [[nodiscard]] FirstShares exchanged() const { return {baseline, canary}; }
  [[nodiscard]] bool differ() const { return canary != baseline; }
};
using FirstsOfSignals = std::array<FirstShares, SLOGATE_SIGNALS>;
[[nodiscard]] FirstsOfSignals exchanged(const FirstsOfSignals& firsts);

// How much more of a share of the baseline's values the canary's may be, by the tighter of the two
// bounds; nothing where that is more than kMostAllowed times the share: a bet against so much more
// would lose more than it could win.
inline constexpr double kMostAllowed = 3;
[[nodiscard]] std::optional<Margin> first_margin(const FirstShares& firsts, double share);

// Follows how many connections the arms use for their requests. What is decided here depends on
// that alone, never on how slow anything was: so the mean of an e-value stays at most 1.
//
// A difference is told where it can be no chance by the number of connections (three standard
// errors of the split of a block's connections by its requests), and comes in more than one block:
// it is twice what one block of any size could make, since the sum of scores is measured by the
// root of the sum of their squares. A canary that opens its connections as it starts is like its
// baseline from then on, and one block is worth one nat at most, so that excuses nothing.
class FirstRequests {
 public:
  void add_block(const Tally& canary, const Tally& baseline);
  [[nodiscard]] FirstsOfSignals told() const;

 private:
  struct Sums {
    double canary = 0, canary_values = 0, baseline = 0, baseline_values = 0;
    double more = 0, variance = 0;   // of the canary's connections, beyond its part of all
    double scores = 0, squares = 0;  // the same of each block in standard errors

    void add(double of_canary, double values, double of_baseline, double baseline_values_now);
    void halve();
    [[nodiscard]] bool differ() const;
  };
  std::array<Sums, SLOGATE_SIGNALS> sums_{};
  size_t blocks_ = 0;
};

}  // namespace slogate
