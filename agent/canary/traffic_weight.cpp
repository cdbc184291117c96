// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/traffic_weight.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace slogate {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::infinity();

double at_least_zero(double delta, double free) {
  return delta < kUnknown ? std::max(0.0, delta - free) : kUnknown;  // NaN is not below either
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

double mixture(std::span<const double> sums, std::span<const double> stakes, double margin) {
  std::array<double, kStakes.size()> values{};
  for (size_t i = 0; i < values.size(); ++i) values[i] = sums[i] + margin * stakes[i];
  return log_mean_exp(values);
}

}  // namespace

double to_traffic_weight(double latency_delta, double error_delta, double least, double most) {
  const double latency = at_least_zero(latency_delta, kLatencyFree);
  const double error = at_least_zero(error_delta, kErrorFree);
  const double safety = std::max(0.1, std::exp(-10 * latency) * std::max(0.2, 1 - 20 * error));
  return least + safety * (most - least);
}

double round_traffic_weight(double weight) {
  return std::floor(weight * 10 + 0.5) / 10;
}

BoundSums::BoundSums(const Slo& slo) {
  for (const Objective& objective : slo.objectives)
    std::visit(
        [this](const auto& one) {
          if (one.max_increase) stated_[judged(one.signal)] = true;
        },
        objective);
  for (size_t i = 0; i < kBoundRatios.size(); ++i)
    shares_[i].stated = stated_[judged(kBoundRatios[i])];
}

void BoundSums::add(const Tally& canary, const Tally& baseline, size_t latency_signal,
                    const Edges& edges, const FirstsOfSignals& firsts) {
  for (size_t level = 0; level < edges.size() && !stated_[latency_signal]; ++level)
    if (edges[level])
      add_latency(canary, baseline, latency_signal, level, *edges[level], firsts[latency_signal]);
  for (size_t i = 0; i < kBoundRatios.size(); ++i) {
    const size_t signal = judged(kBoundRatios[i]);
    shares_[i].add(ratio_trial(canary, signal), ratio_trial(baseline, signal));
  }
}

void BoundSums::add_latency(const Tally& canary, const Tally& baseline, size_t signal, size_t level,
                            size_t edge, const FirstShares& firsts) {
  const auto margin = first_margin(firsts, 1 - kBoundQuantiles[level]);
  const Trial stable = latency_trial(baseline, signal, edge);
  for (size_t shift = 0; shift < kShifts; ++shift) {
    const int at = static_cast<int>(edge) + kFirstShift + static_cast<int>(shift);
    const Trial trial =
        latency_trial(canary, signal, static_cast<size_t>(std::clamp(at, 0, SLOGATE_EDGES - 1)));
    for (size_t i = 0; i < kLatencyGrid.size(); ++i) {
      if (margin)
        slower_[shift][level][i] += std::min(kCap, worse(trial, stable, *margin, kLatencyGrid[i]));
      quicker_[shift][level][i] += std::min(kCap, worse(stable, trial, {}, kLatencyGrid[i]));
    }
  }
}

void BoundSums::Share::add(const Trial& canary, const Trial& baseline) {
  events += canary.events;
  const double m = canary.exposures, l = baseline.exposures;
  if (m <= 0 || l <= 0) return;
  for (size_t i = 0; i < kStakes.size(); ++i) {
    const double s = kStakes[i] * std::min(1.0, l / m);
    more[i] += canary.events * std::log1p(s) + baseline.events * std::log1p(-s * m / l);
    fewer[i] += canary.events * std::log1p(-s) + baseline.events * std::log1p(s * m / l);
    stakes[i] += s * m;
  }
}

double BoundSums::Share::low(double enough) const {
  const auto not_more = [&](double margin) { return mixture(more, stakes, -margin) < enough; };
  return not_more(-1) ? -kUnknown : search(-1, 1, not_more);
}

double BoundSums::Share::high(double enough) const {
  const auto not_above = [&](double margin) { return mixture(fewer, stakes, margin) >= enough; };
  return not_above(1) ? search(-1, 1, not_above) : kUnknown;
}

Bounds BoundSums::bounds(double alpha) const {
  const double enough = std::log(kBounds / alpha);
  Bounds found{-kUnknown, kUnknown, -kUnknown, -kUnknown};
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
  for (const Share& share : shares_) {
    if (!share.has_something_to_say()) continue;
    found.error_low = std::max(found.error_low, share.low(enough));
    found.error_high = std::max(found.error_high, share.high(enough));
  }
  return found;
}

double next_traffic_weight(double now, Standing standing, const Bounds& bounds,
                           const WeightSteps& steps) {
  const double raised = std::min(now + steps.step, steps.most);
  switch (standing) {
    case Standing::Held:
      return now;
    case Standing::Vetoed:
      return 0;
    case Standing::Passed:
      return raised;
    case Standing::Suspected:
    case Standing::Stalled:
      return std::max(std::min(now, steps.from), now / 2);
    case Standing::Open:
      break;
  }
  if (bounds.latency_low > kLatencyBreak || bounds.error_low > kErrorBreak) return 0;
  const auto weight = [&steps](double latency, double error) {
    return to_traffic_weight(latency, error, steps.from, steps.most);
  };
  // What is not bounded justifies nothing, not even the formula's tenth of the way.
  const bool bounded = bounds.latency_high < kUnknown && bounds.error_high < kUnknown;
  const double justified = bounded ? weight(bounds.latency_high, bounds.error_high) : 0;
  const double lowest = std::min(justified, raised);
  return std::clamp(now, lowest, std::max(lowest, weight(bounds.latency_low, bounds.error_low)));
}

void TrafficWeight::note_suspicion(Standing standing, std::chrono::nanoseconds now) {
  if (standing != Standing::Stalled)
    stalled_.reset();
  else if (!stalled_)
    stalled_ = now;
  if (standing == Standing::Suspected) {
    if (!suspicion_) {
      suspicion_ = {.first = now, .last = now};
      blocks_ = 0;
    }
    suspicion_->last = now;
  } else if (suspicion_ && now - suspicion_->last >= steps_.every) {
    suspicion_.reset();
  }
}

bool TrafficWeight::is_due(Standing standing, std::chrono::nanoseconds now) const {
  if (standing == Standing::Vetoed) return true;
  if (standing == Standing::Stalled)  // no block ends in which it answers
    return now - std::max(moved_, *stalled_) >= steps_.every;
  auto since = moved_;
  if (suspicion_)
    since = std::max(since, standing == Standing::Suspected ? suspicion_->first : suspicion_->last);
  if (now - since < steps_.every) return false;
  if (blocks_ < kStepBlocks) return false;
  return standing != Standing::Open || now - looked_ >= steps_.every;
}

void TrafficWeight::update(Standing standing, double alpha, std::chrono::nanoseconds now) {
  note_suspicion(standing, now);
  if (!is_due(standing, now)) return;
  Bounds bounds{};
  if (standing == Standing::Open) {
    bounds = sums_.bounds(alpha);  // some ten microseconds: not with each reading
    looked_ = now;
  }
  const double next = next_traffic_weight(value_, standing, bounds, steps_);
  if (next == value_) return;
  value_ = next;
  moved_ = now;
  blocks_ = 0;
}

}  // namespace slogate
