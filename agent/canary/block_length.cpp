// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/block_length.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace slogate {
namespace {

// Fewer comparisons than this say nothing of how much a length varies.
constexpr size_t kLeastPairs = 8;

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

// Squared differences and what they would be by chance.
class Squares {
 public:
  void add(double difference, double variance) {
    seen_ += difference * difference;
    expected_ += variance;
    ++pairs_;
  }
  [[nodiscard]] Dispersion ratio() const { return {expected_ > 0 ? seen_ / expected_ : 1, pairs_}; }

 private:
  double seen_ = 0, expected_ = 0;
  size_t pairs_ = 0;
};

double events_of(const SplitReading& block) {
  return block.first.events + block.second.events;
}

bool is_idle(const SplitReading& block) {
  return block.first.exposures <= 0 || block.second.exposures <= 0 || events_of(block) <= 0;
}

double share_of_first(const SplitReading& block) {
  return block.first.exposures / (block.first.exposures + block.second.exposures);
}

// Given how many events there are in all, the first's are binomial by its share of exposures.
Dispersion compare_halves(std::span<const SplitReading> blocks) {
  Squares squares;
  for (const SplitReading& block : blocks) {
    if (is_idle(block)) continue;
    const double events = events_of(block), share = share_of_first(block);
    squares.add(block.first.events - events * share, events * share * (1 - share));
  }
  return squares.ratio();
}

// Where the odds of an event to be the first's are the same in two blocks but for the exposures,
// how many of those of one block are is hypergeometric, given all sums of the two blocks.
Dispersion compare_differences(std::span<const SplitReading> blocks) {
  Squares squares;
  for (size_t i = 0; i + 1 < blocks.size(); i += 2) {
    const SplitReading &one = blocks[i], &next = blocks[i + 1];
    if (is_idle(one) || is_idle(next)) continue;
    const double n1 = events_of(one), n2 = events_of(next);
    const double s1 = share_of_first(one), s2 = share_of_first(next);
    const double first = one.first.events + next.first.events;
    const double second = one.second.events + next.second.events;
    if (first <= 0 || second <= 0) continue;
    const double odds = first / (n1 * s1 + n2 * s2) / (second / (n1 * (1 - s1) + n2 * (1 - s2)));
    const double expected = n1 * s1 * odds / (s1 * odds + 1 - s1);
    const double share = first / (first + second);
    squares.add(one.first.events - expected, share * (1 - share) * n1 * n2 / (n1 + n2));
  }
  return squares.ratio();
}

Dispersion measure(std::span<const SplitReading> history, size_t readings, Comparison comparison) {
  std::vector<SplitReading> blocks = to_blocks(history, readings);
  if (comparison == Comparison::Differences) return compare_differences(blocks);
  if (!has_halves(history)) pair_up(blocks);
  return compare_halves(blocks);
}

// Five standard errors of the factor where nothing but chance is at work: it is measured every
// three seconds, at eight lengths. Bursts that matter raise it tenfold.
double chance(size_t pairs) {
  return 5 * std::sqrt(2.0 / static_cast<double>(pairs));
}

}  // namespace

double dispersion(std::span<const SplitReading> history, size_t readings, Comparison comparison) {
  return measure(history, readings, comparison).factor;
}

size_t plan_block(std::span<const SplitReading> history, Comparison comparison) {
  return history.size() < kLeastHistory ? kFirstBlock : measure_block(history, comparison);
}

size_t plan_rare_block(std::span<const SplitReading> history, Comparison comparison) {
  if (history.size() < kLeastHistory) return kFirstBlock;
  size_t run = 0, longest = 0;
  for (const SplitReading& one : history)
    longest = std::max(longest, run = events_of(one) > 0 ? run + 1 : 0);
  if (longest == 0) return 1;
  if (measure(history, kFirstBlock, comparison).pairs >= kLeastPairs)
    return measure_block(history, comparison);
  return std::min(std::max(kFirstBlock, 2 * longest), kLongestBlock);
}

size_t measure_block(std::span<const SplitReading> history, Comparison comparison) {
  size_t enough = 1;
  double before = std::max(1.0, measure(history, 1, comparison).factor);
  for (size_t length = 2; length <= kLongestBlock; length *= 2) {
    const Dispersion now = measure(history, length, comparison);
    if (now.pairs < kLeastPairs) break;
    const bool grew = now.factor > std::max(before * kGrowth, 1 + chance(now.pairs));
    if (grew) enough = 2 * length;
    before = std::max(before, now.factor);
  }
  return std::min(enough, kLongestBlock);
}

}  // namespace slogate
