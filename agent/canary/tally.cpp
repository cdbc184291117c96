// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/tally.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace slogate {
namespace {

template <typename F>
void for_each_word(Tally& tally, const Tally& other, const F& apply) {
  for (size_t s = 0; s < SLOGATE_SIGNALS; ++s)
    for (size_t edge = 0; edge < SLOGATE_EDGES; ++edge) {
      apply(tally.latencies[s].fast[edge], other.latencies[s].fast[edge]);
      apply(tally.latencies[s].slow[edge], other.latencies[s].slow[edge]);
    }
  for (size_t r = 0; r < tally.ratios.size(); ++r) {
    apply(tally.ratios[r].events, other.ratios[r].events);
    apply(tally.ratios[r].exposures, other.ratios[r].exposures);
  }
  apply(tally.overlapped, other.overlapped);
  apply(tally.abandoned, other.abandoned);
  for (size_t s = 0; s < SLOGATE_SIGNALS; ++s) {
    apply(tally.unanswered[s], other.unanswered[s]);
    apply(tally.answers[s], other.answers[s]);
    apply(tally.connections[s], other.connections[s]);
  }
}

struct RatioFactors {
  CounterFactors events, exposures;
};
// Made at the first call: every row with every counter is more comparisons of words than clang
// makes when it compiles.
const RatioFactors& factors_of(RatioSignal signal) {
  static const auto all = [] {
    std::array<RatioFactors, kJudgedRatios.size()> made{};
    std::ranges::transform(kJudgedRatios, made.begin(), [](const JudgedSignal& ratio) {
      return RatioFactors{CounterFactors(ratio.events), CounterFactors(ratio.exposures)};
    });
    return made;
  }();
  return all[static_cast<size_t>(signal)];
}

// The counter of a family that has this role; SLOGATE_COUNTERS for none.
constexpr slogate_counter counter_of(std::string_view family, std::string_view role) {
  const CounterTerm term{family, "role", role};
  const auto* found =
      std::ranges::find_if(kCounters, [&](const CounterInfo& row) { return term.has(row); });
  return static_cast<slogate_counter>(found - kCounters.begin());
}
// What counts the requests of a latency's role that ended without an answer, and the connections
// that its values come over.
constexpr auto kUnanswered = [] {
  std::array<slogate_counter, SLOGATE_SIGNALS> all{};
  std::ranges::transform(kSignals, all.begin(), [](const SignalInfo& signal) {
    return counter_of("unanswered_requests", signal.role);
  });
  return all;
}();
constexpr auto kConnections = [] {
  std::array<slogate_counter, SLOGATE_SIGNALS> all{};
  std::ranges::transform(kJudgedLatencies, all.begin(), [](const JudgedSignal& signal) {
    return counter_of("used_connections", signal.connections);
  });
  return all;
}();
constexpr bool is_counted() {
  for (size_t i = 0; i < SLOGATE_SIGNALS; ++i) {
    if (kJudged[i].answers && kUnanswered[i] == SLOGATE_COUNTERS) return false;
    if (!kJudged[i].connections.empty() && kConnections[i] == SLOGATE_COUNTERS) return false;
  }
  return true;
}
static_assert(is_counted());

// What counts the answers of a latency's role.
const CounterFactors& answers_of(size_t signal) {
  static const auto all = [] {
    std::array<CounterFactors, SLOGATE_SIGNALS> made;
    for (size_t s = 0; s < SLOGATE_SIGNALS; ++s)
      if (kJudged[s].answers) made[s] = CounterFactors({answers(kSignals[s].role)});
    return made;
  }();
  return all[signal];
}

const Histogram& of_role(const OpenRequests& open, std::string_view role) {
  return role == "client" ? open.client : open.server;
}

}  // namespace

Tally& Tally::operator+=(const Tally& other) {
  for_each_word(*this, other, [](uint64_t& to, uint64_t from) { to += from; });
  return *this;
}

Tally& Tally::operator-=(const Tally& before) {
  for_each_word(*this, before, [](uint64_t& to, uint64_t from) { to -= from; });
  return *this;
}

void Tally::halve() {
  for_each_word(*this, *this, [](uint64_t& to, uint64_t) { to /= 2; });
}

Tally scaled(const Tally& tally, double factor) {
  Tally result;
  for_each_word(result, tally, [factor](uint64_t& to, uint64_t from) {
    to = static_cast<uint64_t>(std::llround(static_cast<double>(from) * factor));
  });
  return result;
}

uint64_t CounterFactors::sum(const Counts& counts) const {
  int64_t sum = drops_ == 0 ? 0 : drops_ * static_cast<int64_t>(counts.drops.total());
  for (const Factor& one : std::span(counters_).first(size_))
    sum += one.factor * static_cast<int64_t>(counts.counters[one.counter]);
  return static_cast<uint64_t>(std::max<int64_t>(sum, 0));
}

Histogram to_histogram(const LatencyTally& tally) {
  std::array<uint64_t, SLOGATE_BUCKETS> buckets{};
  uint64_t below = 0;
  for (size_t edge = 0; edge < SLOGATE_EDGES; ++edge) {
    buckets[edge] = tally.fast[edge] - std::min(tally.fast[edge], below);
    below = std::max(below, tally.fast[edge]);
  }
  buckets.back() = tally.slow.back();
  Histogram histogram;
  histogram.assign(0, buckets);
  return histogram;
}

Trial latency_trial(const Tally& tally, size_t signal, size_t edge) {
  const LatencyTally& latency = tally.latencies[signal];
  const auto slow = static_cast<double>(latency.slow[edge]);
  return {slow, slow + static_cast<double>(latency.fast[edge])};
}

// Whether a block counts follows from how many outcomes there were, and not from what they were: so
// the mean of what it multiplies an e-value by stays at most 1.
Trial ratio_trial(const Tally& tally, size_t signal) {
  if (const double least = kJudged[signal].least_known; least > 0) {
    const auto covered = coverage(tally, signal);
    if (!covered || covered->known < least) return {};
  }
  const RatioTally& ratio = tally.ratios[signal - SLOGATE_SIGNALS];
  return {static_cast<double>(ratio.events), static_cast<double>(ratio.exposures)};
}

std::optional<Coverage> coverage(const Tally& tally, size_t signal) {
  const auto requests = kJudged[signal].answered_in;
  if (!requests) return std::nullopt;
  const auto unanswered = static_cast<double>(tally.unanswered[*requests]);
  const auto exposed = static_cast<double>(tally.ratios[signal - SLOGATE_SIGNALS].exposures);
  // Those ratios have the unanswered among their exposures.
  const double known = std::max(0.0, exposed - (kJudged[signal].least_known > 0 ? unanswered : 0));
  const double answered = static_cast<double>(exposures(tally, judged(*requests))) - unanswered;
  // The counters of one reading are not all of one moment.
  const double all = std::max({known, answered, static_cast<double>(tally.answers[*requests])});
  if (all <= 0) return std::nullopt;
  return Coverage{all, known / all};
}

uint64_t exposures(const Tally& tally, size_t signal) {
  if (!is_latency(signal)) return static_cast<uint64_t>(ratio_trial(tally, signal).exposures);
  const LatencyTally& latency = tally.latencies[signal];
  return latency.fast.front() + latency.slow.front();
}

namespace {

// Whether so many events are no more than `expected` by two standard errors, and the next edge's
// far fewer.
bool is_tied(double events, double next, double expected) {
  return expected >= kTiedSamples && next < expected / 2 &&
         events <= expected + 2 * std::sqrt(expected);
}

// Where so many events as are beyond `edge` may be fewer than `expected` by chance alone, and the
// next share is far smaller, the edge of that one.
size_t other_edge(const Tally& tally, size_t signal, size_t edge, double expected) {
  const double surely_fewer = expected - 2 * std::sqrt(expected);
  if (expected < kTiedSamples) return edge;
  for (size_t at = edge; at < SLOGATE_EDGES; ++at) {
    const double events = latency_trial(tally, signal, at).events;
    if (events <= surely_fewer) return events < expected / 2 ? at : edge;
  }
  return edge;
}

}  // namespace

std::optional<size_t> quantile_edge(const Tally& tally, size_t signal, double quantile) {
  const auto edges = quantile_edges(tally, signal, quantile);
  return edges ? std::optional(edges->front()) : std::nullopt;
}

std::optional<std::array<size_t, 2>> quantile_edges(const Tally& tally, size_t signal,
                                                    double quantile) {
  double before = std::numeric_limits<double>::infinity();
  size_t since = 0;  // the first edge with as many beyond it
  for (size_t edge = 0; edge < SLOGATE_EDGES; ++edge) {
    const Trial trial = latency_trial(tally, signal, edge);
    const double expected = trial.exposures * (1 - quantile);
    if (expected < kTailSamples) return std::nullopt;
    if (trial.events <= expected)
      return {{is_tied(before, trial.events, expected) ? since : edge,
               other_edge(tally, signal, edge, expected)}};
    if (trial.events < before) since = edge;
    before = trial.events;
  }
  return std::nullopt;
}

std::optional<double> tally_quantile(const Tally& tally, size_t signal, double quantile) {
  if (exposures(tally, signal) == 0) return std::nullopt;
  for (size_t edge = 0; edge < SLOGATE_EDGES; ++edge) {
    const Trial trial = latency_trial(tally, signal, edge);
    if (trial.events <= (1 - quantile) * trial.exposures)
      return std::exp2((static_cast<double>(edge) + SLOGATE_EDGE_FIRST - 0.5) / 8);
  }
  return bucket_edge(SLOGATE_EDGES - 1);
}

RatioTally to_ratio(const Counts& counts, RatioSignal signal) {
  const RatioFactors& factors = factors_of(signal);
  const uint64_t events = factors.events.sum(counts);
  return {events, std::max(events, factors.exposures.sum(counts))};
}

// Both what has completed or ended without an answer by now, and what had by the last look at the
// open requests plus those that were then older than an edge, are at most the number that passed
// the edge by now: so the larger is, too, and nothing is counted twice.
void Arm::add_latency(size_t signal, const Histogram& added, uint64_t unanswered,
                      const Histogram* open) {
  total_.histograms[signal] += added;
  const Histogram& all = total_.histograms[signal];
  LatencyTally& latency = tally_.latencies[signal];
  uint64_t fast = 0;
  for (size_t edge = 0; edge < SLOGATE_EDGES; ++edge) latency.fast[edge] = fast += all[edge];
  uint64_t slow = unanswered, overdue = 0;
  for (size_t edge = SLOGATE_EDGES; edge-- > 0;) {
    slow += all[edge + 1];
    if (open) overdue += (*open)[edge + 1];
    latency.slow[edge] = std::max(latency.slow[edge], slow + overdue);
  }
}

void Arm::add(const ArmReading& reading) {
  for (size_t i = 0; i < total_.counters.size(); ++i)
    total_.counters[i] += reading.added.counters[i];
  total_.drops += reading.added.drops;
  for (size_t signal = 0; signal < SLOGATE_SIGNALS; ++signal) {
    const Histogram& added = reading.added.histograms[signal];
    uint64_t unanswered = 0, more = 0;
    const Histogram* open = nullptr;
    if (kJudged[signal].answers) {
      const slogate_counter counter = kUnanswered[signal];
      unanswered = total_.counters[counter];
      more = reading.added.counters[counter];
      if (reading.open) open = &of_role(*reading.open, kSignals[signal].role);
    }
    tally_.unanswered[signal] = unanswered;
    if (kJudged[signal].answers) tally_.answers[signal] = answers_of(signal).sum(total_);
    if (!kJudged[signal].connections.empty())
      tally_.connections[signal] = total_.counters[kConnections[signal]];
    if (!open && added.is_zero() && more == 0) continue;
    add_latency(signal, added, unanswered, open);
  }
  for (size_t i = 0; i < tally_.ratios.size(); ++i) {
    const RatioTally ratio = to_ratio(total_, static_cast<RatioSignal>(i));
    // What is taken off may be counted later than what it is taken from.
    tally_.ratios[i] = {std::max(tally_.ratios[i].events, ratio.events),
                        std::max(tally_.ratios[i].exposures, ratio.exposures)};
  }
  tally_.overlapped = total_.counters[SLOGATE_COUNTER_overlapped];
  tally_.abandoned = total_.counters[SLOGATE_COUNTER_client_gone];
}

}  // namespace slogate
