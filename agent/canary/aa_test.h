// SPDX-License-Identifier: Apache-2.0
// The baseline against itself and its canaries: how long blocks must be, and whether the method
// holds here at all.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>

#include "agent/canary/block_length.h"
#include "agent/canary/hypotheses.h"

namespace slogate {

// Fed with readings and blocks of the baseline's two halves.
class AaTest {
 public:
  // `alpha` of the SLO: what accuses the baseline of being worse than itself at that level would
  // accuse a canary, too.
  explicit AaTest(double alpha);

  // What both arms have done up to now. Without traffic of the baseline (`silent`) a reading
  // teaches nothing.
  void add_reading(const std::array<Tally, 2>& halves, const Tally& canary, size_t signal,
                   const Edges& edges, bool silent = false);
  // What is known of a canary is about another one from now on.
  void begin_rollout();
  // A block of each half is over. `edges` as for hypotheses(). Where short blocks were over before
  // its end, it is of the others.
  void add_block(const std::array<Tally, 2>& halves, const std::vector<LevelEdges>& edges,
                 SignalGroup part = SignalGroup::All);
  // A short one, for shares of answers.
  void add_short_block(const std::array<Tally, 2>& halves, const std::vector<LevelEdges>& edges);
  // How many readings a block has that begins now, and a short one.
  [[nodiscard]] size_t block() const { return is_hasty() ? kHastyBlock : block_; }
  [[nodiscard]] size_t short_block() const {
    return std::min(block(), std::max(kFirstBlock, least_));
  }
  [[nodiscard]] bool quiet() const { return unstable_ == 0; }
  [[nodiscard]] const std::vector<Hypothesis>& hypotheses() const { return hypotheses_.all(); }

  static constexpr std::array<double, 2> kTestedQuantiles = {0.9, 0.99};

 private:
  void begin();
  void pair_up(const std::array<Tally, 2>& halves, std::optional<Tally>& odd,
               const std::vector<LevelEdges>& edges, SignalGroup part);
  void compare(const Tally& a, const Tally& b, const std::vector<LevelEdges>& edges,
               SignalGroup part);
  void look();
  [[nodiscard]] bool is_accused() const;
  void remember(size_t level, const Trial& first, const Trial& second, const Trial& canary);
  void plan();
  // Whether too little is known to measure blocks, nothing speaks for long ones, and the canary is
  // new.
  [[nodiscard]] bool is_hasty() const {
    return young_ && calm_ && !measured_ && least_ == 1 && canary_readings_ < kHastyReadings;
  }

  double threshold_;
  Hypotheses hypotheses_;
  using History = std::deque<SplitReading>;
  std::array<History, kTestedQuantiles.size()> alone_,
      paired_;  // paired with the canary of this rollout
  std::array<std::array<Trial, 3>, kTestedQuantiles.size()> before_{};
  Edges used_;
  bool young_ = true, calm_ = false;  // as of the last plan
  bool measured_ = false;             // when blocks could be measured last, they had to be long
  size_t canary_readings_ = 0;        // in this rollout, those in which it did anything
  uint64_t canary_before_ = 0;        // what it had done until the last
  size_t since_plan_ = 0, block_ = kFirstBlock, least_ = 1;
  FirstRequests firsts_;
  std::optional<Tally> odd_, short_odd_;  // the block before, where there is one half
  std::optional<Evidence> forth_, back_;
  size_t blocks_ = 0, short_blocks_ = 0, unstable_ = 0;  // unstable for so many more blocks
};

}  // namespace slogate
