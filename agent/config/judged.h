// SPDX-License-Identifier: Apache-2.0
// The one table of what is judged of a workload: the rows of judged_latencies.def and
// judged_ratios.def. Names in the configuration and in annotations, the tally, the mixture of the
// evidence, the sentences of a verdict, the API and the rules for Prometheus all follow from it. A
// node sums counters and Prometheus sums metrics by the same words of a row, so that the two cannot
// disagree about what is an error.
#pragma once

#include <linux/types.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "maps/tables.h"

namespace slogate {

// The counters of one family of signals.def that have these labels, all of them where none is
// named; or kDropsFamily.
struct CounterTerm {
  std::string_view family;
  std::string_view label = {}, value = {}, label2 = {}, value2 = {}, label3 = {}, value3 = {};
  bool subtracted = false;

  [[nodiscard]] constexpr std::array<CounterLabel, 3> labels() const {
    return {{{label, value}, {label2, value2}, {label3, value3}}};
  }
  [[nodiscard]] constexpr bool has(const CounterInfo& row) const {
    return row.family == family && std::ranges::all_of(labels(), [&](const CounterLabel& one) {
             return one.name.empty() || row.value_of(one.name) == one.value;
           });
  }
};

// What is counted apart and taken off: less({"connections", "role", "client"}).
[[nodiscard]] constexpr CounterTerm less(CounterTerm term) {
  term.subtracted = true;
  return term;
}

// Not a family of signals.def: the kernel's reasons are rows of their own, and all of them count.
inline constexpr std::string_view kDropsFamily = "drops", kDropsLabel = "reason";

// Words of the rows of answers; "" for every protocol.
[[nodiscard]] constexpr CounterTerm answers(std::string_view role, std::string_view protocol = {},
                                            std::string_view outcome = {}) {
  CounterTerm term{"answers", "role", role};
  if (!protocol.empty()) {
    term.label2 = "protocol";
    term.value2 = protocol;
  }
  if (!outcome.empty()) {
    term.label3 = "outcome";
    term.value3 = outcome;
  }
  return term;
}
[[nodiscard]] constexpr CounterTerm unanswered(std::string_view role) {
  return {"unanswered_requests", "role", role};
}

// A sum over counters. Its first term is one that is always there: in Prometheus a workload that
// has a series of any other term has one of this, too. A ratio whose exposures have none names one
// as its `base`.
class CounterSum {
 public:
  constexpr CounterSum() = default;
  constexpr CounterSum(std::initializer_list<CounterTerm> terms) {
    for (const CounterTerm& term : terms) terms_[size_++] = term;  // too many do not compile
  }
  [[nodiscard]] constexpr const CounterTerm* begin() const { return terms_.data(); }
  [[nodiscard]] constexpr const CounterTerm* end() const { return terms_.data() + size_; }
  [[nodiscard]] constexpr size_t size() const { return size_; }

 private:
  std::array<CounterTerm, 6> terms_{};
  size_t size_ = 0;
};

enum class RatioSignal {
#define SLOGATE_JUDGED_RATIO(id, ...) id,
#include "agent/config/judged_ratios.def"
#undef SLOGATE_JUDGED_RATIO
};

// Where fewer outcomes than these are known, nothing is said of them.
inline constexpr double kLeastKnown = 0.5;

struct JudgedSignal {
  std::string_view name;
  std::string_view old_name = {};  // still understood, with a warning
  // Against the others, in the mixture of all evidence. What is compared unasked has 1 together:
  // latencies half of it, most of that for requests; then come requests that failed, errors of
  // connections, resets, loss. What is judged only where it is stated comes on top.
  double share = 0;
  bool stated_only = false;  // not compared with a baseline unless an objective says so
  bool sample = false;       // one of it is what people count as a sample; a packet is not
  bool failure = false;      // of its users: what a breaker opens for
  bool pooled = false;  // compared over all nodes without being asked for: what a service is most
                        // often rolled back for, since every rule is work for the Prometheus that
                        // serves the whole fleet
  // Of a latency, whose unit is a second:
  // So many more than the baseline's are always allowed: what the scheduler of a busy node does to
  // one process and not to the other for a while. Identical arms were seen with 214 and 331 us at
  // p99 of `queue`.
  double least_increase = 0;
  bool answers = false;  // its values are answers to requests of its role: those that are open or
                         // ended without one count as slow
  // The role of the connections that its values come on, of which each may be slow or quick at
  // first.
  std::string_view connections = {};
  bool main = false;  // stands for the load; the first of these that is in use does
  // Of a ratio, whose unit is a share of one:
  CounterSum events = {}, exposures = {};
  CounterTerm base = {};  // see base_of()
  // Of a ratio of what answers say: the latency that has a value for each of them, and of so many
  // the outcome must be known for the ratio to say anything. A service that speaks TLS would
  // otherwise fail with every request that it left unanswered: those are all it is known to owe.
  std::optional<slogate_signal> answered_in = {};
  double least_known = 0;
  std::string_view protocol = {};                          // the one whose answers it is of
  std::string_view events_text = {}, exposures_text = {};  // for docs/verdict.md
};

// What stands for 0 in Prometheus: a workload that has a series of any term has one of this.
[[nodiscard]] constexpr const CounterTerm& base_of(const JudgedSignal& ratio) {
  return ratio.base.family.empty() ? *ratio.exposures.begin() : ratio.base;
}

inline constexpr auto kJudgedLatencies = std::to_array<JudgedSignal>({
#define SLOGATE_JUDGED_LATENCY(signal, ...) {.name = #signal, __VA_ARGS__},
#include "agent/config/judged_latencies.def"
#undef SLOGATE_JUDGED_LATENCY
});
inline constexpr auto kJudgedRatios = std::to_array<JudgedSignal>({
#define SLOGATE_JUDGED_RATIO(id, signal, ...) {.name = signal, __VA_ARGS__},
#include "agent/config/judged_ratios.def"
#undef SLOGATE_JUDGED_RATIO
});
static_assert(std::ranges::equal(kJudgedLatencies, kSignals, {}, &JudgedSignal::name,
                                 &SignalInfo::name),
              "each latency of signals.def has a row in judged_latencies.def, in the same order");

// What is judged is numbered: first the latencies of slogate_signal, then those of RatioSignal.
inline constexpr size_t kJudgedSignals = kJudgedLatencies.size() + kJudgedRatios.size();
inline constexpr std::array<JudgedSignal, kJudgedSignals> kJudged = [] {
  std::array<JudgedSignal, kJudgedSignals> all;
  std::ranges::copy(kJudgedRatios, std::ranges::copy(kJudgedLatencies, all.begin()).out);
  return all;
}();

[[nodiscard]] constexpr size_t judged(slogate_signal signal) {
  return signal;
}
[[nodiscard]] constexpr size_t judged(RatioSignal signal) {
  return SLOGATE_SIGNALS + static_cast<size_t>(signal);
}
[[nodiscard]] constexpr bool is_latency(size_t signal) {
  return signal < SLOGATE_SIGNALS;
}
// Of what is no latency.
[[nodiscard]] constexpr RatioSignal to_ratio_signal(size_t signal) {
  return static_cast<RatioSignal>(signal - SLOGATE_SIGNALS);
}

// Signals by name, the old names included and blanks left out; nothing for what has none.
[[nodiscard]] std::optional<size_t> find_judged(std::string_view name);
// The names to choose from, without old ones and those of one protocol, of which there are many.
[[nodiscard]] std::vector<std::string_view> judged_names();
// What to say to who still uses an old name, "" to everyone else.
[[nodiscard]] std::string old_name_note(std::string_view name);
// The name of an objective begins with that of its signal: "misses(client, redis) max_ratio 5 %".
[[nodiscard]] std::optional<size_t> find_judged_in(std::string_view objective);
// The name of an objective as it is called now.
[[nodiscard]] std::string current_objective_name(std::string_view objective);

}  // namespace slogate
