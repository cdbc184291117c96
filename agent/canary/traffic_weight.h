// SPDX-License-Identifier: Apache-2.0
// Which share of the traffic a canary has earned, in percent. Until it passes the share rises as
// far as bounds justify that hold at every moment, never by what the figures happen to be; with a
// pass it rises by its steps to the most; suspicion halves it. No data never raises it.
#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <vector>

#include "agent/canary/hypotheses.h"
#include "agent/canary/tally.h"
#include "agent/config/slo.h"

namespace slogate {

// The formula's constants; deltas are shares of one.
inline constexpr double kLatencyBreak = 0.5, kErrorBreak = 0.02;
inline constexpr double kLatencyFree = 0.19, kErrorFree = 0.001;
// A step, up or down on suspicion, takes so many blocks at one weight in which both arms answered.
// A canary that fails only above some load has to be seen there, and to stay there for a veto: what
// was suspected and fell at once was never vetoed, it went up and down for ever. Evidence grows by
// a nat a block at most, and suspicion takes three.
inline constexpr size_t kStepBlocks = 10;

// least + safety * (most - least), with safety = max(.1, exp(-10 latency) * max(.2, 1 - 20 error)),
// the deltas less what is free and not below 0. Infinity and NaN are as bad as can be; -infinity is
// a delta of which nothing is to be said, and as good as none.
[[nodiscard]] double to_traffic_weight(double latency_delta, double error_delta, double least,
                                       double most);

// Rounded half up to a tenth: floor(10 weight + 0.5) / 10.
[[nodiscard]] double round_traffic_weight(double weight);

// How much slower the canary is (0.2: by a fifth) and how much more often it fails (a difference of
// shares, the largest of kBoundRatios).
struct Bounds {
  double latency_low, latency_high, error_low, error_high;
};

// The shares of failures that are bounded: connections that fail, and requests that are answered by
// an error or not at all.
inline constexpr std::array kBoundRatios = {RatioSignal::ConnectionErrors, RatioSignal::Errors};
// Each of the bounds, two of the latency and two of each share, has an equal part of alpha, whether
// it comes to have anything to say or not: that is not known beforehand. So the chance that any of
// them is ever wrong is at most alpha.
inline constexpr size_t kBounds = 2 + 2 * kBoundRatios.size();

// Sums from which the bounds follow at any time, by inverting the tests of evidence.h.
class BoundSums {
 public:
  BoundSums() = default;
  // Without what the SLO states an increase of: who allows 50 ms more wants to be told of nothing
  // less. Then a share has nothing to say, and a latency is never bounded.
  explicit BoundSums(const Slo& slo);

  // One block; `edges` are the baseline's at kBoundQuantiles, from before this block.
  void add(const Tally& canary, const Tally& baseline, size_t latency_signal, const Edges& edges,
           const FirstsOfSignals& firsts = {});
  // Infinite where something has been seen that is not bounded yet. The latency is something
  // always. A share is where both arms had exposures in one block, or the canary an event:
  // otherwise it has nothing to say, and no part in the error's bounds. -infinity both, where
  // neither share has.
  [[nodiscard]] Bounds bounds(double alpha) const;

  static constexpr std::array<double, 2> kBoundQuantiles = {0.95, 0.99};

 private:
  // Stretches by 2^(j/8) for j from kFirstShift on.
  static constexpr int kFirstShift = -8;
  static constexpr size_t kShifts = 33;
  using GridSums = std::array<double, 6>;
  // worse() and tolerable() for stakes that do not depend on the margin, so that the margin can be
  // searched for later: log E = sum - margin * stakes, and the other sign.
  struct Share {
    GridSums more{}, fewer{}, stakes{};
    double events = 0;  // of the canary
    bool stated = false;

    void add(const Trial& canary, const Trial& baseline);
    [[nodiscard]] bool has_something_to_say() const {
      return !stated && (stakes.back() > 0 || events > 0);
    }
    [[nodiscard]] double low(double enough) const;
    [[nodiscard]] double high(double enough) const;
  };
  void add_latency(const Tally& canary, const Tally& baseline, size_t signal, size_t level,
                   size_t edge, const FirstShares& firsts);

  std::array<std::array<GridSums, kBoundQuantiles.size()>, kShifts> slower_{}, quicker_{};
  std::array<Share, kBoundRatios.size()> shares_{};
  std::array<bool, kJudgedSignals> stated_{};
};

// How the verdict stands, as far as the weight asks.
enum class Standing {
  Held,       // it stays
  Open,       // neither is shown: it follows the bounds
  Passed,     // it rises to the most
  Suspected,  // something is against the canary, too little for a veto: it falls
  Stalled,    // requests wait and none is answered: it falls
  Vetoed,     // 0
};

// The next weight. `bounds` move it only while the verdict is open: it rises by a step where both
// upper ones are finite and justify it, and falls to what the lower ones force.
[[nodiscard]] double next_traffic_weight(double now, Standing standing, const Bounds& bounds,
                                         const WeightSteps& steps);

// The weight of one rollout.
class TrafficWeight {
 public:
  TrafficWeight(const Slo& slo, std::chrono::nanoseconds now)
      : steps_(slo.weight), sums_(slo), value_(slo.weight.from), moved_(now), looked_(now) {}

  // Of another configuration; where it stands it goes on from.
  void set_steps(const WeightSteps& steps) { steps_ = steps; }
  // One more block in which the canary answered, and its baseline, if it has one.
  void add_block() { ++blocks_; }
  // One block of both arms; see BoundSums.
  void add(const Tally& canary, const Tally& baseline, size_t signal, const Edges& edges,
           const FirstsOfSignals& firsts = {}) {
    sums_.add(canary, baseline, signal, edges, firsts);
  }

  void update(Standing standing, double alpha, std::chrono::nanoseconds now);
  [[nodiscard]] double percent() const { return round_traffic_weight(value_); }
  // Nothing is left for a baseline.
  [[nodiscard]] bool is_all() const { return value_ >= kAll; }
  // Where another judge of the same canary stood: who splits the traffic by it must see no fall.
  void go_on_from(double percent) { value_ = std::min(percent, steps_.most); }

 private:
  void note_suspicion(Standing standing, std::chrono::nanoseconds now);
  [[nodiscard]] bool is_due(Standing standing, std::chrono::nanoseconds now) const;

  static constexpr double kAll = 100 - 1e-9;
  // One that comes and goes is one, until it has been away for as long as a step takes.
  struct Suspicion {
    std::chrono::nanoseconds first, last;
  };
  WeightSteps steps_;
  BoundSums sums_;
  double value_;
  std::chrono::nanoseconds moved_, looked_;
  std::optional<Suspicion> suspicion_;
  // Since when it is stalled without a break: a busy machine stops a canary for moments.
  std::optional<std::chrono::nanoseconds> stalled_;
  size_t blocks_ = 0;  // since it moved, or was suspected first
};

}  // namespace slogate
