// SPDX-License-Identifier: Apache-2.0
#include "maps/integer.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace slogate {
namespace {

TEST(Integer, IsTheWholeTextAndInItsRange) {
  EXPECT_EQ(parse_integer<uint16_t>("65535"), 65535);
  EXPECT_EQ(parse_integer<uint16_t>("007"), 7);
  EXPECT_EQ(parse_integer<int64_t>("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(parse_integer<uint64_t>("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(parse_integer<uint64_t>("fF", 0, UINT64_MAX, 16), 255u);
  for (const char* text : {"", " 1", "1 ", "+1", "-1", "1.0", "1e3", "0x1", "65536", "a", "1a"})
    EXPECT_EQ(parse_integer<uint16_t>(text), std::nullopt) << text;
  EXPECT_EQ(parse_integer<int>("3", 3, 5), 3);
  EXPECT_EQ(parse_integer<int>("5", 3, 5), 5);
  EXPECT_EQ(parse_integer<int>("2", 3, 5), std::nullopt);
  EXPECT_EQ(parse_integer<int>("6", 3, 5), std::nullopt);
}

TEST(Integer, MayBeFollowedBySomething) {
  EXPECT_EQ(leading_digits("12-amd64"), "12");
  EXPECT_EQ(leading_digits("12"), "12");
  EXPECT_EQ(leading_digits("-1"), "");
  EXPECT_EQ(leading_digits(""), "");
}

}  // namespace
}  // namespace slogate
