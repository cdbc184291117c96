// SPDX-License-Identifier: Apache-2.0
// What rollout controllers are told: they ask from another node, over TCP, and each reads statuses
// in its own way. docs/api.md is the contract.
#pragma once

#include <optional>
#include <string_view>

#include "agent/http/http_message.h"
#include "agent/snapshot.h"

namespace slogate {

// The verdict for whoever can do nothing with "not found": Argo Rollouts counts every status but
// 2xx as an error and aborts after five. So an SLO that this node does not know holds, and with a
// `revision` so does a rollout of another one, whose evidence is about another version.
[[nodiscard]] Verdict verdict_for_controller(const Snapshot& snapshot, std::string_view slo,
                                             std::optional<std::string_view> revision);

// A webhook of Flagger: `hook` is its type, `body` what Flagger posts. 404 for a type there is not.
// `rollback` reads a 2xx as "roll back now", so it gets one for a veto and for nothing else.
[[nodiscard]] HttpResponse answer_flagger(std::string_view hook, std::string_view body,
                                          const Snapshot& snapshot);

}  // namespace slogate
