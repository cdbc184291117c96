// SPDX-License-Identifier: Apache-2.0
// The one table of judged signals. That a node and Prometheus sum the same: exporter_test.cpp and
// tests/e2e/rules.sh.
#include "agent/config/judged.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <numeric>
#include <set>
#include <span>

namespace slogate {
namespace {

using ::testing::HasSubstr;

std::string read(std::string_view file) {
  std::ifstream from(fmt::format("{}/{}", SLOGATE_SOURCE_DIR, file));
  return {std::istreambuf_iterator<char>(from), {}};
}

TEST(Judged, NamesAreUniqueOldOnesIncluded) {
  std::set<std::string_view> names;
  for (const JudgedSignal& one : kJudged)
    for (const std::string_view name : {one.name, one.old_name, one.annotation}) {
      EXPECT_TRUE(name.empty() || names.insert(name).second) << name;
    }
}

TEST(Judged, ASignalIsFoundByItsOldNameAsWell) {
  const size_t errors = judged(RatioSignal::ConnectionErrors);
  EXPECT_EQ(find_judged("connection_errors"), errors);
  EXPECT_EQ(find_judged("connect_errors"), errors);
  EXPECT_EQ(find_judged("rtt"), judged(SLOGATE_SIGNAL_rtt));
  EXPECT_EQ(find_judged("errors"), std::nullopt) << "of annotations alone";
  EXPECT_EQ(find_judged(""), std::nullopt);
  EXPECT_THAT(old_name_note("connect_errors"), HasSubstr("is called connection_errors now"));
  EXPECT_EQ(old_name_note("connection_errors"), "");
  EXPECT_EQ(old_name_note("x"), "");
  EXPECT_EQ(current_objective_name("connect_errors max_ratio 1 %"),
            "connection_errors max_ratio 1 %");
  EXPECT_EQ(current_objective_name("connect p99 max 1 s"), "connect p99 max 1 s");
  EXPECT_EQ(current_objective_name("x"), "x");
}

// Weights are shares of what is in use, so this is only for who reads the table.
TEST(Judged, SharesAddUpToOne) {
  EXPECT_NEAR(std::accumulate(kJudged.begin(), kJudged.end(), 0.0,
                              [](double sum, const JudgedSignal& one) { return sum + one.share; }),
              1, 1e-9);
  for (const JudgedSignal& one : kJudged) EXPECT_GT(one.share, 0) << one.name;
}

TEST(Judged, TheDocumentationHasEveryRow) {
  const std::string verdict = read("docs/verdict.md"), example = read("daemonset/slogate.yaml");
  for (const JudgedSignal& ratio : kJudgedRatios)
    EXPECT_THAT(verdict, HasSubstr(fmt::format("| `{}` | {} | {} |\n", ratio.name,
                                               ratio.events_text, ratio.exposures_text)));
  std::string known;  // the comment's lines as one
  for (const char c : example) known += c == '\n' || c == '#' ? ' ' : c;
  const auto list = [](std::span<const JudgedSignal> rows) {
    std::string text;
    for (const JudgedSignal& one : rows) text += fmt::format(" {}", one.name);
    return text;
  };
  std::string words;  // with single blanks and without punctuation
  for (const char c : known)
    if (c != ',' && (c != ' ' || !words.ends_with(' '))) words += c;
  EXPECT_THAT(words, HasSubstr("Latencies:" + list(kJudgedLatencies) +
                               ". Ratios:" + list(kJudgedRatios) + "."));
}

}  // namespace
}  // namespace slogate
