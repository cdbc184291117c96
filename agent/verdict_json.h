// SPDX-License-Identifier: Apache-2.0
// Verdicts, SLOs and events as JSON; docs/api.md is the contract.
#pragma once

#include <deque>
#include <string>

#include "agent/event.h"
#include "agent/json.h"
#include "agent/verdict.h"

namespace slogate {

[[nodiscard]] Json verdict_json(const Verdict& verdict);
[[nodiscard]] Json slo_json(const SloStatus& status, const Verdict& verdict);
// The answer of the gate: 200 when it is open, else with the member "error", too.
[[nodiscard]] Json gate_json(const Verdict& verdict, bool open);
[[nodiscard]] Json event_json(const Event& event);
// One line for each event after number `last`, which becomes the last of them.
[[nodiscard]] std::string event_lines(const std::deque<Event>& events, uint64_t& last);

// A verdict from what verdict_json() made of it, its components left out. Refuses what has another
// form.
[[nodiscard]] Result<Verdict> parse_verdict(const Json& json);

}  // namespace slogate
