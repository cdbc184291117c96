// SPDX-License-Identifier: Apache-2.0
// From verdicts, the configuration and what is known of the cluster to what the breaker is asked
// for: a pure function.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/canary/verdict.h"
#include "agent/enforce/breaker.h"
#include "agent/measure/workload.h"

namespace slogate {

// Whether the pod's annotation lets its connections be refused.
[[nodiscard]] bool may_be_refused(const Pod& pod);

// Whether a veto is one that an SLO with these terms opens the breaker for.
[[nodiscard]] std::string why_not_opened_by(const Verdict& veto, const EnforceTerms& terms);

// What the API server told stays in force for so long while it is away.
inline constexpr std::chrono::seconds kClusterTrust{60};

// Everything that the wishes follow from.
struct BreakerView {
  const EnforceConfig& config;
  const Verdicts& verdicts;
  const std::vector<Workload>& workloads;  // sorted by path
  // SLO and rollout of vetoes that an agent before this one made.
  const std::set<std::pair<std::string, std::string>>& restored;
  bool on_kubernetes = false;
  bool heard = false;                 // the API server has told what pods there are
  std::set<std::string> away = {};    // uids of pods that are to be turned away
  std::set<std::string> silent = {};  // SLOs whose baseline had no traffic of late
  // Why what the API server has told may be out of date, "" while it is not, and for how long.
  std::string trouble = {};
  std::chrono::nanoseconds trouble_for{0};
};

// One for each SLO that enforces.
[[nodiscard]] std::vector<BreakerWish> breaker_wishes(const BreakerView& view);

// What who wrote an SLO should know of its breaker; "" for nothing. `problem`: why this agent has
// none.
[[nodiscard]] std::string enforce_note(const Slo& slo, const EnforceConfig& config,
                                       bool on_kubernetes, std::string_view problem = {});

}  // namespace slogate
