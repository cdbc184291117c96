// SPDX-License-Identifier: Apache-2.0
// A node that lends its baseline, and how the canary stands beside that alone.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <string>

#include "agent/canary/judge.h"
#include "agent/canary/lent.h"

namespace slogate {

// Without a reading for this long a lender is silent, and decides nothing; for this long it is
// gone, whoever asks it has noticed or not.
inline constexpr std::chrono::seconds kLenderSilent{3}, kLenderGone{10};

class Lender {
 public:
  Lender(const Slo& slo, TickTime asked) : slo_(slo), asked_(asked.monotonic) {}

  // What an answer did to what is known of its baseline.
  enum class Heard {
    Nothing,  // no readings
    Next,     // readings that follow those before
    Anew,     // the first readings, or some were lost: what is compared begins here
    Refused,  // it does not lend, any more
  };
  Heard hear(LentAnswer answer, const std::string& rollout, TickTime now);
  // One reading of the canary later. `part` is what its evidence may spend of alpha.
  void observe(const Observation& canary, double part);

  // A new rollout of the canary: no evidence; what is known of the baseline stays.
  void begin(const std::string& rollout, size_t member, TickTime now);
  void set_member(size_t member) { member_ = member; }
  void set_pass_within(std::chrono::nanoseconds pass_within);
  void set_weight_steps(const WeightSteps& steps);

  // Null before its first readings.
  [[nodiscard]] Judge* judge() const { return judge_.get(); }
  [[nodiscard]] size_t member() const { return member_; }
  [[nodiscard]] bool is_silent(std::chrono::nanoseconds now) const {
    return judge_ && now - heard_ > kLenderSilent;
  }
  [[nodiscard]] bool is_gone(std::chrono::nanoseconds now) const {
    return judge_ && now - heard_ > kLenderGone;
  }
  // What it lent is not looked at any more.
  void forget() { judge_.reset(); }
  // Since when it is compared with the canary.
  [[nodiscard]] std::chrono::nanoseconds joined() const { return joined_; }
  [[nodiscard]] LenderState state(std::chrono::nanoseconds now) const;
  // Whether there was another block since the last call in which both arms answered.
  [[nodiscard]] bool has_new_block() const { return judge_->answered_blocks() > counted_; }
  void count_blocks() { counted_ = judge_->answered_blocks(); }

 private:
  void learn(const std::vector<LentReading>& readings, const std::string& rollout, TickTime now);
  [[nodiscard]] bool continues(const std::vector<LentReading>& readings) const;

  Slo slo_;
  std::chrono::nanoseconds asked_, heard_{0}, joined_{0};
  LenderState refused_ = LenderState::Asked;  // what it last said, unless it lends
  std::unique_ptr<Judge> judge_;
  size_t member_ = 0;                   // in the order in which they came to the rollout, from 1
  uint64_t number_ = 0;                 // of its last reading
  std::array<ArmReading, 2> standing_;  // who is in its halves, and nothing of what they did
  size_t counted_ = 0;
};

}  // namespace slogate
