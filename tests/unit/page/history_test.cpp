// SPDX-License-Identifier: Apache-2.0
#include "agent/page/history.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace slogate {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

// What a workload has done so far.
struct Done {
  uint64_t requests = 0, errors = 0, refused = 0;
  size_t bucket = 96;
  bool client = false;
};

Workload workload(uint64_t id, const Done& done) {
  Counts counts;
  const size_t signal = done.client ? SLOGATE_SIGNAL_client_request : SLOGATE_SIGNAL_request;
  if (done.requests != 0) counts.histograms[signal][done.bucket] = done.requests;
  counts.counters[SLOGATE_COUNTER_client_refused] = done.refused;
  for (size_t i = 0; i < kCounters.size(); ++i)
    if (kCounters[i].family == "answers" && kCounters[i].value_of("outcome") == "server_error" &&
        kCounters[i].value_of("role") == "server") {
      counts.counters[i] = done.errors;
      break;
    }
  return {
      .id = id, .path = fmt::format("/{}", id), .service = std::make_shared<const Counts>(counts)};
}

// A history under a clock of its own.
struct Past {
  History history;
  TickTime now{};

  void step(std::vector<Workload> workloads) {
    Snapshot snapshot;
    snapshot.workloads = std::move(workloads);
    tick(snapshot);
    now.monotonic += History::kStep - 1s;
  }
  void tick(const Snapshot& snapshot) {
    now.monotonic += 1s;
    history.tick(snapshot, now);
  }
};

TEST(History, RatesAreThoseOfTheLastStep) {
  Past past;
  past.step({workload(1, {.requests = 1000})});
  ASSERT_TRUE(past.history.rates(1, true));
  // What was before the first step is not of the last seconds.
  EXPECT_EQ(past.history.rates(1, true)->rate, 0);
  EXPECT_FALSE(past.history.rates(1, true)->p99);
  past.step({workload(1, {.requests = 1050, .errors = 10, .refused = 5})});
  const auto rates = past.history.rates(1, true).value();
  EXPECT_EQ(rates.rate, 10);
  EXPECT_EQ(rates.errors, 2);
  EXPECT_EQ(rates.connection_errors, 1);
  EXPECT_NEAR(rates.p99.value(), bucket_middle(96), 1e-12);
  ASSERT_EQ(rates.points.size(), 2u);
  EXPECT_EQ(rates.points[1].rate, 10);
  EXPECT_NEAR(rates.points[1].failed / 65535.0, 0.3, 0.001);
  past.step({workload(1, {.requests = 1050, .errors = 10, .refused = 5})});
  EXPECT_EQ(past.history.rates(1, true)->rate, 0);
  EXPECT_EQ(past.history.rates(1, true)->points[2].failed, 0);
  EXPECT_FALSE(past.history.rates(2, true));
}

TEST(History, QuantilesFadeOverSteps) {
  Past past;
  past.step({workload(1, {})});
  Counts counts;
  const auto add = [&](size_t bucket, uint64_t n) {
    counts.histograms[SLOGATE_SIGNAL_request][bucket] += n;
    past.step({{.id = 1, .path = "/1", .service = std::make_shared<const Counts>(counts)}});
    return past.history.rates(1, false).value();
  };
  EXPECT_NEAR(add(100, 1000).p50.value(), bucket_middle(100), 1e-12);
  EXPECT_NEAR(add(60, 1001).p50.value(), bucket_middle(60), 1e-12);
  EXPECT_NEAR(add(60, 1000).p99.value(), bucket_middle(100), 1e-12);  // a quarter of it, still
  for (int i = 0; i < 9; ++i) add(60, 1000);
  EXPECT_NEAR(add(60, 1000).p999.value(), bucket_middle(60), 1e-12);
}

// A cgroup that comes within a step did there all it did; one that only came to be followed did
// not.
TEST(History, ANewWorkloadBeginsWithNothing) {
  Past past;
  past.step({});
  past.step({workload(1, {.requests = 50})});
  EXPECT_EQ(past.history.rates(1, true)->rate, 10);
  EXPECT_TRUE(past.history.rates(1, true)->p50);
}

TEST(History, AClientIsOneUntilItServes) {
  Past past;
  past.step({workload(1, {.requests = 10, .client = true})});
  past.step({workload(1, {.requests = 60, .client = true})});
  EXPECT_TRUE(past.history.rates(1, true)->client);
  EXPECT_EQ(past.history.rates(1, true)->rate, 10);
  past.step({workload(1, {.requests = 5})});
  EXPECT_FALSE(past.history.rates(1, true)->client);
  EXPECT_EQ(past.history.rates(1, true)->rate, 1);
  EXPECT_EQ(past.history.rates(1, true)->points.size(), 1u);
}

TEST(History, WhatIsGoneIsForgotten) {
  Past past;
  past.step({workload(1, {.requests = 1})});
  past.step({});
  EXPECT_FALSE(past.history.rates(1, true));
}

TEST(History, FifteenMinutesAndNoMore) {
  Past past;
  for (uint64_t i = 0; i < 500; ++i) past.step({workload(1, {.requests = i * i})});
  const auto points = past.history.rates(1, true)->points;
  ASSERT_EQ(points.size(), History::kSteps);
  for (size_t i = 1; i < points.size(); ++i) EXPECT_GT(points[i].rate, points[i - 1].rate);
}

// The busiest have charts, and who becomes busy takes the place of who is idle.
TEST(History, FollowsTheBusiest) {
  Past past;
  const auto all = [](uint64_t step) {
    std::vector<Workload> workloads;
    for (uint64_t id = 1; id <= History::kFollowed + 50; ++id)
      workloads.push_back(workload(id, {.requests = 1 + step * 100 * (id > 40 ? 1 : 0)}));
    return workloads;
  };
  for (uint64_t step = 0; step < 5; ++step) past.step(all(step));
  size_t followed = 0;
  for (uint64_t id = 1; id <= History::kFollowed + 50; ++id)
    if (!past.history.rates(id, true)->points.empty()) ++followed;
  EXPECT_EQ(followed, History::kFollowed);
  // All that are busy but ten, for whom no idle one was left.
  size_t busy = 0;
  for (uint64_t id = 41; id <= History::kFollowed + 50; ++id)
    if (!past.history.rates(id, true)->points.empty()) ++busy;
  EXPECT_EQ(busy, History::kFollowed);
  EXPECT_EQ(past.history.rates(History::kFollowed + 50, false)->rate, 20);
}

Snapshot with_verdict(double log_e, double proof, const std::string& rollout, size_t blocks = 9) {
  Snapshot snapshot;
  auto verdict = std::make_shared<Verdict>();
  verdict->slo = "demo";
  verdict->log_e = log_e;
  verdict->threshold = 8;
  verdict->rollout = rollout;
  verdict->blocks = blocks;
  verdict->objectives = {{.objective = "a", .log_proof = proof, .needed = true},
                         {.objective = "b", .log_proof = -100, .needed = false}};
  auto verdicts = std::make_shared<Verdicts>();
  verdicts->slos = {std::make_shared<SloStatus>()};
  verdicts->list = {verdict};
  snapshot.verdicts = verdicts;
  return snapshot;
}

TEST(History, EvidenceIsASecondApartAndEachRolloutALineOfItsOwn) {
  Past past;
  past.tick(with_verdict(0, 0, "1", 0));
  past.tick(with_verdict(4, 2.9957, "1"));
  past.tick(with_verdict(-1e9, 1e9, "1"));
  past.tick(with_verdict(8, 0, "2"));
  const auto points = past.history.verdicts("demo");
  ASSERT_EQ(points.size(), 5u);
  EXPECT_EQ(points[0].against, VerdictPoint::kNone);
  EXPECT_EQ(points[1].against, 512);
  EXPECT_NEAR(points[1].proof, 1024, 1);
  EXPECT_EQ(points[2].against, -4096);
  EXPECT_EQ(points[2].proof, 4096);
  EXPECT_EQ(points[3].against, VerdictPoint::kNone);
  EXPECT_EQ(points[4].against, 1024);
  past.tick(Snapshot{});
  EXPECT_TRUE(past.history.verdicts("demo").empty());
}

// Histograms as wide as they get, and more of everything than is kept.
TEST(History, StaysBelowTwoMebibytes) {
  Past past;
  Counts wide;
  for (Histogram& histogram : wide.histograms)
    for (size_t i = 0; i < histogram.size(); ++i) histogram[i] = 1;
  const auto counts = std::make_shared<const Counts>(wide);
  for (size_t step = 0; step < 30; ++step) {
    Snapshot snapshot;
    std::vector<Workload> workloads;
    for (uint64_t id = 1; id <= 10'000; ++id)
      workloads.push_back({.id = id + step, .path = "/a", .service = counts});
    snapshot.workloads = std::move(workloads);
    auto verdicts = std::make_shared<Verdicts>();
    for (size_t i = 0; i < 1000; ++i) {
      auto verdict = std::make_shared<Verdict>();
      verdict->slo = fmt::format("an-slo-of-some-namespace.with-a-name-{}", i);
      verdict->rollout = "7f9c6d5b8c";
      verdicts->list.push_back(verdict);
    }
    snapshot.verdicts = verdicts;
    for (int second = 0; second < 5; ++second) past.tick(snapshot);
    EXPECT_LT(past.history.bytes(), 2u << 20);
  }
  EXPECT_GT(past.history.bytes(), 1u << 20);  // or nothing was kept
}

}  // namespace
}  // namespace slogate
