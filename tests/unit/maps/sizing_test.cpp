// SPDX-License-Identifier: Apache-2.0
#include "maps/sizing.h"

#include <gmock/gmock.h>
#include <linux/types.h>

#include "maps/abi.h"

namespace slogate {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr size_t kChunk = SLOGATE_CHUNK_SLOTS;

// Those whose slot goes to whoever comes first.
auto slots_are(auto... slots) {
  return ElementsAre(Leaver{static_cast<size_t>(slots)}...);
}

SizingInput at(size_t used, size_t capacity) {
  return {.used = used, .capacity = capacity, .ceiling = 10'000};
}

TEST(PlanSize, KeepsWhatIsEnough) {
  EXPECT_EQ(plan_size(at(10, 300)).capacity, 300u);
  EXPECT_EQ(plan_size(at(300 - kMinReserve / 2, 300)).capacity, 300u);
}

TEST(PlanSize, GrowsToTheWholeReserveWhenLessThanHalfIsFree) {
  const SizingPlan plan = plan_size(at(90, 100));
  EXPECT_GE(plan.capacity, 90 + kMinReserve);
  EXPECT_LT(plan.capacity, 90 + kMinReserve + 2 * kChunk);
  EXPECT_EQ(plan.capacity % kChunk, 0u);
}

TEST(PlanSize, KeepsMoreInReserveWhileOwnersKeepComing) {
  SizingInput in = at(1000, 1100);
  in.growth = 1000;
  EXPECT_EQ(plan_size(in).reserve, 2000u);
  EXPECT_GE(plan_size(in).capacity, 3000u);
  in.growth = 1e9;
  EXPECT_LE(plan_size(in).reserve, static_cast<size_t>(SLOGATE_FREE_SLOTS));
}

TEST(PlanSize, ShrinksOnlyAfterMuchTooMuchForLong) {
  SizingInput in = at(10, 1000);
  in.slack_seconds = kSlackSeconds - 1;
  EXPECT_EQ(plan_size(in).capacity, 1000u);
  in.slack_seconds = kSlackSeconds;
  const size_t smaller = plan_size(in).capacity;
  EXPECT_LT(smaller, 10 + kMinReserve + 2 * kChunk);
  // What it shrank to is stable: neither growing nor shrinking follows.
  in = at(10, smaller - SLOGATE_FIRST_SLOT);
  in.slack_seconds = 1e6;
  EXPECT_EQ(plan_size(in).capacity, in.capacity);
}

TEST(PlanSize, DoesNotFlapWhenUseMovesByLessThanTheReserve) {
  size_t capacity = plan_size(at(100, 0)).capacity;
  int changes = 0;
  for (int i = 0; i < 1000; ++i) {
    SizingInput in = at(100 + static_cast<size_t>(i) % 20, capacity);
    in.slack_seconds = 1e6;
    const size_t next = plan_size(in).capacity;
    changes += next != capacity ? 1 : 0;
    capacity = next;
  }
  EXPECT_LE(changes, 1);
}

TEST(PlanSize, NeverPassesTheCeilingAndAsksForRoomThere) {
  SizingInput in = at(128, 128);
  in.ceiling = 128;
  const SizingPlan plan = plan_size(in);
  EXPECT_EQ(plan.capacity, 128u);
  EXPECT_EQ(plan.evict, 16u);
  in.used = 100;
  EXPECT_EQ(plan_size(in).evict, 0u);
  in.ceiling = 64;  // it was lowered
  EXPECT_EQ(plan_size(in).capacity, 64u);
}

TEST(PlanSize, HoldsTheFloorThatWasAskedFor) {
  SizingInput in = at(10, 300);
  in.floor = 1000;
  EXPECT_GE(plan_size(in).capacity, 1000u);
  in.capacity = plan_size(in).capacity;
  in.slack_seconds = 1e6;
  EXPECT_EQ(plan_size(in).capacity, in.capacity);
}

TEST(CeilingSlots, IsTheSmallerOfShareAndAllowance) {
  const uint64_t gib = uint64_t{1} << 30;
  const size_t of_16_gib = ceiling_slots(0.0025, 16 * gib);
  EXPECT_GT(of_16_gib, 3000u);
  EXPECT_LT(of_16_gib, 16 * gib * 0.0025 / 13000);
  EXPECT_LT(ceiling_slots(0.0025, 16 * gib, gib / 64), of_16_gib);
  EXPECT_EQ(ceiling_slots(0.0025, 0), kChunk);
  EXPECT_EQ(ceiling_slots(0.5, UINT64_MAX), static_cast<size_t>(SLOGATE_MAX_SLOTS));
}

TEST(ChooseLeavers, OnlyThoseGoneForTheGraceLeaveUnasked) {
  const std::vector<Tenant> tenants = {
      {.slot = 1, .gone_seconds = 61},
      {.slot = 2, .gone_seconds = 59},
      {.slot = 3, .gone_seconds = -1, .idle_seconds = 1e6},
      {.slot = 4, .gone_seconds = -1, .idle_seconds = 0, .rate = 5},
  };
  EXPECT_THAT(choose_leavers(tenants, 0, {}, 60), slots_are(1));
}

TEST(ChooseLeavers, MakesRoomInTheWrittenOrder) {
  const std::vector<Tenant> tenants = {
      {.slot = 1, .gone_seconds = 5},
      {.slot = 2, .gone_seconds = 20},
      {.slot = 3, .gone_seconds = -1, .idle_seconds = 100},
      {.slot = 4, .gone_seconds = -1, .idle_seconds = 300},
      {.slot = 5, .gone_seconds = -1, .idle_seconds = 1, .rate = 1},
  };
  EXPECT_THAT(choose_leavers(tenants, 1, {}, 60), slots_are(2));
  EXPECT_THAT(choose_leavers(tenants, 3, {}, 60), slots_are(2, 1, 4));
  // Who is busy stays, however many are wanted.
  EXPECT_THAT(choose_leavers(tenants, 9, {}, 60), slots_are(2, 1, 4, 3));
}

TEST(ChooseLeavers, TheSlowestGiveWayToMuchBusierOnesOneForOne) {
  const std::vector<Tenant> tenants = {
      {.slot = 1, .rate = 10},
      {.slot = 2, .rate = 1},
      {.slot = 3, .rate = 1000},
  };
  EXPECT_THAT(choose_leavers(tenants, 0, {{70, 3}, {71, 500}}, 60), ElementsAre(Leaver{2, 71}));
  EXPECT_THAT(choose_leavers(tenants, 0, {{70, 300}, {71, 400}, {72, 500}}, 60),
              ElementsAre(Leaver{2, 72}, Leaver{1, 71}));
  EXPECT_THAT(choose_leavers(tenants, 0, {{70, 2}}, 60), IsEmpty());
}

}  // namespace
}  // namespace slogate
