// SPDX-License-Identifier: Apache-2.0
// What one arm of a comparison did, in the form in which it is judged.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "agent/canary/evidence.h"
#include "agent/config/judged.h"
#include "maps/counts.h"

namespace slogate {

// Ages of the requests that have been open for kOverdue or longer, in buckets. Younger ones are
// left to the histograms, where they arrive before the next look.
struct OpenRequests {
  Histogram server, client;
};

// What went away and came back.
enum class Gap { Listener, Cgroup, Container };

// What one arm did since the reading before.
struct ArmReading {
  Counts added;                      // of cgroups that are old enough to be judged
  std::optional<OpenRequests> open;  // when the open requests were looked at
  size_t cgroups = 0, warming = 0;   // how many belong to it; how many of these are too young
  uint64_t lost = 0;                 // samples that found no slot
  std::optional<Gap> gap;            // the arm had one, which ended
  // Open for kOverdue or longer, and the age of the oldest, as of the last look.
  uint64_t overdue = 0;
  std::chrono::nanoseconds oldest{0};
};

// For each edge how many values did not exceed it, and how many did. Both only grow.
struct LatencyTally {
  std::array<uint64_t, SLOGATE_EDGES> fast{}, slow{};
};

struct RatioTally {
  uint64_t events = 0, exposures = 0;
};

// How many values are in each bucket; what got no answer is in the last.
[[nodiscard]] Histogram to_histogram(const LatencyTally& tally);

// Cumulative; a block is the difference of two.
struct Tally {
  std::array<LatencyTally, SLOGATE_SIGNALS> latencies;
  std::array<RatioTally, kJudgedRatios.size()> ratios;
  uint64_t overlapped = 0;
  uint64_t abandoned = 0;  // requests whose client left before the answer
  // Of those whose values are answers: requests that got none, and answers of any outcome.
  std::array<uint64_t, SLOGATE_SIGNALS> unanswered{}, answers{};
  // Of those that come over connections: how many connections carried their first data.
  std::array<uint64_t, SLOGATE_SIGNALS> connections{};

  Tally& operator+=(const Tally& other);
  Tally& operator-=(const Tally& before);
  // Lets the past fade.
  void halve();
};

// Every count times `factor`, rounded.
[[nodiscard]] Tally scaled(const Tally& tally, double factor);

// Events are values beyond the edge.
[[nodiscard]] Trial latency_trial(const Tally& tally, size_t signal, size_t edge);
// No trial at all where too few outcomes are known.
[[nodiscard]] Trial ratio_trial(const Tally& tally, size_t signal);

// Of a ratio of what answers say: how many requests were answered, or how many answers were seen if
// that is more, and the share of them whose outcome is known. Nothing without any, and for every
// other signal. Answers to requests that were sent at once are more than requests, which a server
// counts as one; where answers are not read, there are requests alone. A request that got no answer
// says nothing of what can be read: goodbyes of an unknown protocol look like one.
struct Coverage {
  double answers = 0, known = 0;

  bool operator==(const Coverage&) const = default;
};
[[nodiscard]] std::optional<Coverage> coverage(const Tally& tally, size_t signal);

// How many values or outcomes there are of a judged signal.
[[nodiscard]] uint64_t exposures(const Tally& tally, size_t signal);

// The smallest edge that at most a share 1 - `quantile` of the values exceed; nothing unless at
// least kTailSamples are expected beyond it. Where the quantile lies between two values of a few,
// so that it depends on chance which of two shares is at most that, it is always the larger:
// kTiedSamples or more have to be expected, and the smaller be less than half.
inline constexpr double kTailSamples = 5, kTiedSamples = 16;
[[nodiscard]] std::optional<size_t> quantile_edge(const Tally& tally, size_t signal,
                                                  double quantile);
// That edge, and of a tie the other one, beyond which the smaller share is; else the same twice. A
// tie it also is where the larger share is below 1 - `quantile` by two standard errors at most.
[[nodiscard]] std::optional<std::array<size_t, 2>> quantile_edges(const Tally& tally, size_t signal,
                                                                  double quantile);

// The quantile of a latency in seconds, as the geometric middle of its bucket; nothing without
// values. Requests that are overdue count as slower than their age so far.
[[nodiscard]] std::optional<double> tally_quantile(const Tally& tally, size_t signal,
                                                   double quantile);

// A sum of judged_ratios.def in the form in which it is made often: the counters in it, each with 1
// or -1. Of all counters a sum has few, and there are dozens of sums.
class CounterFactors {
 public:
  constexpr CounterFactors() = default;
  constexpr explicit CounterFactors(const CounterSum& sum) {
    std::array<int, SLOGATE_COUNTERS> factors{};
    for (const CounterTerm& term : sum) {
      const int factor = term.subtracted ? -1 : 1;
      if (term.family == kDropsFamily) drops_ += factor;
      for (size_t i = 0; i < kCounters.size(); ++i)
        if (term.has(kCounters[i])) factors[i] += factor;
    }
    for (size_t i = 0; i < factors.size(); ++i)
      if (factors[i] != 0) counters_[size_++] = {static_cast<uint16_t>(i), factors[i]};
  }
  // 0 where more is taken off than there is, as between the moments at which the two are counted.
  [[nodiscard]] uint64_t sum(const Counts& counts) const;

 private:
  struct Factor {
    uint16_t counter = 0;
    int factor = 0;
  };
  std::array<Factor, SLOGATE_COUNTERS> counters_{};
  uint16_t size_ = 0;
  int drops_ = 0;
};

// Events and exposures of a ratio in what was counted, as judged_ratios.def has them; there are
// never fewer exposures than events.
[[nodiscard]] RatioTally to_ratio(const Counts& counts, RatioSignal signal);

// Adds up the readings of one arm. A request counts as slower than an edge once: when it completes,
// when its age is seen to have passed the edge, or when its connection ends without an answer,
// whichever is first.
class Arm {
 public:
  void add(const ArmReading& reading);
  [[nodiscard]] const Tally& tally() const { return tally_; }

 private:
  void add_latency(size_t signal, const Histogram& added, uint64_t unanswered,
                   const Histogram* open);

  Counts total_;
  Tally tally_;
};

}  // namespace slogate
