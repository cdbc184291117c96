// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/lender.h"

#include <algorithm>

namespace slogate {

LenderState Lender::state(std::chrono::nanoseconds now) const {
  if (!judge_) return refused_;
  return is_silent(now) ? LenderState::Silent : LenderState::Lends;
}

bool Lender::continues(const std::vector<LentReading>& readings) const {
  uint64_t expected = number_;
  return judge_ && std::ranges::all_of(readings, [&](const LentReading& reading) {
           return reading.number == ++expected;
         });
}

Lender::Heard Lender::hear(LentAnswer answer, const std::string& rollout, TickTime now) {
  if (answer.state != LentAnswer::State::Lends) {
    refused_ = answer.state == LentAnswer::State::NoSuchSlo ? LenderState::NoSuchSlo
                                                            : LenderState::OtherQuestion;
    return Heard::Refused;
  }
  refused_ = LenderState::Asked;
  if (answer.readings.empty()) return Heard::Nothing;
  const bool next = continues(answer.readings);
  if (next)
    for (const LentReading& reading : answer.readings)
      judge_->add_baseline(reading.halves, now.monotonic);
  else
    learn(answer.readings, rollout, now);
  number_ = answer.readings.back().number;
  heard_ = now.monotonic;
  for (size_t half = 0; half < 2; ++half) {
    standing_[half].cgroups = answer.readings.back().halves[half].cgroups;
    standing_[half].warming = answer.readings.back().halves[half].warming;
  }
  return next ? Heard::Next : Heard::Anew;
}

// What happened before the canary was compared with it may choose edges and bets, and never counts
// as samples: the canary does nothing meanwhile. Its times are the asker's, as far back as the
// readings lasted.
void Lender::learn(const std::vector<LentReading>& readings, const std::string& rollout,
                   TickTime now) {
  TickTime then = now;
  for (const LentReading& reading : readings) then.monotonic -= reading.lasted;
  if (!judge_)
    judge_ = std::make_unique<Judge>(slo_, rollout, then, Beside::OtherNode);
  else
    judge_->reset(rollout, then);
  judge_->set_looks_ahead(false);
  for (const LentReading& reading : readings) {
    then.monotonic += reading.lasted;
    judge_->take({.now = then, .canary = {}, .baseline = reading.halves});
  }
  judge_->reset(rollout, now);  // the block under way
  joined_ = now.monotonic;
  counted_ = 0;
}

void Lender::observe(const Observation& canary, double part) {
  judge_->set_share(part);
  Observation seen = canary;
  seen.baseline = standing_;
  judge_->observe(seen);
}

void Lender::begin(const std::string& rollout, size_t member, TickTime now) {
  judge_->reset(rollout, now);
  member_ = member;
  joined_ = now.monotonic;
  counted_ = 0;
}

void Lender::set_pass_within(std::chrono::nanoseconds pass_within) {
  slo_.pass_within = pass_within;
  if (judge_) judge_->set_pass_within(pass_within);
}

void Lender::set_weight_steps(const WeightSteps& steps) {
  slo_.weight = steps;
  if (judge_) judge_->set_weight_steps(steps);
}

}  // namespace slogate
