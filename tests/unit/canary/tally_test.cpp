// SPDX-License-Identifier: Apache-2.0
// What an arm did, as trials.
#include "agent/canary/tally.h"

#include <gtest/gtest.h>

#include <cmath>

#include "maps/histogram.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

constexpr size_t kRequest = SLOGATE_SIGNAL_request;

// The edge at or above a time.
size_t edge_of(std::chrono::nanoseconds time) {
  return slogate_bucket(static_cast<uint64_t>(time.count()));
}

ArmReading answered(std::chrono::nanoseconds time, uint64_t requests) {
  ArmReading reading;
  reading.added.histograms[kRequest][edge_of(time)] = requests;
  return reading;
}

ArmReading waiting(std::initializer_list<std::chrono::nanoseconds> ages) {
  ArmReading reading;
  reading.open.emplace();
  for (const auto age : ages) ++reading.open->server[edge_of(age)];
  return reading;
}

TEST(Tally, CountsWhatIsBeyondEachEdge) {
  Arm arm;
  arm.add(answered(10ms, 90));
  arm.add(answered(100ms, 10));
  const Trial at_10 = latency_trial(arm.tally(), kRequest, edge_of(10ms));
  EXPECT_EQ(at_10.events, 10);
  EXPECT_EQ(at_10.exposures, 100);
  EXPECT_EQ(latency_trial(arm.tally(), kRequest, edge_of(100ms)).events, 0);
  EXPECT_EQ(latency_trial(arm.tally(), kRequest, edge_of(10ms) - 1).events, 100);
  EXPECT_EQ(exposures(arm.tally(), kRequest), 100u);
}

TEST(Tally, AWaitingRequestIsSlowOnceWhateverBecomesOfIt) {
  Arm arm;
  const auto slow = [&] { return latency_trial(arm.tally(), kRequest, edge_of(1s)).events; };
  arm.add(waiting({3s, 4s}));
  EXPECT_EQ(slow(), 2);
  arm.add(waiting({4s, 5s}));
  EXPECT_EQ(slow(), 2);
  // One is answered while the other still waits.
  ArmReading both = answered(5s, 1);
  both.open = waiting({6s}).open;
  arm.add(both);
  EXPECT_EQ(slow(), 2);
  // The other one's connection ends without an answer.
  ArmReading ended = waiting({});
  ended.added.counters[SLOGATE_COUNTER_unanswered_server] = 1;
  arm.add(ended);
  EXPECT_EQ(slow(), 2);
  arm.add(waiting({2s}));
  EXPECT_EQ(slow(), 3);
}

TEST(Tally, QuantilesNeedATail) {
  Arm arm;
  arm.add(answered(10ms, 499));
  EXPECT_EQ(quantile_edge(arm.tally(), kRequest, 0.99), std::nullopt);
  arm.add(answered(10ms, 2));
  EXPECT_EQ(quantile_edge(arm.tally(), kRequest, 0.99), edge_of(10ms));
  EXPECT_EQ(tally_quantile(Tally{}, kRequest, 0.5), std::nullopt);
  EXPECT_NEAR(*tally_quantile(arm.tally(), kRequest, 0.5), 0.010, 0.010 * 0.045);
}

// 90 % take 2 ms, the rest 5 ms: p90 is 2 ms, whether by chance a few more or less do.
TEST(Tally, AQuantileBetweenTwoValuesDoesNotDependOnChance) {
  const auto p90 = [](uint64_t quick, uint64_t slow) {
    Arm arm;
    arm.add(answered(2ms, quick));
    arm.add(answered(5ms, slow));
    return quantile_edge(arm.tally(), kRequest, 0.9);
  };
  EXPECT_EQ(p90(905, 95), edge_of(2ms));
  EXPECT_EQ(p90(895, 105), edge_of(2ms));
  EXPECT_EQ(p90(881, 119), edge_of(2ms));
  EXPECT_EQ(p90(879, 121), edge_of(5ms)) << "more than two standard errors";
  EXPECT_EQ(p90(133, 17), edge_of(5ms)) << "too few to tell";
}

TEST(Tally, RatiosAreOfWhatCouldHaveFailed) {
  Counts counts;
  // Of 200 connections 110 carried nothing.
  counts.counters[SLOGATE_COUNTER_connections_server] = 200;
  counts.counters[SLOGATE_COUNTER_used_server] = 90;
  counts.counters[SLOGATE_COUNTER_server_listen_overflow] = 4;
  counts.counters[SLOGATE_COUNTER_server_refused] = 2;
  counts.counters[SLOGATE_COUNTER_client_refused] = 4;
  counts.counters[SLOGATE_COUNTER_segments_in] = 600;
  counts.counters[SLOGATE_COUNTER_segments_out] = 300;
  counts.counters[SLOGATE_COUNTER_retransmits] = 30;
  counts.counters[SLOGATE_COUNTER_resets_in] = 30;
  counts.counters[SLOGATE_COUNTER_harmful_in] = 2;
  counts.counters[SLOGATE_COUNTER_harmful_out] = 1;
  counts.counters[SLOGATE_COUNTER_client_gone] = 50;
  counts.drops[2] = 100;
  const auto expect = [&](RatioSignal signal, uint64_t events, uint64_t of) {
    const RatioTally ratio = to_ratio(counts, signal);
    EXPECT_EQ(ratio.events, events);
    EXPECT_EQ(ratio.exposures, of);
  };
  expect(RatioSignal::ConnectionErrors, 10, 100);
  expect(RatioSignal::Drops, 100, 1000);
  expect(RatioSignal::Resets, 3, 900);
  expect(RatioSignal::Retransmits, 30, 300);
}

TEST(Tally, ErrorsAreOfWhatIsKnown) {
  Counts counts;
  counts.counters[SLOGATE_COUNTER_server_http_success] = 800;
  counts.counters[SLOGATE_COUNTER_server_http_client_error] = 60;
  counts.counters[SLOGATE_COUNTER_server_http_server_error] = 20;
  counts.counters[SLOGATE_COUNTER_server_http_unknown] = 7;
  counts.counters[SLOGATE_COUNTER_server_redis_server_error] = 5;
  counts.counters[SLOGATE_COUNTER_server_redis_success] = 70;
  counts.counters[SLOGATE_COUNTER_server_redis_miss] = 30;
  counts.counters[SLOGATE_COUNTER_server_tls_unknown] = 400;
  counts.counters[SLOGATE_COUNTER_unanswered_server] = 15;
  counts.counters[SLOGATE_COUNTER_client_gone] = 90;
  counts.counters[SLOGATE_COUNTER_client_redis_miss] = 40;
  counts.counters[SLOGATE_COUNTER_client_redis_success] = 100;
  counts.counters[SLOGATE_COUNTER_client_redis_redirect] = 3;
  counts.counters[SLOGATE_COUNTER_client_memcached_miss] = 1;
  counts.counters[SLOGATE_COUNTER_client_memcached_success] = 9;
  counts.counters[SLOGATE_COUNTER_client_postgresql_server_error] = 2;
  counts.counters[SLOGATE_COUNTER_client_postgresql_success] = 98;
  counts.counters[SLOGATE_COUNTER_client_postgresql_unknown] = 50;
  counts.counters[SLOGATE_COUNTER_unanswered_client] = 4;
  counts.counters[SLOGATE_COUNTER_server_tls_full] = 6;
  counts.counters[SLOGATE_COUNTER_server_tls_resumed] = 18;
  counts.counters[SLOGATE_COUNTER_server_tls_failed] = 5;
  const auto expect = [&](RatioSignal signal, uint64_t events, uint64_t of) {
    const RatioTally ratio = to_ratio(counts, signal);
    EXPECT_EQ(ratio.events, events) << kJudged[judged(signal)].name;
    EXPECT_EQ(ratio.exposures, of) << kJudged[judged(signal)].name;
  };
  expect(RatioSignal::Errors, 20 + 5 + 15, 800 + 60 + 20 + 5 + 70 + 30 + 15);
  expect(RatioSignal::ClientErrors, 60, 1000);
  expect(RatioSignal::Misses, 30, 100);
  expect(RatioSignal::TlsFull, 6, 24);
  expect(RatioSignal::ErrorsOfClient, 2 + 4, 40 + 100 + 3 + 1 + 9 + 2 + 98 + 4);
  expect(RatioSignal::MissesOfClient, 41, 150);
  expect(RatioSignal::MissesOfRedis, 40, 140);
  expect(RatioSignal::ErrorsOfPostgresql, 2, 100);
  expect(RatioSignal::ErrorsOfHttp, 0, 0);
  expect(RatioSignal::TlsFullOfClient, 0, 0);
}

// Of a service that speaks TLS the requests that got no answer are all whose outcome is known.
TEST(Tally, WhereMostOutcomesAreUnknownErrorsAreNoTrial) {
  constexpr size_t errors = judged(RatioSignal::Errors);
  const auto after = [](uint64_t known, uint64_t unanswered, uint64_t all) {
    Arm arm;
    ArmReading reading = answered(10ms, all);
    reading.added.counters[SLOGATE_COUNTER_server_http_success] = known;
    reading.added.counters[SLOGATE_COUNTER_server_tls_unknown] = all - known;
    reading.added.counters[SLOGATE_COUNTER_unanswered_server] = unanswered;
    arm.add(reading);
    return arm.tally();
  };
  EXPECT_EQ(ratio_trial(after(0, 5, 1000), errors).exposures, 0);
  EXPECT_EQ(exposures(after(0, 5, 1000), errors), 0u);
  EXPECT_EQ(ratio_trial(after(490, 5, 1000), errors).exposures, 0);
  const Trial half = ratio_trial(after(510, 5, 1000), errors);
  EXPECT_EQ(half.events, 5);
  EXPECT_EQ(half.exposures, 515);
  // Goodbyes of an unknown protocol look like requests that got no answer, so where no answer was
  // understood these are no failures either, be they the only ones of a block.
  EXPECT_EQ(ratio_trial(after(0, 300, 0), errors).exposures, 0);
  EXPECT_EQ(ratio_trial(after(0, 300, 200), errors).exposures, 0);
  EXPECT_EQ(ratio_trial(after(200, 300, 200), errors).events, 300);
  EXPECT_NEAR(coverage(after(700, 0, 1000), errors)->known, 0.7, 1e-9);
  EXPECT_EQ(coverage(Tally{}, errors), std::nullopt);
  EXPECT_EQ(coverage(after(700, 0, 1000), judged(RatioSignal::Resets)), std::nullopt);
}

// What is sent at once is one request and many answers: those that are not known of a burst count.
TEST(Tally, OfAnswersToWhatWasSentAtOnceEachIsKnownOrNot) {
  constexpr size_t errors = judged(RatioSignal::Errors);
  const auto after = [](uint64_t requests, uint64_t known, uint64_t unknown) {
    Arm arm;
    ArmReading reading = answered(10ms, requests);
    reading.added.counters[SLOGATE_COUNTER_server_redis_success] = known;
    reading.added.counters[SLOGATE_COUNTER_server_redis_unknown] = unknown;
    arm.add(reading);
    return arm.tally();
  };
  EXPECT_EQ(coverage(after(100, 400, 1200), errors), (Coverage{1600, 0.25}));
  EXPECT_EQ(ratio_trial(after(100, 400, 1200), errors).exposures, 0);
  EXPECT_EQ(coverage(after(100, 1600, 0), errors), (Coverage{1600, 1}));
  EXPECT_EQ(ratio_trial(after(100, 1600, 0), errors).exposures, 1600);
  EXPECT_EQ(coverage(after(100, 0, 0), errors), (Coverage{100, 0})) << "answers are not read";
}

// Whoever adds a counter of an error to signals.def need not think of this table.
TEST(Tally, EveryCounterOfAFamilyCounts) {
  for (size_t i = 0; i < kCounters.size(); ++i) {
    Counts counts;
    counts.counters[i] = 1;
    const std::string_view family = kCounters[i].family;
    const auto events = [&](RatioSignal signal) { return to_ratio(counts, signal).events; };
    EXPECT_EQ(events(RatioSignal::ConnectionErrors), family == "connection_errors" ? 1 : 0)
        << kCounters[i].name;
    EXPECT_EQ(events(RatioSignal::Resets), family == "harmful_resets" ? 1 : 0) << kCounters[i].name;
    EXPECT_EQ(events(RatioSignal::Retransmits), family == "retransmits" ? 1 : 0)
        << kCounters[i].name;
    EXPECT_EQ(events(RatioSignal::Drops), 0u) << kCounters[i].name;
    EXPECT_EQ(to_ratio(counts, RatioSignal::ConnectionErrors).exposures,
              family == "connection_errors" || family == "used_connections" ? 1 : 0)
        << kCounters[i].name;
  }
}

TEST(Tally, ASumMayLeaveOutWhatIsCountedApart) {
  Counts counts;
  counts.counters[SLOGATE_COUNTER_connections_server] = 90;
  counts.counters[SLOGATE_COUNTER_connections_client] = 30;
  counts.counters[SLOGATE_COUNTER_client_refused] = 4;
  counts.counters[SLOGATE_COUNTER_server_reset] = 200;
  const auto sum = [&](const CounterSum& of) { return CounterFactors(of).sum(counts); };
  EXPECT_EQ(sum({{"connections"}}), 120u);
  EXPECT_EQ(sum({{"connections", "role", "client"}, {"connection_errors", "error", "refused"}}),
            34u);
  EXPECT_EQ(sum({{"connection_errors", "role", "client", "error", "reset"}}), 0u);
  EXPECT_EQ(sum({{"connections"}, less({"connections", "role", "client"})}), 90u);
  EXPECT_EQ(sum({{"connections"}, less({"connection_errors"})}), 0u);
}

TEST(Tally, ABlockIsTheDifferenceOfTwo) {
  Arm arm;
  arm.add(answered(10ms, 90));
  const Tally before = arm.tally();
  arm.add(answered(10ms, 7));
  Tally block = arm.tally();
  block -= before;
  EXPECT_EQ(exposures(block, kRequest), 7u);
  block += block;
  block.halve();
  EXPECT_EQ(exposures(block, kRequest), 7u);
}

}  // namespace
}  // namespace slogate
