// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/text.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tools/cli/table.h"
#include "tools/cli/units.h"

namespace slogate::cli {
namespace {

TEST(CliUnits, Durations) {
  const std::pair<double, const char*> rows[] = {
      {0, "0 s"},           {953e-9, "953 ns"}, {1.8e-3, "1.8 ms"}, {12.4e-6, "12 us"},
      {999.6e-6, "1.0 ms"}, {0.9999, "1.0 s"},  {64, "64 s"},       {119, "119 s"},
      {180, "3.0 min"},     {7200, "2.0 h"},    {1e300, nullptr},   {-1, nullptr}};
  for (const auto& [seconds, text] : rows) {
    if (text != nullptr)
      EXPECT_EQ(to_duration(seconds), text);
    else
      EXPECT_FALSE(to_duration(seconds).empty());
  }
  EXPECT_EQ(to_duration(std::nullopt), "-");
  EXPECT_EQ(to_duration(NAN), "-");
  EXPECT_EQ(to_duration(INFINITY), "-");
}

TEST(Units, Counts) {
  EXPECT_EQ(to_count(0), "0");
  EXPECT_EQ(to_count(99999), "99999");
  EXPECT_EQ(to_count(123456), "123k");
  EXPECT_EQ(to_count(1234567), "1.2M");
  EXPECT_EQ(to_count(999.9e6), "1.0G");
  EXPECT_EQ(to_count(std::nullopt), "-");
}

TEST(Units, RatesBytesAndShares) {
  EXPECT_EQ(to_rate(0), "0");
  EXPECT_EQ(to_rate(0.25), "0.2");
  EXPECT_EQ(to_rate(12.6), "13");
  EXPECT_EQ(to_rate(std::nullopt), "-");
  EXPECT_EQ(to_bytes(512), "512 B");
  EXPECT_EQ(to_bytes(655360), "640 KiB");
  EXPECT_EQ(to_bytes(1.5 * 1024 * 1024), "1.5 MiB");
  EXPECT_EQ(to_percent(0.047), "4.7 %");
}

TEST(Text, NothingCommandsTheTerminal) {
  EXPECT_EQ(printable("/a\033[2Jb\nc\x7f"), "/a?[2Jb?c?");
  EXPECT_EQ(printable("\u009b2J"), "?2J");
  EXPECT_EQ(printable("/caf\u00e9"), "/caf\u00e9");
}

TEST(Text, IsShortenedInTheMiddle) {
  EXPECT_EQ(shorten("/a/b", 4, {}), "/a/b");
  EXPECT_EQ(shorten("/kubepods/pod1/container", 14, {}), "/kub..ontainer");
  EXPECT_EQ(shorten("/kubepods/pod1/container", 14, {.utf8 = true}), "/kub\u2026container");
  EXPECT_EQ(shorten("/\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9", 5, {.utf8 = true}),
            "/\u2026\u00e9\u00e9\u00e9");
  EXPECT_EQ(shorten("abc", 1, {}), "a");
  EXPECT_EQ(shorten("abc", 0, {}), "");
}

TEST(Text, ColoursOnlyWhereThereAreSome) {
  EXPECT_EQ(paint("x", kRed, {}), "x");
  EXPECT_EQ(paint("x", kRed, {.colour = true}), "\033[31mx\033[0m");
  EXPECT_EQ(paint("x", kPlain, {.colour = true}), "x");
}

Table example() {
  Table table({{.title = "CGROUP", .right = false, .elastic = true},
               {.title = "RATE"},
               {.title = "P90", .spare = 2},
               {.title = "DROPS", .spare = 1}});
  table.add({{"/demo/canary/with/a/long/name"}, {"12"}, {"1.8 ms"}, {"0"}});
  table.add({{"/x"}, {"3"}, {"-"}, {"", kRed}});
  return table;
}

TEST(Table, AsWideAsItsText) {
  EXPECT_EQ(example().render({}),
            "CGROUP                         RATE     P90  DROPS\n"
            "/demo/canary/with/a/long/name    12  1.8 ms      0\n"
            "/x                                3       -\n");
}

TEST(Table, ShortensThenDropsThenCuts) {
  EXPECT_EQ(example().render({.width = 40}),
            "CGROUP               RATE     P90  DROPS\n"
            "/demo../a/long/name    12  1.8 ms      0\n"
            "/x                      3       -\n");
}

TEST(Table, ColoursTakeNoRoom) {
  Table table({{.title = "A", .right = false}, {.title = "B"}});
  table.add({{"x", kRed}, {"1"}});
  EXPECT_EQ(table.render({.colour = true}),
            "\033[1mA\033[0m  \033[1mB\033[0m\n\033[31mx\033[0m  1\n");
}

}  // namespace
}  // namespace slogate::cli
