// SPDX-License-Identifier: Apache-2.0
// First requests of connections: what they may explain, and when they differ.
#include "agent/canary/firsts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/support/replay.h"

namespace slogate {
namespace {

constexpr size_t kRequest = SLOGATE_SIGNAL_request;

double allowed(const FirstShares& firsts, double share) {
  const auto margin = first_margin(firsts, share);
  return margin ? margin->ratio * share + margin->increase : INFINITY;
}

TEST(FirstMargin, IsNoneWhereTheArmsDoNotDiffer) {
  for (const double part : {0.0, 0.3, 1.0}) {
    const auto margin = first_margin({part, part}, 0.01);
    ASSERT_TRUE(margin);
    EXPECT_EQ(margin->ratio, 1);
    EXPECT_EQ(margin->increase, 0);
  }
}

// Whatever share of the first and of the others is slow, the same of both arms.
TEST(FirstMargin, HoldsForAllThatIsTheSameOfBothArms) {
  for (double c = 0; c <= 1; c += 0.1)
    for (double b = 0; b <= 1; b += 0.1)
      for (const double share : {0.1, 0.01, 0.001}) {
        const auto margin = first_margin({c, b}, share);
        if (!margin) continue;
        for (double q = 0; q <= 1; q += 0.05)
          for (double p = 0; p <= 1; p += 0.05)
            ASSERT_LE(c * q + (1 - c) * p,
                      margin->ratio * (b * q + (1 - b) * p) + margin->increase + 1e-9)
                << c << " " << b << " " << q << " " << p;
      }
}

TEST(FirstMargin, IsTheTighterOfTwoBounds) {
  EXPECT_NEAR(allowed({0.10, 0.08}, 0.01), 0.01 * 1.25, 1e-9);    // all that are slow are first
  EXPECT_NEAR(allowed({0.05, 0}, 0.1), 0.1 * 0.95 + 0.05, 1e-9);  // all that are first are slow
  EXPECT_NEAR(allowed({0, 0.5}, 0.1), 0.1 * 2, 1e-9);             // none that is first is slow
  EXPECT_NEAR(allowed({0.08, 0.10}, 0.01), 0.01 * 0.92 / 0.9, 1e-9);
}

TEST(FirstMargin, SaysNothingWhereMoreThanThreeTimesTheShareWouldBeAllowed) {
  EXPECT_FALSE(first_margin({1, 0}, 0.1));
  EXPECT_FALSE(first_margin({0, 1}, 0.1));
  EXPECT_FALSE(first_margin({0.05, 0}, 0.01));
  EXPECT_TRUE(first_margin({0.1, 0.05}, 0.01));
}

// A block of so many requests and connections.
Tally block(uint64_t requests, uint64_t connections) {
  Arm arm;
  ArmReading reading;
  reading.added.histograms[kRequest][slogate_bucket(5'000'000)] = requests;
  reading.added.counters[SLOGATE_COUNTER_used_server] = connections;
  arm.add(reading);
  return arm.tally();
}

TEST(FirstRequests, AreToldWithinSomeBlocksWhereOneArmAloneOpensConnections) {
  FirstRequests firsts;
  size_t blocks = 0;
  while (!firsts.told()[kRequest].differ() && blocks++ < 100)
    firsts.add_block(block(10, 10), block(10, 0));
  EXPECT_LE(blocks, 4u);
  EXPECT_EQ(firsts.told()[kRequest].canary, 1);
  EXPECT_EQ(firsts.told()[kRequest].baseline, 0);
  EXPECT_FALSE(firsts.told()[SLOGATE_SIGNAL_client_request].differ());
  EXPECT_EQ(exchanged(firsts.told())[kRequest].baseline, 1);
}

TEST(FirstRequests, OfTheBaselineAreToldAsWell) {
  FirstRequests firsts;
  for (int i = 0; i < 20; ++i) firsts.add_block(block(100, 1), block(400, 100));
  EXPECT_NEAR(firsts.told()[kRequest].canary, 0.01, 1e-9);
  EXPECT_NEAR(firsts.told()[kRequest].baseline, 0.25, 1e-9);
}

// A pool of connections that is there before the first block with requests is over.
TEST(FirstRequests, OfConnectionsThatAreOpenedOnceSayNothing) {
  FirstRequests firsts;
  firsts.add_block(block(250, 100), block(250, 0));
  EXPECT_FALSE(firsts.told()[kRequest].differ());
  for (int i = 0; i < 100; ++i) {
    firsts.add_block(block(250, 0), block(250, 0));
    ASSERT_FALSE(firsts.told()[kRequest].differ());
  }
}

TEST(FirstRequests, AreHardlyEverToldByChance) {
  std::mt19937_64 random(1);
  for (const double mean : {0.3, 3.0, 30.0})
    for (const uint64_t canary : {25, 250}) {
      size_t told = 0;
      std::poisson_distribution<uint64_t> of_canary(mean * static_cast<double>(canary) / 250),
          of_baseline(mean);
      FirstRequests firsts;
      for (int i = 0; i < 20'000; ++i) {
        firsts.add_block(block(canary, of_canary(random)), block(250, of_baseline(random)));
        if (firsts.told()[kRequest].differ()) ++told;
      }
      EXPECT_LE(told, 400u) << mean << " " << canary;
    }
}

TEST(FirstRequests, FadeWhereTheArmsAreAlikeAgain) {
  FirstRequests firsts;
  for (int i = 0; i < 20; ++i) firsts.add_block(block(250, 25), block(250, 0));
  ASSERT_TRUE(firsts.told()[kRequest].differ());
  for (int i = 0; i < 2400; ++i) firsts.add_block(block(250, 25), block(250, 25));
  EXPECT_FALSE(firsts.told()[kRequest].differ());
}

// A service whose sessions begin slowly: one arm's clients keep their connections, the other's do
// not.
TEST(FirstRequests, AreNoReasonForAVeto) {
  std::mt19937_64 random(2);
  const support::Sampler later(support::lognormal()),
      first(support::scaled(support::lognormal(), 3));
  for (const bool explained : {true, false}) {
    support::Replay replay(support::default_slo(0.001));
    const auto step = [&](bool canary) {
      Observation seen;
      later.draw(random, 50, seen.baseline[0].added.histograms[kRequest]);
      if (canary) first.draw(random, 50, seen.canary.added.histograms[kRequest]);
      if (canary && explained) seen.canary.added.counters[SLOGATE_COUNTER_used_server] = 50;
      return replay.step(seen);
    };
    for (int i = 0; i < 300; ++i) step(false);
    Verdict verdict;
    for (int i = 0; i < 240 && verdict.decision != Decision::Veto; ++i) verdict = step(true);
    EXPECT_EQ(verdict.decision, explained ? Decision::Hold : Decision::Veto);
    EXPECT_EQ(verdict.message.contains("the canary's connections are new for 100 % of its "
                                       "requests, the baseline's for 0 %"),
              explained)
        << verdict.message;
    EXPECT_EQ(verdict.traffic_weight > 0, explained);
  }
}

}  // namespace
}  // namespace slogate
