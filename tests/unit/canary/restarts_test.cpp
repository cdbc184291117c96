// SPDX-License-Identifier: Apache-2.0
// What goes away and comes back: how it is found, and what a verdict makes of it.
#include "agent/canary/restarts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/canary/analysis.h"
#include "tests/support/replay.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using support::Sampler;
using ::testing::HasSubstr;

const std::string kFirstRun(64, 'a'), kSecondRun(64, 'b');

Workload cgroup(uint64_t id, const std::string& path) {
  Workload row;
  row.id = id;
  row.path = path;
  row.service = std::make_shared<const Counts>();
  return row;
}

Pod pod_with(const std::map<std::string, uint64_t>& restarts) {
  Pod pod;
  pod.uid = "u";
  pod.containers = {{kFirstRun, "app"}, {kSecondRun, "app"}};
  pod.restarts = restarts;
  return pod;
}

Workload in_pod(uint64_t id, const std::string& run, const std::string& below = "") {
  Workload row = cgroup(id, fmt::format("/kubepods/podu/{}{}", run, below));
  row.pod = {.pod = std::make_shared<const Pod>(pod_with({})), .container = "app"};
  return row;
}

TEST(Restarts, AnotherCgroupOfTheSamePathHasComeBack) {
  Restarts restarts;
  restarts.arrived(cgroup(1, "/a"));
  restarts.arrived(cgroup(2, "/b"));
  EXPECT_EQ(restarts.take(), std::nullopt);
  // The one before may not be known to be gone yet.
  restarts.arrived(cgroup(3, "/a"));
  EXPECT_EQ(restarts.take(), Gap::Cgroup);
  restarts.left(1, 10s);
  restarts.left(3, 20s);
  restarts.arrived(cgroup(4, "/a"));
  EXPECT_EQ(restarts.take(), Gap::Cgroup);
  EXPECT_EQ(restarts.take(), std::nullopt);
}

TEST(Restarts, ACgroupThatWasIdleHasNot) {
  Restarts restarts;
  restarts.arrived(cgroup(1, "/a"));
  restarts.left(1, 10s);
  restarts.arrived(cgroup(1, "/a"));
  EXPECT_EQ(restarts.take(), std::nullopt);
}

TEST(Restarts, AwayForLongIsNew) {
  Restarts restarts;
  restarts.arrived(cgroup(1, "/a"));
  restarts.left(1, 10s);
  restarts.forget(10s + kRestartPatience - 1s, kRestartPatience);
  restarts.arrived(cgroup(2, "/a"));
  EXPECT_EQ(restarts.take(), Gap::Cgroup);
  restarts.left(2, 20s);
  restarts.forget(20s + kRestartPatience, kRestartPatience);
  restarts.arrived(cgroup(3, "/a"));
  EXPECT_EQ(restarts.take(), std::nullopt);
}

TEST(Restarts, InPodsAnotherRunOfAContainerHas) {
  Restarts restarts;
  restarts.arrived(in_pod(1, kFirstRun));
  restarts.arrived(in_pod(2, kFirstRun, "/system.slice"));
  restarts.left(1, 10s);
  restarts.left(2, 10s);
  restarts.arrived(in_pod(3, kFirstRun, "/other.slice"));
  EXPECT_EQ(restarts.take(), std::nullopt);
  restarts.arrived(in_pod(4, kSecondRun));
  EXPECT_EQ(restarts.take(), Gap::Cgroup);
  restarts.arrived(in_pod(5, kSecondRun, "/system.slice"));
  EXPECT_EQ(restarts.take(), std::nullopt);
}

TEST(Restarts, ARestartCountThatRises) {
  Restarts restarts;
  const Pod before = pod_with({{"app", 1}, {"sidecar", 0}});
  restarts.changed(before, pod_with({{"app", 1}, {"sidecar", 0}, {"more", 3}}), std::nullopt);
  EXPECT_EQ(restarts.take(), std::nullopt);
  restarts.changed(before, pod_with({{"app", 2}, {"sidecar", 0}}), std::nullopt);
  EXPECT_EQ(restarts.take(), Gap::Container);
  restarts.changed(before, pod_with({{"app", 1}, {"sidecar", 1}}), "app");
  EXPECT_EQ(restarts.take(), std::nullopt);
  restarts.changed(before, pod_with({{"app", 2}}), "app");
  EXPECT_EQ(restarts.take(), Gap::Container);
}

// ---- the verdict ----

// A canary that answers 1,000 requests a second and needs no baseline.
class RestartingTest : public ::testing::Test {
 protected:
  RestartingTest() {
    slo_.baseline.reset();
    slo_.canary = std::vector{*Glob::parse("/canary")};
    slo_.objectives = {LatencyObjective{SLOGATE_SIGNAL_request, 0.99, 2s}};
    slo_.warmup = 0s;
    analysis_.set_slos({slo_}, now_);
    rows_ = {cgroup(1, "/canary")};
  }

  const Verdict& verdict() { return *analysis_.verdicts()->list.front(); }
  void change(const std::function<void(Counts&)>& how) {
    auto counts = std::make_shared<Counts>(*rows_[0].service);
    how(*counts);
    rows_[0].service = std::move(counts);
  }
  // Whether no reading of so much time was a pass.
  bool held_for(std::chrono::nanoseconds time, const Sampler* traffic) {
    bool held = true;
    for (const auto end = now_.monotonic + time; now_.monotonic < end;) {
      if (!rows_.empty())
        change([&](Counts& counts) {
          traffic->draw(random_, 250, counts.histograms[SLOGATE_SIGNAL_request]);
        });
      step(250ms);
      held = held && verdict().decision != Decision::Pass;
    }
    return held;
  }
  void step(std::chrono::nanoseconds time) {
    now_.monotonic += time;
    now_.system += std::chrono::duration_cast<std::chrono::system_clock::duration>(time);
    analysis_.tick(rows_, now_);
  }
  void pass() {
    ASSERT_FALSE(held_for(60s, &good_));
    ASSERT_EQ(verdict().decision, Decision::Pass) << verdict().message;
  }
  void listener_comes_back() {
    change([](Counts& counts) { ++counts.counters[SLOGATE_COUNTER_listener_gaps]; });
  }
  void expect_restarting(const char* what) {
    EXPECT_EQ(verdict().decision, Decision::Hold);
    EXPECT_EQ(kReasons[static_cast<size_t>(verdict().reason)], "restarting");
    EXPECT_THAT(verdict().message, HasSubstr(what));
  }

  Slo slo_ = support::default_slo(0.001);
  CanaryAnalysis analysis_;
  std::vector<Workload> rows_;
  TickTime now_{std::chrono::sys_days(std::chrono::year(2026) / 11 / 30), 1h};
  std::mt19937_64 random_{5};
  Sampler good_{support::lognormal()}, bad_{support::scaled(support::lognormal(), 50)};
};

TEST_F(RestartingTest, HoldsUntilFiveMinutesWithoutAGap) {
  pass();
  listener_comes_back();
  EXPECT_TRUE(held_for(200s, &good_));
  expect_restarting("a listener of the canary went away and came back");
  listener_comes_back();
  EXPECT_TRUE(held_for(300s, &good_));
  expect_restarting("listener");
  EXPECT_FALSE(held_for(1s, &good_));
  EXPECT_EQ(verdict().decision, Decision::Pass) << verdict().message;
}

TEST_F(RestartingTest, AVetoIsPossible) {
  pass();
  listener_comes_back();
  held_for(60s, &bad_);
  EXPECT_EQ(verdict().decision, Decision::Veto) << verdict().message;
}

TEST_F(RestartingTest, ACgroupThatComesBack) {
  pass();
  rows_ = {cgroup(2, "/canary")};
  EXPECT_TRUE(held_for(300s, &good_));
  expect_restarting("a cgroup");
  EXPECT_FALSE(held_for(1s, &good_));
}

TEST_F(RestartingTest, WhatBeginsAfterTheRolloutIsNew) {
  pass();
  rows_.clear();
  held_for(65s, &good_);
  EXPECT_EQ(verdict().reason, Reason::NoCanary);
  rows_ = {cgroup(2, "/canary")};
  pass();
}

TEST_F(RestartingTest, AResetForgets) {
  pass();
  listener_comes_back();
  EXPECT_TRUE(held_for(10s, &good_));
  ASSERT_TRUE(analysis_.reset(slo_.name, now_));
  pass();
  // Who was there before still is.
  rows_ = {cgroup(2, "/canary")};
  EXPECT_TRUE(held_for(10s, &good_));
  expect_restarting("a cgroup");
}

TEST_F(RestartingTest, AnSloForAPortLooksAtThatPortAlone) {
  slo_.port = 8080;
  analysis_.set_slos({slo_}, now_);
  const auto gap_on = [&](uint16_t port) {
    auto counts = std::make_shared<Counts>();
    rows_[0].ports = {{.port = port, .counts = counts}};
    step(250ms);
    counts = std::make_shared<Counts>();
    ++counts->counters[SLOGATE_COUNTER_listener_gaps];
    rows_[0].ports = {{.port = port, .counts = counts}};
    step(250ms);
    return verdict().reason == Reason::Restarting;
  };
  EXPECT_FALSE(gap_on(9090));
  EXPECT_TRUE(gap_on(8080));
}

// A server that opens its port twice while it starts is no canary that restarts.
TEST_F(RestartingTest, TheYoungMayOpenTheirPortTwice) {
  slo_.warmup = 30s;
  analysis_.set_slos({slo_}, now_);
  held_for(5s, &good_);
  listener_comes_back();
  held_for(5s, &good_);
  EXPECT_EQ(verdict().reason, Reason::WarmingUp);
  pass();
}

TEST_F(RestartingTest, RestartCountsOfPodsSaySoToo) {
  const auto set_pod = [&](uint64_t restarts) {
    rows_[0].pod = {.pod = std::make_shared<const Pod>(pod_with({{"app", restarts}})),
                    .container = "app"};
  };
  set_pod(2);
  pass();
  set_pod(3);
  EXPECT_TRUE(held_for(300s, &good_));
  expect_restarting("a container");
  EXPECT_FALSE(held_for(1s, &good_));
}

}  // namespace
}  // namespace slogate
