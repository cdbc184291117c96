// SPDX-License-Identifier: Apache-2.0
#include "agent/base/units.h"

#include <gtest/gtest.h>

namespace slogate {
namespace {

using namespace std::chrono_literals;

TEST(Units, Durations) {
  const std::pair<const char*, std::chrono::nanoseconds> rows[] = {
      {"1ns", 1ns},     {"250us", 250us},      {"250\u00b5s", 250us}, {"250\u03bcs", 250us},
      {"15ms", 15ms},   {"1.5s", 1500ms},      {"2m", 2min},          {"24h", 24h},
      {"0s", 0ns},      {"0.5h", 30min},       {".5s", 500ms},        {"5.s", 5s},
      {"0.1ms", 100us}, {"1.0000000001s", 1s}, {"86400s", 24h},
  };
  for (const auto& [text, expected] : rows) {
    const auto duration = parse_duration(text);
    ASSERT_TRUE(duration.has_value()) << text << ": " << duration.error().line();
    EXPECT_EQ(*duration, expected) << text;
  }
}

TEST(Units, RefusesWhatIsNoDuration) {
  for (const char* text :
       {"",     "15",   "0",     "ms",       "15 ms",  " 15ms", "15ms ", "15msx",
        "15MS", "15d",  "1m30s", "-1s",      "-0s",    "+1s",   "1e3ms", "0x10ms",
        "infs", "nans", "inf",   "24.0001h", "1e400s", "0.1ns", "1,5s",  "--1s"})
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
}

TEST(Units, RatiosAreTheNearestDouble) {
  const std::pair<const char*, double> rows[] = {
      {"1%", 0.01},   {"0.1%", 0.001}, {"0.7%", 0.007}, {"100%", 1},
      {"0.01", 0.01}, {"1", 1},        {"1e-6", 1e-6},  {".5", 0.5},
  };
  for (const auto& [text, expected] : rows) {
    const auto ratio = parse_ratio(text);
    ASSERT_TRUE(ratio.has_value()) << text << ": " << ratio.error().line();
    EXPECT_EQ(*ratio, expected) << text;
  }
}

TEST(Units, RefusesWhatIsNoRatio) {
  for (const char* text : {"", "%", "0", "0%", "-1%", "101%", "1.01", "5", "one", "1 %", "1%%",
                           "1e-3%", "nan", "inf", "-inf", "1e999", "0x1p-3"})
    EXPECT_FALSE(parse_ratio(text).has_value()) << text;
  EXPECT_TRUE(parse_ratio("50%", 0.5).has_value());
  EXPECT_FALSE(parse_ratio("50.1%", 0.5).has_value());
}

TEST(Units, QuantilesLieInside) {
  EXPECT_EQ(parse_quantile("0.99").value(), 0.99);
  EXPECT_EQ(parse_quantile("99%").value(), 0.99);
  for (const char* text : {"", "0", "1", "99", "100%", "p99", "-0.5", "nan"})
    EXPECT_FALSE(parse_quantile(text).has_value()) << text;
}

TEST(Units, Addresses) {
  const std::pair<const char*, ListenAddress> rows[] = {
      {"0.0.0.0:9937", {"0.0.0.0", 9937}},
      {"127.0.0.1:1", {"127.0.0.1", 1}},
      {"[::]:65535", {"::", 65535}},
      {"[2001:db8::1]:80", {"2001:db8::1", 80}},
      {"[::ffff:10.0.0.1]:80", {"::ffff:10.0.0.1", 80}},
  };
  for (const auto& [text, expected] : rows) {
    const auto address = parse_address(text);
    ASSERT_TRUE(address.has_value()) << text << ": " << address.error().line();
    EXPECT_EQ(*address, expected) << text;
  }
}

TEST(Units, RefusesWhatIsNoAddress) {
  for (const char* text : {"",
                           ":",
                           ":9937",
                           "9937",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:0",
                           "127.0.0.1:65536",
                           "127.0.0.1:-1",
                           "127.0.0.1:+1",
                           "127.0.0.1:80x",
                           "127.0.0.1: 80",
                           "127.0.0:80",
                           "256.0.0.1:80",
                           "localhost:80",
                           "::1:80",
                           "[::1]",
                           "[::1]80",
                           "[::1:80",
                           "::1]:80",
                           "[127.0.0.1]:80",
                           "[]:80",
                           "[[::1]]:80",
                           "[fe80::1%eth0]:80",
                           "*:80"})
    EXPECT_FALSE(parse_address(text).has_value()) << text;
}

TEST(Units, QuotesAreCutBetweenCharacters) {
  EXPECT_EQ(in_quotes("a"), "\"a\"");
  std::string text(59, 'a');
  text += "\u00e9\u00e9";
  EXPECT_EQ(in_quotes(text), "\"" + std::string(59, 'a') + "...\"");
}

}  // namespace
}  // namespace slogate
