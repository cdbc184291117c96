// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/aa_test.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace slogate {
namespace {

// The comparison begins anew after so many blocks: what was long ago says little of now.
constexpr size_t kTestBlocks = 600;
// After it accused the baseline of being worse than itself, so many blocks must go by in peace.
constexpr size_t kPeaceBlocks = 120;
// Looking at every one would cost more than the verdict itself.
constexpr size_t kLookBlocks = 8;
// From so many readings of baseline and canary in one rollout on (three minutes) these decide, even
// where the baseline alone is known.
constexpr size_t kEnoughPairs = 720;
// So many readings pass between two measurements of the block length.
constexpr size_t kPlanReadings = 12;

Trial since(const Trial& now, const Trial& before) {
  return {now.events - before.events, now.exposures - before.exposures};
}

}  // namespace

AaTest::AaTest(double alpha)
    : threshold_(std::log(1 / alpha)),
      hypotheses_(default_hypotheses()),
      used_(kTestedQuantiles.size()) {
  begin();
}

void AaTest::begin() {
  std::array<bool, kJudgedSignals> all{};
  all.fill(true);
  const std::vector<double> weights = to_mixture_weights(hypotheses_, all);
  const std::vector<bool> groups = to_groups(hypotheses_);
  forth_.emplace(weights, groups);
  back_.emplace(weights, groups);
  blocks_ = blocks_of_answers_ = 0;
}

void AaTest::add_reading(const std::array<Tally, 2>& halves, const Tally& canary, size_t signal,
                         const Edges& edges, bool silent) {
  if (exposures(canary, signal) > canary_before_) ++canary_readings_;
  canary_before_ = exposures(canary, signal);
  for (size_t level = 0; level < kTestedQuantiles.size(); ++level) {
    if (!edges[level]) continue;
    // Beyond the margin, as in a comparison: where most requests take the same time, an edge at the
    // quantile itself would tell of every change of the CPU's speed.
    const size_t edge = veto_edge(signal, *edges[level]);
    // Where the edge moved there is nothing to take a difference from.
    slow_[level].add({latency_trial(halves[0], signal, edge),
                      latency_trial(halves[1], signal, edge), latency_trial(canary, signal, edge)},
                     silent || used_[level] != edges[level]);
  }
  for (size_t share = 0; share < kJudgedSignals; ++share)
    if (is_of_answers(share) && exposures(halves[0], share) + exposures(halves[1], share) != 0)
      answers_[share].add({ratio_trial(halves[0], share), ratio_trial(halves[1], share),
                           ratio_trial(canary, share)},
                          silent);
  used_ = edges;
  if (silent) return;
  if (++since_plan_ >= kPlanReadings || slow_.front().alone.size() == kHastyHistory) plan();
}

// A baseline of one cgroup is compared with what it did a moment before, and a canary that begins,
// slows down or ends changes the load of the node. So it is compared with itself only while there
// is no canary, and with its canary once that has been there for long: one that is bad has bursts
// of its own, and would have been vetoed by then.
void AaTest::Series::add(const std::array<Trial, 3>& now, bool skip) {
  const std::array<Trial, 3> last = std::exchange(before, now);
  if (skip) return;
  const Trial first = since(now[0], last[0]), second = since(now[1], last[1]);
  const Trial canary = since(now[2], last[2]);
  const auto push = [](History& history, const SplitReading& reading) {
    history.push_back(reading);
    if (history.size() > kMostHistory) history.pop_front();
  };
  const bool one = second.exposures <= 0;
  if (!one || canary.exposures <= 0) push(alone, {first, second});
  if (one && canary.exposures > 0) push(paired, {first, canary});
}

void AaTest::begin_rollout() {
  for (Series& series : slow_) series.paired.clear();
  for (auto& [share, series] : answers_) series.paired.clear();
  canary_readings_ = 0;
}

void AaTest::plan() {
  since_plan_ = 0;
  const size_t alone = slow_.front().alone.size(), paired = slow_.front().paired.size();
  young_ = alone < kLeastHistory && paired < kLeastHistory;
  calm_ = young_ && std::ranges::all_of(slow_, [](const Series& series) {
            return series.alone.size() >= kHastyHistory &&
                   measure_block(std::vector(series.alone.begin(), series.alone.end())) == 1;
          });
  const bool together = paired >= (alone < kLeastHistory ? kLeastHistory : kEnoughPairs);
  const auto plan_all = [together](const auto& all, auto of, auto plan_one) {
    size_t length = 1;
    for (const auto& one : all) {
      const History& history = together ? of(one).paired : of(one).alone;
      length =
          std::max(length, plan_one(std::vector(history.begin(), history.end()),
                                    together ? Comparison::Differences : Comparison::Baseline));
    }
    return length;
  };
  const size_t length = plan_all(
      slow_, [](const Series& one) -> const Series& { return one; }, plan_block);
  block_ = std::min(std::max(length, least_), kLongestBlock);
  block_of_answers_ =
      answers_.empty() ? kFirstBlock
                       : plan_all(
                             answers_, [](const auto& one) -> const Series& { return one.second; },
                             plan_rare_block);
  if (!young_) measured_ = block_ > kFirstBlock;
}

void AaTest::add_block(const std::array<Tally, 2>& halves, const std::vector<LevelEdges>& edges) {
  if (unstable_ > 0) --unstable_;
  pair_up(halves, odd_, edges, SignalGroup::Others);
}

void AaTest::add_block_of_answers(const std::array<Tally, 2>& halves,
                                  const std::vector<LevelEdges>& edges) {
  pair_up(halves, odd_of_answers_, edges, SignalGroup::OfAnswers);
}

void AaTest::pair_up(const std::array<Tally, 2>& halves, std::optional<Tally>& odd,
                     const std::vector<LevelEdges>& edges, SignalGroup part) {
  const auto idle = [](const Tally& half) {
    for (size_t signal = 0; signal < kJudgedSignals; ++signal)
      if (exposures(half, signal) != 0) return false;
    return true;
  };
  if (!idle(halves[0]) && !idle(halves[1])) {
    odd.reset();
    compare(halves[0], halves[1], edges, part);
  } else if (const Tally& only = idle(halves[0]) ? halves[1] : halves[0]; !odd) {
    odd = only;
  } else {
    compare(*odd, only, edges, part);
    odd.reset();
  }
}

bool AaTest::is_accused() const {
  const std::array both = {forth_->log_e(), back_->log_e()};
  return log_mean_exp(both) >= threshold_;
}

void AaTest::compare(const Tally& a, const Tally& b, const std::vector<LevelEdges>& edges,
                     SignalGroup part) {
  if (part != SignalGroup::OfAnswers) firsts_.add_block(a, b);
  const FirstsOfSignals firsts = firsts_.told();
  forth_->add(weigh(hypotheses_, a, &b, edges, firsts, part).against, part);
  back_->add(weigh(hypotheses_, b, &a, edges, exchanged(firsts), part).against, part);
  ++(part == SignalGroup::OfAnswers ? blocks_of_answers_ : blocks_);
  look();
}

void AaTest::look() {
  if ((blocks_ + blocks_of_answers_) % kLookBlocks == 0 && is_accused()) {
    unstable_ = kPeaceBlocks;
    least_ = std::min(2 * std::max(block_, block_of_answers()), kLongestBlock);
    block_ = std::max(block_, least_);
    begin();
  } else if (blocks_ >= kTestBlocks) {
    least_ = std::max<size_t>(1, least_ / 2);
    begin();
  }
}

}  // namespace slogate
