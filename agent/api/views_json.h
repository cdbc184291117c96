// SPDX-License-Identifier: Apache-2.0
// The parts of a snapshot as JSON; docs/api.md is the contract.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "agent/base/json.h"
#include "agent/snapshot.h"
#include "maps/contents.h"

namespace slogate {

[[nodiscard]] Json status_json(const Snapshot& snapshot);

// `drop_reasons` as in Snapshot.
[[nodiscard]] Json cgroup_json(const Workload& workload,
                               const std::vector<std::string>& drop_reasons);

// Every bucket of every signal of class `service`.
[[nodiscard]] Json histograms_json(const Workload& workload);

[[nodiscard]] Json map_json(const MapStatus& map, const std::vector<Resize>& resizes);
[[nodiscard]] Json contents_json(const std::string& map, const MapContents& contents);
[[nodiscard]] Json probe_json(const ProbeStatus& probe);

[[nodiscard]] Json slo_json(const SloStatus& status, const Verdict& verdict);
// How the breaker of an SLO stands; null where it has none. `breakers` may be null.
[[nodiscard]] Json breaker_json(const Breakers* breakers, std::string_view slo);
// The answer of the gate: 200 when it is open, else with the member "error", too.
[[nodiscard]] Json gate_json(const Verdict& verdict, bool open);
[[nodiscard]] Json event_json(const Event& event);
// One line for each event after number `last`, which becomes the last of them.
[[nodiscard]] std::string event_lines(const std::deque<Event>& events, uint64_t& last);

}  // namespace slogate
