// SPDX-License-Identifier: Apache-2.0
// The objectives of an SLO in the form in which they are judged, and what one block says of each.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/canary/tally.h"
#include "agent/config/slo.h"

namespace slogate {

// Which quantile is compared, and its share in the evidence of its hypothesis.
struct Level {
  double quantile, weight;
};

// The quantiles that a comparison without an objective of its own looks at.
inline constexpr std::array<Level, 4> kComparedLevels = {
    {{0.9, 0.35}, {0.99, 0.2}, {0.995, 0.25}, {0.999, 0.2}}};

// What a comparison allows where the configuration says nothing. Latencies: so many buckets of
// 2^(1/8), 1.19 and 1.41 times. Shares: so much more.
inline constexpr size_t kVetoStretch = 2, kPassStretch = 4;
inline constexpr double kVetoIncrease = 0.001, kPassIncrease = 0.005;

// And so many seconds, where the stretch is less: what the scheduler of a busy node does to one
// process and not to the other for a while. Identical arms were seen with 214 and 331 us at p99 of
// `queue`.
[[nodiscard]] constexpr double least_increase(size_t signal) {
  return signal == SLOGATE_SIGNAL_request || signal == SLOGATE_SIGNAL_client_request ? 0.00025
                                                                                     : 0.001;
}

// For a comparison without an objective of its own: the canary's edge beyond which it is worse than
// a baseline with this one. At most the last edge.
[[nodiscard]] size_t veto_edge(size_t signal, size_t edge);

// One bound on one signal.
struct Hypothesis {
  std::string name;  // as shown: "request p99 max 15 ms"
  size_t signal = 0;
  bool absolute = false;
  bool implied = false;       // there because there is a baseline, not because it was asked for
  double bound = 0;           // seconds or a share; meaningless when implied
  std::vector<Level> levels;  // one for a ratio, whose quantile means nothing

  [[nodiscard]] size_t components() const { return levels.size() * Grid{}.size(); }
};

// One hypothesis for each bound of the SLO, and with a baseline one for every signal but rtt on
// which the SLO states no increase of its own: who allows 50 ms more wants to be told of nothing
// less.
[[nodiscard]] std::vector<Hypothesis> to_hypotheses(const Slo& slo);
// The hypotheses of a comparison for which nothing is stated: one for every signal but rtt.
[[nodiscard]] std::vector<Hypothesis> default_hypotheses();

// The weight of each component of each hypothesis in the mixture, together at most 1. Signals have
// fixed weights; those that are not in use (`active`, decided before the first block) share 3 %.
[[nodiscard]] std::vector<double> to_weights(const std::vector<Hypothesis>& hypotheses,
                                             const std::array<bool, kJudgedSignals>& active);

// For each level of a hypothesis on a latency, the baseline's edge at that quantile, from before
// the block it is used in. Nothing where there were too few samples.
using Edges = std::vector<std::optional<size_t>>;

// The edges for a hypothesis that follow from what the baseline did before.
[[nodiscard]] Edges to_edges(const Hypothesis& hypothesis, const Tally& history);

// What one block says of one hypothesis: gains of the evidence against it and of the proof for it,
// one for each component, levels outside, the grid inside.
struct Gains {
  std::vector<double> against, proof;
  bool baseline_breaches = false;  // the baseline itself is beyond an absolute bound: no evidence
};

// `baseline` is null where there is none. Formulas: exceeds(), worse() and tolerable(). Bounds are
// rounded to edges so that rounding never makes a veto or a pass.
[[nodiscard]] Gains weigh(const Hypothesis& hypothesis, const Tally& canary, const Tally* baseline,
                          std::span<const std::optional<size_t>> edges);

}  // namespace slogate
