// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/walks.h"

#include <gtest/gtest.h>

namespace slogate {
namespace {

using namespace std::chrono_literals;

TEST(Walks, AllAreDueAtFirstAndOnceAMinute) {
  Walks walks;
  EXPECT_TRUE(walks.is_all_due(0, 1h));
  walks.note_all(0, 1h, 1ms);
  EXPECT_FALSE(walks.is_all_due(0, 1h + 59s));
  EXPECT_TRUE(walks.is_all_due(0, 1h + 60s));
  walks.note_all(0, 1h, 200ms);
  EXPECT_FALSE(walks.is_all_due(0, 1h + 99s));
  EXPECT_TRUE(walks.is_all_due(0, 1h + 100s));
}

TEST(Walks, ASocketWithoutAnEntryIsLookedForAtTheNextTick) {
  Walks walks;
  walks.note_all(3, 1h, 10ms);
  EXPECT_FALSE(walks.is_all_due(3, 1h + 1s));
  EXPECT_TRUE(walks.is_all_due(4, 1h + 1s));
}

// Who uses up the memory of its own socket can raise the number with each byte that it sends.
TEST(Walks, WhoeverHasNoMemoryHasNoMoreThanATwentiethOfTheTime) {
  Walks walks;
  constexpr auto took = 400ms;  // 100,000 sockets and more
  uint32_t unlisted = 0;
  std::chrono::nanoseconds spent{0};
  std::chrono::nanoseconds now = 1h;
  for (int tick = 0; tick < 600; ++tick) {
    if (walks.is_all_due(++unlisted, now)) {
      walks.note_all(unlisted, now, took);
      spent += took;
    }
    now += 1s;
  }
  EXPECT_EQ(spent, 75 * took);  // each eight seconds
}

// What came meanwhile is not forgotten.
TEST(Walks, WhatHadToWaitIsStillDue) {
  Walks walks;
  walks.note_all(0, 1h, 200ms);
  EXPECT_FALSE(walks.is_all_due(1, 1h + 3s));
  EXPECT_TRUE(walks.is_all_due(1, 1h + 4s));
  walks.note_all(1, 1h + 4s, 200ms);
  EXPECT_FALSE(walks.is_all_due(1, 1h + 60s));
}

}  // namespace
}  // namespace slogate
