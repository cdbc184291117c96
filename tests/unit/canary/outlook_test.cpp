// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/outlook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "agent/base/figures.h"
#include "tests/support/replay.h"

namespace slogate {
namespace {

using support::Replay;
using support::Sampler;
using ::testing::AllOf;
using ::testing::DoubleNear;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Optional;

constexpr size_t kReadings = 4;  // a second

TEST(StepsUntil, IsWhereTheMixtureReachesEnough) {
  const std::vector<double> nothing(6), one = {0, 0, 0, 0, 0, 0.1};
  // exp(n / 10) + 5 = 6 exp(3)
  EXPECT_THAT(steps_until(nothing, one, 3),
              Optional(DoubleNear(10 * std::log(6 * std::exp(3) - 5), 0.1)));
  // A bet that is far below is of no use, and one that falls in the end is of none either.
  const std::vector<double> sums = {-50, 1, 1, 1, 1, 1}, gains = {1, 0.5, -1, -1, -1, -1};
  EXPECT_THAT(steps_until(sums, gains, 3), Optional(DoubleNear(7.583, 0.01)));
  EXPECT_EQ(steps_until(nothing, nothing, 3), std::nullopt);
  EXPECT_EQ(steps_until(nothing, std::vector<double>(6, -0.1), 3), std::nullopt);
}

TEST(RateOfLate, FollowsWithinAMinute) {
  RateOfLate rate;
  EXPECT_EQ(rate.rate(), std::nullopt);
  for (int i = 0; i < 4; ++i) rate.add(25, 0.25);
  EXPECT_THAT(rate.rate(), Optional(DoubleNear(100, 1e-9)));
  for (int i = 0; i < 240; ++i) rate.add(5, 0.25);
  EXPECT_THAT(rate.rate(), Optional(AllOf(Ge(19.9), Le(23.0))));
}

// Of each hold the time that was expected, as a multiple of how long it then took, looked at each
// second.
std::vector<double> told_and_true(double rate, double slower, uint64_t seed) {
  std::mt19937_64 random(seed);
  const Sampler good(support::lognormal()), other(support::scaled(support::lognormal(), slower));
  Replay replay(support::default_slo(0.001));
  const auto draw = [&](const Sampler& from) {
    Histogram one{};
    from.draw(random, std::poisson_distribution<size_t>(rate / kReadings)(random), one);
    return one;
  };
  for (size_t i = 0; i < 120 * kReadings; ++i) replay.step({}, draw(good));
  std::vector<double> ratios;
  std::vector<std::pair<double, double>> said;  // when, and how long from then on
  for (size_t i = 1; i <= 1200 * kReadings; ++i) {
    const double now = static_cast<double>(i) / kReadings;
    const Verdict& verdict = replay.step(draw(other), draw(good));
    if (verdict.decision == Decision::Hold && i % kReadings == 0 && verdict.expected_seconds)
      said.emplace_back(now, *verdict.expected_seconds);
    if (verdict.decision != Decision::Pass) continue;
    for (const auto& [when, expected] : said) ratios.push_back(expected / (now - when));
    break;
  }
  return ratios;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values.at(values.size() / 2);
}

TEST(Outlook, IsTrueWithinAFactorOfTwo) {
  for (const auto& [rate, slower] : {std::pair(1000.0, 1.0), {100.0, 1.0}, {100.0, 1.1}}) {
    std::vector<double> all, first;
    for (uint64_t seed = 1; seed <= 15; ++seed) {
      const std::vector<double> ratios = told_and_true(rate, slower, seed);
      if (ratios.empty()) continue;
      first.push_back(ratios.front());
      all.insert(all.end(), ratios.begin(), ratios.end());
    }
    ASSERT_GE(first.size(), 12u);
    EXPECT_THAT(median(first), AllOf(Ge(0.5), Le(2.0))) << rate << " x " << slower;
    EXPECT_THAT(median(all), AllOf(Ge(0.5), Le(2.0))) << rate << " x " << slower;
  }
}

class OutlookTest : public ::testing::Test {
 protected:
  const Verdict& step(size_t canary, size_t baseline) {
    return replay_.step(draw(canary), draw(baseline));
  }
  // Seconds at so many requests a second of each.
  const Verdict& run(size_t seconds, size_t canary, size_t baseline) {
    for (size_t i = 0; i < seconds * kReadings; ++i) step(canary / kReadings, baseline / kReadings);
    return *replay_.judge().verdict();
  }
  Histogram draw(size_t requests) {
    Histogram one{};
    good_.draw(random_, requests, one);
    return one;
  }

  std::mt19937_64 random_{1};
  Sampler good_{support::lognormal()};
  Replay replay_{support::default_slo(0.001)};
};

TEST_F(OutlookTest, AHoldSaysHowLongItTakesAtThisRate) {
  run(120, 0, 400);
  const Verdict& verdict = run(10, 100, 400);
  ASSERT_EQ(verdict.decision, Decision::Hold);
  ASSERT_TRUE(verdict.expected_seconds);
  EXPECT_THAT(verdict.rate, Optional(DoubleNear(100, 1)));
  EXPECT_THAT(verdict.message,
              HasSubstr(about_text(*verdict.expected_seconds) + " more at 100 requests/s"));
  const ObjectiveVerdict& request = verdict.objectives.front();
  EXPECT_THAT(request.expected_seconds, Optional(*verdict.expected_seconds));
  EXPECT_THAT(request.levels.front().expected_seconds, Optional(Le(*verdict.expected_seconds)));
}

TEST_F(OutlookTest, APassAndAVetoExpectNothing) {
  run(120, 0, 1000);
  for (int i = 0; i < 2000 && replay_.judge().verdict()->decision != Decision::Pass; ++i)
    step(250, 250);
  ASSERT_EQ(replay_.judge().verdict()->decision, Decision::Pass);
  EXPECT_EQ(replay_.judge().verdict()->expected_seconds, std::nullopt);
}

TEST_F(OutlookTest, WithoutTrafficNobodyKnows) {
  run(120, 0, 400);
  EXPECT_THAT(replay_.judge().verdict()->message, HasSubstr("without traffic nobody knows"));
  run(10, 100, 400);
  const Verdict& verdict = run(20, 0, 0);
  EXPECT_EQ(verdict.expected_seconds, std::nullopt);
  EXPECT_THAT(verdict.message, HasSubstr("neither canary nor baseline has answered a request for"));
  EXPECT_THAT(verdict.message, HasSubstr("synthetic load"));
}

TEST_F(OutlookTest, LowTrafficIsToldWhatTakesLess) {
  run(120, 0, 400);
  for (size_t i = 0; i < 60 * kReadings; ++i) step(i % kReadings == 0 ? 1 : 0, 100);
  const Verdict& verdict = *replay_.judge().verdict();
  ASSERT_EQ(verdict.decision, Decision::Hold);
  ASSERT_THAT(verdict.expected_seconds, Optional(Ge(15 * 60.0)));
  EXPECT_THAT(verdict.message, HasSubstr(" requests/s; absolute objectives"));
}

// A canary that is slower but allowed to be proves less than an equal one would.
TEST_F(OutlookTest, AProofThatFallsHasNoEnd) {
  run(120, 0, 1000);
  const Sampler slower(support::scaled(support::lognormal(), 1.45));
  for (int i = 0; i < 1200; ++i) {
    Histogram one{};
    slower.draw(random_, 250, one);
    const Verdict& verdict = replay_.step(one, draw(250));
    if (verdict.decision == Decision::Veto) break;
    if (verdict.samples.canary <= 20'000) continue;
    ASSERT_EQ(verdict.expected_seconds, std::nullopt) << i;
  }
}

}  // namespace
}  // namespace slogate
