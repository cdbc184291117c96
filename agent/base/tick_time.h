// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace slogate {

// The moment of a tick. The kernel's times are CLOCK_MONOTONIC.
struct TickTime {
  std::chrono::system_clock::time_point system;
  std::chrono::nanoseconds monotonic;
};

inline double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

// 2006-01-02T15:04:05Z, and with milliseconds.
[[nodiscard]] std::string to_rfc3339(std::chrono::system_clock::time_point time);
[[nodiscard]] std::string to_rfc3339_ms(std::chrono::system_clock::time_point time);

// The time that either of them wrote; nothing where the text is none, or of before 1970 or after
// 2200, which the clock cannot hold for ever.
[[nodiscard]] std::optional<std::chrono::system_clock::time_point> parse_rfc3339(
    std::string_view text);

}  // namespace slogate
