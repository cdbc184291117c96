// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/sizer.h"

#include <algorithm>
#include <cmath>

namespace slogate {
namespace {

// How much of the growth that was seen is still expected a second later.
constexpr double kGrowthMemory = 0.8;

}  // namespace

// Counts what came since the last look. A burst between two ticks is seen at once, and forgotten
// slowly: where a thousand cgroups came, more may follow.
void Sizer::watch_growth(TickTime now) {
  const size_t used = maps_.slab().used();
  const double passed = seconds(now.monotonic - watched_);
  const double came = used > used_before_ ? static_cast<double>(used - used_before_) : 0;
  if (watched_.count() != 0 && passed > 0) {
    const double remembered = growth_ * std::pow(kGrowthMemory, passed);
    growth_ = std::max(remembered, came / std::max(passed, 0.1));
  }
  watched_ = now.monotonic;
  used_before_ = used;
}

SizingPlan Sizer::plan(TickTime now) {
  SizingInput input{
      .used = used_before_,
      .capacity = maps_.slab().slots() - SLOGATE_FIRST_SLOT,
      .growth = growth_,
      .ceiling = limits_.ceiling,
      .floor = floor_,
      .slack_seconds = slack_since_ ? seconds(now.monotonic - *slack_since_) : 0,
  };
  const SizingPlan plan = plan_size(input);
  // Whether it would shrink if it had been so for long enough.
  input.slack_seconds = kSlackSeconds;
  const bool slack = plan_size(input).capacity < input.capacity;
  if (!slack)
    slack_since_.reset();
  else if (!slack_since_)
    slack_since_ = now.monotonic;
  return plan;
}

Result<void> Sizer::keep_room(TickTime now) {
  watch_growth(now);
  const size_t capacity = maps_.slab().slots() - SLOGATE_FIRST_SLOT;
  const SizingPlan wanted = plan(now);
  reserve_ = wanted.reserve;
  if (wanted.capacity == capacity)
    return maps_.resizer().resize(maps_.slab().slots(), "", now.system);
  const char* reason = capacity < floor_            ? "by hand"
                       : wanted.capacity > capacity ? "free slots ran short"
                                                    : "more than was needed for a while";
  return maps_.resizer().resize(wanted.capacity, reason, now.system);
}

Result<void> Sizer::keep_room_if_short(TickTime now) {
  if (maps_.slab().listed() > reserve_ / 2) return {};
  return keep_room(now);
}

size_t Sizer::possible(size_t slots) const {
  return std::min(slots, limits_.ceiling - SLOGATE_FIRST_SLOT);
}

Result<void> Sizer::resize_slab(size_t slots, TickTime now) {
  floor_ = possible(slots);
  return maps_.resizer().resize(SLOGATE_FIRST_SLOT + std::max(floor_, maps_.slab().used()),
                                "by hand", now.system);
}

std::vector<LeftOut> Sizer::left_out_rates(double passed) {
  std::vector<LeftOut> rates;
  std::unordered_map<uint64_t, uint64_t> latest;
  for (const auto& [cgroup, samples] : maps_.left_out()) {
    const uint64_t before = left_out_before_[cgroup];
    if (samples > before && passed > 0)
      rates.push_back({cgroup, static_cast<double>(samples - before) / passed});
    latest[cgroup] = samples;
  }
  left_out_before_ = std::move(latest);
  return rates;
}

Result<void> Sizer::make_room(std::vector<Tenant> tenants, TickTime now) {
  const double passed = seconds(now.monotonic - made_room_);
  made_room_ = now.monotonic;
  const std::vector<Leaver> leavers =
      choose_leavers(std::move(tenants), plan(now).evict, left_out_rates(passed),
                     static_cast<double>(limits_.grace.count()));
  return maps_.slab().release(leavers);
}

}  // namespace slogate
