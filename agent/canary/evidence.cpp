// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/evidence.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace slogate {
namespace {

constexpr double kNothing = -std::numeric_limits<double>::infinity();

}  // namespace

double exceeds(const Trial& canary, double bound, double factor) {
  const double share = std::min(factor * bound, (1 + bound) / 2);
  return canary.events * std::log(share / bound) +
         (canary.exposures - canary.events) * (std::log1p(-share) - std::log1p(-bound));
}

double worse(const Trial& canary, const Trial& baseline, const Margin& margin, double factor) {
  const double m = canary.exposures, l = baseline.exposures;
  if (m <= 0 || l <= 0) return 0;
  const double s = (factor - 1) * l / (factor * margin.ratio * m + l);
  return canary.events * std::log1p(s) + baseline.events * std::log1p(-s * margin.ratio * m / l) -
         s * m * margin.increase;
}

double tolerable(const Trial& canary, const Trial& baseline, const Margin& margin, double stake) {
  const double m = canary.exposures, l = baseline.exposures;
  if (m <= 0 || l <= 0) return 0;
  return canary.events * std::log1p(-stake) +
         baseline.events * std::log1p(stake * margin.ratio * m / l) + stake * m * margin.increase;
}

double log_sum_exp(std::span<const double> values) {
  double largest = kNothing;
  for (const double value : values) largest = std::max(largest, value);
  if (!std::isfinite(largest)) return largest;
  double sum = 0;
  for (const double value : values) sum += std::exp(value - largest);
  return largest + std::log(sum);
}

double log_mean_exp(std::span<const double> values) {
  return log_sum_exp(values) - std::log(static_cast<double>(values.size()));
}

Evidence::Evidence(const std::vector<double>& weights, const std::vector<bool>& of_answers)
    : log_weights_(weights.size()), sums_(weights.size(), 0.0) {
  std::ranges::transform(weights, log_weights_.begin(), [](double w) { return std::log(w); });
  for (size_t i = 0; i < weights.size(); ++i)
    groups_[i < of_answers.size() && of_answers[i]].components.push_back(i);
  for (Group& group : groups_) restart(group);
}

void Evidence::add(std::span<const double> gains, SignalGroup part) {
  if (part != SignalGroup::OfAnswers) add(gains, groups_[false]);
  if (part != SignalGroup::Others) add(gains, groups_[true]);
}

void Evidence::add(std::span<const double> gains, Group& group) {
  if (group.blocks != 0 && group.blocks % kRestartBlocks == 0) restart(group);
  for (const size_t i : group.components) sums_[i] += std::min(kCap, gains[i]);
  ++group.blocks;
}

// Of the many starts of a long rollout those with the least evidence are given up, which can only
// lower the mixture: so what a start weighs never depends on how many are kept.
void Evidence::restart(Group& group) {
  ++group.number;
  const auto k = static_cast<double>(group.number);
  const double weight = group.number == 1 ? kFirstWeight : (1 - kFirstWeight) / (k * (k - 1));
  group.started += weight;
  if (group.starts.size() == kMostStarts) {
    const auto value = [&, all = Range{group, 0, group.components.size()}](const Start& start) {
      return start.log_weight + log_e_since(start, all);
    };
    group.starts.erase(std::ranges::min_element(group.starts, {}, value));
  }
  Start& start = group.starts.emplace_back(std::log(weight));
  for (const size_t i : group.components) start.sums.push_back(sums_[i]);
}

Evidence::Range Evidence::in(const Group& group, size_t first, size_t count) {
  const auto place = [&all = group.components](size_t component) {
    return static_cast<size_t>(std::ranges::lower_bound(all, component) - all.begin());
  };
  return {group, place(first), place(first + count)};
}

double Evidence::log_weight(const Range& of) const {
  std::vector<double> values;
  for (size_t i = of.first; i < of.last; ++i)
    values.push_back(log_weights_[of.group.components[i]]);
  return log_sum_exp(values);
}

double Evidence::log_e_since(const Start& start, const Range& of) const {
  double largest = kNothing, sum = 0;
  const auto value = [&](size_t i) {
    const size_t component = of.group.components[i];
    return log_weights_[component] + sums_[component] - start.sums[i];
  };
  for (size_t i = of.first; i < of.last; ++i) largest = std::max(largest, value(i));
  if (!std::isfinite(largest)) return largest;
  for (size_t i = of.first; i < of.last; ++i) sum += std::exp(value(i) - largest);
  return largest + std::log(sum);
}

// Starts that have not been reached yet count as evidence of 1, in proportion to the components.
double Evidence::log_mixture(size_t first, size_t count) const {
  std::vector<double> parts;
  parts.reserve(groups_.size() * (kMostStarts + 1));
  for (const Group& group : groups_) {
    const Range range = in(group, first, count);
    if (range.first == range.last) continue;
    for (const Start& start : group.starts)
      parts.push_back(start.log_weight + log_e_since(start, range));
    if (group.started < 1) parts.push_back(log_weight(range) + std::log(1 - group.started));
  }
  return log_sum_exp(parts);
}

double Evidence::log_e(size_t first, size_t count) const {
  return log_mixture(first, count) - log_sum_exp(std::span(log_weights_).subspan(first, count));
}

double Evidence::log_e() const {
  const double unused = 1 - std::exp(log_sum_exp(log_weights_));
  const std::array parts = {log_mixture(0, sums_.size()), unused > 0 ? std::log(unused) : kNothing};
  return log_sum_exp(parts);
}

}  // namespace slogate
