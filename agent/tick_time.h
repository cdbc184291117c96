// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace slogate {

// The moment of a tick. The kernel's times are CLOCK_MONOTONIC.
struct TickTime {
  std::chrono::system_clock::time_point system;
  std::chrono::nanoseconds monotonic;
};

inline double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace slogate
