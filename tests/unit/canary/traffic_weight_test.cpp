// SPDX-License-Identifier: Apache-2.0
// The share of the traffic that a canary has earned.
#include "agent/canary/traffic_weight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/replay.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using support::default_slo;
using support::Replay;
using support::Sampler;
using support::tally_of;
using ::testing::HasSubstr;

constexpr size_t kRequest = SLOGATE_SIGNAL_request;
constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr Bounds kGood{.latency_low = -1, .latency_high = 0, .error_low = -1, .error_high = 0};
constexpr Bounds kUnknown{-kNever, kNever, -kNever, kNever};

// ---- the formula ----

// 5 + 45 s and 5 + 95 s with s = e^-1, .6, .6 e^-1 and .1; to 50 as it was before there were steps.
TEST(TrafficWeight, VectorsOfTheFormula) {
  EXPECT_EQ(to_traffic_weight(-3, -3, 5, 50), 50);
  EXPECT_EQ(to_traffic_weight(kLatencyFree, kErrorFree, 5, 50), 50);
  EXPECT_NEAR(to_traffic_weight(100, 1, 5, 50), 9.5, 1e-9);
  EXPECT_NEAR(to_traffic_weight(kLatencyFree + 0.1, 0, 5, 50), 21.554574853, 1e-8);
  EXPECT_NEAR(to_traffic_weight(0, kErrorFree + 0.02, 5, 50), 32, 1e-9);
  EXPECT_NEAR(to_traffic_weight(kLatencyFree + 0.1, kErrorFree + 0.02, 5, 50), 14.932744912, 1e-8);
  EXPECT_NEAR(to_traffic_weight(kLatencyFree + 0.1, 0, 5, 100), 39.948546911, 1e-8);
  EXPECT_NEAR(to_traffic_weight(100, 1, 5, 100), 14.5, 1e-9);
  EXPECT_EQ(round_traffic_weight(9.44), 9.4);
  EXPECT_EQ(round_traffic_weight(9.46), 9.5);
}

TEST(TrafficWeight, WhatIsUnknownIsAsBadAsCanBeAndWhatSaysNothingIsNotBad) {
  EXPECT_EQ(to_traffic_weight(NAN, 0, 5, 100), to_traffic_weight(kNever, kNever, 5, 100));
  EXPECT_EQ(to_traffic_weight(0, NAN, 5, 100), to_traffic_weight(0, kNever, 5, 100));
  EXPECT_NEAR(to_traffic_weight(0, kNever, 5, 100), 5 + 95 * 0.2, 1e-9);
  EXPECT_EQ(to_traffic_weight(0, -kNever, 5, 100), 100);
}

// ---- bounds ----

// Of requests: so many failed of so many.
struct Failures {
  uint64_t failed, of;
};

Tally answered(Failures requests, Failures connections = {0, 0}) {
  ArmReading reading;
  Counts& counts = reading.added;
  counts.histograms[kRequest][40] = requests.of;
  counts.counters[SLOGATE_COUNTER_server_http_success] = requests.of - requests.failed;
  counts.counters[SLOGATE_COUNTER_server_http_server_error] = requests.failed;
  counts.counters[SLOGATE_COUNTER_used_server] = connections.of - connections.failed;
  counts.counters[SLOGATE_COUNTER_server_refused] = connections.failed;
  Arm arm;
  arm.add(reading);
  return arm.tally();
}

Bounds bounds_of(const Tally& canary, const Tally& baseline, const Slo& slo = default_slo(0.01)) {
  BoundSums sums(slo);
  sums.add(canary, baseline, kRequest, {std::nullopt, std::nullopt});
  return sums.bounds(0.01);
}

// The d at which the mean over the six stakes s of (1 + s)^x (1 - s m/l)^y exp(-s m d), and of
// (1 - s)^x (1 + s m/l)^y exp(s m d), is 6 / alpha = 600 (the tests of evidence.h inverted), with
// the stakes times min(1, l/m): solved by bisection in Python.
TEST(TrafficWeight, VectorsOfTheBoundsOnErrors) {
  const Bounds worse = bounds_of(answered({30, 1000}), answered({0, 1000}));
  EXPECT_NEAR(worse.error_low, 0.01287941191, 1e-8);
  EXPECT_NEAR(worse.error_high, 0.05856519711, 1e-8);
  const Bounds none = bounds_of(answered({0, 10'000}), answered({0, 10'000}));
  EXPECT_NEAR(none.error_low, -0.00084890924, 1e-8);
  EXPECT_NEAR(none.error_high, 0.00084890924, 1e-8);
  const Bounds split = bounds_of(answered({5, 200}), answered({3, 1800}));
  EXPECT_NEAR(split.error_low, -0.02649071253, 1e-8);
  EXPECT_NEAR(split.error_high, 0.09918266564, 1e-8);
}

// Everything of the canary lies between 2^(8/8) and 2^(9/8) times the baseline's p95 and p99, which
// one in twenty of the baseline's exceed. Each of the bets gains the cap of 1 in each block, so
// that ln(600) = 6.4 takes seven.
TEST(TrafficWeight, VectorsOfTheBoundsOnLatency) {
  constexpr size_t kEdge = 100;
  const auto tally = [](std::array<std::pair<size_t, uint64_t>, 2> buckets) {
    ArmReading reading;
    for (const auto& [bucket, count] : buckets) reading.added.histograms[kRequest][bucket] = count;
    Arm arm;
    arm.add(reading);
    return arm.tally();
  };
  const Tally stable = tally({{{50, 950}, {kEdge + 1, 50}}});
  const Tally canary = tally({{{kEdge + 9, 1000}, {1, 0}}});
  BoundSums sums;
  for (int block = 0; block < 6; ++block) sums.add(canary, stable, kRequest, {kEdge, kEdge});
  EXPECT_EQ(sums.bounds(0.01).latency_low, -kNever);
  EXPECT_EQ(sums.bounds(0.01).latency_high, kNever);
  sums.add(canary, stable, kRequest, {kEdge, kEdge});
  EXPECT_EQ(sums.bounds(0.01).latency_low, 1);
  EXPECT_NEAR(sums.bounds(0.01).latency_high, 1.181015465, 1e-8);
}

TEST(TrafficWeight, AShareWithoutExposuresSaysNothing) {
  // Neither connections nor answers that can be read.
  const auto silent = [](uint64_t requests) {
    ArmReading reading;
    reading.added.histograms[kRequest][40] = requests;
    Arm arm;
    arm.add(reading);
    return arm.tally();
  };
  EXPECT_EQ(bounds_of(silent(1000), silent(1000)).error_high, -kNever);
  // Connections that one arm alone opened: there is nothing to compare them with.
  const Tally kept = answered({0, 10'000}), opened = answered({0, 10'000}, {0, 5});
  EXPECT_NEAR(bounds_of(opened, kept).error_high, 0.00084890924, 1e-8);
  EXPECT_NEAR(bounds_of(kept, opened).error_high, 0.00084890924, 1e-8);
  // Exposures of both that are too few are not bounded yet; nor are failures of the canary's.
  EXPECT_EQ(bounds_of(opened, opened).error_high, kNever);
  EXPECT_EQ(bounds_of(answered({0, 10'000}, {3, 10}), kept).error_high, kNever);
  // The larger difference counts.
  const Tally failing = answered({30, 1000}, {0, 1000}), well = answered({0, 1000}, {0, 1000});
  EXPECT_NEAR(bounds_of(failing, well).error_low, 0.01287941191, 1e-8);
  EXPECT_NEAR(bounds_of(failing, well).error_high, 0.05856519711, 1e-8);
}

TEST(TrafficWeight, WhatTheSloAllowsMoreOfIsNotBoundedByTheFormula) {
  Slo slo = default_slo(0.01);
  slo.objectives = {RatioObjective{.signal = RatioSignal::Errors, .max_increase = 0.1},
                    LatencyObjective{.quantile = 0.99, .max_increase = 50ms}};
  EXPECT_EQ(bounds_of(answered({30, 1000}), answered({0, 1000}), slo).error_low, -kNever);
  EXPECT_EQ(bounds_of(answered({30, 1000}), answered({0, 1000}), slo).error_high, -kNever);
  BoundSums sums(slo);
  for (int block = 0; block < 100; ++block)
    sums.add(answered({0, 1000}), answered({0, 1000}), kRequest, {30, 30});
  EXPECT_EQ(sums.bounds(0.01).latency_high, kNever);
}

TEST(TrafficWeight, BoundsHoldTheTruth) {
  const Sampler good(support::lognormal()), slow(support::scaled(support::lognormal(), 2));
  const Edges edges = {quantile_edge(tally_of(good, 20'000, 1), kRequest, 0.95),
                       quantile_edge(tally_of(good, 20'000, 1), kRequest, 0.99)};
  BoundSums equal, twice;
  for (uint64_t block = 0; block < 60; ++block) {
    const Tally stable = tally_of(good, 1000, 10 + block);
    equal.add(tally_of(good, 1000, 1000 + block), stable, kRequest, edges);
    twice.add(tally_of(slow, 1000, 2000 + block), stable, kRequest, edges);
  }
  EXPECT_LE(equal.bounds(0.01).latency_low, 0);
  EXPECT_GE(equal.bounds(0.01).latency_high, 0);
  EXPECT_LT(equal.bounds(0.01).latency_high, 1);
  EXPECT_GT(twice.bounds(0.01).latency_low, 0.4);
  EXPECT_LE(twice.bounds(0.01).latency_low, 1);
}

// ---- steps ----

TEST(TrafficWeight, NoDataNeverRaisesIt) {
  const Bounds unknown = BoundSums().bounds(0.01);
  EXPECT_FALSE(std::isfinite(unknown.latency_high));
  for (const double now : {5.0, 30.0, 100.0})
    for (const Bounds& bounds : {unknown, kUnknown})
      EXPECT_EQ(next_traffic_weight(now, Standing::Open, bounds, {}), now);
}

TEST(TrafficWeight, MovesOnlyAsFarAsBoundsForceOrJustify) {
  const auto next = [](double now, const Bounds& bounds) {
    return next_traffic_weight(now, Standing::Open, bounds, {});
  };
  EXPECT_EQ(next(10, kGood), 15);
  EXPECT_EQ(next(98, kGood), 100);
  Bounds bounds = kGood;
  bounds.latency_high = kLatencyFree + 0.1;
  EXPECT_EQ(next(30, bounds), 35);
  EXPECT_NEAR(next(37, bounds), 39.948546911, 1e-8);
  EXPECT_EQ(next(60, bounds), 60) << "it is not disproved either";
  bounds = {.latency_low = kLatencyFree + 0.1, .latency_high = 1, .error_low = -1, .error_high = 0};
  EXPECT_NEAR(next(60, bounds), 39.948546911, 1e-8);
  bounds = kGood;
  bounds.latency_low = kLatencyBreak + 0.01;
  EXPECT_EQ(next(50, bounds), 0);
  bounds = kGood;
  bounds.error_low = kErrorBreak + 0.001;
  EXPECT_EQ(next(50, bounds), 0);
}

TEST(TrafficWeight, FollowsTheVerdict) {
  const WeightSteps steps{.from = 10, .step = 20, .most = 80};
  const auto next = [&](double now, Standing standing) {
    return next_traffic_weight(now, standing, kUnknown, steps);
  };
  EXPECT_EQ(next(10, Standing::Passed), 30);
  EXPECT_EQ(next(70, Standing::Passed), 80);
  EXPECT_EQ(next(100, Standing::Passed), 80) << "the most is less than it was";
  EXPECT_EQ(next(50, Standing::Held), 50);
  EXPECT_EQ(next(50, Standing::Suspected), 25);
  EXPECT_EQ(next(12, Standing::Suspected), 10);
  EXPECT_EQ(next(5, Standing::Suspected), 5) << "suspicion never raises it";
  EXPECT_EQ(next(50, Standing::Stalled), 25);
  EXPECT_EQ(next(50, Standing::Vetoed), 0);
}

class TrafficWeightPace : public ::testing::Test {
 protected:
  TrafficWeightPace() : weight_(slo(), 0s) {}
  static Slo slo() {
    Slo slo = default_slo(0.001);
    slo.weight = {.from = 5, .step = 10, .most = 40, .every = 10s};
    return slo;
  }
  // Seconds with so many blocks each; the weight then.
  double after(size_t seconds, Standing standing, size_t blocks) {
    for (size_t i = 0; i < seconds; ++i) {
      now_ += 1s;
      for (size_t block = 0; block < blocks; ++block) weight_.add_block();
      weight_.update(standing, 0.001, now_);
    }
    return weight_.percent();
  }
  std::chrono::nanoseconds now_{0};
  TrafficWeight weight_;
};

TEST_F(TrafficWeightPace, AStepTakesItsTimeAndTraffic) {
  EXPECT_EQ(after(9, Standing::Passed, 4), 5);
  EXPECT_EQ(after(1, Standing::Passed, 4), 15);
  EXPECT_EQ(after(9, Standing::Passed, 4), 15);
  EXPECT_EQ(after(1, Standing::Passed, 4), 25);
  EXPECT_EQ(after(3600, Standing::Passed, 0), 25) << "no traffic";
  for (size_t i = 1; i < kStepBlocks; ++i) weight_.add_block();
  EXPECT_EQ(after(60, Standing::Passed, 0), 25) << "too few blocks at this weight";
  EXPECT_EQ(after(1, Standing::Passed, 1), 35);
  EXPECT_EQ(after(10, Standing::Passed, 4), 40);
  EXPECT_EQ(after(600, Standing::Passed, 4), 40);
}

TEST_F(TrafficWeightPace, ASuspicionThatLastsHalvesIt) {
  after(40, Standing::Passed, 4);
  EXPECT_EQ(after(10, Standing::Suspected, 4), 40) << "a veto has its time";
  EXPECT_EQ(after(1, Standing::Suspected, 4), 20);
  EXPECT_EQ(after(9, Standing::Suspected, 4), 20);
  EXPECT_EQ(after(1, Standing::Suspected, 4), 10);
  EXPECT_EQ(after(10, Standing::Suspected, 4), 5);
  EXPECT_EQ(after(100, Standing::Suspected, 4), 5);
  EXPECT_EQ(after(9, Standing::Passed, 4), 5);
  EXPECT_EQ(after(1, Standing::Passed, 4), 15);
  EXPECT_EQ(after(1, Standing::Vetoed, 0), 0);
}

TEST_F(TrafficWeightPace, ASuspicionThatComesAndGoesIsOneAndNothingRisesMeanwhile) {
  after(20, Standing::Passed, 4);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(after(1, Standing::Suspected, 4), 25);
    EXPECT_EQ(after(1, Standing::Passed, 4), 25);
  }
  EXPECT_EQ(after(3, Standing::Suspected, 4), 12.5);
  EXPECT_EQ(after(9, Standing::Passed, 4), 12.5);
  EXPECT_EQ(after(1, Standing::Passed, 4), 22.5);
  EXPECT_EQ(after(1, Standing::Suspected, 4), 22.5) << "another one";
}

TEST_F(TrafficWeightPace, SuspicionNeedsBlocksAndAStallNone) {
  after(20, Standing::Passed, 4);
  EXPECT_EQ(after(100, Standing::Suspected, 0), 25);
  EXPECT_EQ(after(10, Standing::Stalled, 0), 25);
  EXPECT_EQ(after(1, Standing::Stalled, 0), 12.5);
}

// As of a canary on a machine that is busy with something else.
TEST_F(TrafficWeightPace, MomentsOfAStallTakeNothing) {
  after(20, Standing::Passed, 4);
  for (int i = 0; i < 10; ++i) {
    EXPECT_GE(after(9, Standing::Stalled, 0), 25);
    EXPECT_GE(after(1, Standing::Passed, 4), 25);
  }
  EXPECT_GT(after(10, Standing::Passed, 4), 25);
}

TEST_F(TrafficWeightPace, AnotherJudgeGoesOnFromWhereOneStood) {
  after(20, Standing::Passed, 4);
  Slo narrow = default_slo(0.001);
  narrow.weight.most = 20;
  TrafficWeight next(default_slo(0.001), 0s), capped(narrow, 0s);
  next.go_on_from(weight_.percent());
  capped.go_on_from(weight_.percent());
  EXPECT_EQ(next.percent(), 25);
  EXPECT_EQ(capped.percent(), 20);
}

TEST_F(TrafficWeightPace, OtherStepsHoldFromNowOn) {
  EXPECT_EQ(after(10, Standing::Passed, 4), 15);
  weight_.set_steps({.from = 5, .step = 50, .most = 100, .every = 2s});
  EXPECT_EQ(after(2, Standing::Passed, 5), 65);
  EXPECT_EQ(after(2, Standing::Passed, 5), 100);
  EXPECT_TRUE(weight_.is_all());
}

// ---- the judge ----

class WeightOfJudge : public ::testing::Test {
 protected:
  // A quarter of a second with so many requests of each arm; kept connections, answers of HTTP.
  const Verdict& step(Replay& replay, size_t canary, size_t baseline, double failing = 0) {
    Observation seen;
    good_.draw(random_, canary, seen.canary.added.histograms[kRequest]);
    good_.draw(random_, baseline, seen.baseline[0].added.histograms[kRequest]);
    support::draw_answers(random_, {failing}, canary, seen.canary.added);
    support::draw_answers(random_, {0}, baseline, seen.baseline[0].added);
    return replay.step(std::move(seen));
  }
  // As the weight says, of 1,000 requests a second.
  const Verdict& follow(Replay& replay, double failing = 0) {
    const double weight = replay.judge().verdict()->traffic_weight;
    const auto canary = static_cast<size_t>(std::lround(2.5 * weight));
    return step(replay, canary, 250 - canary, failing);
  }
  static Slo slo(const WeightSteps& steps = {.from = 20, .step = 20, .most = 100, .every = 5s}) {
    Slo slo = default_slo(0.001);
    slo.weight = steps;
    return slo;
  }
  void baseline_only(Replay& replay) {
    for (int i = 0; i < 280; ++i) step(replay, 0, 250);
  }
  // To a weight of 100, or as long as `most` readings.
  double to_all(Replay& replay, size_t most = 2400) {
    for (size_t i = 0; i < most && replay.judge().verdict()->traffic_weight < 100; ++i)
      follow(replay);
    return replay.judge().verdict()->traffic_weight;
  }

  std::mt19937_64 random_{3};
  Sampler good_{support::lognormal()};
};

TEST_F(WeightOfJudge, RisesToAllOfItWithoutASingleNewConnection) {
  Replay replay(slo());
  baseline_only(replay);
  EXPECT_EQ(replay.judge().verdict()->traffic_weight, 20);
  EXPECT_EQ(to_all(replay), 100) << replay.judge().verdict()->message;
}

TEST_F(WeightOfJudge, StaysWithoutTrafficWhateverWasShown) {
  Replay replay(slo());
  baseline_only(replay);
  while (follow(replay).traffic_weight < 60) {
  }
  const double reached = replay.judge().verdict()->traffic_weight;
  for (int i = 0; i < 1200; ++i) ASSERT_LE(step(replay, 0, 0).traffic_weight, reached);
  EXPECT_LE(step(replay, 0, 250).traffic_weight, reached);
}

TEST_F(WeightOfJudge, APassStaysOneWhereNothingIsLeftForTheBaseline) {
  Replay replay(slo());
  baseline_only(replay);
  ASSERT_EQ(to_all(replay), 100);
  for (int i = 0; i < 400; ++i) {
    const Verdict& verdict = step(replay, 250, 0);
    ASSERT_EQ(verdict.decision, Decision::Pass) << verdict.message;
    ASSERT_EQ(verdict.traffic_weight, 100);
  }
  EXPECT_THAT(replay.judge().verdict()->message, HasSubstr("nothing is judged any more"));
  // What it does now is compared with nothing.
  for (int i = 0; i < 400; ++i) ASSERT_EQ(step(replay, 250, 0, 0.5).decision, Decision::Pass);
}

// Who does not go by the weight may begin with all of it.
TEST_F(WeightOfJudge, AllOfItIsNoProof) {
  Replay replay(slo({.from = 100, .step = 20, .most = 100, .every = 5s}));
  baseline_only(replay);
  for (int i = 0; i < 400; ++i) {
    const Verdict& verdict = step(replay, 50, 0);
    ASSERT_EQ(verdict.decision, Decision::Hold) << verdict.message;
  }
}

TEST_F(WeightOfJudge, AtAllOfItACanaryThatFallsSilentIsStalled) {
  Replay replay(slo());
  baseline_only(replay);
  ASSERT_EQ(to_all(replay), 100);
  for (int i = 0; i < 200; ++i) step(replay, 250, 0);
  for (int i = 0; i < 12; ++i) step(replay, 0, 0);  // 3 s; longer ones take half of the weight
  EXPECT_EQ(replay.judge().verdict()->decision, Decision::Hold);
  EXPECT_EQ(replay.judge().verdict()->reason, Reason::Stalled) << replay.judge().verdict()->message;
}

TEST_F(WeightOfJudge, AtAllOfItObjectivesOfTheCanaryAloneAreJudged) {
  Slo of = slo();
  of.objectives = {RatioObjective{.signal = RatioSignal::Errors, .max_ratio = 0.02}};
  Replay replay(of);
  baseline_only(replay);
  ASSERT_EQ(to_all(replay), 100);
  for (int i = 0; i < 400; ++i) step(replay, 250, 0);
  EXPECT_THAT(replay.judge().verdict()->message, HasSubstr("bound the canary alone"));
  size_t steps = 0;
  while (steps < 80 && step(replay, 250, 0, 0.5).decision != Decision::Veto) ++steps;
  EXPECT_LT(steps, 80U) << replay.judge().verdict()->message;
  EXPECT_EQ(replay.judge().verdict()->traffic_weight, 0);
}

TEST_F(WeightOfJudge, WhileNothingIsComparedBlocksStayAsLongAsTheyHadToBe) {
  Replay replay(slo());
  const Sampler slow(support::scaled(support::lognormal(), 6));
  support::Bursts bursts(8, 0.03);
  for (int i = 0; i < 1200; ++i) {
    Histogram baseline{};
    (bursts.next(random_) ? slow : good_).draw(random_, 250, baseline);
    replay.step({}, baseline);
  }
  const auto block = replay.judge().verdict()->block;
  EXPECT_GE(block, 1s);
  for (int i = 0; i < 1300; ++i) step(replay, 250, 0);
  EXPECT_EQ(replay.judge().verdict()->block, block);
}

TEST_F(WeightOfJudge, WithoutABaselineItRisesWithThePass) {
  Slo of = slo();
  of.baseline.reset();
  of.objectives = {LatencyObjective{.quantile = 0.9, .max = 1s}};
  Replay replay(of);
  EXPECT_EQ(to_all(replay), 100) << replay.judge().verdict()->message;
}

TEST_F(WeightOfJudge, ACanaryThatFailsAboveHalfOfTheLoadIsStoppedOnTheWay) {
  Replay replay(slo({.from = 20, .step = 10, .most = 100, .every = 5s}));
  baseline_only(replay);
  double highest = 0;
  for (int i = 0; i < 4000; ++i) {
    const double weight = replay.judge().verdict()->traffic_weight;
    highest = std::max(highest, weight);
    if (follow(replay, weight > 50 ? 0.03 : 0).decision == Decision::Veto) break;
  }
  EXPECT_EQ(replay.judge().verdict()->decision, Decision::Veto);
  EXPECT_EQ(replay.judge().verdict()->traffic_weight, 0);
  EXPECT_GT(highest, 50);
  EXPECT_LE(highest, 70);
}

TEST_F(WeightOfJudge, AStallOfAMomentLeavesItAndALongerOneHalvesIt) {
  Replay replay(slo());
  baseline_only(replay);
  while (follow(replay).traffic_weight < 60) {
  }
  const double reached = replay.judge().verdict()->traffic_weight;
  const auto stall = [&](size_t readings) {
    for (size_t i = 0; i < readings; ++i) {
      Observation seen;
      good_.draw(random_, 100, seen.baseline[0].added.histograms[kRequest]);
      support::draw_answers(random_, {0}, 100, seen.baseline[0].added);
      seen.canary.overdue = 20;
      seen.canary.oldest = 250ms * (i + 1) + 1s;
      replay.step(std::move(seen));
    }
    return *replay.judge().verdict();
  };
  const Verdict moment = stall(16);
  EXPECT_EQ(moment.reason, Reason::Stalled);
  EXPECT_EQ(moment.traffic_weight, reached);
  EXPECT_NEAR(stall(20).traffic_weight, reached / 2, 0.11) << "each is rounded";
}

}  // namespace
}  // namespace slogate
