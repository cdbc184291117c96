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
    for (const std::string_view name : {one.name, one.old_name}) {
      EXPECT_TRUE(name.empty() || names.insert(name).second) << name;
    }
}

TEST(Judged, ASignalIsFoundByItsOldNameAsWell) {
  const size_t errors = judged(RatioSignal::ConnectionErrors);
  EXPECT_EQ(find_judged("connection_errors"), errors);
  EXPECT_EQ(find_judged("connect_errors"), errors);
  EXPECT_EQ(find_judged("rtt"), judged(SLOGATE_SIGNAL_rtt));
  EXPECT_EQ(find_judged("errors"), judged(RatioSignal::Errors)) << "requests, not connections";
  EXPECT_EQ(find_judged(""), std::nullopt);
  EXPECT_THAT(old_name_note("connect_errors"), HasSubstr("is called connection_errors now"));
  EXPECT_EQ(old_name_note("connection_errors"), "");
  EXPECT_EQ(old_name_note("x"), "");
  EXPECT_EQ(current_objective_name("connect_errors max_ratio 1 %"),
            "connection_errors max_ratio 1 %");
  EXPECT_EQ(current_objective_name("connect p99 max 1 s"), "connect p99 max 1 s");
  EXPECT_EQ(current_objective_name("x"), "x");
}

TEST(Judged, ANameMayHaveParenthesesAndBlanksInThem) {
  const size_t misses = judged(RatioSignal::MissesOfRedis);
  for (const char* name :
       {"misses(client, redis)", "misses(client,redis)", "misses( client ,redis )"})
    EXPECT_EQ(find_judged(name), misses) << name;
  EXPECT_EQ(find_judged("misses(client"), std::nullopt);
  EXPECT_EQ(find_judged("misses(client, http)"), std::nullopt) << "HTTP knows no misses";
  EXPECT_EQ(find_judged("misses(server)"), std::nullopt);
  EXPECT_EQ(find_judged_in("misses(client, redis) max_ratio 5 %"), misses);
  EXPECT_EQ(find_judged_in("misses(client) max_increase 5 %"), judged(RatioSignal::MissesOfClient));
  EXPECT_EQ(find_judged_in("request p99 max 15 ms"), judged(SLOGATE_SIGNAL_request));
  for (const JudgedSignal& one : kJudged) {
    const std::string objective = fmt::format("{} against the baseline", one.name);
    EXPECT_EQ(find_judged_in(objective), find_judged(one.name)) << one.name;
    EXPECT_EQ(current_objective_name(objective), objective);
  }
}

// Weights are shares of what is in use, so this is only for who reads the table.
TEST(Judged, SharesOfWhatIsComparedUnaskedAddUpToOne) {
  double sum = 0;
  for (const JudgedSignal& one : kJudged) sum += one.stated_only ? 0 : one.share;
  EXPECT_NEAR(sum, 1, 1e-9);
  for (const JudgedSignal& one : kJudged) EXPECT_GT(one.share, 0) << one.name;
}

// After latency a release is most often rolled back for errors.
TEST(Judged, ErrorsWeighMostAmongRatios) {
  EXPECT_EQ(std::ranges::max_element(kJudgedRatios, {}, &JudgedSignal::share)->name, "errors");
  EXPECT_EQ(std::ranges::count(kJudgedRatios, kJudged[judged(RatioSignal::Errors)].share,
                               &JudgedSignal::share),
            1);
}

// A cold cache and a new process's tickets make no veto, and neither do a canary's dependencies.
TEST(Judged, OfAnswersOnlyErrorsOfServersAreComparedUnasked) {
  for (const JudgedSignal& ratio : kJudgedRatios) {
    const bool of_answers = ratio.answered_in || ratio.name.starts_with("tls_full");
    EXPECT_EQ(ratio.stated_only,
              of_answers && ratio.name != "errors" && ratio.name != "client_errors")
        << ratio.name;
  }
}

TEST(Judged, TheDocumentationHasEveryRow) {
  const std::string verdict = read("docs/verdict.md"), example = read("daemonset/slogate.yaml");
  for (const JudgedSignal& ratio : kJudgedRatios)
    if (!ratio.protocol.empty())
      EXPECT_THAT(verdict, HasSubstr(fmt::format("`{}`", ratio.name)));
    else
      EXPECT_THAT(verdict, HasSubstr(fmt::format("| `{}` | {} | {} |\n", ratio.name,
                                                 ratio.events_text, ratio.exposures_text)));
  std::string known;  // the comment's lines as one
  for (const char c : example) known += c == '\n' || c == '#' ? ' ' : c;
  const auto list = [](std::span<const JudgedSignal> rows) {
    std::string text;
    for (const JudgedSignal& one : rows)
      if (one.protocol.empty()) text += fmt::format(" {}", one.name);
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
