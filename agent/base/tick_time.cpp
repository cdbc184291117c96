// SPDX-License-Identifier: Apache-2.0
#include "agent/base/tick_time.h"

#include <fmt/chrono.h>

namespace slogate {

std::string to_rfc3339(std::chrono::system_clock::time_point time) {
  return fmt::format("{:%FT%T}Z", std::chrono::floor<std::chrono::seconds>(time));
}

std::string to_rfc3339_ms(std::chrono::system_clock::time_point time) {
  return fmt::format("{:%FT%T}Z", std::chrono::floor<std::chrono::milliseconds>(time));
}

}  // namespace slogate
