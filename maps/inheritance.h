// SPDX-License-Identifier: Apache-2.0
// Takes up what an earlier agent left in the pin directory.
#pragma once

#include <cstdint>

#include "maps/counts.h"
#include "maps/error.h"
#include "maps/pins.h"

namespace slogate {

// How the maps came to be.
enum class Origin {
  made,     // new, all zero
  adopted,  // another agent's of this layout: counting never stopped
  folded,   // another layout's: what it had counted is in the totals
};

struct Inheritance {
  Origin origin = Origin::made;
  Counts carried;              // of another layout
  uint64_t programs_hash = 0;  // of the programs that go on counting, 0 for none
};

// Looks into the directory. It removes other layouts and unfinished sets: it carries their counts
// over, and their programs end.
Result<Inheritance> take_inheritance(const PinDir& pins);

// Describes maps of this layout for the agents to come.
Result<void> write_schema(int fd, uint64_t programs_hash);

}  // namespace slogate
