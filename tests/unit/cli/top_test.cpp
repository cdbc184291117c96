// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/top.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/cli/live.h"
#include "tools/cli/top_view.h"

namespace slogate::cli {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// An agent whose cgroups and clock a test moves.
struct FakeAgent {
  struct Cgroup {
    std::string path, signal = "request";
    std::vector<uint64_t> buckets;  // edges at 1 ms, 2 ms, 4 ms
    uint64_t errors = 0, connection_errors = 0, inflight = 0;
  };
  std::map<uint64_t, Cgroup> cgroups;
  uint64_t ticks = 1;
  std::string started = "2026-11-21T08:00:00Z";
  std::vector<std::string> asked;
  Json slos = Json::array(), verdicts = Json::array();

  Outcome<Json> answer(const std::string& target) {
    asked.push_back(target);
    if (target == "/v1/status") return status();
    if (target == "/v1/cgroups") return list();
    if (target == "/v1/slos") return slos;
    if (target == "/v1/verdicts") return verdicts;
    const uint64_t id = std::stoull(target.substr(std::string("/v1/cgroups/").size()));
    if (!cgroups.contains(id)) return fail(kFailed, "no such cgroup");
    return Json{{"id", id}, {"signals", {{cgroups[id].signal, histogram(cgroups[id])}}}};
  }
  Fetch fetch() {
    return [this](const std::string& target) { return answer(target); };
  }

 private:
  [[nodiscard]] Json status() const {
    return {{"version", "0.1.0"},
            {"kernel", "6.18"},
            {"started", started},
            {"uptime_seconds", static_cast<double>(ticks)},
            {"ticks", ticks},
            {"lost", {{"no_slot", 0}, {"no_name", 2}}},
            {"degraded", Json::array({Json::object()})}};
  }
  [[nodiscard]] Json list() const {
    Json json = Json::array();
    for (const auto& [id, cgroup] : cgroups) {
      uint64_t count = 0;
      for (const uint64_t bucket : cgroup.buckets) count += bucket;
      Json signals = Json::object();
      if (count != 0) signals[cgroup.signal] = {{"count", count}};
      json.push_back(
          {{"id", id},
           {"path", cgroup.path},
           {"signals", signals},
           {"counters",
            {{"answers",
              {{"server", {{"http", {{"success", 1}, {"server_error", cgroup.errors}}}}}}},
             {"connection_errors", {{"server", {{"reset", cgroup.connection_errors}}}}},
             {"retransmits", 0},
             {"drops", Json::object()}}},
           {"inflight", {{"server", {{"requests", cgroup.inflight}, {"oldest_seconds", 2.5}}}}}});
    }
    return json;
  }
  static Json histogram(const Cgroup& cgroup) {
    Json json = Json::array();
    const std::vector<Json> edges = {0.001, 0.002, 0.004};
    for (size_t i = 0; i < cgroup.buckets.size(); ++i)
      json.push_back({{"le", edges.at(i)}, {"count", cgroup.buckets[i]}});
    return json;
  }
};

TEST(TopSampler, FirstPollHasNoFigures) {
  FakeAgent agent{.cgroups = {{1, {.path = "/a", .buckets = {100, 0, 0}}}}};
  TopSampler sampler(agent.fetch());
  const auto frame = sampler.poll(10).value().value();
  EXPECT_FALSE(frame.seconds.has_value());
  const std::string text = render_top(frame, "", {});
  EXPECT_THAT(text, HasSubstr("The first figures come after the first interval."));
  EXPECT_THAT(text, Not(HasSubstr("/a")));
}

TEST(TopSampler, FiguresAreThoseOfTheInterval) {
  FakeAgent agent{.cgroups = {{1, {.path = "/a", .buckets = {1000, 0, 0}}}}};
  TopSampler sampler(agent.fetch());
  sampler.poll(10).value();
  agent.ticks += 2;
  agent.cgroups[1].buckets = {1000, 0, 10};
  agent.cgroups[1].errors = 4;
  agent.cgroups[1].connection_errors = 6;
  const TopRow row = sampler.poll(10).value().value().rows.at(0);
  EXPECT_EQ(row.rate, 5);
  EXPECT_EQ(row.errors, 2);
  EXPECT_EQ(row.connection_errors, 3);
  EXPECT_NEAR(row.p50.value(), 0.002828, 1e-6);  // not that of the 1000 before
  EXPECT_EQ(row.p50, row.p999);
}

TEST(TopSampler, BusiestFirstAndQuantilesOnlyOfThem) {
  FakeAgent agent{.cgroups = {{1, {.path = "/a", .buckets = {10}}},
                              {2, {.path = "/b", .buckets = {20}}},
                              {3, {.path = "/c", .buckets = {}}}}};
  TopSampler sampler(agent.fetch());
  sampler.poll(1).value();
  ++agent.ticks;
  agent.cgroups[1].buckets = {90};
  agent.asked.clear();
  const auto frame = sampler.poll(1).value().value();
  ASSERT_EQ(frame.rows.size(), 1u);
  EXPECT_EQ(frame.rows[0].now.name, "/a");
  EXPECT_THAT(agent.asked, ElementsAre("/v1/status", "/v1/cgroups", "/v1/status", "/v1/slos",
                                       "/v1/cgroups/1/histograms"));
  // Its histogram was not asked for in the poll before: nothing to subtract.
  EXPECT_FALSE(frame.rows[0].p50.has_value());
}

TEST(TopSampler, NewCgroupsBeginWithNothing) {
  FakeAgent agent;
  TopSampler sampler(agent.fetch());
  sampler.poll(10).value();
  ++agent.ticks;
  agent.cgroups[1] = {.path = "/new", .buckets = {0, 6}, .errors = 1};
  const TopRow row = sampler.poll(10).value().value().rows.at(0);
  EXPECT_EQ(row.rate, 6);
  EXPECT_EQ(row.errors, 1);
  EXPECT_NEAR(row.p99.value(), 0.001414, 1e-6);
}

TEST(TopSampler, AClientThatBecomesAServer) {
  FakeAgent agent{.cgroups = {{1, {.path = "/a", .signal = "client_request", .buckets = {7}}}}};
  TopSampler sampler(agent.fetch());
  sampler.poll(10).value();
  ++agent.ticks;
  agent.cgroups[1] = {.path = "/a", .signal = "request", .buckets = {3}};
  EXPECT_EQ(sampler.poll(10).value().value().rows.at(0).rate, 3);
  ++agent.ticks;
  agent.cgroups[1] = {.path = "/a", .signal = "client_request", .buckets = {9}};
  EXPECT_EQ(sampler.poll(10).value().value().rows.at(0).rate, std::nullopt);
}

TEST(TopSampler, AHungServerIsSeen) {
  FakeAgent agent{.cgroups = {{1, {.path = "/hung", .buckets = {}, .inflight = 3}}}};
  TopSampler sampler(agent.fetch());
  sampler.poll(10).value();
  ++agent.ticks;
  const std::string text = render_top(sampler.poll(10).value().value(), "", {});
  EXPECT_THAT(text, HasSubstr("/hung"));
  EXPECT_THAT(text, HasSubstr("3   2.5 s"));
}

TEST(TopSampler, SameTickIsNoNewFrame) {
  FakeAgent agent;
  TopSampler sampler(agent.fetch());
  EXPECT_TRUE(sampler.poll(10).value().has_value());
  EXPECT_FALSE(sampler.poll(10).value().has_value());
}

TEST(TopSampler, AnotherAgentBeginsAnew) {
  FakeAgent agent{.ticks = 100};
  TopSampler sampler(agent.fetch());
  sampler.poll(10).value();
  agent.ticks = 3;
  agent.started = "2026-11-21T09:00:00Z";
  EXPECT_FALSE(sampler.poll(10).value().value().seconds.has_value());
}

TEST(TopView, Table) {
  FakeAgent agent{.cgroups = {{1, {.path = "/demo/canary", .buckets = {0, 0, 0}}},
                              {2, {.path = "/idle", .buckets = {5}}}}};
  TopSampler sampler(agent.fetch());
  sampler.poll(10).value();
  agent.ticks += 2;
  agent.cgroups[1].buckets = {98, 1, 1};
  EXPECT_EQ(render_top(sampler.poll(10).value().value(), "", {}),
            "slogate 0.1.0   kernel 6.18   up 3.0 s   2 cgroups   last 2.0 s\n"
            "2 samples lost   1 program missing: see slogate probes   \n"
            "CGROUP        ROLE    RATE/s     P50     P90     P99   P99.9  ERRORS/s  "
            "CONN ERR/s  DROPS/s  RETRANS/s  IN FLIGHT  OLDEST\n"
            "/demo/canary  server      50  707 us  707 us  1.4 ms  2.8 ms         0  "
            "         0        0          0          0       -\n"
            "/idle         server       0       -       -       -       -         0  "
            "         0        0          0          0       -\n");
}

TEST(TopView, NoteStandsInTheSecondLine) {
  TopFrame frame;
  frame.seconds = 1;
  EXPECT_THAT(render_top(frame, "cannot reach the agent", {}),
              HasSubstr("\ncannot reach the agent\n"));
}

TEST(TopView, CanariesHaveAVerdict) {
  FakeAgent agent{.cgroups = {{1, {.path = "/demo/canary", .buckets = {1}}},
                              {2, {.path = "/demo/stable", .buckets = {1}}}}};
  agent.slos = Json::parse(R"([
    {"name": "a", "verdict": "veto", "cgroups": {"canary": ["/demo/canary"], "baseline": []}},
    {"name": "b", "verdict": "pass", "cgroups": {"canary": ["/demo/canary"], "baseline": []}}])");
  TopSampler sampler(agent.fetch());
  (void)sampler.poll(10);
  ++agent.ticks;
  const auto frame = sampler.poll(10);
  ASSERT_TRUE(frame && *frame);
  const std::string text = render_top(**frame, "", {});
  EXPECT_THAT(text, HasSubstr("VERDICT"));
  EXPECT_THAT(text, HasSubstr("veto"));
  EXPECT_THAT(text, Not(HasSubstr("pass")));
}

TEST(TopView, WhatDoesNotPassSaysWhyAndVetoesComeFirst) {
  FakeAgent agent{.cgroups = {{1, {.path = "/demo/canary", .buckets = {1}}}}};
  agent.slos =
      Json::parse(R"([{"name": "a", "verdict": "veto", "cgroups": {"canary": ["/demo/canary"]}}])");
  agent.verdicts = Json::parse(R"([
    {"slo": "good", "verdict": "pass", "message": "every objective"},
    {"slo": "young", "verdict": "hold", "message": "too few"},
    {"slo": "bad", "verdict": "veto", "message": "p99 \u001b[31m of request"},
    {"slo": "b", "verdict": "hold", "message": "1"}, {"slo": "c", "verdict": "hold", "message": "2"}])");
  TopSampler sampler(agent.fetch());
  (void)sampler.poll(10);
  ++agent.ticks;
  const auto frame = sampler.poll(10).value().value();
  const std::string text = render_top(frame, "", {});
  EXPECT_THAT(
      text,
      HasSubstr("\nveto  bad: p99 ?[31m of request\nhold  young: too few\nhold  b: 1\nCGROUP"));
  EXPECT_THAT(text, Not(HasSubstr("every objective")));
  EXPECT_EQ(top_header(frame), 6u);
  EXPECT_EQ(Json::parse(top_json(frame)).at("cgroups").at(0).at("verdict"), "veto");
}

TEST(TopView, ACanaryThatIsHeldSaysForHowLong) {
  const auto notes = parse_canaries(Json::parse(R"([
    {"name": "a", "verdict": "hold", "expected_seconds": 240, "cgroups": {"canary": ["/a", "/b"]}},
    {"name": "b", "verdict": "hold", "expected_seconds": 60, "cgroups": {"canary": ["/a"]}},
    {"name": "c", "verdict": "hold", "expected_seconds": null, "cgroups": {"canary": ["/b"]}},
    {"name": "d", "verdict": "pass", "cgroups": {"canary": ["/b"]}}])"));
  EXPECT_EQ(notes.at("/a"), (CanaryNote{"hold", 240}));
  EXPECT_EQ(notes.at("/b"), (CanaryNote{"hold", std::nullopt}));
  TopFrame frame;
  frame.seconds = 1;
  frame.sample.verdicts = notes;
  frame.rows.emplace_back();
  frame.rows[0].now.path = "/a";
  EXPECT_THAT(render_top(frame, "", {}), HasSubstr("hold, about 4 min"));
}

TEST(PrintTop, OneObjectEachInterval) {
  FakeAgent agent{.cgroups = {{1, {.path = "/a", .buckets = {1}}}}};
  std::vector<std::string> printed;
  std::vector<milliseconds> slept;
  const auto outcome = print_top(
      agent.fetch(), {.interval = milliseconds(1500), .frames = 2}, {.json = true},
      [&](milliseconds pause) {
        slept.push_back(pause);
        if (slept.size() != 2) ++agent.ticks;  // the second time it has not ticked yet
      },
      [&](std::string_view text) {
        printed.emplace_back(text);
        return true;
      });
  ASSERT_TRUE(outcome.has_value());
  ASSERT_EQ(printed.size(), 2u);
  const Json json = Json::parse(printed[0]);
  EXPECT_EQ(json.at("seconds"), 1.0);
  EXPECT_EQ(json.at("cgroups").at(0).at("path"), "/a");
  EXPECT_EQ(json.at("cgroups").at(0).at("p50"), nullptr);
  EXPECT_THAT(slept, ElementsAre(milliseconds(1500), milliseconds(1500), milliseconds(100)));
}

TEST(PrintTop, EndsWhenNobodyReads) {
  FakeAgent agent;
  const auto outcome = print_top(
      agent.fetch(), {}, {}, [&](milliseconds) { ++agent.ticks; },
      [](std::string_view) { return false; });
  EXPECT_TRUE(outcome.has_value());
}

TEST(PrintTop, AnAgentThatNeverTicksIsAFailure) {
  FakeAgent agent;
  milliseconds slept{0};
  const auto outcome = print_top(
      agent.fetch(), {.frames = 1}, {}, [&](milliseconds pause) { slept += pause; },
      [](std::string_view) { return true; });
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().exit, kFailed);
  EXPECT_LT(slept, std::chrono::seconds(10));
}

TEST(PrintTop, HostileAnswersAreFailures) {
  for (const char* body :
       {"[]", "3", R"({"version": 3})", R"({"version": "", "kernel": "", "started": ""})",
        R"({"version": "", "kernel": "", "started": "", "ticks": "x", "uptime_seconds": []})"}) {
    const Fetch fetch = [&](const std::string&) -> Outcome<Json> { return Json::parse(body); };
    const auto outcome = guarded([&] {
      return print_top(
          fetch, {.frames = 1}, {}, [](milliseconds) {}, [](std::string_view) { return true; });
    });
    ASSERT_FALSE(outcome.has_value()) << body;
    EXPECT_EQ(outcome.error().exit, kFailed);
  }
}

}  // namespace
}  // namespace slogate::cli
