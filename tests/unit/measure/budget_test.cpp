// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/budget.h"

#include <gtest/gtest.h>

#include <vector>

namespace slogate {
namespace {

using namespace std::chrono_literals;

// A node of two CPUs whose agent and programs take given shares of it; what the programs take is
// that of the connections that are watched.
class Node {
 public:
  explicit Node(double ratio) : budget(ratio, 2) { budget.look({}, now_); }

  // Steps that the budget made.
  std::vector<int> spend(double agent, double programs, std::chrono::seconds time) {
    std::vector<int> steps;
    for (const auto end = now_ + time; now_ < end;) {
      now_ += 1s;
      spent_.agent += share(agent);
      spent_.programs += share(programs / watched_one_in(budget.status().step));
      if (budget.look(spent_, now_)) steps.push_back(budget.status().step);
    }
    return steps;
  }

  Budget budget;

 private:
  static std::chrono::nanoseconds share(double of_node) {
    return std::chrono::nanoseconds(static_cast<int64_t>(of_node * 2e9));
  }

  std::chrono::nanoseconds now_{5s};
  CpuTime spent_;
};

constexpr auto kAStep = Budget::kWindow * Budget::kPatience;

TEST(Budget, BelowItNothingIsLeftOut) {
  Node node(0.005);
  EXPECT_EQ(node.spend(0.002, 0.0029, 1h), std::vector<int>{});
  EXPECT_NEAR(node.budget.status().agent, 0.002, 1e-9);
  EXPECT_NEAR(node.budget.status().programs, 0.0029, 1e-9);
}

TEST(Budget, AShortLoadChangesNothing) {
  Node node(0.005);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(node.spend(0.001, 0.1, kAStep - Budget::kWindow), std::vector<int>{});
    EXPECT_EQ(node.spend(0.001, 0.001, Budget::kWindow), std::vector<int>{});
  }
}

TEST(Budget, SignalsGoFirstThenConnectionsUntilItIsKept) {
  Node node(0.005);
  // .002 for the agent leaves .003: one connection in four of .012, after what no SLO needs.
  EXPECT_EQ(node.spend(0.0019, 0.012, 1h), (std::vector{1, 2, 3}));
  EXPECT_LT(node.budget.status().agent + node.budget.status().programs, 0.005);
}

TEST(Budget, WhatComesBackDoesNotGoAgain) {
  Node node(0.005);
  node.spend(0.001, 0.012, 10min);
  ASSERT_EQ(node.budget.status().step, 3);
  // All of it would be .0036, but twice one in two may not be too much either.
  EXPECT_EQ(node.spend(0.001, 0.0036, kAStep), std::vector{2});
  EXPECT_EQ(node.spend(0.001, 0.0036, 1h), std::vector{1});
  EXPECT_EQ(node.spend(0.001, 0.0015, kAStep), std::vector{0});
}

TEST(Budget, ConnectionsAreWatchedWhereTheAgentIsWhatCosts) {
  Node node(0.005);
  EXPECT_EQ(node.spend(0.02, 0.01, 1h), std::vector{1});
}

TEST(Budget, OneConnectionIn64IsTheLeast) {
  Node node(0.005);
  node.spend(0.0001, 2, 2h);
  EXPECT_EQ(node.budget.status().step, kMostSteps);
  EXPECT_EQ(watched_one_in(kMostSteps), 64u);
  EXPECT_EQ(watched_one_in(0), 1u);
  EXPECT_EQ(watched_one_in(kOptionalStep), 1u);
}

TEST(Budget, AHigherOneBringsAllBack) {
  Node node(0.005);
  node.spend(0.001, 0.02, 10min);
  ASSERT_GT(node.budget.status().step, 1);
  node.budget.set_ratio(1);
  node.spend(0.001, 0.02, 10min);
  EXPECT_EQ(node.budget.status().step, 0);
  EXPECT_EQ(node.budget.status().budget, 1);
}

TEST(Budget, WhatStartingCostIsNotCounted) {
  Budget budget(0.005, 1);
  budget.look({.agent = 10s, .programs = 0s}, 100s);
  budget.look({.agent = 10s + 10ms, .programs = 5ms}, 110s);
  EXPECT_NEAR(budget.status().agent, 0.001, 1e-9);
  EXPECT_NEAR(budget.status().programs, 0.0005, 1e-9);
}

TEST(Budget, LeavesOutWhatIsOptional) {
  EXPECT_EQ(optional_programs(),
            (std::vector{SLOGATE_PROBE_first_read, SLOGATE_PROBE_answer_arrived}));
}

ProbeStatus probe(slogate_probe which, uint64_t runs, uint64_t timed,
                  std::chrono::nanoseconds total) {
  return {.probe = which, .attached = true, .runs = runs, .timed = timed, .timed_total = total};
}

TEST(ProgramCost, IsRunsTimesTheMeanOfThoseTimedMeanwhile) {
  ProgramCost cost;
  std::vector rows = {probe(SLOGATE_PROBE_data_ready, 1'000'000, 100, 100us),
                      probe(SLOGATE_PROBE_inventory, 0, 0, 0ns)};
  EXPECT_EQ(cost.add(rows), 0ns);  // of an agent before
  rows[0].runs += 1000;            // none of them timed: 1 us each, as before
  EXPECT_EQ(cost.add(rows), 1ms);
  rows[0].runs += 1000, rows[0].timed += 10, rows[0].timed_total += 5us;  // half a us
  EXPECT_EQ(cost.add(rows), 1500us);
}

TEST(ProgramCost, LeavesOutIteratorsWhichAreTheAgentsOwnTime) {
  ProgramCost cost;
  std::vector rows = {probe(SLOGATE_PROBE_inventory, 10, 10, 10us)};
  cost.add(rows);
  rows[0].runs += 1000;
  EXPECT_EQ(cost.add(rows), 0ns);
}

}  // namespace
}  // namespace slogate
