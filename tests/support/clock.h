// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string_view>

#include "maps/error.h"

namespace slogate::support {

// CLOCK_MONOTONIC: the clock of bpf_ktime_get_ns, so that times of both sides compare.
using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;

inline Deadline within(Nanoseconds duration) {
  return Clock::now() + duration;
}

// Reads "2ms", "1.5s", "100us", "20ns" or "1m". Refuses a missing unit, a negative value and
// anything above a day.
Result<Nanoseconds> parse_duration(std::string_view text);

// Reads a plain number of at least `low` and at most `high`.
Result<double> parse_number(std::string_view text, double low, double high);

}  // namespace slogate::support
