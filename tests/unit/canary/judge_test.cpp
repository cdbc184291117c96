// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/judge.h"

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
using ::testing::HasSubstr;

constexpr size_t kRequests = 250;  // in a reading: 1,000 a second

// Readings in seconds.
constexpr size_t readings(size_t seconds) {
  return seconds * 4;
}

class JudgeTest : public ::testing::Test {
 protected:
  Histogram draw(const Sampler& sampler, size_t requests = kRequests) {
    Histogram histogram{};
    sampler.draw(random_, requests, histogram);
    return histogram;
  }
  // Seconds of traffic on the baseline alone.
  void baseline_only(Replay& replay, size_t seconds = 70) {
    for (size_t i = 0; i < readings(seconds); ++i) replay.step({}, draw(good_));
  }
  // Readings of both arms until something other than `decision` is decided.
  size_t while_decided(Replay& replay, Decision decision, const Sampler& canary, size_t most) {
    size_t steps = 0;
    while (steps < most && replay.step(draw(canary), draw(good_)).decision == decision) ++steps;
    return steps;
  }

  std::mt19937_64 random_{1};
  Sampler good_{support::lognormal()};
  Sampler twice_{support::scaled(support::lognormal(), 2)};
};

Observation seen(const Histogram& canary, const Histogram& baseline) {
  Observation one;
  one.canary.added.histograms[SLOGATE_SIGNAL_request] = canary;
  one.baseline[0].added.histograms[SLOGATE_SIGNAL_request] = baseline;
  one.canary.cgroups = one.baseline[0].cgroups = 1;
  return one;
}

TEST_F(JudgeTest, AWorseCanaryIsVetoedInSeconds) {
  Replay replay(default_slo(0.001));
  baseline_only(replay);
  const size_t steps = while_decided(replay, Decision::Hold, twice_, readings(60));
  EXPECT_LE(steps, readings(5));
  const Verdict& verdict = *replay.judge().verdict();
  EXPECT_EQ(verdict.decision, Decision::Veto);
  EXPECT_EQ(verdict.reason, Reason::Regressed);
  EXPECT_EQ(verdict.traffic_weight, 0);
  EXPECT_EQ(verdict.block, 250ms);
  EXPECT_GE(verdict.blocks, 8u);  // what alpha .001 takes at one nat a block
  EXPECT_THAT(verdict.message, HasSubstr("p99 of request: canary"));
  EXPECT_THAT(verdict.message, HasSubstr("odds 1 : "));
}

// What the page draws is what was weighed: the edges lie in order, and the canary is beyond them.
TEST_F(JudgeTest, AVetoHasTheDistributionsThatItRestsOn) {
  Replay replay(default_slo(0.001));
  replay.step({}, draw(good_));
  EXPECT_EQ(replay.judge().verdict()->comparison, nullptr);
  baseline_only(replay);
  EXPECT_EQ(replay.judge().verdict()->comparison, nullptr);  // nothing of the canary yet
  while_decided(replay, Decision::Hold, twice_, readings(60));
  const auto drawn = replay.judge().verdict()->comparison;
  ASSERT_NE(drawn, nullptr);
  EXPECT_EQ(drawn->signal, "request");
  EXPECT_NEAR(*quantile(drawn->canary, 0.5), 0.020, 0.003);
  EXPECT_NEAR(*quantile(drawn->baseline, 0.5), 0.010, 0.0015);
  ASSERT_EQ(drawn->edges.size(), kComparedLevels.size());
  for (size_t i = 0; i < drawn->edges.size(); ++i) {
    const ComparedEdge& edge = drawn->edges[i];
    EXPECT_EQ(edge.quantile, kComparedLevels[i].quantile);
    ASSERT_TRUE(edge.baseline.has_value()) << edge.quantile;
    EXPECT_LT(*edge.baseline, edge.veto);
    EXPECT_LE(edge.veto, edge.pass);
    EXPECT_NEAR(edge.veto / *edge.baseline, std::exp2(0.25), 1e-9) << edge.quantile;
  }
  EXPECT_GT(*quantile(drawn->canary, 0.9), drawn->edges[0].veto);
  // A veto keeps them, whatever comes.
  for (size_t i = 0; i < readings(20); ++i) replay.step(draw(good_), draw(good_));
  EXPECT_EQ(replay.judge().verdict()->comparison, drawn);
}

// Ten seconds are too few to measure blocks: they are short while the canary is new, then of 1 s.
TEST_F(JudgeTest, AYoungBaselineVetoesWithinFiveSecondsToo) {
  Replay replay(default_slo(0.001));
  baseline_only(replay, 10);
  EXPECT_LE(while_decided(replay, Decision::Hold, twice_, readings(60)), readings(5));
  EXPECT_EQ(replay.judge().verdict()->decision, Decision::Veto);
  EXPECT_EQ(replay.judge().verdict()->block, 500ms);
  Replay good(default_slo(0.001));
  baseline_only(good, 10);
  for (size_t i = 0; i < readings(8); ++i) good.step(draw(good_), draw(good_));
  EXPECT_EQ(good.judge().verdict()->block, 1s);
  EXPECT_EQ(good.judge().verdict()->blocks, 14u);  // twelve, then two of 1 s
  // Of a baseline that nobody has seen yet nothing is known that speaks for short ones.
  Replay unseen(default_slo(0.001));
  unseen.step(draw(good_), draw(good_));
  EXPECT_EQ(unseen.judge().verdict()->block, 1s);
}

TEST_F(JudgeTest, BurstsOfAYoungBaselineSpeakForLongBlocks) {
  Replay replay(default_slo(0.001));
  const Sampler slow(support::scaled(support::lognormal(), 6));
  for (size_t i = 0; i < readings(15); ++i)  // 500 ms of three seconds
    replay.step({}, draw(i % 12 == 5 || i % 12 == 6 ? slow : good_));
  EXPECT_EQ(replay.judge().verdict()->block, 1s);
}

TEST_F(JudgeTest, AVetoStaysUntilReset) {
  Replay replay(default_slo(0.001));
  baseline_only(replay);
  while_decided(replay, Decision::Hold, twice_, readings(60));
  EXPECT_EQ(while_decided(replay, Decision::Veto, good_, readings(30)), readings(30));
  replay.judge().reset("2", replay.now());
  EXPECT_EQ(replay.judge().verdict()->decision, Decision::Hold);
  EXPECT_EQ(replay.judge().verdict()->rollout, "2");
  EXPECT_LT(while_decided(replay, Decision::Hold, good_, readings(300)), readings(300));
  EXPECT_EQ(replay.judge().verdict()->decision, Decision::Pass);
}

TEST_F(JudgeTest, AVetoOfAnotherAgentIsTakenUp) {
  Replay replay(default_slo(0.001));
  Verdict veto{.slo = "replay", .decision = Decision::Veto, .reason = Reason::Regressed};
  veto.message = "p99 was bad";
  veto.rollout = "old";
  replay.judge().restore(veto);
  EXPECT_EQ(replay.step(draw(good_), draw(good_)).message, "p99 was bad");
  EXPECT_EQ(replay.judge().verdict()->decision, Decision::Veto);
}

TEST_F(JudgeTest, IdenticalArmsPassAndAreNeverVetoed) {
  Replay replay(default_slo(0.001));
  baseline_only(replay);
  const size_t steps = while_decided(replay, Decision::Hold, good_, readings(300));
  EXPECT_LT(steps, readings(300)) << replay.judge().verdict()->message;
  EXPECT_EQ(replay.judge().verdict()->reason, Reason::Proven);
  for (size_t i = 0; i < readings(120); ++i)
    ASSERT_NE(replay.step(draw(good_), draw(good_)).decision, Decision::Veto);
}

// Of the levels a letter each: needed and shown, needed, shown alone, neither.
std::string levels_of(const Verdict& verdict) {
  std::string found;
  for (const LevelVerdict& level : verdict.objectives.front().levels)
    found += level.log_proof >= kProofThreshold ? (level.needed ? 'N' : 'S')
                                                : (level.needed ? 'n' : '-');
  return found;
}

TEST_F(JudgeTest, APassShowsAsMuchOfTheTailAsTheRateAllowsInItsTime) {
  const auto pass = [&](std::chrono::nanoseconds within, size_t cgroups) {
    Slo slo = default_slo(0.001);
    slo.pass_within = within;
    Replay replay(slo);
    baseline_only(replay);
    for (size_t i = 0; i < readings(600); ++i) {
      Observation one = seen(draw(good_), draw(good_));
      one.baseline[0].cgroups = cgroups;
      if (replay.step(one).decision == Decision::Pass) break;
    }
    return replay.judge().verdict();
  };
  const auto usual = pass(10s, 1);  // 10,000 samples
  EXPECT_THAT(levels_of(*usual), testing::AnyOf("NNN-", "NNNS")) << usual->message;
  EXPECT_THAT(usual->message, HasSubstr("request is not more than 1.41 times slower up to p99."));
  EXPECT_EQ(levels_of(*pass(30s, 1)), "NNNN");
  const auto little = pass(2s, 1);
  EXPECT_THAT(levels_of(*little), testing::MatchesRegex("NN[-S]-")) << little->message;
  EXPECT_THAT(little->message, HasSubstr(" is not shown: 1,500 of about 20,000 samples"));
  // A canary of one cgroup gets what one of four gets.
  EXPECT_THAT(levels_of(*pass(10s, 4)), HasSubstr("NN"));
  EXPECT_FALSE(pass(10s, 4)->objectives.front().levels[2].needed);
}

// Between two modes: the share of slow requests says nothing of how slow they are. 100 requests a
// second do not need p99.5 otherwise.
TEST_F(JudgeTest, ATailThatAQuantileLeavesOpenIsNeededFarther) {
  for (const bool two_modes : {true, false}) {
    const Sampler of(two_modes ? support::bimodal(0.01) : support::lognormal());
    Replay replay(default_slo(0.001));
    for (size_t i = 0; i < readings(120); ++i) replay.step({}, draw(of, 25));
    for (size_t i = 0; i < readings(2); ++i) replay.step(draw(of, 25), draw(of, 25));
    EXPECT_EQ(replay.judge().verdict()->objectives.front().levels[2].needed, two_modes);
  }
}

// As after a start of the agent: how much traffic there is shows in the first blocks, and how slow
// it is has no part in what is needed.
TEST_F(JudgeTest, WithoutAHistoryTheFirstBlocksTellHowMuchOfTheTailIsNeeded) {
  Slo slo = default_slo(0.001);
  slo.pass_within = 1min;
  Replay replay(slo);
  for (size_t i = 0; i < readings(10); ++i) {
    replay.step(draw(good_), draw(good_));
    ASSERT_EQ(replay.judge().verdict()->decision, Decision::Hold);
  }
  EXPECT_TRUE(replay.judge().verdict()->objectives.front().levels[3].needed);
}

// By night and at a weight of 100 nobody asks the baseline.
TEST_F(JudgeTest, SilenceIsNoPartOfTheRate) {
  Slo slo = default_slo(0.001);
  slo.pass_within = 30s;
  Replay replay(slo);
  for (size_t i = 0; i < readings(3600); ++i) replay.step({}, {});
  baseline_only(replay);
  for (size_t i = 0; i < readings(2); ++i) replay.step(draw(good_), draw(good_));
  EXPECT_TRUE(replay.judge().verdict()->objectives.front().levels[3].needed);
}

// With proofs that come and go by chance nearly each of these passes was taken back.
TEST_F(JudgeTest, WhatWasShownStaysShown) {
  for (int run = 0; run < 6; ++run) {
    Slo slo = default_slo(0.001);
    slo.pass_within = 3min;
    Replay replay(slo);
    for (size_t i = 0; i < readings(120); ++i) replay.step({}, draw(good_, 25));
    size_t i = 0;
    while (i++ < readings(1200) &&
           replay.step(draw(good_, 25), draw(good_, 25)).decision != Decision::Pass) {
    }
    ASSERT_EQ(replay.judge().verdict()->decision, Decision::Pass) << run;
    for (i = 0; i < readings(300); ++i) {
      const Verdict& verdict = replay.step(draw(good_, 25), draw(good_, 25));
      ASSERT_EQ(verdict.decision, Decision::Pass) << run << ": " << verdict.message;
    }
  }
}

// What speaks against a canary takes back what spoke for it: shown has to be shown anew.
TEST_F(JudgeTest, ASuspicionTakesBackWhatWasShown) {
  Replay replay(default_slo(0.001));
  baseline_only(replay);
  while_decided(replay, Decision::Hold, good_, readings(300));
  ASSERT_EQ(replay.judge().verdict()->decision, Decision::Pass);
  const Sampler tail(support::tail_stretched(support::lognormal(), 4));
  size_t i = 0;
  while (i++ < readings(60) && replay.judge().verdict()->log_e < kSuspicion)
    replay.step(draw(tail), draw(good_));
  ASSERT_EQ(replay.judge().verdict()->decision, Decision::Hold);
  // p90 is as it was, and its proof above the threshold; that of p99 was, and is not.
  const auto& levels = replay.step(draw(good_), draw(good_)).objectives.front().levels;
  EXPECT_GE(levels[0].log_proof, kProofThreshold);
  EXPECT_LT(levels[1].log_proof, kProofThreshold);
}

TEST_F(JudgeTest, FewValuesPassAndTwiceAsManyOfTheSlowestDoNot) {
  const auto few = support::few_values();
  const Sampler good(few), bad([few](double x) { return few(x) * (x >= 0.005 ? 2 : 1); });
  for (const bool same : {true, false}) {
    Replay replay(default_slo(0.001));
    for (size_t i = 0; i < readings(120); ++i) replay.step({}, draw(good, 50));
    size_t i = 0;
    while (i++ < readings(300) && replay.judge().verdict()->decision == Decision::Hold)
      replay.step(draw(same ? good : bad, 50), draw(good, 50));
    EXPECT_EQ(replay.judge().verdict()->decision, same ? Decision::Pass : Decision::Veto);
  }
}

TEST_F(JudgeTest, NoProofNoPass) {
  Replay replay(default_slo(0.001));
  EXPECT_EQ(replay.step({}, draw(good_)).decision, Decision::Hold);
  EXPECT_EQ(replay.judge().verdict()->reason, Reason::InsufficientSamples);
  Observation nobody = seen({}, draw(good_));
  nobody.canary.cgroups = 0;
  nobody.now.monotonic = 2h;
  replay.judge().observe(nobody);
  EXPECT_EQ(replay.judge().verdict()->reason, Reason::NoCanary);
}

TEST_F(JudgeTest, ASharedSlowdownIsNobodysFault) {
  Replay replay(default_slo(0.001));
  baseline_only(replay);
  for (size_t i = 0; i < readings(60); ++i) {
    const Sampler& both = i < readings(20) || i > readings(40) ? good_ : twice_;
    ASSERT_NE(replay.step(draw(both), draw(both)).decision, Decision::Veto);
  }
}

// Sums of evidence and proof of all objectives.
std::vector<double> standing(const Verdict& verdict) {
  std::vector<double> all = {verdict.log_e, static_cast<double>(verdict.blocks),
                             static_cast<double>(verdict.samples.canary)};
  for (const ObjectiveVerdict& objective : verdict.objectives) {
    all.push_back(objective.log_proof);
    for (const LevelVerdict& level : objective.levels) all.push_back(level.log_proof);
    for (const EvidenceComponent& component : objective.components) all.push_back(component.sum);
  }
  return all;
}

// A machine busy with something else keeps both from answering for a moment: that is no sign of
// anything, and takes nothing back.
TEST_F(JudgeTest, AStallTakesNoEvidenceBack) {
  for (const bool alone : {false, true}) {
    Replay replay(default_slo(0.001));
    baseline_only(replay);
    while_decided(replay, Decision::Hold, good_, readings(300));
    ASSERT_EQ(replay.judge().verdict()->decision, Decision::Pass);
    ASSERT_EQ(replay.judge().verdict()->block, 250ms);  // no block is under way
    const std::vector<double> before = standing(*replay.judge().verdict());
    size_t stalled = 0;
    for (size_t i = 0; i < readings(3); ++i) {
      const Verdict& verdict = replay.step({}, alone ? draw(good_) : Histogram{});
      if (verdict.reason == Reason::Stalled) ++stalled;
      ASSERT_NE(verdict.decision, Decision::Veto);
    }
    // The baseline, where it answers all the while, shows that there was something to answer.
    EXPECT_EQ(stalled > 0, alone);
    EXPECT_EQ(replay.judge().verdict()->decision, Decision::Hold);
    EXPECT_EQ(standing(*replay.judge().verdict()), before);
    EXPECT_EQ(replay.step(draw(good_), draw(good_)).decision, Decision::Pass)
        << replay.judge().verdict()->message;
    EXPECT_EQ(replay.judge().verdict()->blocks, static_cast<size_t>(before[1]) + 1);
  }
}

// Hung requests never complete: only their age tells.
TEST_F(JudgeTest, AHangIsSeenWithinThreeSecondsAndEndsInAVeto) {
  Replay replay(default_slo(0.001));
  baseline_only(replay);
  while_decided(replay, Decision::Hold, good_, readings(300));
  ASSERT_EQ(replay.judge().verdict()->decision, Decision::Pass);
  size_t hung = 0, steps_to_hold = 0, steps_to_veto = 0;
  for (size_t i = 1; i <= readings(30) && steps_to_veto == 0; ++i) {
    Observation one = seen({}, draw(good_));
    if (i % 4 == 0) {  // once a second the open requests are looked at
      hung = 8 * (i / 4);
      one.canary.open.emplace();
      one.canary.open->server[slogate_bucket(i * 250'000'000)] = hung;
    }
    one.canary.overdue = hung;
    one.canary.oldest = i * 250ms;
    const Decision decision = replay.step(one).decision;
    if (decision == Decision::Hold && steps_to_hold == 0) steps_to_hold = i;
    if (decision == Decision::Veto) steps_to_veto = i;
    ASSERT_TRUE(i < readings(3) || decision != Decision::Pass);
  }
  EXPECT_GT(steps_to_hold, 0u);
  EXPECT_LE(steps_to_hold, readings(3));
}

TEST_F(JudgeTest, ACanaryThatFallsSilentDoesNotPass) {
  Replay replay(default_slo(0.001));
  baseline_only(replay);
  while_decided(replay, Decision::Hold, good_, readings(300));
  for (size_t i = 0; i < readings(3); ++i) replay.step({}, draw(good_));
  EXPECT_EQ(replay.judge().verdict()->reason, Reason::Stalled);
  EXPECT_THAT(replay.judge().verdict()->message, HasSubstr("answered no request"));
}

TEST_F(JudgeTest, HoldsSayWhy) {
  Replay replay(default_slo(0.001));
  baseline_only(replay);
  const auto reason = [&](auto change) {
    Observation one = seen(draw(good_), draw(good_));
    change(one);
    return replay.step(one).reason;
  };
  EXPECT_EQ(reason([](Observation& one) { one.canary.warming = 1; }), Reason::WarmingUp);
  EXPECT_EQ(reason([](Observation& one) { one.canary.lost = 1; }), Reason::SamplesLost);
  Replay other(default_slo(0.001));
  for (size_t i = 0; i < readings(5); ++i) {
    Observation one = seen(draw(good_), draw(good_));
    one.baseline[0].added.counters[SLOGATE_COUNTER_overlapped] = kRequests / 10;
    other.step(one);
  }
  EXPECT_EQ(other.judge().verdict()->reason, Reason::Multiplexed);
}

// It answers the others as well as ever, so that no histogram shows it.
TEST_F(JudgeTest, ACanaryWhoseClientsGiveUpDoesNotPass) {
  const auto after = [&](size_t of_canary, size_t of_baseline) {
    Replay replay(default_slo(0.001));
    baseline_only(replay);
    for (size_t i = 0; i < readings(300); ++i) {
      Observation one = seen(draw(good_), draw(good_));
      one.canary.added.counters[SLOGATE_COUNTER_client_gone] = of_canary;
      one.baseline[0].added.counters[SLOGATE_COUNTER_client_gone] = of_baseline;
      replay.step(one);
    }
    return replay.judge().verdict();
  };
  const auto leaving = after(kRequests / 10, 0);
  EXPECT_EQ(leaving->reason, Reason::Stalled) << leaving->message;
  EXPECT_THAT(leaving->message, testing::HasSubstr("left before an answer"));
  // Where each connection ends with a goodbye, it does on both sides.
  EXPECT_EQ(after(kRequests / 3, kRequests / 3)->decision, Decision::Pass);
}

Slo with_bound(std::chrono::nanoseconds max, bool baseline) {
  Slo slo = default_slo(0.001);
  slo.objectives = {LatencyObjective{SLOGATE_SIGNAL_request, 0.99, max}};
  if (!baseline) slo.baseline.reset();
  return slo;
}

// The p99 of the traffic is 102 ms, of the slow one 204 ms.
TEST_F(JudgeTest, ABoundOfItsOwnNeedsNoBaseline) {
  Replay bad(with_bound(80ms, false)), good(with_bound(200ms, false));
  while_decided(bad, Decision::Hold, good_, readings(300));
  EXPECT_EQ(bad.judge().verdict()->reason, Reason::Exceeded);
  while_decided(good, Decision::Hold, good_, readings(60));
  EXPECT_EQ(good.judge().verdict()->reason, Reason::Proven);
}

TEST_F(JudgeTest, ABoundThatTheBaselineBreachesBlamesNobody) {
  Replay replay(with_bound(60ms, true));
  baseline_only(replay);
  EXPECT_EQ(while_decided(replay, Decision::Hold, good_, readings(120)), readings(120));
  EXPECT_EQ(replay.judge().verdict()->reason, Reason::BaselineBreaching);
}

TEST_F(JudgeTest, ResetsAreComparedBySegments) {
  Replay replay(default_slo(0.001));
  const auto step = [&](uint64_t resets) {
    Observation one = seen(draw(good_), draw(good_));
    for (ArmReading* arm : {&one.canary, &one.baseline[0]})
      arm->added.counters[SLOGATE_COUNTER_segments_in] =
          arm->added.counters[SLOGATE_COUNTER_segments_out] = 2 * kRequests;
    one.canary.added.counters[SLOGATE_COUNTER_harmful_out] = resets;
    return replay.step(one).decision;
  };
  for (size_t i = 0; i < readings(70); ++i) step(0);
  size_t steps = 0;
  while (steps < readings(60) && step(kRequests / 20) != Decision::Veto) ++steps;
  EXPECT_LE(steps, readings(8));  // late: after 70 good seconds
  EXPECT_THAT(replay.judge().verdict()->message, HasSubstr("resets: canary"));
}

}  // namespace
}  // namespace slogate
