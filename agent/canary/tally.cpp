// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/tally.h"

#include <algorithm>
#include <cmath>

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
}

uint64_t sum_of(const Counts& counts, std::initializer_list<slogate_counter> which) {
  uint64_t sum = 0;
  for (const slogate_counter counter : which) sum += counts.counters[counter];
  return sum;
}

uint64_t connection_errors(const Counts& counts) {
  return sum_of(counts, {SLOGATE_COUNTER_server_timed_out, SLOGATE_COUNTER_server_reset,
                         SLOGATE_COUNTER_server_unreachable, SLOGATE_COUNTER_server_listen_overflow,
                         SLOGATE_COUNTER_server_refused, SLOGATE_COUNTER_server_other,
                         SLOGATE_COUNTER_client_refused, SLOGATE_COUNTER_client_timed_out,
                         SLOGATE_COUNTER_client_reset, SLOGATE_COUNTER_client_unreachable,
                         SLOGATE_COUNTER_client_other});
}

uint64_t segments(const Counts& counts) {
  return sum_of(counts, {SLOGATE_COUNTER_segments_in, SLOGATE_COUNTER_segments_out});
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

Trial latency_trial(const Tally& tally, size_t signal, size_t edge) {
  const LatencyTally& latency = tally.latencies[signal];
  const auto slow = static_cast<double>(latency.slow[edge]);
  return {slow, slow + static_cast<double>(latency.fast[edge])};
}

Trial ratio_trial(const Tally& tally, size_t signal) {
  const RatioTally& ratio = tally.ratios[signal - SLOGATE_SIGNALS];
  return {static_cast<double>(ratio.events), static_cast<double>(ratio.exposures)};
}

uint64_t exposures(const Tally& tally, size_t signal) {
  if (!is_latency(signal)) return tally.ratios[signal - SLOGATE_SIGNALS].exposures;
  const LatencyTally& latency = tally.latencies[signal];
  return latency.fast.front() + latency.slow.front();
}

std::optional<size_t> quantile_edge(const Tally& tally, size_t signal, double quantile) {
  for (size_t edge = 0; edge < SLOGATE_EDGES; ++edge) {
    const Trial trial = latency_trial(tally, signal, edge);
    if (trial.exposures * (1 - quantile) < kTailSamples) return std::nullopt;
    if (trial.events <= (1 - quantile) * trial.exposures) return edge;
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
  switch (signal) {
    case RatioSignal::ConnectErrors: {
      const uint64_t errors = connection_errors(counts);
      return {errors,
              errors + sum_of(counts, {SLOGATE_COUNTER_used_server, SLOGATE_COUNTER_used_client})};
    }
    case RatioSignal::Drops: {
      const uint64_t drops = counts.drops.total();
      return {drops, drops + segments(counts)};
    }
    case RatioSignal::Resets: {
      const uint64_t resets =
          sum_of(counts, {SLOGATE_COUNTER_harmful_in, SLOGATE_COUNTER_harmful_out});
      return {resets, std::max(resets, segments(counts))};
    }
    case RatioSignal::Retransmits: {
      const uint64_t again = counts.counters[SLOGATE_COUNTER_retransmits];
      return {again, std::max(again, counts.counters[SLOGATE_COUNTER_segments_out])};
    }
  }
  return {};
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
    uint64_t unanswered = 0;
    const Histogram* open = nullptr;
    if (signal == SLOGATE_SIGNAL_request) {
      unanswered = total_.counters[SLOGATE_COUNTER_unanswered_server];
      if (reading.open) open = &reading.open->server;
    } else if (signal == SLOGATE_SIGNAL_client_request) {
      unanswered = total_.counters[SLOGATE_COUNTER_unanswered_client];
      if (reading.open) open = &reading.open->client;
    }
    const Histogram& added = reading.added.histograms[signal];
    const bool idle = !open && added.is_zero();
    if (idle && reading.added.counters[SLOGATE_COUNTER_unanswered_server] == 0 &&
        reading.added.counters[SLOGATE_COUNTER_unanswered_client] == 0)
      continue;
    add_latency(signal, added, unanswered, open);
  }
  for (size_t ratio = 0; ratio < kRatioSignals.size(); ++ratio)
    tally_.ratios[ratio] = to_ratio(total_, static_cast<RatioSignal>(ratio));
  tally_.overlapped = total_.counters[SLOGATE_COUNTER_overlapped];
}

}  // namespace slogate
