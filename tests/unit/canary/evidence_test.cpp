// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/evidence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace slogate {
namespace {

constexpr double kNear = 1e-8;

// Mixtures over a grid with equal weights, as the vectors have them.
double relative(const Grid& grid, Trial canary, Trial baseline, Margin margin = {}) {
  std::vector<double> values;
  for (const double factor : grid) values.push_back(worse(canary, baseline, margin, factor));
  return log_mean_exp(values);
}

double absolute(double events, double exposures) {
  std::vector<double> values;
  for (const double factor : kLatencyGrid)
    values.push_back(exceeds({events, exposures}, 0.01, factor));
  return log_mean_exp(values);
}

TEST(Evidence, VectorsOfTwoArms) {
  EXPECT_NEAR(relative(kLatencyGrid, {5, 100}, {1, 100}), 1.098697132, kNear);
  EXPECT_NEAR(relative(kLatencyGrid, {3, 100}, {0, 900}), 3.591415569, kNear);
  EXPECT_NEAR(relative(kLatencyGrid, {20, 1000}, {10, 1000}), 0.970431514, kNear);
  EXPECT_NEAR(relative(kLatencyGrid, {20, 1000}, {10, 1000}, {.ratio = 2}), -1.255638012, kNear);
  EXPECT_NEAR(relative(kLatencyGrid, {0, 250}, {7, 250}), -2.127257989, kNear);
}

TEST(Evidence, VectorsOfRareCounts) {
  const Margin margin{.ratio = 1, .increase = 0.001};
  EXPECT_NEAR(relative(kRareGrid, {5, 1000}, {1, 1000}, margin), 0.552752954, kNear);
  EXPECT_NEAR(relative(kRareGrid, {12, 1000}, {1, 1000}, margin), 3.956206832, kNear);
  EXPECT_NEAR(relative(kRareGrid, {4, 200}, {0, 1800}, margin), 5.441430914, kNear);
  EXPECT_NEAR(relative(kRareGrid, {0, 1000}, {0, 1000}, margin), -0.542190464, kNear);
}

TEST(Evidence, VectorsOfOneArm) {
  EXPECT_NEAR(absolute(7, 100), 6.366666584, kNear);
  EXPECT_NEAR(absolute(23, 1000), 4.778129456, kNear);
  EXPECT_NEAR(absolute(0, 500), -2.790706718, kNear);
  EXPECT_NEAR(absolute(3, 3), 5.268998509, kNear);
}

TEST(Evidence, NoneWhereAnArmDidNothing) {
  EXPECT_EQ(worse({0, 0}, {5, 100}, {}, 2), 0);
  EXPECT_EQ(worse({5, 100}, {0, 0}, {}, 2), 0);
  EXPECT_EQ(tolerable({5, 100}, {0, 0}, {}, 0.5), 0);
}

double binomial(int n, int k, double p) {
  return std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) +
                  k * std::log(p) + (n - k) * std::log1p(-p));
}

// The mean of exp(f) over all outcomes of both arms.
template <typename F>
double mean(int m, double canary, int l, double baseline, const F& f) {
  double sum = 0;
  for (int x = 0; x <= m; ++x)
    for (int y = 0; y <= l; ++y)
      sum += binomial(m, x, canary) * binomial(l, y, baseline) *
             std::exp(f(Trial{double(x), double(m)}, Trial{double(y), double(l)}));
  return sum;
}

// What everything rests on: at the border of what is allowed no bet gains on average.
TEST(Evidence, MeanIsAtMostOneAtTheBorder) {
  for (const auto& [m, l] : {std::pair(1, 1), {5, 20}, {20, 5}, {30, 30}})
    for (const Margin margin : {Margin{1, 0}, Margin{1.5, 0}, Margin{1, 0.001}, Margin{2, 0.01}})
      for (const double baseline : {1e-3, 0.01, 0.1, 0.4}) {
        const double canary = margin.ratio * baseline + margin.increase;
        if (canary >= 1) continue;
        for (const double factor : kRareGrid)
          EXPECT_LE(mean(m, canary, l, baseline,
                         [&](Trial x, Trial y) { return worse(x, y, margin, factor); }),
                    1 + 1e-9);
        for (const double stake : kStakes)
          EXPECT_LE(mean(m, canary, l, baseline,
                         [&](Trial x, Trial y) { return tolerable(x, y, margin, stake); }),
                    1 + 1e-9);
      }
}

TEST(Evidence, OneBlockNeverCountsForMoreThanTheCap) {
  Evidence evidence({0.5, 0.5});
  const std::vector<double> gains = {50, 0.25};
  evidence.add(gains);
  EXPECT_EQ(evidence.sums()[0], kCap);
  EXPECT_EQ(evidence.sums()[1], 0.25);
  evidence.add(std::vector<double>{-7, 0});
  EXPECT_EQ(evidence.sums()[0], kCap - 7);
}

TEST(Evidence, AMixtureOfNothingIsOne) {
  const Evidence evidence({0.2, 0.3});
  EXPECT_NEAR(evidence.log_e(), 0, 1e-12);
  EXPECT_NEAR(evidence.log_e(0, 1), 0, 1e-12);
}

TEST(Evidence, ALateChangeIsSeenAfterALongGoodTime) {
  Evidence evidence({1.0});
  for (int i = 0; i < 20'000; ++i) evidence.add(std::vector<double>{-0.5});
  EXPECT_LT(evidence.log_e(), 0);
  int blocks = 0;
  while (evidence.log_e() < std::log(1000) && blocks < 1000) {
    evidence.add(std::vector<double>{1.0});
    ++blocks;
  }
  // At most one stretch between two starts, and what the weight of a late start costs.
  EXPECT_LE(blocks, 60 + 25);
}

// Shares of answers have eight short blocks in one of the others', whose late change must not pay
// for the starts of the short ones.
TEST(Evidence, EachGroupBeginsAnewByItsOwnBlocks) {
  Evidence both({0.5, 0.5}, {true, false}), alone({0.5, 0.5});
  const auto block = [](double gain) { return std::vector<double>{gain, gain}; };
  const auto add_long = [&](double gain) {
    for (int i = 0; i < 8; ++i) both.add(block(-0.5), SignalGroup::OfAnswers);
    both.add(block(gain), SignalGroup::Others);
    alone.add(block(gain));
  };
  for (int i = 0; i < 75; ++i) add_long(-0.5);
  EXPECT_EQ(both.blocks(true), 600u);
  EXPECT_EQ(both.blocks(false), 75u);
  EXPECT_EQ(both.sums()[0], -300);
  EXPECT_EQ(both.sums()[1], -37.5);
  for (int i = 0; i < 30; ++i) {
    EXPECT_DOUBLE_EQ(both.log_e(1, 1), alone.log_e(1, 1)) << i;
    add_long(1);
  }
  EXPECT_GT(both.log_e(1, 1), std::log(1000));
  EXPECT_LT(both.log_e(0, 1), 0);
  // All of it: half of each.
  const std::array halves = {both.log_e(0, 1), both.log_e(1, 1)};
  EXPECT_NEAR(both.log_e(), log_mean_exp(halves), 1e-9);
}

// Restarts keep what makes an e-value one: gains whose exp() has a mean of 1 seldom reach 1/alpha.
TEST(Evidence, RestartsDoNotRaiseFalseAlarms) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform;
  int alarms = 0;
  for (int run = 0; run < 1000; ++run) {
    Evidence evidence({1.0});
    bool alarm = false;
    for (int i = 0; i < 600 && !alarm; ++i) {
      evidence.add(std::vector<double>{uniform(random) < 0.5 ? std::log(1.4) : std::log(0.6)});
      alarm = evidence.log_e() >= std::log(100);
    }
    alarms += alarm;
  }
  EXPECT_LE(alarms, 20);  // 10 expected at the most; 20 has a chance below 0.003
}

}  // namespace
}  // namespace slogate
