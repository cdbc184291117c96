// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/traffic_weight.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace slogate {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::infinity();

double at_least_zero(double delta, double free) {
  return std::isfinite(delta) ? std::max(0.0, delta - free) : kUnknown;
}

// How long a share is searched for: 2^-40 of the range is far below any share of interest.
constexpr int kHalvings = 40;

// Where `crossed`, false at `from` and true at `to`, changes.
template <typename F>
double search(double from, double to, const F& crossed) {
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (from + to) / 2;
    (crossed(middle) ? to : from) = middle;
  }
  return to;
}

double stretch(int shift) {
  return std::exp2(shift / 8.0) - 1;
}

}  // namespace

double to_traffic_weight(double latency_delta, double error_delta) {
  const double latency = at_least_zero(latency_delta, kLatencyFree);
  const double error = at_least_zero(error_delta, kErrorFree);
  const double safety = std::max(0.1, std::exp(-10 * latency) * std::max(0.2, 1 - 20 * error));
  return kLeastTrafficWeight + safety * (kMostTrafficWeight - kLeastTrafficWeight);
}

double round_traffic_weight(double weight) {
  return std::floor(weight * 10 + 0.5) / 10;
}

void BoundSums::add(const Tally& canary, const Tally& baseline, size_t latency_signal,
                    const Edges& edges) {
  for (size_t level = 0; level < edges.size(); ++level)
    if (edges[level]) add_latency(canary, baseline, latency_signal, level, *edges[level]);
  const size_t errors = judged(RatioSignal::ConnectionErrors);
  add_errors(ratio_trial(canary, errors), ratio_trial(baseline, errors));
}

void BoundSums::add_latency(const Tally& canary, const Tally& baseline, size_t signal, size_t level,
                            size_t edge) {
  const Trial stable = latency_trial(baseline, signal, edge);
  for (size_t shift = 0; shift < kShifts; ++shift) {
    const int at = static_cast<int>(edge) + kFirstShift + static_cast<int>(shift);
    const Trial trial =
        latency_trial(canary, signal, static_cast<size_t>(std::clamp(at, 0, SLOGATE_EDGES - 1)));
    for (size_t i = 0; i < kLatencyGrid.size(); ++i) {
      slower_[shift][level][i] += std::min(kCap, worse(trial, stable, {}, kLatencyGrid[i]));
      quicker_[shift][level][i] += std::min(kCap, worse(stable, trial, {}, kLatencyGrid[i]));
    }
  }
}

// worse() and tolerable() for stakes that do not depend on the margin, so that the margin can be
// searched for later: log E = sum - margin * stakes, and the other sign.
void BoundSums::add_errors(const Trial& canary, const Trial& baseline) {
  const double m = canary.exposures, l = baseline.exposures;
  if (m <= 0 || l <= 0) return;
  for (size_t i = 0; i < kStakes.size(); ++i) {
    const double s = kStakes[i] * std::min(1.0, l / m);
    more_[i] += canary.events * std::log1p(s) + baseline.events * std::log1p(-s * m / l);
    fewer_[i] += canary.events * std::log1p(-s) + baseline.events * std::log1p(s * m / l);
    stakes_[i] += s * m;
  }
}

Bounds BoundSums::bounds(double alpha) const {
  const double enough = std::log(4 / alpha);
  Bounds found{-kUnknown, kUnknown, -kUnknown, kUnknown};
  for (size_t shift = 0; shift < kShifts; ++shift) {
    std::array<double, kBoundQuantiles.size()> slower{}, quicker{};
    for (size_t level = 0; level < kBoundQuantiles.size(); ++level) {
      slower[level] = log_mean_exp(slower_[shift][level]);
      quicker[level] = log_mean_exp(quicker_[shift][level]);
    }
    const double delta = stretch(kFirstShift + static_cast<int>(shift));
    if (log_mean_exp(slower) >= enough) found.latency_low = delta;
    if (found.latency_high == kUnknown && std::ranges::min(quicker) >= enough)
      found.latency_high = delta;
  }
  const auto mixture = [this](const GridSums& sums, double margin) {
    GridSums values{};
    for (size_t i = 0; i < values.size(); ++i) values[i] = sums[i] + margin * stakes_[i];
    return log_mean_exp(values);
  };
  const auto not_more = [&](double margin) { return mixture(more_, -margin) < enough; };
  const auto not_above = [&](double margin) { return mixture(fewer_, margin) >= enough; };
  if (!not_more(-1)) found.error_low = search(-1, 1, not_more);
  if (not_above(1)) found.error_high = search(-1, 1, not_above);
  return found;
}

double next_traffic_weight(double now, const Bounds& bounds) {
  if (bounds.latency_low > kLatencyBreak || bounds.error_low > kErrorBreak) return 0;
  const auto justified = to_traffic_weight(bounds.latency_high, bounds.error_high);
  const auto or_none = [](double low) { return std::isfinite(low) ? low : 0; };
  const auto not_disproved =
      to_traffic_weight(or_none(bounds.latency_low), or_none(bounds.error_low));
  const double lowest = std::min(justified, now + kTrafficWeightStep);
  return std::clamp(now, lowest, std::max(lowest, not_disproved));
}

}  // namespace slogate
