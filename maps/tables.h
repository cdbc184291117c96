// SPDX-License-Identifier: Apache-2.0
// The rows of signals.def as tables that can be walked.
#pragma once

#include <linux/types.h>

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

struct CounterInfo {
  std::string_view name, family, label, value, label2, value2, help;
};
inline constexpr std::array<CounterInfo, SLOGATE_COUNTERS> kCounters = {{
#define SLOGATE_COUNTER(name, family, label, value, label2, value2, help) \
  {#name, #family, label, value, label2, value2, help},
#include "maps/signals.def"
}};

struct SiteInfo {
  std::string_view name, help;
};
inline constexpr std::array<SiteInfo, SLOGATE_SITES> kSites = {{
#define SLOGATE_SITE(name, help) {#name, help},
#include "maps/signals.def"
}};

struct ProbeInfo {
  std::string_view name, object, tracepoint, functions;
  bool needed;
  std::string_view what;
};
inline constexpr std::array<ProbeInfo, SLOGATE_PROBES> kProbes = {{
#define SLOGATE_PROBE(name, object, tracepoint, functions, needed, what) \
  {#name, #object, (tracepoint), (functions), (needed) != 0, (what)},
#include "maps/signals.def"
}};

inline constexpr std::array<std::string_view, SLOGATE_CLASSES> kClasses = {"service", "probe",
                                                                           "scrape", "proxy"};

}  // namespace slogate
