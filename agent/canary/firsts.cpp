// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/firsts.h"

#include <algorithm>
#include <cmath>

namespace slogate {
namespace {

// What is known fades by half after so many blocks.
constexpr size_t kFadeBlocks = 240;
constexpr double kNoChance = 3, kNoSingleBlock = 2;
// Four blocks that are the same make just twice as much as one.
constexpr double kRounding = 1 - 1e-9;

double part(double of, double all) {
  return all <= 0 ? 0 : std::min(1.0, of / all);
}

}  // namespace

FirstsOfSignals exchanged(const FirstsOfSignals& firsts) {
  FirstsOfSignals others;
  std::ranges::transform(firsts, others.begin(), &FirstShares::exchanged);
  return others;
}

std::optional<Margin> first_margin(const FirstShares& firsts, double share) {
  if (!firsts.differ()) return Margin{};
  // Of that kind of values of which the canary has more.
  const bool more = firsts.canary > firsts.baseline;
  const double c = more ? firsts.canary : 1 - firsts.canary;
  const double b = more ? firsts.baseline : 1 - firsts.baseline;
  const auto allowed = [share](const Margin& margin) {
    return margin.ratio * share + margin.increase;
  };
  Margin margin{(1 - c) / (1 - b), (c - b) / (1 - b)};  // b < c <= 1
  if (const Margin other{b > 0 ? c / b : kMostAllowed, 0};
      b > 0 && allowed(other) < allowed(margin))
    margin = other;
  if (allowed(margin) > kMostAllowed * share) return std::nullopt;
  return margin;
}

void FirstRequests::Sums::add(double of_canary, double values, double of_baseline,
                              double baseline_values_now) {
  canary += of_canary;
  canary_values += values;
  baseline += of_baseline;
  baseline_values += baseline_values_now;
  const double all = of_canary + of_baseline;
  if (all <= 0) return;
  const double split = values / (values + baseline_values_now);
  const double beyond = of_canary - all * split, spread = all * split * (1 - split);
  more += beyond;
  variance += spread;
  scores += beyond / std::sqrt(spread);
  squares += beyond * beyond / spread;
}

void FirstRequests::Sums::halve() {
  for (double* sum : {&canary, &canary_values, &baseline, &baseline_values, &more, &scores})
    *sum /= 2;
  for (double* sum : {&variance, &squares}) *sum /= 4;  // of halves
}

bool FirstRequests::Sums::differ() const {
  return std::abs(more) >= kNoChance * std::sqrt(variance) &&
         std::abs(scores) >= kRounding * kNoSingleBlock * std::sqrt(squares) && variance > 0;
}

void FirstRequests::add_block(const Tally& canary, const Tally& baseline) {
  for (size_t signal = 0; signal < SLOGATE_SIGNALS; ++signal) {
    const auto values = static_cast<double>(exposures(canary, signal));
    const auto others = static_cast<double>(exposures(baseline, signal));
    if (kJudged[signal].connections.empty() || values <= 0 || others <= 0) continue;
    sums_[signal].add(static_cast<double>(canary.connections[signal]), values,
                      static_cast<double>(baseline.connections[signal]), others);
  }
  if (++blocks_ % kFadeBlocks != 0) return;
  for (Sums& sums : sums_) sums.halve();
}

FirstsOfSignals FirstRequests::told() const {
  FirstsOfSignals found{};
  for (size_t signal = 0; signal < SLOGATE_SIGNALS; ++signal) {
    const Sums& sums = sums_[signal];
    if (sums.differ())
      found[signal] = {part(sums.canary, sums.canary_values),
                       part(sums.baseline, sums.baseline_values)};
  }
  return found;
}

}  // namespace slogate
