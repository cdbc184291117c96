// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <unordered_map>
#include <vector>

#include "agent/base/tick_time.h"
#include "maps/maps.h"

namespace slogate {

// How far the maps may go.
struct SizeLimits {
  size_t ceiling = 0;             // slots; see ceiling_slots()
  std::chrono::seconds grace{0};  // how long the counts of a removed cgroup stay to be seen
};

// Keeps the maps as large as they need to be. All decisions are those of maps/sizing.h; here is
// what they need to be remembered from tick to tick.
class Sizer {
 public:
  explicit Sizer(Maps& maps) : maps_(maps) {}

  // Before anything else.
  void set_limits(const SizeLimits& limits) { limits_ = limits; }

  // Grows and shrinks; looks at every slot. Each tick.
  Result<void> keep_room(TickTime now);
  // The same where new owners have used up half of what was kept free for them; looks at two words.
  // Whenever one has been announced.
  Result<void> keep_room_if_short(TickTime now);

  // Takes their slots away from those whose time has come. Once a tick.
  Result<void> make_room(std::vector<Tenant> tenants, TickTime now);

  // By hand: the slab keeps at least so many slots from now on, 0 for as few as it needs.
  Result<void> resize_slab(size_t slots, TickTime now);
  // How many of `slots` the ceiling allows.
  [[nodiscard]] size_t possible(size_t slots) const;

 private:
  SizingPlan plan(TickTime now);
  void watch_growth(TickTime now);
  std::vector<LeftOut> left_out_rates(double seconds);

  Maps& maps_;
  SizeLimits limits_;
  size_t floor_ = 0;
  size_t used_before_ = 0, reserve_ = 0;
  double growth_ = 0;  // new owners per second, falling slowly
  std::chrono::nanoseconds watched_{0}, made_room_{0};
  std::optional<std::chrono::nanoseconds> slack_since_;
  std::unordered_map<uint64_t, uint64_t> left_out_before_;
};

}  // namespace slogate
