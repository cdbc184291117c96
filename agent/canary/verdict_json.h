// SPDX-License-Identifier: Apache-2.0
// Verdicts as JSON, for the API and the state directory; docs/api.md is the contract.
#pragma once

#include "agent/base/json.h"
#include "agent/canary/verdict.h"

namespace slogate {

[[nodiscard]] Json verdict_json(const Verdict& verdict);

// A verdict from what verdict_json() made of it, its components left out. Refuses what has another
// form.
[[nodiscard]] Result<Verdict> parse_verdict(const Json& json);

}  // namespace slogate
