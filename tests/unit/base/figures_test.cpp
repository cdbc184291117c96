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

}  // namespace
}  // namespace slogate
