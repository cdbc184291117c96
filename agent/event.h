// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace slogate {

// Something that happened and that an operator wants to know of: a verdict changed, a map was
// resized, samples were lost, the CPU budget left something out or brought it back, connections to
// a canary began to be refused.
struct Event {
  uint64_t id = 0;  // rises by one from event to event
  std::chrono::system_clock::time_point time;
  std::string type;     // "verdict", "breaker", "resize", "loss" or "budget"
  std::string subject;  // the SLO, the map, the site or "cpu"
  std::string from, to, message;
};

// So many are kept.
inline constexpr size_t kMostEvents = 256;

}  // namespace slogate
