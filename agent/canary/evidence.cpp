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

Evidence::Evidence(const std::vector<double>& weights)
    : log_weights_(weights.size()), sums_(weights.size(), 0.0) {
  std::ranges::transform(weights, log_weights_.begin(), [](double w) { return std::log(w); });
  restart();
}

void Evidence::add(std::span<const double> gains) {
  if (blocks_ != 0 && blocks_ % kRestartBlocks == 0) restart();
  for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += std::min(kCap, gains[i]);
  ++blocks_;
}

// Of the many starts of a long rollout those with the least evidence are given up, which can only
// lower the mixture: so what a start weighs never depends on how many are kept.
void Evidence::restart() {
  ++number_;
  const auto k = static_cast<double>(number_);
  const double weight = number_ == 1 ? kFirstWeight : (1 - kFirstWeight) / (k * (k - 1));
  started_ += weight;
  if (starts_.size() == kMostStarts) {
    const auto value = [this](const Start& start) {
      return start.log_weight + log_e_since(start, 0, sums_.size());
    };
    starts_.erase(std::ranges::min_element(starts_, {}, value));
  }
  starts_.push_back({std::log(weight), sums_});
}

double Evidence::log_e_since(const Start& start, size_t first, size_t count) const {
  double largest = kNothing, sum = 0;
  const auto value = [&](size_t i) { return log_weights_[i] + sums_[i] - start.sums[i]; };
  for (size_t i = first; i < first + count; ++i) largest = std::max(largest, value(i));
  if (!std::isfinite(largest)) return largest;
  for (size_t i = first; i < first + count; ++i) sum += std::exp(value(i) - largest);
  return largest + std::log(sum);
}

// Starts that have not been reached yet count as evidence of 1, in proportion to the components.
double Evidence::log_mixture(size_t first, size_t count) const {
  std::vector<double> parts;
  parts.reserve(starts_.size() + 1);
  for (const Start& start : starts_)
    parts.push_back(start.log_weight + log_e_since(start, first, count));
  const double weight = log_sum_exp(std::span(log_weights_).subspan(first, count));
  if (started_ < 1) parts.push_back(weight + std::log(1 - started_));
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
