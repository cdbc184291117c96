// SPDX-License-Identifier: Apache-2.0
// A canary that shares no node with its baseline, and several nodes of one rollout.
#include "agent/canary/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "agent/canary/shares.h"
#include "agent/canary/verdict_json.h"
#include "tests/support/replay.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using support::default_slo;
using support::Sampler;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kRequests = 250;  // in a reading: 1,000 a second

constexpr size_t readings(size_t seconds) {
  return seconds * 4;
}

// The canary's node, and the nodes that it asks.
class FleetTest : public ::testing::Test {
 protected:
  struct Node {
    const Sampler* times;
    uint64_t number = 0;
    bool silent = false;
  };

  FleetTest() { fleet_.know_peers(true); }

  ArmReading arm(const Sampler& times, size_t requests) {
    ArmReading reading;
    reading.cgroups = 1;
    times.draw(random_, requests, reading.added.histograms[SLOGATE_SIGNAL_request]);
    return reading;
  }
  LentReading reading(Node& node) {
    return {.number = ++node.number,
            .lasted = kReadInterval,
            .halves = {arm(*node.times, kRequests / 2), arm(*node.times, kRequests / 2)}};
  }
  // A node is asked, and answers with what it did in the last 15 s.
  Node& join(const std::string& name, const Sampler& times) {
    fleet_.ask(name, now_);
    Node& node = nodes_[name] = {.times = &times};
    lend(name, node, 60);
    return node;
  }
  void lend(const std::string& name, Node& node, size_t count) {
    LentAnswer answer;
    for (size_t i = 0; i < count; ++i) answer.readings.push_back(reading(node));
    fleet_.lend(name, std::move(answer), now_);
  }
  void drop(const std::string& name) {
    fleet_.drop_lender(name);
    nodes_.erase(name);
  }
  const Verdict& observe(Observation seen) {
    now_.monotonic += kReadInterval;
    now_.system += kReadInterval;
    seen.now = now_;
    fleet_.observe(seen);
    return verdict();
  }
  // One reading later: the canary answered so, and those who are not silent lent what they did.
  const Verdict& step(const Sampler& canary, size_t requests = kRequests) {
    for (auto& [name, node] : nodes_)
      if (!node.silent) lend(name, node, 1);
    Observation seen;
    seen.canary = arm(canary, requests);
    return observe(std::move(seen));
  }
  size_t steps_while(Decision decision, const Sampler& canary, size_t most) {
    size_t steps = 0;
    while (steps < most && step(canary).decision == decision) ++steps;
    return steps;
  }
  const Verdict& verdict() { return *fleet_.verdict(); }
  LenderStatus lender(const std::string& node) {
    const auto& all = verdict().lenders;
    const auto found = std::ranges::find(all, node, &LenderStatus::node);
    EXPECT_NE(found, all.end()) << node;
    return found == all.end() ? LenderStatus{} : *found;
  }

  std::mt19937_64 random_{5};
  Sampler good_{support::lognormal()};
  Sampler quick_{support::scaled(support::lognormal(), 0.5)};
  Sampler slower_{support::scaled(support::lognormal(), 1.2)};
  Sampler twice_{support::scaled(support::lognormal(), 2)};
  TickTime now_{std::chrono::sys_days(std::chrono::year(2026) / 11 / 30), 1h};
  Fleet fleet_{default_slo(0.001), "1", now_};
  std::map<std::string, Node> nodes_;
};

TEST_F(FleetTest, WithoutPeersItIsTheJudgeOfItsNode) {
  fleet_.know_peers(false);
  Judge judge(default_slo(0.001), "1", now_);
  for (int i = 0; i < 100; ++i) {
    Observation seen;
    seen.canary = arm(twice_, i < 40 ? 0 : kRequests);
    seen.baseline[0] = arm(good_, kRequests);
    observe(seen);
    seen.now = now_;
    judge.observe(seen);
    ASSERT_EQ(dump(verdict_json(verdict())), dump(verdict_json(*judge.verdict())));
  }
  EXPECT_EQ(verdict().decision, Decision::Veto);
}

// The price that a node with a baseline of its own pays for what might be lent is a twentieth of
// what one block may add.
TEST_F(FleetTest, ABaselineOnTheNodeJudgesAloneAndNearlyAsFast) {
  Judge judge(default_slo(0.001), "1", now_);
  size_t with_peers = 0, without = 0;
  for (size_t i = 0; i < 400; ++i) {
    Observation seen;
    if (i >= 300) seen.canary = arm(twice_, kRequests);
    seen.baseline[0] = arm(good_, kRequests);
    observe(seen);
    seen.now = now_;
    judge.observe(seen);
    if (with_peers == 0 && verdict().decision == Decision::Veto) with_peers = i;
    if (without == 0 && judge.verdict()->decision == Decision::Veto) without = i;
    EXPECT_FALSE(fleet_.wants_lenders());
  }
  ASSERT_GT(without, 300u);
  EXPECT_GE(with_peers, without);
  EXPECT_LE(with_peers, without + 4);
}

TEST_F(FleetTest, ACanaryWithoutABaselineBesideItAsks) {
  EXPECT_FALSE(fleet_.wants_lenders());
  step(good_);
  EXPECT_TRUE(fleet_.wants_lenders());
  EXPECT_EQ(verdict().reason, Reason::NoBaseline);
  EXPECT_THAT(verdict().message, HasSubstr("no other node that has some is known"));
  fleet_.ask("a", now_);
  fleet_.ask("b", now_);
  step(good_);
  EXPECT_EQ(verdict().reason, Reason::NoBaseline);
  EXPECT_THAT(verdict().message, HasSubstr("2 nodes asked, none has lent a baseline yet"));
  EXPECT_EQ(lender("a").state, LenderState::Asked);
}

TEST_F(FleetTest, ABadCanaryIsVetoedBesideOthers) {
  step(good_, 0);
  for (const char* name : {"a", "b", "c"}) join(name, good_);
  const size_t steps = steps_while(Decision::Hold, twice_, readings(10));
  EXPECT_LE(steps, readings(5));
  EXPECT_EQ(verdict().decision, Decision::Veto);
  EXPECT_EQ(verdict().reason, Reason::Regressed);
  EXPECT_THAT(verdict().message, HasSubstr("x 1.25 + 250 us"));
  EXPECT_THAT(verdict().message, HasSubstr("3 of 3 nodes asked lend one"));
  EXPECT_EQ(verdict().lenders.size(), 3u);
  for (const LenderStatus& one : verdict().lenders) {
    EXPECT_EQ(one.state, LenderState::Lends);
    EXPECT_GE(one.log_e, verdict().log_e);
    EXPECT_GT(one.samples, 0u);
  }
}

TEST_F(FleetTest, AGoodCanaryPassesBesideAll) {
  step(good_, 0);
  for (const char* name : {"a", "b", "c"}) join(name, good_);
  EXPECT_LT(steps_while(Decision::Hold, good_, readings(60)), readings(60));
  EXPECT_EQ(verdict().decision, Decision::Pass) << verdict().message;
  EXPECT_THAT(verdict().message, HasSubstr("not more than 1.68 times slower"));
}

// A node that is slower by the margin makes no bad canary.
TEST_F(FleetTest, WhatANodeMayDifferIsNoVeto) {
  step(good_, 0);
  for (const char* name : {"a", "b", "c"}) join(name, good_);
  for (size_t i = 0; i < readings(60); ++i)
    ASSERT_NE(step(slower_).decision, Decision::Veto) << verdict().message;
}

// One node that is as slow as the canary is enough: the canary's may be another such.
TEST_F(FleetTest, TheLeastOfTheEvidenceDecides) {
  step(good_, 0);
  join("a", good_);
  join("b", good_);
  join("slow", twice_);
  EXPECT_EQ(steps_while(Decision::Hold, twice_, readings(20)), readings(20));
  EXPECT_EQ(lender("a").decision, Decision::Veto);
  EXPECT_NE(lender("slow").decision, Decision::Veto);
  EXPECT_EQ(verdict().log_e, lender("slow").log_e);
  // A pass needs them all.
  EXPECT_EQ(verdict().decision, Decision::Hold);
}

TEST_F(FleetTest, AQuickLenderKeepsAPassBack) {
  step(good_, 0);
  join("a", good_);
  join("quick", quick_);
  EXPECT_EQ(steps_while(Decision::Hold, good_, readings(60)), readings(60));
  EXPECT_EQ(lender("a").decision, Decision::Pass);
}

// What a lender did before the canary was compared with it tells edges, and counts for nothing.
TEST_F(FleetTest, HistoryIsNeverJudged) {
  step(good_, 0);
  join("a", good_);
  step(good_);
  EXPECT_EQ(lender("a").samples, 0u);
  for (int i = 0; i < 3; ++i) step(good_);
  EXPECT_EQ(verdict().blocks, 2u);  // of 500 ms: 15 quiet seconds are known
  EXPECT_EQ(lender("a").samples, 4 * kRequests);
  EXPECT_EQ(verdict().samples.canary, 4 * kRequests);
}

// Whoever is chosen to leave, and when: what they all may spend together is alpha.
TEST(Shares, AreNeverMoreThanAll) {
  double sum = 0;
  for (size_t number = 0; number < 1'000'000; ++number) sum += part_of_member(number);
  EXPECT_LE(sum, 1);
  EXPECT_GE(sum, 0.999);
  for (size_t number = 1; number < 100; ++number)
    EXPECT_LE(part_of_member(number), part_of_member(number - 1));
  EXPECT_LE(kFirstShare + kLaterShare, 1);
}

TEST_F(FleetTest, ADepartureCostsEvidenceAndEndsNothing) {
  step(good_, 0);
  for (const char* name : {"a", "b", "c"}) join(name, good_);
  while (verdict().log_e < 3) step(twice_);
  const double before = lender("a").log_e;
  ASSERT_EQ(verdict().decision, Decision::Hold);
  drop("c");
  for (auto& [name, node] : nodes_) node.silent = true;  // nothing new is learnt
  step(twice_, 0);
  EXPECT_NEAR(lender("a").log_e, before - std::log(kFirstShare / (kLaterShare * part_of_member(1))),
              1e-9);
  for (auto& [name, node] : nodes_) node.silent = false;
  EXPECT_LE(steps_while(Decision::Hold, twice_, readings(20)), readings(8));
  EXPECT_EQ(verdict().decision, Decision::Veto);
}

// One that never lent anything beside the canary takes no evidence along.
TEST_F(FleetTest, WhoWasNeverComparedLeavesForNothing) {
  step(good_, 0);
  join("a", good_);
  fleet_.ask("b", now_);
  for (int i = 0; i < 8; ++i) step(twice_);
  const double before = lender("a").log_e;
  fleet_.drop_lender("b");
  nodes_["a"].silent = true;
  step(twice_, 0);
  EXPECT_EQ(lender("a").log_e, before);
}

TEST_F(FleetTest, ASilentLenderHoldsUntilItIsGone) {
  step(good_, 0);
  join("a", good_);
  Node& b = join("b", good_);
  for (int i = 0; i < 4; ++i) step(twice_);
  b.silent = true;
  const size_t steps = steps_while(Decision::Hold, twice_, readings(30));
  EXPECT_EQ(verdict().decision, Decision::Veto);
  EXPECT_GE(steps, readings(kLenderGone.count()) - 1);
  EXPECT_LE(steps, readings(kLenderGone.count()) + readings(8));
}

TEST_F(FleetTest, ASilentLenderIsNamed) {
  step(good_, 0);
  join("a", good_).silent = true;
  for (size_t i = 0; i < readings(kLenderSilent.count()) + 1; ++i) step(good_);
  EXPECT_EQ(verdict().decision, Decision::Hold);
  EXPECT_THAT(verdict().message, HasSubstr("a lends its baseline, and has been silent"));
  EXPECT_EQ(lender("a").state, LenderState::Silent);
  for (size_t i = 0; i < readings(kLenderGone.count()); ++i) step(good_);
  EXPECT_EQ(verdict().reason, Reason::NoBaseline);
  EXPECT_EQ(lender("a").state, LenderState::Asked);
}

// Lost readings, and another agent whose numbers begin anew, are of another comparison.
TEST_F(FleetTest, WhatFollowsAGapBeginsAnew) {
  for (const uint64_t next : {100, 1}) {
    SCOPED_TRACE(next);
    fleet_.reset("2", now_);
    nodes_.clear();
    fleet_.drop_lender("a");
    step(good_, 0);
    Node& a = join("a", good_);
    for (int i = 0; i < 8; ++i) step(twice_);
    ASSERT_GT(lender("a").samples, 0u);
    a.number = next - 1;
    step(twice_);
    EXPECT_EQ(lender("a").samples, 0u);
    EXPECT_LE(steps_while(Decision::Hold, twice_, readings(30)), readings(8));
    EXPECT_EQ(verdict().decision, Decision::Veto);
  }
}

TEST_F(FleetTest, SamplesThatWereLostElsewhereHold) {
  step(good_, 0);
  Node& a = join("a", good_);
  for (int i = 0; i < 20; ++i) {
    LentReading one = reading(a);
    one.halves[1].lost = i == 0 ? 1 : 0;
    fleet_.lend("a", {.state = LentAnswer::State::Lends, .readings = {one}, .evidence = {}}, now_);
    Observation seen;
    seen.canary = arm(twice_, kRequests);
    observe(std::move(seen));
    EXPECT_EQ(verdict().decision, Decision::Hold);
    EXPECT_EQ(verdict().reason, Reason::SamplesLost);
  }
}

TEST_F(FleetTest, WhoKnowsOfNoSuchSloIsSaidToo) {
  step(good_, 0);
  fleet_.ask("a", now_);
  fleet_.ask("b", now_);
  fleet_.lend("a", {.state = LentAnswer::State::NoSuchSlo, .readings = {}, .evidence = {}}, now_);
  fleet_.lend("b", {.state = LentAnswer::State::OtherQuestion, .readings = {}, .evidence = {}},
              now_);
  step(good_);
  EXPECT_EQ(lender("a").state, LenderState::NoSuchSlo);
  EXPECT_EQ(lender("b").state, LenderState::OtherQuestion);
  EXPECT_EQ(verdict().reason, Reason::NoBaseline);
}

TEST_F(FleetTest, WhoWasNotAskedLendsNothing) {
  step(good_, 0);
  Node node{.times = &good_};
  lend("a", node, 60);
  step(good_);
  EXPECT_TRUE(verdict().lenders.empty());
}

// A lender that is replaced neither takes a pass back nor puts a veto off.
TEST_F(FleetTest, ANewcomerIsNotWaitedFor) {
  step(good_, 0);
  join("a", good_);
  join("b", good_);
  steps_while(Decision::Hold, good_, readings(60));
  ASSERT_EQ(verdict().decision, Decision::Pass);
  drop("b");
  join("c", good_);
  EXPECT_EQ(steps_while(Decision::Pass, good_, readings(30)), readings(30)) << verdict().message;
  while (verdict().decision != Decision::Veto && lender("a").log_e < 5) step(twice_);
  join("d", twice_);  // beside which it is good
  EXPECT_LE(steps_while(Decision::Hold, twice_, readings(20)), readings(6));
  EXPECT_EQ(verdict().decision, Decision::Veto);
}

TEST_F(FleetTest, ANewcomerThatStaysIsHeard) {
  step(good_, 0);
  join("a", good_);
  for (size_t i = 0; i < readings(20); ++i) step(good_);
  join("quick", quick_);
  EXPECT_NE(steps_while(Decision::Hold, good_, readings(60)), readings(60));
  ASSERT_EQ(verdict().decision, Decision::Pass);
  for (size_t i = 0; i < readings(300); ++i) step(good_);
  EXPECT_EQ(verdict().decision, Decision::Hold);
  EXPECT_THAT(verdict().message, HasSubstr("beside the baseline of quick"));
}

TEST_F(FleetTest, ABaselineThatComesToTheNodeJudgesAlone) {
  step(good_, 0);
  join("a", good_);
  for (int i = 0; i < 8; ++i) step(good_);
  ASSERT_FALSE(verdict().lenders.empty());
  const auto beside_own = [&] {
    lend("a", nodes_["a"], 1);
    Observation seen;
    seen.canary = arm(good_, kRequests);
    seen.baseline[0] = arm(good_, kRequests);
    observe(std::move(seen));
  };
  beside_own();
  EXPECT_TRUE(verdict().lenders.empty());
  EXPECT_TRUE(fleet_.wants_lenders());  // for a while: it may go again
  for (size_t i = 0; i < readings(kNeedEnds.count()) + 1; ++i) beside_own();
  EXPECT_FALSE(fleet_.wants_lenders());
}

TEST_F(FleetTest, ANewRolloutKeepsTheLendersAndNoEvidence) {
  step(good_, 0);
  join("a", good_);
  steps_while(Decision::Hold, twice_, readings(20));
  ASSERT_EQ(verdict().decision, Decision::Veto);
  fleet_.reset("2", now_);
  EXPECT_EQ(verdict().decision, Decision::Hold);
  step(good_, 0);
  EXPECT_EQ(lender("a").samples, 0u);
  steps_while(Decision::Hold, good_, readings(60));
  EXPECT_EQ(verdict().decision, Decision::Pass) << verdict().message;
}

// At 100 % of the traffic no baseline has any, and what was shown beside it stays shown.
TEST_F(FleetTest, ThePassStaysWhenAllTheTrafficIsTheCanarys) {
  step(good_, 0);
  Node& a = join("a", good_);
  for (size_t i = 0; i < readings(15 * 60) && verdict().traffic_weight < 100; ++i) step(good_);
  ASSERT_EQ(verdict().traffic_weight, 100) << verdict().message;
  const Sampler& times = *a.times;
  for (size_t i = 0; i < readings(30); ++i) {
    LentReading quiet{.number = ++a.number, .lasted = kReadInterval, .halves = {}};
    quiet.halves[0] = arm(times, 0);
    fleet_.lend("a", {.state = LentAnswer::State::Lends, .readings = {quiet}, .evidence = {}},
                now_);
    Observation seen;
    seen.canary = arm(good_, kRequests);
    ASSERT_EQ(observe(std::move(seen)).decision, Decision::Pass) << verdict().message;
  }
  a.silent = true;  // its last cgroup goes
  EXPECT_EQ(steps_while(Decision::Pass, good_, readings(30)), readings(30)) << verdict().message;
}

TEST_F(FleetTest, AbsoluteObjectivesNeedNoLender) {
  Slo slo = default_slo(0.001);
  slo.objectives = {
      LatencyObjective{.signal = SLOGATE_SIGNAL_request, .quantile = 0.9, .max = 15ms}};
  fleet_ = Fleet(slo, "1", now_);
  fleet_.know_peers(true);
  EXPECT_LT(steps_while(Decision::Hold, twice_, readings(30)), readings(15));
  EXPECT_EQ(verdict().reason, Reason::Exceeded);
}

// ---- several canary nodes ----

TEST_F(FleetTest, WhatItLendsIsItsOwnEvidence) {
  step(good_, 0);
  EXPECT_FALSE(fleet_.evidence());
  join("a", good_);
  steps_while(Decision::Hold, twice_, readings(20));
  ASSERT_TRUE(fleet_.evidence());
  EXPECT_EQ(fleet_.evidence()->rollout, "1");
  EXPECT_EQ(fleet_.evidence()->log_e, verdict().log_e);
  const double at_the_veto = verdict().log_e;
  for (int i = 0; i < 8; ++i) step(twice_);
  EXPECT_GT(fleet_.evidence()->log_e, at_the_veto);  // the verdict stays, the evidence grows
}

// Errors have blocks of a second, whatever times need.
TEST_F(FleetTest, EvidenceOfErrorsIsToldBeforeFiveLongBlocks) {
  support::Bursts bursts(8, 0.03);
  const Sampler slow(support::scaled(support::lognormal(), 6));
  const auto serve = [&](const Sampler& times, double failing) {
    ArmReading reading = arm(times, 75);
    support::draw_answers(random_, {.failing = failing}, 75, reading.added);
    return reading;
  };
  const auto step_beside = [&](ArmReading canary) {
    Observation seen;
    seen.canary = std::move(canary);
    seen.baseline[0] = serve(bursts.next(random_) ? slow : good_, 0);
    observe(std::move(seen));
  };
  for (size_t i = 0; i < readings(300); ++i) step_beside(arm(good_, 0));
  ASSERT_GE(verdict().block, 8s);
  for (size_t i = 0; i < readings(7); ++i) step_beside(serve(good_, 1));
  EXPECT_LE(verdict().blocks, 1u);
  ASSERT_TRUE(fleet_.evidence());
  EXPECT_GT(fleet_.evidence()->log_e, 1);
}

TEST_F(FleetTest, AVetoSpreadsByTheMeanOfTheNodes) {
  fleet_.set_canary_nodes({"x", "y"});
  const auto hear = [&](const std::string& node, double log_e, const char* rollout = "1") {
    fleet_.lend(node,
                {.state = LentAnswer::State::NoSuchSlo,
                 .readings = {},
                 .evidence = LentEvidence{.rollout = rollout, .log_e = log_e, .samples = 500}},
                now_);
  };
  step(good_);
  hear("x", 100);  // one alone, however sure
  hear("stranger", 100);
  hear("y", 100, "2");  // of another rollout
  step(good_);
  EXPECT_EQ(verdict().decision, Decision::Hold);
  hear("y", 100);
  step(good_);
  EXPECT_EQ(verdict().decision, Decision::Veto);
  EXPECT_EQ(verdict().reason, Reason::RegressedElsewhere);
  EXPECT_THAT(verdict().message, HasSubstr("3 nodes together, above all on x, y"));
  // This node's own evidence is what it was.
  EXPECT_FALSE(fleet_.evidence() && fleet_.evidence()->log_e > 1);
}

TEST(Spread, IsTheMeanWhereWhoSaysNothingHasNone) {
  constexpr double kThreshold = 6.9;
  Spread spread;
  spread.begin("1");
  EXPECT_FALSE(spread.find(100, kThreshold));  // a node alone spreads nothing
  spread.set_nodes({"x"});
  const auto say = [&](double log_e) {
    spread.hear("x", {.rollout = "1", .log_e = log_e, .samples = 1});
  };
  EXPECT_FALSE(spread.find(100, kThreshold));  // 1.5 / 2
  say(kThreshold + std::log(0.6));
  EXPECT_FALSE(spread.find(kThreshold + std::log(1.3), kThreshold));
  ASSERT_TRUE(spread.find(kThreshold + std::log(1.45), kThreshold));
  EXPECT_NEAR(spread.find(kThreshold + std::log(1.45), kThreshold)->log_e,
              kThreshold + std::log(2.05 / 2), 1e-9);
  say(std::nan(""));
  EXPECT_TRUE(spread.find(kThreshold + std::log(1.45), kThreshold));
  // Whoever was a canary's node counts on, so that no one makes the mean larger by leaving.
  spread.set_nodes({"y"});
  EXPECT_FALSE(spread.find(kThreshold + std::log(1.45), kThreshold));
  spread.begin("2");
  EXPECT_FALSE(spread.find(100, kThreshold));
}

}  // namespace
}  // namespace slogate
