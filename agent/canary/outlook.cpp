// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/outlook.h"

#include <algorithm>
#include <cmath>

#include "agent/base/tick_time.h"

namespace slogate {
namespace {

constexpr double kFading = 30;  // seconds
constexpr double kMuch = 100;   // nats: the time is the mean from here on, nearly
// Who would have to wait for longer is told that nobody knows.
constexpr double kLongest = 7 * 86'400.0;  // seconds
constexpr double kMostSteps = 1e9;
constexpr double kLeastRate = 1e-3;  // samples a second; who has fewer is told the same
// Counts of an equal canary are made so large that rounding them says nothing.
constexpr double kMagnified = 1e9;

// Of the components of one hypothesis those of a level.
std::span<double> part(std::vector<double>& of_hypothesis, size_t level) {
  return Components{}.level(level).of(std::span(of_hypothesis));
}

// Of two times the later one; what is not known never comes.
std::optional<double> later(std::optional<double> a, std::optional<double> b) {
  return a && b ? std::optional(std::max(*a, *b)) : std::nullopt;
}

double normal(double x) {
  return std::erfc(-x / std::sqrt(2)) / 2;
}

// Of the mean time until a proof has grown by `lack` the part that is long enough every other time.
// The log of a likelihood ratio moves by chance with a variance of twice its mean, so the time
// follows an inverse Gaussian of shape lack / 2 (Folks and Chhikara, "The inverse Gaussian
// distribution and its statistical application", 1978): a small lack is often gone by one lucky
// sample, while the mean is made by those that take long.
double usual_part(double lack) {
  const double shape = std::min(lack, kMuch) / 2;
  const auto done_by = [shape](double x) {
    const double root = std::sqrt(shape / x);
    return normal(root * (x - 1)) + std::exp(2 * shape) * normal(-root * (x + 1));
  };
  double low = 0, high = 1;
  for (int i = 0; i < 20; ++i) {
    const double middle = (low + high) / 2;
    (done_by(middle) < 0.5 ? low : high) = middle;
  }
  return high;
}

bool has_edges(const Hypothesis& hypothesis) {
  return is_latency(hypothesis.signal) && !hypothesis.absolute;
}

}  // namespace

void RateOfLate::add(double samples, double seconds) {
  const double kept = std::exp(-seconds / kFading);
  samples_ = samples_ * kept + samples;
  seconds_ = seconds_ * kept + seconds;
}

std::optional<double> RateOfLate::rate() const {
  if (seconds_ <= 0) return std::nullopt;
  return samples_ / seconds_;
}

// The log of a sum of exponentials of lines is convex, so it passes `enough` once.
std::optional<double> steps_until(std::span<const double> sums, std::span<const double> gains,
                                  double enough) {
  const auto proof_after = [&](double steps) {
    std::vector<double> then(sums.begin(), sums.end());
    for (size_t i = 0; i < then.size(); ++i) then[i] += steps * gains[i];
    return log_mean_exp(then);
  };
  double low = 0, high = 1;
  for (; proof_after(high) < enough; high *= 2) {
    if (high > kMostSteps) return std::nullopt;
    low = high;
  }
  while (high - low > 1e-3 * high) {
    const double middle = (low + high) / 2;
    (proof_after(middle) < enough ? low : high) = middle;
  }
  return high;
}

// What an equal canary does at the rates of late.
struct Outlook::Equal {
  double rate = 0, beside = 0;  // samples a second of canary and baseline
  double usual = 0;             // samples of the history it is known from
  Tally canary, baseline;

  // What it is expected to gain with each sample, of each component of a hypothesis.
  [[nodiscard]] ProofGains gains(const Prospect& of, const Hypotheses::Entry& entry) const;
};

ProofGains Outlook::Equal::gains(const Prospect& of, const Hypotheses::Entry& entry) const {
  const LevelEdges& edges = of.edges[entry.number];
  ProofGains gains =
      weigh(entry.hypothesis, canary, of.compared ? &baseline : nullptr, edges).proof;
  for (std::vector<double>& at_edge : gains) {
    for (double& gain : at_edge) gain /= static_cast<double>(exposures(canary, of.main_signal));
    if (!has_edges(entry.hypothesis)) continue;
    // A quantile that has no edge yet will gain like the one below it, by its share of the values.
    const std::vector<Level>& levels = entry.hypothesis.levels;
    for (size_t level = 1; level < levels.size(); ++level) {
      if (edges[level]) continue;
      const double share = (1 - levels[level].quantile) / (1 - levels[level - 1].quantile);
      std::ranges::transform(part(at_edge, level - 1), part(at_edge, level).begin(),
                             [share](double gain) { return gain * share; });
    }
  }
  return gains;
}

void Outlook::add_block(const Prospect& of, double canary, double baseline, double seconds) {
  if (canary == 0 && samples_.empty()) return;
  canary_.add(canary, seconds);
  baseline_.add(baseline, seconds);
  samples_.resize(of.hypotheses.component_count() / Grid{}.size());
  for (const Hypotheses::Entry& entry : of.hypotheses.entries())
    for (size_t level = 0; level < entry.components.levels; ++level)
      if (!has_edges(entry.hypothesis) || of.edges[entry.number][level])
        samples_[entry.components.level(level).first_level()] += canary;
}

// At one edge: `seen` samples have added up to these sums.
std::optional<double> Outlook::time_at(const Prospect& of, const Equal& equal, double seen,
                                       std::span<const double> sums,
                                       std::span<const double> expected) const {
  const double whole =
      steps_until(std::vector<double>(sums.size()), expected, of.enough).value_or(0);  // samples
  const double block = seconds(of.block);
  std::vector<double> gains(sums.size());  // of each block
  for (size_t i = 0; i < gains.size(); ++i)
    gains[i] = std::min(
        kCap, (whole * expected[i] + sums[i]) / std::max(1.0, whole + seen) * equal.rate * block);
  const auto blocks = steps_until(sums, gains, of.enough);
  if (!blocks) return std::nullopt;
  return std::ceil(*blocks * usual_part(of.enough - log_mean_exp(sums))) * block;
}

std::optional<double> Outlook::time_of(const Prospect& of, const Equal& equal,
                                       const Hypotheses::Entry& entry, size_t level,
                                       const ProofGains& expected) const {
  const Components components = entry.components.level(level);
  const std::optional<LevelEdge> edge =
      has_edges(entry.hypothesis) ? of.edges[entry.number][level] : std::nullopt;
  const auto sums = [&](size_t at) { return of.proofs.sums(at, components); };
  // Both edges would say the same.
  const bool one = (!edge || !edge->is_tie()) && std::ranges::equal(sums(0), sums(1));
  std::optional<double> longest = 0;
  for (size_t at = 0; at < (one ? 1 : kEdgesOfTie); ++at)
    if (of.proofs.at(at, components) < of.enough)
      longest = later(longest, time_at(of, equal, samples_[components.first_level()], sums(at),
                                       Components{}.level(level).of(expected[at])));
  if (!longest) return std::nullopt;
  double waiting = 0;
  if (has_edges(entry.hypothesis) && !edge)
    waiting =
        std::max(0.0, kTailSamples / (1 - entry.hypothesis.levels[level].quantile) - equal.usual) /
        equal.beside;
  const double time = waiting + *longest;
  return time > kLongest ? std::nullopt : std::optional(time);
}

std::optional<double> Outlook::look(const Prospect& of,
                                    std::vector<ObjectiveVerdict>& objectives) const {
  Equal equal{.rate = canary_.rate().value_or(0), .beside = baseline_.rate().value_or(0)};
  equal.usual = static_cast<double>(exposures(of.usual, of.main_signal));
  if (of.proofs.empty() || equal.rate < kLeastRate || equal.usual <= 0 ||
      (of.compared && equal.beside < kLeastRate))
    return std::nullopt;
  const double magnified = kMagnified / equal.usual;
  equal.canary = scaled(of.usual, magnified * (of.compared ? equal.rate / equal.beside : 1));
  equal.baseline = scaled(of.usual, magnified);
  std::optional<double> longest = 0;
  for (const Hypotheses::Entry& entry : of.hypotheses.entries()) {
    ObjectiveVerdict& objective = objectives[entry.number];
    if (!objective.needed) continue;
    const ProofGains gains = equal.gains(of, entry);
    objective.expected_seconds = 0;
    for (size_t level = 0; level < entry.components.levels; ++level) {
      LevelVerdict* of_level = objective.levels.empty() ? nullptr : &objective.levels[level];
      if (of_level && !of_level->needed) continue;
      const bool shown = (of_level ? of_level->log_proof : objective.log_proof) >= of.enough;
      const auto time = shown ? std::optional(0.0) : time_of(of, equal, entry, level, gains);
      if (of_level) of_level->expected_seconds = time;
      objective.expected_seconds = later(objective.expected_seconds, time);
    }
    longest = later(longest, objective.expected_seconds);
  }
  return longest;
}

}  // namespace slogate
