// SPDX-License-Identifier: Apache-2.0
// The rows of signals.def as tables that can be walked.
#pragma once

#include <linux/types.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "maps/abi.h"

namespace slogate {

struct SignalInfo {
  std::string_view name, metric, role, help;
};
inline constexpr std::array<SignalInfo, SLOGATE_SIGNALS> kSignals = {{
#define SLOGATE_SIGNAL(name, metric, role, help) {#name, metric, role, help},
#include "maps/signals.def"
}};

struct CounterLabel {
  std::string_view name = {}, value = {};

  friend constexpr bool operator==(const CounterLabel&, const CounterLabel&) = default;
};
struct CounterInfo {
  std::string_view name, family, help;
  std::array<CounterLabel, 3> labels;  // the unused ones are empty and come last

  // "" for a label that it does not have.
  [[nodiscard]] constexpr std::string_view value_of(std::string_view label) const {
    for (const CounterLabel& one : labels)
      if (one.name == label) return one.value;
    return {};
  }
};
inline constexpr std::array<CounterInfo, SLOGATE_COUNTERS> kCounters = {{
#define SLOGATE_COUNTER(name, family, help, ...) {#name, #family, help, {{__VA_ARGS__}}},
#include "maps/signals.def"
}};

struct SiteInfo {
  std::string_view name, help;
};
inline constexpr std::array<SiteInfo, SLOGATE_SITES> kSites = {{
#define SLOGATE_SITE(name, help) {#name, help},
#include "maps/signals.def"
}};

// What a probe reads of what is sent and received.
enum class Reads { nothing, packets };

// How badly a probe is wanted.
enum class Need { needed, wanted, optional };

struct ProbeInfo {
  std::string_view name, object, tracepoint, since, functions;
  Reads reads;
  std::string_view stands_in_for;
  Need need;
  std::string_view what;

  // Runs when the agent asks, not when something happens.
  [[nodiscard]] constexpr bool is_iterator() const { return tracepoint.empty(); }
};
inline constexpr std::array<ProbeInfo, SLOGATE_PROBES> kProbes = {{
#define SLOGATE_PROBE(name, object, tracepoint, since, functions, reads, stands_in_for, need, \
                      what)                                                                   \
  {#name,        #object,         (tracepoint), (since), (functions),                         \
   Reads::reads, (stands_in_for), Need::need,   (what)},
#include "maps/signals.def"
}};

// The probe whose place this one takes, null for none.
constexpr const ProbeInfo* stood_in_for(const ProbeInfo& probe) {
  for (const ProbeInfo& other : kProbes)
    if (other.name == probe.stands_in_for) return &other;
  return nullptr;
}
// One step: who is stood in for is there, and stands in for nobody. By name, since gcc 12 with
// -fsanitize=undefined takes no comparison with a null pointer for a constant.
static_assert(std::ranges::all_of(kProbes, [](const ProbeInfo& probe) {
  return probe.stands_in_for.empty() || std::ranges::any_of(kProbes, [&](const ProbeInfo& other) {
           return other.name == probe.stands_in_for && other.stands_in_for.empty();
         });
}));

inline constexpr std::array<std::string_view, SLOGATE_CLASSES> kClasses = {"service", "probe",
                                                                           "scrape", "proxy"};

}  // namespace slogate
