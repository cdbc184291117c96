// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/hist.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "maps/counts.h"
#include "tools/cli/bars.h"

namespace slogate::cli {
namespace {

using ::testing::HasSubstr;

// A histogram as the agent would send it.
Json to_json(const Histogram& histogram) {
  Json json = Json::array();
  for (size_t i = 0; i < histogram.size(); ++i) {
    const double edge = bucket_edge(i);
    json.push_back(
        {{"le", std::isinf(edge) ? Json(nullptr) : Json(edge)}, {"count", histogram[i]}});
  }
  return json;
}

Histogram of(std::initializer_list<std::pair<double, uint64_t>> values) {
  Histogram histogram{};
  for (const auto& [seconds, count] : values)
    histogram[slogate_bucket(static_cast<uint64_t>(seconds * 1e9))] += count;
  return histogram;
}

Json document(const Histogram& request) {
  return {{"id", 1234}, {"path", "/demo/canary"}, {"signals", {{"request", to_json(request)}}}};
}

TEST(Buckets, QuantilesAreThoseOfTheAgent) {
  for (const Histogram& histogram :
       {of({{1e-9, 5}, {1e-3, 90}, {2e-3, 9}, {100, 1}}), of({{1e-9, 1}}), of({{100, 1}}),
        of({{1.5e-3, 999}, {3e-3, 1}})})
    for (const double q : {0.001, 0.5, 0.9, 0.99, 0.999, 1.0})
      EXPECT_NEAR(quantile(parse_buckets(to_json(histogram)), q).value(),
                  slogate::quantile(histogram, q).value(), 1e-12)
          << q;
  EXPECT_FALSE(quantile(parse_buckets(to_json({})), 0.5).has_value());
  EXPECT_FALSE(quantile({}, 0.5).has_value());
}

TEST(Buckets, DifferenceIsWhatWasAdded) {
  const Buckets before = parse_buckets(to_json(of({{1e-3, 5}})));
  const Buckets now = parse_buckets(to_json(of({{1e-3, 7}, {1, 1}})));
  EXPECT_EQ(total(difference(now, before).value()), 3);
  EXPECT_FALSE(difference(before, now).has_value());
  EXPECT_FALSE(difference(now, {}).has_value());
}

TEST(Bars, AsFewBucketsToALineAsFit) {
  Histogram histogram{};
  for (size_t i = 40; i < 60; ++i) histogram[i] = 1;
  EXPECT_EQ(to_lines(parse_buckets(to_json(histogram))).size(), 20u);
  for (size_t i = 40; i < 80; ++i) histogram[i] = 1;
  const auto lines = to_lines(parse_buckets(to_json(histogram)));
  EXPECT_EQ(lines.size(), 21u);  // two to a line, the first alone
  EXPECT_EQ(lines.back().upto, 40);
}

TEST(Bars, AllBucketsFit) {
  Histogram histogram;
  for (size_t i = 0; i < histogram.size(); ++i) histogram[i] = 1;
  EXPECT_LE(to_lines(parse_buckets(to_json(histogram))).size(), 24u);
  for (size_t i = 0; i < histogram.size(); i += 2) histogram[i] = 0;  // and with gaps
  EXPECT_LE(to_lines(parse_buckets(to_json(histogram))).size(), 24u);
  EXPECT_TRUE(to_lines({}).empty());
}

TEST(Bars, WhatIsMoreThanNothingShows) {
  EXPECT_EQ(bar(0, 10, {}), "");
  EXPECT_EQ(bar(1e-9, 10, {}), "#");
  EXPECT_EQ(bar(0.5, 10, {}), "#####");
  EXPECT_EQ(bar(7, 10, {}), "##########");
  EXPECT_EQ(bar(1e-9, 10, {.utf8 = true}), "\u258f");
  EXPECT_EQ(bar(0.25, 10, {.utf8 = true}), "\u2588\u2588\u258c");
}

TEST(HistView, DrawsWhatThereIs) {
  EXPECT_EQ(render_histogram(document(of({{1.79e-3, 500}, {1.9e-3, 480}, {20e-3, 20}})), "request",
                             {.width = 80}),
            "/demo/canary (id 1234): request, 1000 values\n"
            "p50 1.7 ms   p90 1.9 ms   p99 19 ms   p99.9 19 ms\n"
            "\n"
            " ABOVE   UP TO  DISTRIBUTION               COUNT  CUMULATIVE  QUANTILES\n"
            "1.6 ms  1.8 ms  #########################    500      50.0 %  p50\n"
            "1.8 ms  2.0 ms  ########################     480      98.0 %  p90\n"
            "                ...\n"
            " 19 ms   20 ms  #                             20     100.0 %  p99 p99.9\n");
}

TEST(HistView, DrawsTwoOverEachOther) {
  Json other = document(of({{1.79e-3, 50}, {20e-3, 150}}));
  other["id"] = 7;
  other["path"] = "/demo/stable";
  EXPECT_EQ(render_two_histograms(document(of({{1.79e-3, 750}, {1.9e-3, 250}})), other, "request",
                                  {.width = 72}),
            "request\n"
            "<  only /demo/canary (id 1234), 1000 values: p50 1.7 ms   p90 1.9 ms   p99 1.9 ms   "
            "p99.9 1.9 ms\n"
            ">  only /demo/stable (id 7), 200 values: p50 19 ms   p90 19 ms   p99 19 ms   p99.9 19 "
            "ms\n"
            "#  both\n"
            "\n"
            " ABOVE   UP TO  DISTRIBUTION       1       2  QUANTILES\n"
            "1.6 ms  1.8 ms  ###<<<<<<<    75.0 %  25.0 %  1: p50\n"
            "1.8 ms  2.0 ms  <<<           25.0 %   0.0 %  1: p90 p99 p99.9\n"
            "                ...\n"
            " 19 ms   20 ms  >>>>>>>>>>     0.0 %  75.0 %  2: p50 p90 p99 p99.9\n");
  EXPECT_THAT(render_two_histograms(document({}), other, "request", {}),
              HasSubstr("/demo/canary (id 1234): request\nNo signal"));
}

TEST(Bars, TwoOverEachOther) {
  EXPECT_EQ(overlaid_bar(0.5, 1, 10, {}), "#####>>>>>");
  EXPECT_EQ(overlaid_bar(1, 0, 4, {.utf8 = true}), "\u2591\u2591\u2591\u2591");
  EXPECT_EQ(overlaid_bar(1e-9, 0, 10, {}), "<");
  EXPECT_EQ(overlaid_bar(0, 0, 10, {}), "");
}

TEST(HistView, FirstAndLastBucketHaveNoEdge) {
  const std::string text = render_histogram(document(of({{1e-9, 1}, {100, 1}})), "request", {});
  EXPECT_THAT(text, HasSubstr("  0 s  954 ns"));
  EXPECT_THAT(text, HasSubstr(" 64 s       -"));
}

TEST(HistView, EmptySignalNamesTheOthers) {
  Json json = document({});
  EXPECT_EQ(render_histogram(json, "request", {}),
            "/demo/canary (id 1234): request\nNo signal of this cgroup has any value yet.\n");
  json["signals"]["rtt"] = to_json(of({{1e-3, 1}}));
  EXPECT_EQ(render_histogram(json, "queue", {}),
            "/demo/canary (id 1234): queue\nNo value of queue yet. There are values of: rtt.\n");
}

TEST(FindCgroup, ByPathThenByPattern) {
  const Json cgroups = Json::parse(R"([
      {"id": 1, "path": "/a"}, {"id": 2, "path": "/a/x"}, {"id": 3, "path": "/b\\x2d"},
      {"id": 4, "path": "/c", "gone": true}, {"id": 5, "path": "/c"},
      {"id": 6, "path": "/d", "gone": true}])");
  EXPECT_EQ(find_cgroup(cgroups, "/a").value(), 1u);
  EXPECT_EQ(find_cgroup(cgroups, "/a/*").value(), 2u);
  EXPECT_EQ(find_cgroup(cgroups, "/b\\x2d").value(), 3u);  // a name, not an escape
  EXPECT_EQ(find_cgroup(cgroups, "/c").value(), 5u);
  EXPECT_EQ(find_cgroup(cgroups, "/d").value(), 6u);
  EXPECT_EQ(find_cgroup(cgroups, "/a/**").error().error.message,
            "/a/** matches 2 cgroups; name one of them:\n  1  /a\n  2  /a/x");
  for (const char* none : {"/e", "/e*", "a", "", "/["})
    EXPECT_EQ(find_cgroup(cgroups, none).error().exit, kUsage) << none;
}

TEST(ShowHistogram, AsksForTheIdItFound) {
  std::vector<std::string> asked;
  const Fetch fetch = [&](const std::string& target) -> Outcome<Json> {
    asked.push_back(target);
    if (target == "/v1/cgroups") return Json::parse(R"([{"id": 1234, "path": "/demo/canary"}])");
    return document(of({{1e-3, 1}}));
  };
  EXPECT_TRUE(show_histogram(fetch, "/demo/*", "request", {}).has_value());
  EXPECT_TRUE(show_histogram(fetch, "99", "request", {.json = true}).has_value());
  EXPECT_THAT(asked, ::testing::ElementsAre("/v1/cgroups", "/v1/cgroups/1234/histograms",
                                            "/v1/cgroups/99/histograms"));
}

TEST(ShowHistogram, TwoAreAskedForAndListed) {
  const Fetch fetch = [&](const std::string& target) -> Outcome<Json> {
    Json json = document(of({{1e-3, 1}}));
    json["id"] = target == "/v1/cgroups/1/histograms" ? 1 : 2;
    return json;
  };
  const auto listed = show_two_histograms(fetch, "1", "2", "request", {.json = true});
  ASSERT_TRUE(listed.has_value());
  EXPECT_EQ(Json::parse(listed->text).at(0).at("id"), 1);
  EXPECT_EQ(Json::parse(listed->text).at(1).at("id"), 2);
}

TEST(ShowHistogram, HostileAnswersAreFailures) {
  for (
      const char* body :
      {"[]", "{}", R"({"id": 1, "path": "/", "signals": 3})", R"({"id": 1, "path": "/"})",
       R"({"id": 1, "path": "/", "signals": {"request": 3}})",
       R"({"id": 1, "path": "/", "signals": {"request": [3]}})",
       R"({"id": 1, "path": "/", "signals": {"request": [{"le": "x", "count": 1}]}})",
       R"({"id": "x", "path": "/", "signals": {"request": [{"le": 1, "count": 1}]}})",
       R"({"id": 1, "path": "/", "signals": {"request": [{"le": 1, "count": -1}, {"le": 0, "count": 2}]}})"}) {
    const Fetch fetch = [&](const std::string&) -> Outcome<Json> { return Json::parse(body); };
    const auto outcome = guarded([&] { return show_histogram(fetch, "1", "request", {}); });
    if (!outcome) {
      EXPECT_EQ(outcome.error().exit, kFailed) << body;
    }
  }
}

}  // namespace
}  // namespace slogate::cli
