// SPDX-License-Identifier: Apache-2.0
// How the weight moves where the traffic follows it: replays of one service's load, split between
// the arms as the judge says.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/replay.h"

namespace slogate {

struct WeightExperiment {
  std::string name;
  double rate = 1000;  // requests a second of both arms together
  support::Survival canary;
  double failing = 0;  // of the canary's answers
  bool kept = false;   // all connections are older than the rollout
  // The canary is as above beyond so many requests a second, and otherwise as its baseline.
  std::optional<double> above = {};
  size_t runs = 0;
};

[[nodiscard]] std::vector<WeightExperiment> weight_experiments(size_t runs);

// Prints a line of JSON.
void report_weight(const WeightExperiment& what, size_t threads);

}  // namespace slogate
