// SPDX-License-Identifier: Apache-2.0
#include "agent/base/figures.h"

#include <gtest/gtest.h>

#include "agent/base/units.h"

namespace slogate {
namespace {

TEST(Figures, ADurationIsTheSameInEachForm) {
  struct Row {
    double seconds;
    const char *sentence, *table, *configured;
  };
  const Row rows[] = {{953e-9, "0.95 us", "953 ns", "0.953us"},
                      {9.94e-6, "9.9 us", "9.9 us", "9.94us"},
                      {9.96e-6, "10 us", "10 us", "9.96us"},
                      {122.07e-6, "122 us", "122 us", "122us"},
                      {999.4e-6, "999 us", "999 us", "999us"},
                      {999.6e-6, "1 ms", "1.0 ms", "1ms"},
                      {15e-3, "15 ms", "15 ms", "15ms"},
                      {1.5, "1.5 s", "1.5 s", "1.5s"},
                      {64, "64 s", "64 s", "64s"},
                      {119.4, "119 s", "119 s", "119s"},
                      {150, "150 s", "2.5 min", "150s"},
                      {7200, "7200 s", "2.0 h", "7200s"}};
  for (const Row& row : rows) {
    EXPECT_EQ(duration_text(row.seconds), row.sentence);
    EXPECT_EQ(duration_text(row.seconds, kInTable), row.table);
    EXPECT_EQ(duration_text(row.seconds, kAsConfigured), row.configured);
    EXPECT_TRUE(parse_duration(row.configured)) << row.configured;
  }
}

TEST(Figures, ATimeToWaitIsToldAsWellAsItIsKnown) {
  EXPECT_EQ(about_text(0), "less than 10 s");
  EXPECT_EQ(about_text(37), "about 40 s");
  EXPECT_EQ(about_text(56), "about 1 min");
  EXPECT_EQ(about_text(89), "about 1 min");
  EXPECT_EQ(about_text(250), "about 4 min");
  EXPECT_EQ(about_text(600), "about 10 min");
  EXPECT_EQ(about_text(3100), "about 50 min");
  EXPECT_EQ(about_text(3 * 3600), "about 3 h");
  EXPECT_EQ(about_text(3.2 * 86'400), "about 3 days");
}

TEST(Figures, RatesHaveTwoDigits) {
  EXPECT_EQ(rate_text(0.2512), "0.25");
  EXPECT_EQ(rate_text(4), "4");
  EXPECT_EQ(rate_text(18.3), "18");
  EXPECT_EQ(rate_text(1234.5), "1,200");
}

}  // namespace
}  // namespace slogate
