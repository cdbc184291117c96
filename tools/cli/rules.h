// SPDX-License-Identifier: Apache-2.0
// slogate rules: Prometheus rules that compare a canary with its baseline where no node has both.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "agent/slo.h"
#include "tools/cli/run.h"

namespace slogate::cli {

// Of evaluation. Prometheus forgets after five minutes what a rule said before.
inline constexpr std::chrono::milliseconds kShortestRule{1'000}, kLongestRule{120'000};

struct RulesOptions {
  std::string config = "/etc/slogate/slogate.yaml";
  std::chrono::milliseconds interval{30'000};  // of evaluation: one block of evidence
};

// A rule file as Prometheus reads it: {"groups": [...]}. docs/prometheus.md says what its rules do.
[[nodiscard]] Json to_rules(const std::vector<Slo>& slos, std::chrono::milliseconds interval);

// The same as YAML.
[[nodiscard]] std::string render_rules(const Json& rules);

Outcome<Report> show_rules(const RulesOptions& options, const Output& output);

}  // namespace slogate::cli
