// SPDX-License-Identifier: Apache-2.0
// How large the slab should be: a pure function, so that every case can be written down as a test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace slogate {

// All sizes are in slots.
struct SizingInput {
  size_t used = 0;
  size_t capacity = 0;
  double growth = 0;         // new owners per second, lately
  size_t ceiling = 0;        // what the memory allows; see ceiling_slots()
  size_t floor = 0;          // asked for by hand; 0 for nothing
  double slack_seconds = 0;  // for how long there has been much more than needed
};

struct SizingPlan {
  size_t capacity = 0;  // the aim: growing takes effect at once, shrinking as slots fall free
  size_t reserve = 0;   // free slots that are wanted for the next owners
  size_t evict = 0;     // at the ceiling: owners that must go to have any reserve at all
};

// Free slots that are kept ready even where nothing happens, 2.6 MB: a burst of a thousand cgroups
// a second needs them until an agent on a busy node gets the CPU and has made more.
inline constexpr size_t kMinReserve = 192;
// While new owners come, slots for this many seconds of them are kept ready.
inline constexpr double kReserveSeconds = 2;
// Memory is given back when it has not been needed for so long.
inline constexpr double kSlackSeconds = 30;

// Grows when less than half of the reserve is free, to the whole reserve; shrinks when more than
// twice the reserve has been free for kSlackSeconds. Between the two nothing moves.
[[nodiscard]] SizingPlan plan_size(const SizingInput& input);

// Who holds a slot, as far as giving it up is concerned.
struct Tenant {
  size_t slot = 0;
  double gone_seconds = -1;  // since its cgroup was removed; negative while it is there
  double idle_seconds = 0;   // since anything was counted
  double rate = 0;           // samples per second, lately
};

// A cgroup whose samples find no slot.
struct LeftOut {
  uint64_t cgroup = 0;
  double rate = 0;  // samples per second, lately
};

// A slot that is taken away, and who gets it: 0 for whoever comes first.
struct Leaver {
  size_t slot = 0;
  uint64_t heir = 0;
  bool operator==(const Leaver&) const = default;
};

// An owner that did nothing for so long may be asked to make room.
inline constexpr double kIdleSeconds = 10;

// Which slots to take away, in this order:
//   1. cgroups that have been gone for at least `grace_seconds`: always, so that one more scrape
//      can see them and their memory then serves others;
//   and to make room for `evict` others, at the ceiling,
//   2. cgroups that are gone, those that went first before the rest;
//   3. those that were idle for kIdleSeconds, the longest before the rest;
//   and last, one for one,
//   4. the slowest, where a cgroup that has no slot is more than twice as busy: it inherits the
//      slot, which others would take before it comes again.
// The result has no slot twice.
[[nodiscard]] std::vector<Leaver> choose_leavers(std::vector<Tenant> tenants, size_t evict,
                                                 std::vector<LeftOut> left_out,
                                                 double grace_seconds);

// The ceiling that `memory_ratio` of `ram_bytes` pays for, but never more than `allowed_bytes` (the
// memory limit of the agent's cgroup less a reserve); at least one chunk.
[[nodiscard]] size_t ceiling_slots(double memory_ratio, uint64_t ram_bytes,
                                   uint64_t allowed_bytes = UINT64_MAX);

// Entries of the index for so many slots: a power of two, at most two thirds full and never so few
// that the first burst has to wait for a larger one.
[[nodiscard]] size_t index_entries_for(size_t slots);

}  // namespace slogate
