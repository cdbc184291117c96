// SPDX-License-Identifier: Apache-2.0
#include "agent/block_length.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace slogate {
namespace {

// Fewer comparisons than this say nothing of how much a length varies.
constexpr size_t kLeastPairs = 9;

// Growth by less than this is not told from none: for bursts whose lengths are spread like waiting
// times, dispersion grows by 1.5 from one mean length to two, and by 1.3 from two to four.
constexpr double kGrowth = 1.4;

Trial sum(const Trial& a, const Trial& b) {
  return {a.events + b.events, a.exposures + b.exposures};
}

std::vector<SplitReading> to_blocks(std::span<const SplitReading> history, size_t readings) {
  std::vector<SplitReading> blocks(history.size() / readings);
  for (size_t i = 0; i < blocks.size(); ++i)
    for (const SplitReading& reading : history.subspan(i * readings, readings)) {
      blocks[i].first = sum(blocks[i].first, reading.first);
      blocks[i].second = sum(blocks[i].second, reading.second);
    }
  return blocks;
}

bool has_halves(std::span<const SplitReading> history) {
  return std::ranges::any_of(history,
                             [](const SplitReading& one) { return one.second.exposures > 0; });
}

// Neighbours as halves.
void pair_up(std::vector<SplitReading>& blocks) {
  for (size_t i = 0; i < blocks.size() / 2; ++i)
    blocks[i] = {blocks[2 * i].first, blocks[2 * i + 1].first};
  blocks.resize(blocks.size() / 2);
}

struct Dispersion {
  double factor = 1;
  size_t pairs = 0;
};

// Given how many events there are in all, the first half's are binomial by its share of exposures.
Dispersion measure(std::span<const SplitReading> history, size_t readings) {
  std::vector<SplitReading> blocks = to_blocks(history, readings);
  if (!has_halves(history)) pair_up(blocks);
  double seen = 0, expected = 0;
  size_t pairs = 0;
  for (const auto& [first, second] : blocks) {
    const double all = first.exposures + second.exposures, events = first.events + second.events;
    if (first.exposures <= 0 || second.exposures <= 0 || events <= 0) continue;
    const double share = first.exposures / all;
    seen += std::pow(first.events - events * share, 2);
    expected += events * share * (1 - share);
    ++pairs;
  }
  return {expected > 0 ? seen / expected : 1, pairs};
}

// Five standard errors of the factor where nothing but chance is at work: it is measured every ten
// seconds, at eight lengths. Bursts that matter raise it tenfold.
double chance(size_t pairs) {
  return 5 * std::sqrt(2.0 / static_cast<double>(pairs));
}

}  // namespace

double dispersion(std::span<const SplitReading> history, size_t readings) {
  return measure(history, readings).factor;
}

size_t plan_block(std::span<const SplitReading> history) {
  if (history.size() < kLeastHistory) return kFirstBlock;
  size_t enough = 1;
  double before = std::max(1.0, measure(history, 1).factor);
  for (size_t length = 2; length <= kLongestBlock; length *= 2) {
    const Dispersion now = measure(history, length);
    if (now.pairs < kLeastPairs) break;
    const bool grew = now.factor > std::max(before * kGrowth, 1 + chance(now.pairs));
    if (grew) enough = 2 * length;
    before = std::max(before, now.factor);
  }
  return std::min(enough, kLongestBlock);
}

}  // namespace slogate
