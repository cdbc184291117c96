// SPDX-License-Identifier: Apache-2.0
// Objectives in the form in which they are judged.
#include "agent/canary/hypotheses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "agent/base/figures.h"
#include "agent/canary/block_length.h"
#include "tests/support/replay.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using support::Sampler;
using support::tally_of;

constexpr size_t kRequest = SLOGATE_SIGNAL_request;

std::vector<std::string> names(const std::vector<Hypothesis>& hypotheses) {
  std::vector<std::string> result;
  for (const Hypothesis& hypothesis : hypotheses) result.push_back(hypothesis.name);
  return result;
}

// The most that any component of the hypothesis gained.
double most(const std::vector<double>& gains) {
  return *std::ranges::max_element(gains);
}
// Where there is no tie both edges gained the same.
double most(const ProofGains& gains) {
  EXPECT_EQ(gains[0], gains[1]);
  return most(gains[0]);
}

TEST(Hypotheses, OneForEachBoundAndOneForEachSignalWithoutAnIncreaseOfItsOwn) {
  Slo slo = support::default_slo(0.01);
  slo.objectives = {LatencyObjective{SLOGATE_SIGNAL_request, 0.99, 15ms, 50ms},
                    RatioObjective{RatioSignal::Drops, 0.01, {}}};
  EXPECT_THAT(names(to_hypotheses(slo)),
              testing::ElementsAre(
                  "request p99 max 15 ms", "request p99 max_increase 50 ms", "drops max_ratio 1 %",
                  "client_request against the baseline", "queue against the baseline",
                  "connect against the baseline", "answer against the baseline",
                  "errors against the baseline", "client_errors against the baseline",
                  "connection_errors against the baseline", "drops against the baseline",
                  "resets against the baseline", "retransmits against the baseline"));
  slo.baseline.reset();
  slo.objectives = {LatencyObjective{SLOGATE_SIGNAL_request, 0.99, 15ms, {}}};
  EXPECT_THAT(names(to_hypotheses(slo)), testing::ElementsAre("request p99 max 15 ms"));
}

// A connection repeats its round-trip time each second: of four connections the samples are four.
TEST(Hypotheses, RoundTripsAreComparedOnlyWhereThatIsStated) {
  constexpr auto of_rtt = [](const Hypothesis& one) {
    return one.signal == judged(SLOGATE_SIGNAL_rtt);
  };
  EXPECT_TRUE(std::ranges::none_of(default_hypotheses(), of_rtt));
  Slo slo = support::default_slo(0.01);
  EXPECT_TRUE(std::ranges::none_of(to_hypotheses(slo), of_rtt));
  slo.objectives = {LatencyObjective{SLOGATE_SIGNAL_rtt, 0.99, {}, 20ms}};
  const auto stated = to_hypotheses(slo);
  ASSERT_EQ(std::ranges::count_if(stated, of_rtt), 1);
  EXPECT_EQ(std::ranges::find_if(stated, of_rtt)->name, "rtt p99 max_increase 20 ms");
}

TEST(Hypotheses, WeightsAreOneTogetherWhateverIsInUse) {
  const Hypotheses hypotheses(default_hypotheses());
  const size_t all = hypotheses.size();
  for (size_t used = 0; used < size_t{1} << all; ++used) {
    std::array<bool, kJudgedSignals> active{};
    for (size_t i = 0; i < all; ++i) active[hypotheses[i].hypothesis.signal] = (used >> i & 1) != 0;
    const auto weights = to_mixture_weights(hypotheses, active);
    EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), 1, 1e-9);
    EXPECT_GT(*std::ranges::min_element(weights), 0);
  }
}

TEST(Hypotheses, EachComponentIsOfOneHypothesis) {
  Slo slo = support::default_slo(0.01);
  slo.objectives = {LatencyObjective{SLOGATE_SIGNAL_queue, 0.9, 1ms, {}}};
  const Hypotheses hypotheses(to_hypotheses(slo));
  std::vector<size_t> numbers(hypotheses.component_count());
  std::iota(numbers.begin(), numbers.end(), 0);
  size_t next = 0, place = 0;
  for (const auto& [hypothesis, number, components] : hypotheses.entries()) {
    EXPECT_EQ(number, place++);
    EXPECT_EQ(&hypothesis, &hypotheses.all()[number]);
    EXPECT_EQ(components.levels, hypothesis.levels.size());
    for (size_t level = 0; level < components.levels; ++level)
      for (const size_t at : components.level(level).of(numbers)) EXPECT_EQ(at, next++);
    EXPECT_EQ(components.of(numbers).back() + 1, next) << hypothesis.name;
  }
  EXPECT_EQ(place, hypotheses.size());
  EXPECT_EQ(next, hypotheses.component_count());
}

TEST(Hypotheses, AnImpliedOneAllowsAStretchAndWhatASchedulerDoes) {
  const size_t slow = slogate_bucket(10'000'000), quick = slogate_bucket(100'000);
  EXPECT_EQ(veto_edge(kRequest, slow), slow + kVetoStretch);
  EXPECT_GE(bucket_edge(veto_edge(kRequest, quick)), bucket_edge(quick) + least_increase(kRequest));
  EXPECT_LT(veto_edge(kRequest, SLOGATE_EDGES - 1), size_t{SLOGATE_EDGES});
}

TEST(Hypotheses, ASlowerCanaryIsEvidenceAgainstAndAnEqualOneIsProof) {
  const Sampler good(support::lognormal()), bad(support::scaled(support::lognormal(), 4));
  const Tally before = tally_of(good, 20'000, 1), stable = tally_of(good, 2000, 2);
  const Hypothesis hypothesis = default_hypotheses()[kRequest];
  const LevelEdges edges = to_edges(hypothesis, before);
  const Gains worse = weigh(hypothesis, tally_of(bad, 2000, 3), &stable, edges);
  EXPECT_GT(most(worse.against), 10);
  EXPECT_LT(most(worse.proof), 0);
  const Gains equal = weigh(hypothesis, tally_of(good, 2000, 4), &stable, edges);
  EXPECT_LT(most(equal.against), 1);
  EXPECT_GT(most(equal.proof), 1);
  // With nothing to compare with there is neither.
  const Gains alone = weigh(hypothesis, stable, nullptr, edges);
  EXPECT_EQ(most(alone.against), 0);
}

// ---- how much of a tail is shown, and how ----

TEST(Hypotheses, AGapIsWhereTheBaselineHasNothingBetweenTheTwoEdges) {
  const Hypothesis hypothesis = default_hypotheses()[kRequest];
  const auto gaps = [&](const support::Survival& of, size_t requests) {
    std::string found;
    for (const auto& edge : to_edges(hypothesis, tally_of(Sampler(of), requests, 1)))
      found += !edge ? '-' : edge->gap ? 'g' : '.';
    return found;
  };
  for (const size_t requests : {3000, 300'000}) {
    const char* none = requests < 5000 ? "...-" : "....";
    EXPECT_EQ(gaps(support::lognormal(0.5), requests), none);
    EXPECT_EQ(gaps(support::lognormal(1), requests), none);
    EXPECT_EQ(gaps(support::pareto(), requests), none);
  }
  EXPECT_EQ(gaps(support::few_values(), 300'000), "gggg");
  EXPECT_EQ(gaps(support::few_values(), 900), "g.--") << "too few beyond p99 to tell";
  // All take the same time: beyond it there is nothing.
  EXPECT_EQ(gaps([](double x) { return x < 0.004 ? 1 : 0; }, 300'000), "gggg");
}

// A bucket further there is little of any tail: that is no gap.
TEST(Hypotheses, NoTailHasAGapBelowABoundThatIsStated) {
  Slo slo = support::default_slo(0.01);
  slo.objectives = {LatencyObjective{SLOGATE_SIGNAL_request, 0.99, {}, 8ms}};
  const Hypothesis stated = to_hypotheses(slo).front();
  for (const auto& of : {support::pareto(), support::lognormal(1), support::lognormal(1.5)}) {
    const LevelEdges edges = to_edges(stated, tally_of(Sampler(of), 300'000, 1));
    ASSERT_TRUE(edges.front());
    EXPECT_LT(proof_edge(stated, edges.front()->at), edges.front()->at + kPassStretch);
    EXPECT_FALSE(edges.front()->gap);
  }
  const LevelEdges few = to_edges(stated, tally_of(Sampler(support::few_values()), 300'000, 1));
  EXPECT_TRUE(few.front() && few.front()->gap);
}

double least_proof(const ProofGains& gains, size_t level) {
  const auto at = [&](size_t edge) {
    return log_mean_exp(Components{}.level(level).of(gains[edge]));
  };
  return std::min(at(0), at(1));
}

// One in a hundred takes 20 ms or more, so p99 may be taken for 5 ms: but it is 20, and 70 is 3.5
// times that.
TEST(Hypotheses, OfATieBothQuantilesAreShown) {
  const auto stable_of = [](double x) {
    return x < 0.005 ? 1 : x < 0.020 ? 0.01 : x < 0.080 ? 0.003 : 0.0;
  };
  const auto canary_of = [](double x) { return x < 0.005 ? 1 : x < 0.070 ? 0.01 : 0.0; };
  const Hypothesis hypothesis = default_hypotheses()[kRequest];
  const Sampler good{support::Survival(stable_of)}, bad{support::Survival(canary_of)};
  const LevelEdges edges = to_edges(hypothesis, tally_of(good, 12'000, 6));
  ASSERT_TRUE(edges[1]);
  EXPECT_LT(edges[1]->at, edges[1]->next);
  const Tally stable = tally_of(good, 40'000, 2);
  const auto proof_of_p99 = [&](const Sampler& canary, uint64_t seed) {
    const Gains gains = weigh(hypothesis, tally_of(canary, 40'000, seed), &stable, edges);
    return least_proof(gains.proof, 1);
  };
  EXPECT_GT(proof_of_p99(good, 3), 1);
  EXPECT_LT(proof_of_p99(bad, 4), 0);
}

// 1 % take 20 ms or more by chance, and then surely more or less: the tie is of 5 and 20 ms.
TEST(Hypotheses, ATieStaysOneWhileTheQuantileIsAtOneOfItsEdges) {
  const Hypothesis hypothesis = default_hypotheses()[kRequest];
  const auto history = [](uint64_t slow) {
    Arm arm;
    ArmReading reading;
    Histogram& requests = reading.added.histograms[kRequest];
    requests[slogate_bucket(5'000'000)] = 100'000 - slow - 200;
    requests[slogate_bucket(20'000'000)] = slow;
    requests[slogate_bucket(40'000'000)] = 200;
    arm.add(reading);
    return arm.tally();
  };
  const LevelEdges tie = to_edges(hypothesis, history(800));
  ASSERT_TRUE(tie[1] && tie[1]->is_tie());
  ASSERT_TRUE(tie[1]->gap);
  for (const uint64_t slow : {1000, 500}) {
    const LevelEdges alone = to_edges(hypothesis, history(slow));
    EXPECT_FALSE(alone[1]->is_tie()) << slow;
    const LevelEdges after = to_edges(hypothesis, history(slow), tie);
    EXPECT_EQ(after[1]->at, tie[1]->at) << slow;
    EXPECT_EQ(after[1]->next, tie[1]->next) << slow;
  }
  EXPECT_FALSE(to_edges(hypothesis, history(1000))[1]->is_tie());
  LevelEdges elsewhere = tie;
  elsewhere[1]->at -= 20;
  elsewhere[1]->next -= 20;
  EXPECT_FALSE(to_edges(hypothesis, history(1000), elsewhere)[1]->is_tie());
  // Whether there is a gap is known better from more: that is never as it was.
  LevelEdges unknown = tie;
  unknown[1]->gap = unknown[1]->next_gap = false;
  EXPECT_EQ(to_edges(hypothesis, history(1000), unknown)[1], to_edges(hypothesis, history(800))[1]);
}

// Where p99 lies before a mode of 1 %, the share behind the gap is the same however slow that mode
// is; where it is the last of its values, or the gap is behind few, it tells.
TEST(Hypotheses, MuchBehindAGapLeavesTheTailOpen) {
  const auto edge_of_p99 = [](const support::Survival& of) {
    return to_edges(default_hypotheses()[kRequest], tally_of(Sampler(of), 20'000, 1))[1];
  };
  const auto two_modes = edge_of_p99(support::bimodal(0.01));
  ASSERT_TRUE(two_modes && two_modes->next_gap);
  EXPECT_TRUE(two_modes->open_tail);
  EXPECT_FALSE(edge_of_p99(support::bimodal(0.003))->open_tail);
  EXPECT_FALSE(edge_of_p99(support::few_values())->open_tail);
  EXPECT_FALSE(edge_of_p99(support::lognormal())->open_tail);
  EXPECT_FALSE(edge_of_p99(support::pareto())->open_tail);
}

// Nothing of few values is between 20 and 28 ms: there "at least as much" is never disproved.
TEST(Hypotheses, OverAGapTheShareIsShown) {
  const Hypothesis hypothesis = default_hypotheses()[kRequest];
  const Sampler few(support::few_values());
  const Tally before = tally_of(few, 100'000, 1), stable = tally_of(few, 10'000, 2);
  const LevelEdges edges = to_edges(hypothesis, before);
  const auto proof_of_p99 = [&](const support::Survival& canary, bool gap) {
    LevelEdges used = edges;
    for (auto& edge : used) edge->gap = edge->next_gap = gap;
    const Tally tally = tally_of(Sampler(canary), 10'000, 3);
    return least_proof(weigh(hypothesis, tally, &stable, used).proof, 1);
  };
  EXPECT_GT(proof_of_p99(support::few_values(), true), 1);
  EXPECT_LT(proof_of_p99(support::few_values(), false), 1);
  // Twice as many of the slowest: 1 % where .5 % were, as much more as is too much.
  const auto twice = [few = support::few_values()](double x) {
    return x >= 0.020 && x < 0.080 ? 2 * few(x) : few(x);
  };
  EXPECT_LT(proof_of_p99(twice, true), 0);
  EXPECT_LT(proof_of_p99(support::scaled(support::few_values(), 1.5), true), 0);
}

// 20 / (1 - quantile) samples are what a level takes, about.
TEST(Hypotheses, TheTailIsNeededWhereTheTimeLetsItBeShown) {
  const Hypothesis implied = default_hypotheses()[kRequest];
  const auto needed = [&](double samples) {
    std::string found;
    for (const Level& level : implied.levels)
      found += is_level_needed(implied, level, samples) ? 'n' : '.';
    return found;
  };
  EXPECT_EQ(needed(0), "nn..");
  EXPECT_EQ(needed(3999), "nn..");
  EXPECT_EQ(needed(4000), "nnn.");
  EXPECT_EQ(needed(20'000), "nnnn");
  Slo slo = support::default_slo(0.01);
  slo.objectives = {LatencyObjective{SLOGATE_SIGNAL_request, 0.999, {}, 50ms}};
  const Hypothesis stated = to_hypotheses(slo).front();
  EXPECT_TRUE(is_level_needed(stated, stated.levels.front(), 0)) << "who states it wants it shown";
}

TEST(Hypotheses, ABoundBetweenTwoEdgesIsRoundedAgainstBoth) {
  Slo slo = support::default_slo(0.01);
  slo.baseline.reset();
  // 10 ms is inside a bucket: its values may be below or above.
  slo.objectives = {LatencyObjective{SLOGATE_SIGNAL_request, 0.5, 10ms, {}}};
  const Hypothesis hypothesis = to_hypotheses(slo).front();
  Arm arm;
  ArmReading inside;
  inside.added.histograms[kRequest][slogate_bucket(10'000'000)] = 1000;
  arm.add(inside);
  const Gains gains = weigh(hypothesis, arm.tally(), nullptr, LevelEdges{std::nullopt});
  EXPECT_LT(most(gains.against), 0);
  EXPECT_LT(most(gains.proof), 0);
}

// ---- how long blocks are ----

// `seconds` of 4 readings each in two halves; bursts of mean length `burst` readings hit one half.
std::vector<SplitReading> history(size_t readings, double burst, bool common) {
  std::mt19937_64 random(5);
  std::poisson_distribution<int> calm(3), busy(120);
  support::Bursts first(std::max(1.0, burst), burst > 0 ? 0.03 : 0),
      second(std::max(1.0, burst), burst > 0 ? 0.03 : 0);
  std::vector<SplitReading> all;
  for (size_t i = 0; i < readings; ++i) {
    const bool a = first.next(random), b = common ? a : second.next(random);
    const auto events = [&](bool slow) { return slow ? busy(random) : calm(random); };
    all.push_back({{static_cast<double>(events(a)), 300}, {static_cast<double>(events(b)), 300}});
  }
  return all;
}

TEST(BlockLength, IsTheShortestWhereNothingLasts) {
  EXPECT_EQ(plan_block(history(kLeastHistory - 1, 0, false)), kFirstBlock);
  EXPECT_EQ(plan_block(history(1200, 0, false)), 1u);
  EXPECT_EQ(plan_block(history(1200, 8, true)), 1u) << "what hits both halves cancels";
}

TEST(BlockLength, IsTwiceThatOfBursts) {
  EXPECT_NEAR(dispersion(history(1200, 0, false), 1), 1, 0.2);
  EXPECT_GT(dispersion(history(1200, 8, false), 1), 10);
  const size_t length = plan_block(history(1200, 8, false));
  EXPECT_GE(length, 8u);
  EXPECT_LE(length, 64u);
  EXPECT_LE(plan_block(history(1200, 400, false)), kLongestBlock);
}

TEST(BlockLength, OfDifferencesDependsOnNeitherSharedChangesNorALastingOne) {
  std::mt19937_64 random(7);
  std::vector<SplitReading> all;
  for (size_t i = 0; i < 1200; ++i) {
    // Load that changes every 20 s, and a second that is three times as bad.
    const double level = i / 80 % 2 == 0 ? 3 : 9;
    std::poisson_distribution<int> first(level), second(3 * level);
    all.push_back(
        {{static_cast<double>(first(random)), 300}, {static_cast<double>(second(random)), 300}});
  }
  EXPECT_EQ(plan_block(all, Comparison::Differences), 1u);
  EXPECT_NEAR(dispersion(all, 16, Comparison::Differences), 1, 0.5);
  const auto bursts = history(1200, 8, false);
  EXPECT_GT(dispersion(bursts, 16, Comparison::Differences), 5);
  EXPECT_GE(plan_block(bursts, Comparison::Differences), 8u);
}

TEST(BlockLength, OfRareEventsIsThatOfTheirRuns) {
  const SplitReading calm{{0, 75}, {0, 75}}, failing{{75, 75}, {0, 75}};
  std::vector<SplitReading> all(1200, calm);
  EXPECT_EQ(plan_rare_block(all), 1u) << "none at all";
  EXPECT_EQ(plan_rare_block(std::span(all).first(kLeastHistory - 1)), kFirstBlock);
  all[100].first.events = 1;
  EXPECT_EQ(plan_rare_block(all), kFirstBlock) << "one alone";
  std::fill_n(all.begin() + 600, 12, failing);
  EXPECT_EQ(plan_rare_block(all), 24u) << "an outage of 3 s";
  std::fill_n(all.begin() + 200, 300, failing);
  EXPECT_GE(plan_rare_block(all), 24u) << "of more than a few it is measured";
}

TEST(BlockLength, OfEventsThatAreNotRareIsMeasured) {
  EXPECT_EQ(plan_rare_block(history(1200, 0, false)), 1u);
  EXPECT_EQ(plan_rare_block(history(1200, 8, false)), plan_block(history(1200, 8, false)));
}

// ---- words ----

TEST(Sentence, HasFiguresThatAPersonReads) {
  EXPECT_EQ(duration_text(0.0000123), "12 us");
  EXPECT_EQ(duration_text(0.0312), "31 ms");
  EXPECT_EQ(duration_text(0.9996), "1 s");
  EXPECT_EQ(duration_text(150), "150 s");
  EXPECT_EQ(share_text(0.0015), "0.15 %");
  EXPECT_EQ(quantile_text(0.999), "p99.9");
  EXPECT_EQ(count_text(1234567), "1,234,567");
  EXPECT_EQ(odds_text(std::log(4123)), "odds 1 : 4,100 against chance");
  EXPECT_EQ(odds_text(1000), "odds 1 : more than 1,000,000,000 against chance");
  EXPECT_EQ(odds_text(0), "");
}

}  // namespace
}  // namespace slogate
