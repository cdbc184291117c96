// SPDX-License-Identifier: Apache-2.0
// What the judge makes of what answers say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "agent/base/figures.h"
#include "agent/canary/judge.h"
#include "tests/support/replay.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using support::default_slo;
using support::draw_answers;
using support::Replay;
using support::Sampler;
using support::Saying;
using ::testing::HasSubstr;

// Readings in seconds.
constexpr size_t readings(size_t seconds) {
  return seconds * 4;
}

class OutcomesTest : public ::testing::Test {
 protected:
  // What a server did in one reading.
  Counts served(const Saying& what, size_t requests) {
    Counts counts;
    good_.draw(random_, requests, counts.histograms[SLOGATE_SIGNAL_request]);
    draw_answers(random_, what, requests, counts);
    support::add_ordinary_traffic(counts.histograms[SLOGATE_SIGNAL_request], counts);
    return counts;
  }
  const Verdict& count(Replay& replay, const Counts& canary, const Counts& baseline = {}) {
    Observation seen;
    seen.canary.added = canary;
    seen.baseline[0].added = baseline;
    return replay.step(std::move(seen));
  }
  const Verdict& step(Replay& replay, const Saying& canary, const Saying& baseline) {
    return count(replay, served(canary, requests_), served(baseline, requests_));
  }
  void watch_baseline(Replay& replay, const Saying& what = {}) {
    for (size_t i = 0; i < readings(120); ++i) count(replay, {}, served(what, requests_));
  }
  // Slow requests come in bursts of 2 s, so that blocks last for many.
  Counts served_in_bursts(const Saying& what) {
    const Sampler usual = good_;
    if (bursts_.next(random_)) good_ = slow_;
    Counts counts = served(what, requests_);
    good_ = usual;
    return counts;
  }
  void watch_bursts(Replay& replay) {
    requests_ = 75;
    for (size_t i = 0; i < readings(300); ++i) count(replay, {}, served_in_bursts({}));
    ASSERT_GE(replay.judge().verdict()->block, 4s);
    // Up to the end of the block.
    const auto known = [&] { return replay.judge().verdict()->blocks; };
    for (size_t i = 0; i < readings(30) && known() == 0; ++i) step(replay, {}, {});
    ASSERT_EQ(known(), 1u);
  }
  static size_t readings_of(const Verdict& verdict) { return verdict.block / kReadInterval; }
  // Readings until something else is decided than to hold.
  size_t until_decided(Replay& replay, const Saying& canary, const Saying& baseline,
                       size_t most = readings(300)) {
    size_t steps = 1;
    while (steps < most && step(replay, canary, baseline).decision == Decision::Hold) ++steps;
    return steps;
  }
  static const ObjectiveVerdict& objective(const Verdict& verdict, std::string_view name) {
    const auto found = std::ranges::find(verdict.objectives, name, &ObjectiveVerdict::objective);
    EXPECT_NE(found, verdict.objectives.end()) << name;
    return *found;
  }

  std::mt19937_64 random_{1};
  Sampler good_{support::lognormal()}, slow_{support::scaled(support::lognormal(), 6)};
  support::Bursts bursts_{8, 0.03};
  size_t requests_ = 250;  // in a reading: 1,000 a second
};

constexpr std::string_view kCompared = "errors against the baseline";

TEST_F(OutcomesTest, ACanaryThatFailsFastIsVetoed) {
  requests_ = 150 / 4;
  Replay replay(default_slo(0.001));
  watch_baseline(replay);
  EXPECT_LE(until_decided(replay, {.failing = 1}, {}), readings(5) + 2);
  const Verdict& verdict = *replay.judge().verdict();
  EXPECT_EQ(verdict.decision, Decision::Veto);
  EXPECT_EQ(verdict.reason, Reason::Regressed);
  EXPECT_THAT(verdict.message,
              HasSubstr("errors: canary 100 %, baseline 0 %, allowed 0 % + 0.1 %"));
}

// Blocks are as long as bursts of slow requests make them, and shares of answers have shorter ones.
TEST_F(OutcomesTest, ErrorsNeedNotWaitForLongBlocks) {
  requests_ = 75;
  for (const double failing : {0.05, 0.0}) {
    Replay replay(default_slo(0.001));
    for (size_t i = 0; i < readings(300); ++i) count(replay, {}, served_in_bursts({}));
    ASSERT_GE(replay.judge().verdict()->block, 4s);
    size_t steps = 0;
    while (++steps < readings(60) &&
           count(replay, served({.failing = failing}, requests_), served({}, requests_)).decision !=
               Decision::Veto) {
    }
    const Verdict& verdict = *replay.judge().verdict();
    if (failing == 0) {
      EXPECT_NE(verdict.decision, Decision::Veto) << verdict.message;
      continue;
    }
    EXPECT_LE(steps, readings(12)) << verdict.message;
    EXPECT_THAT(verdict.message, HasSubstr("errors: canary"));
    EXPECT_GE(verdict.block, 4s);
  }
}

// Where the baseline has not failed for a minute, blocks of answers are single readings, and count
// for less: a canary that fails altogether is vetoed within 4 s, and not within 3.
TEST_F(OutcomesTest, ACanaryThatFailsAltogetherIsVetoedInFourSecondsWhateverLatenciesDo) {
  for (const bool bursts : {false, true}) {
    Replay replay(default_slo(0.001));
    requests_ = 75;
    for (size_t i = 0; i < readings(300); ++i)
      count(replay, {}, bursts ? served_in_bursts({}) : served({}, requests_));
    for (size_t i = 0; i < readings(20); ++i) step(replay, {}, {});
    const size_t steps = until_decided(replay, {.failing = 1}, {});
    EXPECT_EQ(replay.judge().verdict()->decision, Decision::Veto);
    EXPECT_GE(steps, readings(3)) << bursts;
    EXPECT_LT(steps, readings(4)) << bursts;
  }
}

// However calm latencies are.
TEST_F(OutcomesTest, ArmsAlikeThatFailAltogetherAtTimesAreNotVetoed) {
  requests_ = 75;
  size_t vetoes = 0;
  for (int run = 0; run < 8; ++run) {
    Replay replay(default_slo(0.01));
    support::Bursts stable(8, 0.06), canary(8, 0.06);
    const auto saying = [this](support::Bursts& outages) {
      return Saying{.failing = outages.next(random_) ? 1.0 : 0.0};
    };
    for (size_t i = 0; i < readings(120); ++i) count(replay, {}, served(saying(stable), requests_));
    for (size_t i = 0; i < readings(60); ++i) step(replay, saying(canary), saying(stable));
    vetoes += replay.judge().verdict()->decision == Decision::Veto;
  }
  EXPECT_LE(vetoes, 1u);
}

// What is measured meanwhile, and who is accused, is about the blocks that begin after it.
TEST_F(OutcomesTest, ABlockLastsAsLongAsWasSaidWhenItBegan) {
  for (const double accused : {0.0, 0.5}) {
    Replay replay(default_slo(0.001));
    watch_bursts(replay);
    size_t lasted = 0, said = readings_of(*replay.judge().verdict()), others = 0;
    for (size_t i = 0; i < readings(500); ++i) {
      const size_t before = replay.judge().verdict()->blocks;
      Observation seen;
      seen.canary.added = served({}, requests_);
      seen.baseline[0].added = served({}, requests_);
      seen.baseline[1].added = served({.failing = accused}, requests_);
      replay.step(std::move(seen));
      ++lasted;
      if (replay.judge().verdict()->blocks == before) continue;
      ASSERT_EQ(std::exchange(lasted, 0), said) << i;
      const size_t next = readings_of(*replay.judge().verdict());
      others += std::exchange(said, next) != next;
    }
    EXPECT_GT(others, 0u);
  }
}

// A clean second at its end excuses nothing.
TEST_F(OutcomesTest, ABaselineBreachesABoundInAWholeBlock) {
  Slo slo = default_slo(0.001);
  slo.objectives = {RatioObjective{RatioSignal::Errors, 0.01, {}}};
  Replay replay(slo);
  watch_bursts(replay);
  for (size_t block = 0; block < 5; ++block) {
    const size_t length = readings_of(*replay.judge().verdict());
    for (size_t i = 0; i < length; ++i) {
      const Saying both{.failing = i + kFirstBlock < length ? 0.05 : 0};
      step(replay, both, both);
    }
  }
  EXPECT_EQ(replay.judge().verdict()->reason, Reason::BaselineBreaching)
      << replay.judge().verdict()->message;
}

// A veto takes five blocks of what it is about.
TEST_F(OutcomesTest, AVetoForTimesWaitsForFiveLongBlocksAndOneForErrorsForShortOnes) {
  Replay slow(default_slo(0.1)), failing(default_slo(0.1));
  watch_bursts(slow);
  const Sampler usual = good_, much_slower(support::scaled(support::lognormal(), 10));
  const auto step_slow = [&] {
    good_ = much_slower;
    const Counts canary = served({}, requests_);
    good_ = usual;
    return count(slow, canary, served({}, requests_)).decision;
  };
  for (size_t i = 0; i < readings(300) && step_slow() != Decision::Veto; ++i) {
  }
  EXPECT_EQ(slow.judge().verdict()->decision, Decision::Veto);
  EXPECT_THAT(slow.judge().verdict()->message, HasSubstr("request: canary"));
  EXPECT_GE(slow.judge().verdict()->blocks, kLeastBlocks);
  watch_bursts(failing);
  EXPECT_LE(until_decided(failing, {.failing = 1}, {}), readings(8));
  EXPECT_EQ(failing.judge().verdict()->decision, Decision::Veto);
  EXPECT_LT(failing.judge().verdict()->blocks, kLeastBlocks);
  EXPECT_GE(failing.judge().verdict()->blocks_against, kLeastBlocks);
}

// The baseline's samples of a long block all count, also of seconds in which the canary was idle,
// and what is said of late is of the last twenty long blocks.
TEST_F(OutcomesTest, TheBaselineCountsWhereverTheLongBlockDoes) {
  Replay replay(default_slo(0.001));
  watch_bursts(replay);
  const auto samples = [&] { return replay.judge().verdict()->samples; };
  const ArmSamples first = samples();
  size_t all = 0;
  for (size_t block = 0; block < 8; ++block) {
    const size_t length = readings_of(*replay.judge().verdict());
    for (size_t i = 0; i < length; ++i)  // idle at both ends
      count(replay, i < 8 || i + 4 >= length ? Counts{} : served({}, requests_),
            served({}, requests_));
    all += length;
  }
  EXPECT_EQ(samples().baseline, first.baseline + all * requests_);
  EXPECT_EQ(samples().canary, first.canary + (all - 8 * 12) * requests_);
  const auto drawn = replay.judge().verdict()->comparison;
  ASSERT_NE(drawn, nullptr);
  EXPECT_EQ(slogate::count(drawn->baseline), samples().baseline);
  // A block in which the canary was idle is no part of it.
  const size_t length = readings_of(*replay.judge().verdict());
  for (size_t i = 0; i < length; ++i) count(replay, {}, served({}, requests_));
  EXPECT_EQ(samples().baseline, first.baseline + all * requests_);
}

TEST_F(OutcomesTest, ClientErrorsAreComparedAsWell) {
  Replay replay(default_slo(0.001));
  watch_baseline(replay);
  Decision decision = Decision::Hold;
  for (size_t i = 0; i < readings(20) && decision != Decision::Veto; ++i) {
    Counts canary = served({}, requests_);
    canary.counters[SLOGATE_COUNTER_server_http_success] -= 50;
    canary.counters[SLOGATE_COUNTER_server_http_client_error] += 50;
    decision = count(replay, canary, served({}, requests_)).decision;
  }
  EXPECT_EQ(decision, Decision::Veto);
  EXPECT_THAT(replay.judge().verdict()->message, HasSubstr("client_errors: canary 20 %"));
}

TEST_F(OutcomesTest, WhatFailsAsOftenAsItsBaselinePassesAndSaysWhatIsKnown) {
  Replay replay(default_slo(0.001));
  watch_baseline(replay, {.failing = 0.02});
  until_decided(replay, {.failing = 0.02}, {.failing = 0.02});
  const Verdict& verdict = *replay.judge().verdict();
  EXPECT_EQ(verdict.decision, Decision::Pass) << verdict.message;
  EXPECT_TRUE(objective(verdict, kCompared).needed);
  EXPECT_EQ(verdict.outcomes_known, 1);
  EXPECT_THAT(verdict.message, HasSubstr("the outcome of 100 % of its answers is known"));
}

// What it needs is `kPassIncrease` more at most: with no errors at all about a thousand answers,
// fewer than the times of requests take.
TEST_F(OutcomesTest, WithoutErrorsTheProofOfThemIsThereFirst) {
  requests_ = 25;
  Slo slo = default_slo(0.001);
  slo.pass_within = std::chrono::minutes(10);  // p99.9 is to be shown as well
  Replay replay(slo);
  watch_baseline(replay);
  size_t answers = 0;
  do answers += requests_;
  while (answers < 5000 &&
         objective(step(replay, Saying{}, Saying{}), kCompared).state != ObjectiveState::Proven);
  EXPECT_GE(answers, 600u);
  EXPECT_LE(answers, 1100u);
  EXPECT_TRUE(objective(*replay.judge().verdict(), kCompared).needed);
  EXPECT_NE(objective(*replay.judge().verdict(), "request against the baseline").state,
            ObjectiveState::Proven);
}

// Half a point more is what a pass must rule out. At 5 % that takes longer than the times do.
TEST_F(OutcomesTest, NoPassBeforeErrorsAreShownToBeNoMore) {
  Replay replay(default_slo(0.001));
  const Saying usual{.failing = 0.05};
  watch_baseline(replay, usual);
  bool waited = false;
  for (size_t i = 0; i < readings(300); ++i) {
    const Verdict& verdict = step(replay, usual, usual);
    const bool proven = objective(verdict, kCompared).log_proof >= kProofThreshold;
    if (verdict.decision == Decision::Pass) {
      EXPECT_TRUE(proven);
      EXPECT_TRUE(waited);
      return;
    }
    waited = waited || verdict.message.contains("not shown to hold yet: errors against");
  }
  FAIL() << replay.judge().verdict()->message;
}

TEST_F(OutcomesTest, AServiceThatSpeaksTlsIsJudgedAsEver) {
  Replay replay(default_slo(0.001));
  const Saying tls{.tls = true};
  watch_baseline(replay, tls);
  // It leaves some requests unanswered, which are all of whose outcome is known: no share of
  // errors.
  const auto canary = [&] {
    Counts counts = served(tls, requests_);
    counts.counters[SLOGATE_COUNTER_unanswered_server] = random_() % 16 == 0 ? 1 : 0;
    return counts;
  };
  size_t steps = 0;
  while (steps++ < readings(300) &&
         count(replay, canary(), served(tls, requests_)).decision == Decision::Hold) {
    ASSERT_NE(replay.judge().verdict()->reason, Reason::OutcomesUnknown);
  }
  const Verdict& verdict = *replay.judge().verdict();
  EXPECT_EQ(verdict.decision, Decision::Pass) << verdict.message;
  EXPECT_FALSE(objective(verdict, kCompared).needed);
  EXPECT_EQ(objective(verdict, kCompared).canary, std::nullopt);
  EXPECT_LT(verdict.outcomes_known.value_or(1), 0.01);
  EXPECT_THAT(verdict.message, HasSubstr("% of its answers is known"));
}

TEST_F(OutcomesTest, ACanaryThatHidesWhatItsBaselineShowsDoesNotPass) {
  Replay replay(default_slo(0.001));
  watch_baseline(replay);
  for (size_t i = 0; i < readings(120); ++i)
    ASSERT_EQ(step(replay, {.tls = true}, {}).decision, Decision::Hold);
  const Verdict& verdict = *replay.judge().verdict();
  EXPECT_EQ(verdict.reason, Reason::OutcomesUnknown);
  EXPECT_THAT(verdict.message, HasSubstr("the outcome of 0 % of the canary's answers is known, and "
                                         "of the baseline's more than half were"));
}

TEST_F(OutcomesTest, WhatWasKnownBeforeIsMissed) {
  Slo slo = default_slo(0.001);
  slo.baseline.reset();
  slo.objectives = {LatencyObjective{SLOGATE_SIGNAL_request, 0.99, 500ms, {}}};
  Replay replay(slo);
  const auto answer = [&](const Saying& what) {
    for (size_t i = 0; i < readings(60); ++i) count(replay, served(what, requests_));
  };
  answer({});
  ASSERT_EQ(replay.judge().verdict()->decision, Decision::Pass)
      << replay.judge().verdict()->message;
  answer({.tls = true});
  EXPECT_EQ(replay.judge().verdict()->reason, Reason::OutcomesUnknown);
  EXPECT_THAT(replay.judge().verdict()->message, HasSubstr("it was more than half before"));
  // A rollout that is begun by hand asks for no more than it can see.
  replay.judge().reset("2", replay.now());
  answer({.tls = true});
  EXPECT_EQ(replay.judge().verdict()->decision, Decision::Pass);
}

TEST_F(OutcomesTest, ABoundOnErrorsThatNobodyCanKnowIsSaidAtOnce) {
  Slo slo = default_slo(0.001);
  slo.baseline.reset();
  slo.objectives = {RatioObjective{RatioSignal::Errors, 0.01, {}}};
  for (const bool counted : {true, false}) {  // not even as unknown where outcomes are off
    Replay replay(slo);
    for (size_t i = 0; i < readings(2); ++i) {
      Counts canary = served({.tls = true}, requests_);
      if (!counted) canary.counters[SLOGATE_COUNTER_server_tls_unknown] = 0;
      canary.counters[SLOGATE_COUNTER_unanswered_server] = 2;  // no share of errors either
      count(replay, canary);
    }
    const Verdict& verdict = *replay.judge().verdict();
    EXPECT_EQ(verdict.reason, Reason::OutcomesUnknown);
    EXPECT_THAT(verdict.message, HasSubstr("errors is stated, and"));
    for (size_t i = 0; i < readings(60); ++i) count(replay, served({.tls = true}, requests_));
    EXPECT_EQ(replay.judge().verdict()->decision, Decision::Hold);
  }
}

TEST_F(OutcomesTest, AStatedBoundOnErrorsIsProvenAndVetoed) {
  Slo slo = default_slo(0.001);
  slo.baseline.reset();
  slo.objectives = {RatioObjective{RatioSignal::Errors, 0.01, {}}};
  Replay good(slo), bad(slo);
  until_decided(good, {.failing = 0.002}, {});
  EXPECT_EQ(good.judge().verdict()->reason, Reason::Proven);
  until_decided(bad, {.failing = 0.05}, {});
  EXPECT_EQ(bad.judge().verdict()->reason, Reason::Exceeded);
  EXPECT_THAT(bad.judge().verdict()->message, HasSubstr("errors: canary"));
}

Counts looked_up(Counts counts, uint64_t hits, uint64_t misses) {
  counts.counters[SLOGATE_COUNTER_client_redis_success] = hits;
  counts.counters[SLOGATE_COUNTER_client_redis_miss] = misses;
  counts.histograms[SLOGATE_SIGNAL_client_request][10] = hits + misses;
  return counts;
}

TEST_F(OutcomesTest, MissesAreJudgedWhereTheyAreStated) {
  Slo stated = default_slo(0.001);
  stated.objectives = {RatioObjective{RatioSignal::MissesOfRedis, 0.1, {}}};
  Replay asked(stated), unasked(default_slo(0.001));
  for (Replay* replay : {&asked, &unasked}) {
    Decision decision = Decision::Hold;
    for (size_t i = 0; i < readings(60) && decision != Decision::Veto; ++i)
      decision = count(*replay, looked_up(served({}, requests_), 50, 200),
                       looked_up(served({}, requests_), 245, 5))
                     .decision;
    EXPECT_EQ(decision == Decision::Veto, replay == &asked);
  }
  EXPECT_THAT(asked.judge().verdict()->message,
              HasSubstr("misses(client, redis): canary 80 %, baseline 2 %, allowed 10 %"));
}

// Nothing that one revision's clients or processes do otherwise makes it worse.
TEST_F(OutcomesTest, HandshakesInFullAndClientsThatLeaveAreNoErrors) {
  Replay replay(default_slo(0.001));
  watch_baseline(replay);
  for (size_t i = 0; i < readings(60); ++i) {
    Counts canary = served({}, requests_), baseline = served({}, requests_);
    canary.counters[SLOGATE_COUNTER_server_tls_full] = 20;
    baseline.counters[SLOGATE_COUNTER_server_tls_resumed] = 20;
    canary.counters[SLOGATE_COUNTER_client_gone] = 2;
    ASSERT_NE(count(replay, canary, baseline).decision, Decision::Veto);
  }
  EXPECT_EQ(replay.judge().verdict()->decision, Decision::Pass);
}

// ---- how many answers a proof takes ----

// Of each arm, where both have a share `rate` of errors, as it is expected.
double answers_to_prove(double rate, double increase) {
  double low = 1, high = 1e9;
  for (int i = 0; i < 100; ++i) {
    const double answers = std::sqrt(low * high);
    const Trial arm{rate * answers, answers};
    std::array<double, kStakes.size()> proofs{};
    std::ranges::transform(kStakes, proofs.begin(), [&](double stake) {
      return tolerable(arm, arm, {1, increase}, stake);
    });
    (log_mean_exp(proofs) >= kProofThreshold ? high : low) = answers;
  }
  return high;
}

// To two digits. An increase that the smallest stake is too bold for is never shown.
std::string rounded(double count) {
  if (count > 1e8) return "-";
  const double step = std::pow(10, std::floor(std::log10(count)) - 1);
  return count_text(std::round(count / step) * step);
}

TEST(Proof, TheDocumentationHasHowManyAnswersItTakes) {
  std::ifstream from(SLOGATE_SOURCE_DIR "/docs/verdict.md");
  const std::string text{std::istreambuf_iterator<char>(from), {}};
  for (const double rate : {0.0, 0.001, 0.005, 0.01, 0.02}) {
    std::string row = fmt::format("| {} |", share_text(rate));
    for (const double increase : {0.001, 0.005, 0.01})
      row += fmt::format(" {} |", rounded(answers_to_prove(rate, increase)));
    EXPECT_THAT(text, HasSubstr(row));
  }
}

}  // namespace
}  // namespace slogate
