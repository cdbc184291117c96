// SPDX-License-Identifier: Apache-2.0
// Describes pinned maps, so that another version of slogate can read them.
#pragma once

#include <linux/types.h>

#include <optional>
#include <span>

#include "maps/counts.h"
#include "maps/error.h"

namespace slogate {

// The layout this agent was built with.
[[nodiscard]] slogate_schema own_schema(uint64_t programs_hash);

// Whether maps of that layout can be used as they are.
[[nodiscard]] bool is_compatible(const slogate_schema& schema);

// Refuses a schema that cannot be one: no magic, or parts that lie outside a slot.
Result<void> check_schema(const slogate_schema& schema);

// Adds the counts of a slot of another layout, by name; unknown names are left out. Histograms
// go by their edges; a bucket beyond ours goes to our first or last one. Drop reasons are numbers
// of the running kernel and stay where they are. `words` are those of one slot.
void add_foreign(const slogate_schema& schema, std::span<const __u64> words, Counts& to);

}  // namespace slogate
