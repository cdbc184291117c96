// SPDX-License-Identifier: Apache-2.0
// slogate rules: Prometheus rules that compare a canary with its baseline where no node has both.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "tools/cli/fleet_slos.h"
#include "tools/cli/run.h"

namespace slogate::cli {

// Of evaluation. Prometheus forgets after five minutes what a rule said before.
inline constexpr std::chrono::milliseconds kShortestRule{1'000}, kLongestRule{120'000};

// The pooled test's mixture over when a regression began: with the first block, or with any later
// one. Ville's inequality needs weights that add up to at most 1; these are fixed beforehand, add
// up to 1 and never run out. A node's own starts (Evidence) are 12 of its shorter blocks apart and
// fewer, so they cost it less time; here each nat that a late start costs is an interval more.
struct PooledStarts {
  static constexpr double kFirstWeight = 0.5;
  // Half of the rest goes to the first so many blocks after the first one: 7.5 minutes at an
  // interval of 5 s.
  static constexpr double kSpread = 90;
  // In place of kCap. A later start costs at least ln(1 / its weight) = 5.2 nats; with this cap it
  // takes nine bad blocks to make that up and reach a veto at alpha .001, as many as the first
  // start needs. Where good blocks lose nothing, as with errors that hardly ever happen, the later
  // starts add up: then it takes six.
  static constexpr double kLaterCap = 1.5;

  // The weight of all starts after `blocks` >= 1 blocks together.
  [[nodiscard]] static constexpr double left_for_later(double blocks) {
    return (1 - kFirstWeight) * kSpread / (kSpread - 1 + blocks);
  }
};

struct RulesOptions {
  std::string config = "/etc/slogate/slogate.yaml";  // "" for none
  std::string workloads;                             // a file, "-" for standard input, "" for none
  std::chrono::milliseconds interval{30'000};        // of evaluation: one block of evidence
};

// A rule file as Prometheus reads it: {"groups": [...]}. docs/prometheus.md says what its rules do.
[[nodiscard]] Json to_rules(const std::vector<FleetSlo>& slos, std::chrono::milliseconds interval);

// The same as YAML.
[[nodiscard]] std::string render_rules(const Json& rules);

Outcome<Report> show_rules(const RulesOptions& options, const Output& output);

}  // namespace slogate::cli
