// SPDX-License-Identifier: Apache-2.0
// Which pods of a vetoed revision are turned away, so that a veto never takes a Deployment below
// what it says it needs. Each agent decides alone about the pods of its own node, and all of them
// from the same list in the same order, so they agree without a word to each other.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "agent/kubernetes/cluster.h"

namespace slogate {

// Uids of those to turn away; the others are spared.
//
// The oldest that can serve are spared, as many as the other revisions lack: `others_available` of
// them serve already. Whoever cannot serve is turned away in any case: that takes nothing from
// anybody. Without a capacity the newest alone of those that can serve is turned away. Pods of the
// same second, in which the API counts, go by uid.
[[nodiscard]] std::set<std::string> turned_away(RevisionPods pods, uint64_t others_available,
                                                const std::optional<Capacity>& capacity);

}  // namespace slogate
