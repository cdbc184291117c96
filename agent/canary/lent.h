// SPDX-License-Identifier: Apache-2.0
// What agents tell each other of one SLO: the baseline's readings, and the evidence on canaries.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/canary/tally.h"

namespace slogate {

// What a judge wants to know of other nodes. Two agents mean the same only where all of it agrees.
struct LentQuestion {
  std::string slo;
  // Everything that decides which requests are in the baseline and when they count: selector, port,
  // container, warm-up, in one text.
  std::string baseline;
  std::string rollout;  // whose evidence is asked for; "" where rollouts have no name of their own

  bool operator==(const LentQuestion&) const = default;
};

// What a lender's baseline did between two of its readings, which come every kReadInterval.
struct LentReading {
  // Counts the readings of this SLO on the lender, from 1. A number that is left out was lost; one
  // that falls is of another agent.
  uint64_t number = 0;
  std::chrono::nanoseconds lasted{0};  // since the reading before, by the lender's clock
  std::array<ArmReading, 2> halves;    // as Observation::baseline
};

// What a node's own canary has shown, for the mean over the nodes of one rollout.
struct LentEvidence {
  std::string rollout;
  double log_e = 0;  // natural, finite
  uint64_t samples = 0;
};

// One answer of a lender.
struct LentAnswer {
  enum class State { Lends, NoSuchSlo, OtherQuestion };
  State state = State::Lends;
  std::vector<LentReading> readings;  // those after the cursor that was asked for, by number
  std::optional<LentEvidence> evidence;
};

}  // namespace slogate
