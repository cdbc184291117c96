// SPDX-License-Identifier: Apache-2.0
#include "maps/count_row.h"

#include <gtest/gtest.h>

#include <array>

namespace slogate {
namespace {

using Row = CountRow<40>;

TEST(CountRow, AssignedNumbersAreThere) {
  Row row;
  row.assign(8, std::array<uint64_t, 4>{1, 2, 3, 4});
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(std::as_const(row)[8 + i], i + 1);
  EXPECT_EQ(row.total(), 10u);
}

TEST(CountRow, ZerosAtTheEndsTakeNoRoom) {
  Row row;
  row.assign(8, std::array<uint64_t, 8>{0, 0, 5, 0, 6, 0, 0, 0});
  EXPECT_EQ(row.first(), 10u);
  EXPECT_EQ(row.kept().size(), 3u);
  row.assign(0, std::array<uint64_t, 40>{});
  EXPECT_TRUE(row.is_zero());
}

TEST(CountRow, NothingBesideTheAssignedNumbersChanges) {
  Row row;
  row[4] = 7;
  row[39] = 9;
  row.assign(0, std::array<uint64_t, 8>{0, 1, 0, 0, 8, 0, 0, 0});
  row.assign(16, std::array<uint64_t, 8>{});
  EXPECT_EQ(std::as_const(row)[1], 1u);
  EXPECT_EQ(std::as_const(row)[4], 8u);
  EXPECT_EQ(std::as_const(row)[39], 9u);
  EXPECT_EQ(row.total(), 18u);
}

TEST(CountRow, AnAssignedZeroTakesTheOldNumbersPlace) {
  Row row;
  row[2] = 1;
  row[3] = 1;
  row.assign(0, std::array<uint64_t, 3>{});
  EXPECT_EQ(std::as_const(row)[2], 0u);
  EXPECT_EQ(row.total(), 1u);
}

}  // namespace
}  // namespace slogate
