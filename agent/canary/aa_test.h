// SPDX-License-Identifier: Apache-2.0
// The baseline against itself and its canaries: how long blocks must be, and whether the method
// holds here at all.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <map>
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
  // A block of each half is over: of shares of answers, or of all else. `edges` as for
  // hypotheses().
  void add_block(const std::array<Tally, 2>& halves, const std::vector<LevelEdges>& edges);
  void add_block_of_answers(const std::array<Tally, 2>& halves,
                            const std::vector<LevelEdges>& edges);
  // How many readings a block has that begins now, and one of shares of answers.
  [[nodiscard]] size_t block() const { return is_hasty() ? kHastyBlock : block_; }
  [[nodiscard]] size_t block_of_answers() const {
    return young_ ? std::min(block(), std::max(kFirstBlock, least_))
                  : std::max(block_of_answers_, std::min(least_, block_));
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
  using History = std::deque<SplitReading>;
  // How often something happened in each reading, of late.
  struct Series {
    History alone, paired;             // paired with the canary of this rollout
    std::array<Trial, 3> before = {};  // of both halves and the canary, up to the last reading

    // `now`: the same up to this one. Nothing is remembered of it where `skip`.
    void add(const std::array<Trial, 3>& now, bool skip);
  };
  void plan();
  // Whether too little is known to measure blocks, nothing speaks for long ones, and the canary is
  // new.
  [[nodiscard]] bool is_hasty() const {
    return young_ && calm_ && !measured_ && least_ == 1 && canary_readings_ < kHastyReadings;
  }

  double threshold_;
  Hypotheses hypotheses_;
  std::array<Series, kTestedQuantiles.size()> slow_;  // what is beyond the edges
  std::map<size_t, Series> answers_;                  // shares of answers that are in use
  Edges used_;
  bool young_ = true, calm_ = false;  // as of the last plan
  bool measured_ = false;             // when blocks could be measured last, they had to be long
  size_t canary_readings_ = 0;        // in this rollout, those in which it did anything
  uint64_t canary_before_ = 0;        // what it had done until the last
  size_t since_plan_ = 0, block_ = kFirstBlock, block_of_answers_ = kFirstBlock, least_ = 1;
  FirstRequests firsts_;
  std::optional<Tally> odd_, odd_of_answers_;  // the block before, where there is one half
  std::optional<Evidence> forth_, back_;
  size_t blocks_ = 0, blocks_of_answers_ = 0, unstable_ = 0;  // unstable for so many more blocks
};

}  // namespace slogate
