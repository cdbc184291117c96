// SPDX-License-Identifier: Apache-2.0
#include "agent/base/tick_time.h"

#include <fmt/chrono.h>

#include <ctime>
#include <iomanip>
#include <sstream>

namespace slogate {

std::string to_rfc3339(std::chrono::system_clock::time_point time) {
  return fmt::format("{:%FT%T}Z", std::chrono::floor<std::chrono::seconds>(time));
}

std::string to_rfc3339_ms(std::chrono::system_clock::time_point time) {
  const auto ms =
      std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count() % 1000;
  return fmt::format("{:%FT%T}.{:03}Z", std::chrono::floor<std::chrono::seconds>(time), ms);
}

std::optional<std::chrono::system_clock::time_point> parse_rfc3339(std::string_view text) {
  constexpr int kTmYear = 1900, kFirstYear = 1970, kLastYear = 2200;
  std::istringstream in{std::string(text)};
  std::tm parts{};
  in >> std::get_time(&parts, "%Y-%m-%dT%H:%M:%S");
  if (in.fail() || parts.tm_year < kFirstYear - kTmYear || parts.tm_year > kLastYear - kTmYear)
    return std::nullopt;
  auto time = std::chrono::system_clock::from_time_t(timegm(&parts));
  if (in.peek() == '.') {
    in.get();
    std::string digits;
    while (digits.size() < 3 && in.peek() >= '0' && in.peek() <= '9')
      digits += static_cast<char>(in.get());
    if (digits.size() != 3) return std::nullopt;
    time += std::chrono::milliseconds(std::stoi(digits));
  }
  if (in.get() != 'Z' || in.peek() != std::istringstream::traits_type::eof()) return std::nullopt;
  return time;
}

}  // namespace slogate
