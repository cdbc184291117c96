// SPDX-License-Identifier: Apache-2.0
// The objectives of an SLO in the form in which they are judged, and what one block says of each.
#pragma once

#include <array>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <vector>

#include "agent/canary/evidence.h"
#include "agent/canary/firsts.h"
#include "agent/canary/tally.h"
#include "agent/config/slo.h"

namespace slogate {

// Which quantile is compared, and its share in the evidence of its hypothesis.
struct Level {
  double quantile, share;
};

// The quantiles that a comparison without an objective of its own looks at.
inline constexpr std::array<Level, 4> kComparedLevels = {
    {{0.9, 0.35}, {0.99, 0.2}, {0.995, 0.25}, {0.999, 0.2}}};

// What a comparison allows where the configuration says nothing. Latencies: so many buckets of
// 2^(1/8), 1.19 and 1.41 times. Shares: so much more.
inline constexpr size_t kVetoStretch = 2, kPassStretch = 4;
inline constexpr double kVetoIncrease = 0.001, kPassIncrease = 0.005;

// And so many seconds, where the stretch is less.
[[nodiscard]] constexpr double least_increase(size_t signal) {
  return kJudged[signal].least_increase;
}

// For a comparison without an objective of its own: the canary's edge beyond which it is worse than
// a baseline with this one. At most the last edge. Where the baseline is of another node, the
// canary's may be `node_margin` times slower, if that is more than the stretch: together with it,
// all times doubled would take four times as long to be seen.
[[nodiscard]] size_t veto_edge(size_t signal, size_t edge, double node_margin = 1);

// One bound on one signal.
struct Hypothesis {
  std::string name;  // as shown: "request p99 max 15 ms"
  size_t signal = 0;
  bool absolute = false;
  bool implied = false;       // there because there is a baseline, not because it was asked for
  double bound = 0;           // seconds or a share; meaningless when implied
  double node_margin = 1;     // see veto_edge(); of latencies alone
  std::vector<Level> levels;  // one for a ratio, whose quantile means nothing
};

// About so many samples of each arm it takes until a good canary is shown not to be slower at a
// quantile, divided by 1 - quantile: lognormal times, as many of both arms (bench_passes).
inline constexpr double kProofSamples = 20;
// What is always shown of a comparison: the tail beyond only where `pass_within` lets it.
inline constexpr double kAlwaysShown = 0.99;

// Whether a pass needs a level, where so many samples are expected in the time it may take. An
// objective that is stated names its quantile: that is always needed.
[[nodiscard]] bool is_level_needed(const Hypothesis& hypothesis, const Level& level,
                                   double expected_samples);

// One hypothesis for each bound of the SLO, and with a baseline one for every signal but rtt on
// which the SLO states no increase of its own: who allows 50 ms more wants to be told of nothing
// less.
[[nodiscard]] std::vector<Hypothesis> to_hypotheses(const Slo& slo);
// The same, where the baseline is of another node than the canary.
[[nodiscard]] std::vector<Hypothesis> to_hypotheses_between_nodes(const Slo& slo);
// The hypotheses of a comparison for which nothing is stated: one for every signal but rtt.
[[nodiscard]] std::vector<Hypothesis> default_hypotheses();

// Where the components of one hypothesis are among those of all: one bet for each point of the
// grid, levels outside, the grid inside.
struct Components {
  size_t first = 0, levels = 0;

  [[nodiscard]] constexpr size_t size() const { return levels * Grid{}.size(); }
  [[nodiscard]] constexpr Components level(size_t number) const {
    return {first + number * Grid{}.size(), 1};
  }
  // The number of the first of its levels among those of all hypotheses.
  [[nodiscard]] constexpr size_t first_level() const { return first / Grid{}.size(); }
  // Those of the hypothesis, of values that there is one of for each component of all.
  template <typename T>
  [[nodiscard]] std::span<T> of(std::span<T> all) const {
    return all.subspan(first, size());
  }
  template <typename T>
  [[nodiscard]] std::span<const T> of(const std::vector<T>& all) const {
    return of(std::span<const T>(all));
  }
};

// What is judged together, each with its place among the components of the mixture.
class Hypotheses {
 public:
  struct Entry {
    const Hypothesis& hypothesis;
    size_t number;  // its place
    Components components;
  };

  explicit Hypotheses(std::vector<Hypothesis> all);

  [[nodiscard]] size_t size() const { return all_.size(); }
  [[nodiscard]] size_t component_count() const { return component_count_; }
  [[nodiscard]] Entry operator[](size_t number) const {
    return {all_[number], number, components_[number]};
  }
  // They refer to this.
  [[nodiscard]] auto entries() const& {
    return std::views::iota(size_t{0}, size()) |
           std::views::transform([this](size_t number) { return (*this)[number]; });
  }
  void entries() const&& = delete;
  [[nodiscard]] const std::vector<Hypothesis>& all() const { return all_; }

 private:
  std::vector<Hypothesis> all_;
  std::vector<Components> components_;
  size_t component_count_ = 0;
};

// Of an increase: the canary's edge beyond which it is worse than a baseline with this one.
[[nodiscard]] size_t against_edge(const Hypothesis& hypothesis, size_t edge);
// The canary's edge within which it is shown to be as good as a baseline with this one: at most the
// last edge. A node's margin is rounded down here, and up in veto_edge(): rounding makes neither.
[[nodiscard]] size_t proof_edge(const Hypothesis& hypothesis, size_t edge);

// Of each component whether it is of a share of answers.
[[nodiscard]] std::vector<bool> to_groups(const Hypotheses& hypotheses);
// The weight of each component in the mixture, together at most 1. Signals have fixed shares; those
// that are not in use (`active`, decided before the first block) share 2 %.
[[nodiscard]] std::vector<double> to_mixture_weights(
    const Hypotheses& hypotheses, const std::array<bool, kJudgedSignals>& active);

// The baseline's edges at some quantiles, from before the block they are used in. Nothing where
// there were too few samples.
using Edges = std::vector<std::optional<size_t>>;

// The baseline's edge at a level of a hypothesis on a latency, and whether hardly anything of the
// baseline is between it and the edge beyond which a canary must not be. `next`, with its own gap,
// is the other edge of a tie, else the same: which of the two is the quantile's nobody knows, so a
// pass needs proof at both.
struct LevelEdge {
  size_t at = 0;
  bool gap = false;
  size_t next = at;
  bool next_gap = gap;
  // Behind the gap at the farther edge there is so much of the baseline that what is tolerated
  // beside it could be the canary's quantile, and how slow that is shows at no edge of this level:
  // a pass needs the next one then.
  bool open_tail = false;

  [[nodiscard]] bool is_tie() const { return at != next; }
  bool operator==(const LevelEdge&) const = default;
};
using LevelEdges = std::vector<std::optional<LevelEdge>>;
inline constexpr size_t kEdgesOfTie = 2;

// Of the two edges of a tie that has just been found the one that is new, 0 for `at` and 1 for
// `next`; nothing where `now` is no tie, or `before` was one.
[[nodiscard]] std::optional<size_t> new_edge(const std::optional<LevelEdge>& before,
                                             const std::optional<LevelEdge>& now);

// Over a gap a canary that is as good as its baseline has as much beyond the farther edge as the
// baseline has beyond its own: "at least as much" could never be disproved. There it is shown that
// it has not more than the baseline by this part of what its level leaves (1 - quantile).
inline constexpr double kGapTolerance = 0.5;
// A gap is where less is before the other edge, of what is beyond the baseline's own, than of a
// Pareto tail of this index, so that no tail with a mean is a gap: a fifth over a stretch of 1.41,
// 5 % over one of a bucket. Or where less than that part of 1 - quantile is beyond the edge at all.
inline constexpr double kGapIndex = 0.64, kEndShare = 0.1;

// The edges for a hypothesis that follow from what the baseline did before. Of those that were used
// until now a tie stays one while the quantile is at one of its edges: by chance it would come and
// go, and a pass with it.
[[nodiscard]] LevelEdges to_edges(const Hypothesis& hypothesis, const Tally& history,
                                  const LevelEdges& used = {});

// Of proof one for each component, at each edge of a tie; without one the same twice.
using ProofGains = std::array<std::vector<double>, kEdgesOfTie>;

// What one block says: gains of the evidence against a hypothesis and of the proof for it, one for
// each component.
struct Gains {
  std::vector<double> against;
  ProofGains proof;
};

// Whether a signal is a share of answers.
[[nodiscard]] constexpr bool is_of_answers(size_t signal) {
  return !is_latency(signal) && kJudged[signal].answered_in.has_value();
}

// Whether the baseline itself is beyond an absolute bound: then the block is no evidence of it.
[[nodiscard]] bool breaches_bound(const Hypothesis& hypothesis, const Tally& baseline);
// Whether it is beyond any of them.
[[nodiscard]] bool breaches_bound(const Hypotheses& hypotheses, const Tally& baseline);

// `baseline` is null where there is none. Formulas: exceeds(), worse() and tolerable(). Bounds are
// rounded to edges so that rounding never makes a veto or a pass. Where the arms' connections
// differ
// (`firsts`) a canary may be slower by what that explains; what is proof of it stays the same.
[[nodiscard]] Gains weigh(const Hypothesis& hypothesis, const Tally& canary, const Tally* baseline,
                          std::span<const std::optional<LevelEdge>> edges,
                          const FirstsOfSignals& firsts = {});
// The same of all of them, those that are not in `part` with a gain of 0; there are edges for each.
[[nodiscard]] Gains weigh(const Hypotheses& hypotheses, const Tally& canary, const Tally* baseline,
                          const std::vector<LevelEdges>& edges, const FirstsOfSignals& firsts = {},
                          SignalGroup part = SignalGroup::All);

}  // namespace slogate
