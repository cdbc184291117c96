// SPDX-License-Identifier: Apache-2.0
#include "maps/sizing.h"

#include <linux/types.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <tuple>

#include "maps/abi.h"

namespace slogate {
namespace {

// What an owner costs besides its slot: one and a half to three elements of the index (a hash
// element of 24 bytes with its head and links is charged about 90), and its place in the ring.
constexpr size_t kBytesPerSlot = sizeof(slogate_slot) + size_t{3} * 90 + 8;

constexpr size_t whole_chunks(size_t slots) {
  return (slots + SLOGATE_CHUNK_SLOTS - 1) / SLOGATE_CHUNK_SLOTS * SLOGATE_CHUNK_SLOTS;
}

}  // namespace

SizingPlan plan_size(const SizingInput& in) {
  SizingPlan plan;
  plan.reserve = std::clamp(static_cast<size_t>(in.growth * kReserveSeconds), kMinReserve,
                            static_cast<size_t>(SLOGATE_FREE_SLOTS / 2));
  const size_t free = in.capacity > in.used ? in.capacity - in.used : 0;
  const size_t wanted = std::min(
      whole_chunks(SLOGATE_FIRST_SLOT + std::max(in.used + plan.reserve, in.floor)), in.ceiling);

  plan.capacity = in.capacity;
  const bool short_of = free < plan.reserve / 2 || in.capacity < in.floor;
  const bool long_too_much =
      free > 2 * plan.reserve + SLOGATE_CHUNK_SLOTS && in.slack_seconds >= kSlackSeconds;
  if (in.capacity > in.ceiling || (short_of && wanted > in.capacity) ||
      (long_too_much && wanted < in.capacity))
    plan.capacity = wanted;
  // An eighth of the place, but no more than what is wanted anyway.
  const size_t least = std::min(plan.reserve / 2, in.ceiling / 8);
  if (in.capacity >= in.ceiling && free < least) plan.evict = least - free;
  return plan;
}

std::vector<Leaver> choose_leavers(std::vector<Tenant> tenants, size_t evict,
                                   std::vector<LeftOut> left_out, double grace_seconds) {
  // The order of the header: gone longest, then idle longest, then slowest.
  const auto rank = [](const Tenant& t) {
    if (t.gone_seconds >= 0) return std::tuple(0, -t.gone_seconds);
    if (t.idle_seconds >= kIdleSeconds) return std::tuple(1, -t.idle_seconds);
    return std::tuple(2, t.rate);
  };
  std::sort(tenants.begin(), tenants.end(),
            [&rank](const Tenant& a, const Tenant& b) { return rank(a) < rank(b); });
  std::ranges::sort(left_out, std::greater<>(), &LeftOut::rate);

  std::vector<Leaver> leavers;
  auto next_left_out = left_out.begin();
  for (const Tenant& tenant : tenants) {
    const auto [group, order] = rank(tenant);
    const bool past_grace = group == 0 && tenant.gone_seconds >= grace_seconds;
    if (past_grace || (group <= 1 && leavers.size() < evict)) {
      leavers.push_back({tenant.slot});
    } else if (group == 2) {
      if (next_left_out == left_out.end() || next_left_out->rate <= 2 * tenant.rate) break;
      leavers.push_back({tenant.slot, next_left_out->cgroup});
      ++next_left_out;
    }
  }
  return leavers;
}

size_t ceiling_slots(double memory_ratio, uint64_t ram_bytes, uint64_t allowed_bytes) {
  const double bytes =
      std::min(memory_ratio * static_cast<double>(ram_bytes), static_cast<double>(allowed_bytes));
  const auto chunks =
      static_cast<size_t>(bytes / static_cast<double>(kBytesPerSlot * SLOGATE_CHUNK_SLOTS));
  return std::clamp<size_t>(chunks, 1, SLOGATE_MAX_CHUNKS) * SLOGATE_CHUNK_SLOTS;
}

size_t index_entries_for(size_t slots) {
  return std::bit_ceil(std::max<size_t>(slots + slots / 2, 1024));
}

}  // namespace slogate
