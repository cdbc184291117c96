// SPDX-License-Identifier: Apache-2.0
// Evidence that a canary is worse, as e-values: nonnegative quantities whose mean is at most 1
// while it is not, so that one of 1/alpha or more comes with a chance of at most alpha, however
// often one looks (Ville's inequality; Ramdas et al., "Game-theoretic statistics and safe anytime-
// valid inference", 2023). Everything here is a pure function of counts; logarithms are natural.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace slogate {

// One arm in one block: how many of its `exposures` (requests, connections, segments) were events
// (slower than an edge, failed, lost). events <= exposures.
struct Trial {
  double events = 0, exposures = 0;
};

// By how much more than the baseline's share is allowed: ratio * share + increase, both >= 0.
struct Margin {
  double ratio = 1, increase = 0;
};

// How many times the allowed share each component of a mixture bets on; all have the same weight.
using Grid = std::array<double, 6>;
inline constexpr Grid kLatencyGrid = {1.25, 1.5, 2, 3, 5, 10};
inline constexpr Grid kRareGrid = {1.5, 2, 3, 5, 10, 30};
// What of the allowed share each component of tolerable() stakes.
inline constexpr Grid kStakes = {0.05, 0.1, 0.2, 0.4, 0.7, 0.95};

// No block counts for more than this, whatever is in it: a burst that hits one arm alone is one
// block, and min(E, e^cap) keeps the mean at or below 1. Losses are not capped, which would not.
inline constexpr double kCap = 1;

// ---- one block, one component ----

// Against "the canary's share of events is at most `bound`" (0 < bound < 1), betting on `factor`
// times that: the likelihood ratio of two Bernoulli shares, min(factor * bound, (1 + bound) / 2)
// against `bound`. Valid for every share up to the bound, and for one that moves below it. A
// factor below 1 bets that it is lower: then it is evidence against "at least `bound`".
[[nodiscard]] double exceeds(const Trial& canary, double bound, double factor);

// Against "the canary's share is at most margin.ratio * the baseline's + margin.increase", whatever
// the baseline's is in this block: events of the canary times log(1 + s), of the baseline times
// log(1 - s * ratio * m / l), less s * m * increase, with m and l the exposures and
// s = (factor - 1) l / (factor * ratio * m + l). Its mean of exp() is at most 1 by 1 + u <= exp(u),
// for any split of the traffic and without large numbers. For margin {1, 0} it is the conditional
// binomial test of Lindon and Malek, "Anytime-valid inference for multinomial count data" (2022).
// 0 where one of the arms did nothing.
[[nodiscard]] double worse(const Trial& canary, const Trial& baseline, const Margin& margin,
                           double factor);

// Against "the canary's share is at least margin.ratio * the baseline's + margin.increase": the
// other side of worse(), evidence that it is tolerable. 0 < stake < 1. 0 where one did nothing.
[[nodiscard]] double tolerable(const Trial& canary, const Trial& baseline, const Margin& margin,
                               double stake);

// ---- many components ----

// log(sum(exp(values))), without overflow; -infinity for none.
[[nodiscard]] double log_sum_exp(std::span<const double> values);

// log of the mean of exp(values).
[[nodiscard]] double log_mean_exp(std::span<const double> values);

// What a block decides: shares of answers, or all others, which have blocks of their own; or all.
enum class SignalGroup { All, OfAnswers, Others };

// Sums of capped evidence over blocks, one for each component, and their mixture. A long good time
// would sink the sums so far that a late regression stays unseen: so the mixture also contains,
// with small weights fixed beforehand, the same sums begun anew every kRestartBlocks: 3 s of the
// shortest blocks. At 60 of them a regression after 20 good seconds took up to 15 s more to be
// seen. Each group begins anew by its own blocks: if the long ones of the others went by the short
// ones, they would pay for eight times as many starts as they use.
class Evidence {
 public:
  static constexpr size_t kRestartBlocks = 12, kMostStarts = 16;  // of each group
  // What the sums from the very beginning weigh; start k = 2, 3, ... weighs the rest / (k (k - 1)).
  static constexpr double kFirstWeight = 0.95;

  // One weight for each component, above 0 and together at most 1, and whether it is of shares of
  // answers; without the latter none is.
  explicit Evidence(const std::vector<double>& weights, const std::vector<bool>& of_answers = {});

  // One block of a group: what each component gained, before the cap. Those of the other group are
  // left as they are.
  void add(std::span<const double> gains, SignalGroup part = SignalGroup::All);

  // The mixture of components [first, first + count), their weights scaled to a sum of 1.
  [[nodiscard]] double log_e(size_t first, size_t count) const;
  // The mixture of all; missing weight counts as evidence of 1.
  [[nodiscard]] double log_e() const;

  // From the very beginning, for adding over nodes.
  [[nodiscard]] std::span<const double> sums() const { return sums_; }
  [[nodiscard]] std::span<const double> log_weights() const { return log_weights_; }
  // Of shares of answers, or of all others.
  [[nodiscard]] size_t blocks(bool of_answers) const { return groups_[of_answers].blocks; }

 private:
  // Where the sums of a group stood when one of the mixture's processes began, and the log of its
  // weight.
  struct Start {
    double log_weight;
    std::vector<double> sums;
  };
  // What begins anew at the same time.
  struct Group {
    std::vector<size_t> components = {};  // in their order
    std::vector<Start> starts = {};
    double started = 0;  // weight of all starts there ever were
    size_t blocks = 0, number = 0;
  };
  // Of a group's components those from one number to another.
  struct Range {
    const Group& group;
    size_t first, last;
  };
  [[nodiscard]] static Range in(const Group& group, size_t first, size_t count);
  [[nodiscard]] double log_weight(const Range& of) const;
  [[nodiscard]] double log_e_since(const Start& start, const Range& of) const;
  [[nodiscard]] double log_mixture(size_t first, size_t count) const;
  void add(std::span<const double> gains, Group& group);
  void restart(Group& group);

  std::vector<double> log_weights_, sums_;
  std::array<Group, 2> groups_;  // the others, those of answers
};

}  // namespace slogate
