// SPDX-License-Identifier: Apache-2.0
#include "tests/support/clock.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>

namespace slogate::support {
namespace {

struct Unit {
  std::string_view name;
  double nanoseconds;
};
constexpr Unit kUnits[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}};
constexpr double kDay = 86400e9;

}  // namespace

Result<double> parse_number(std::string_view text, double low, double high) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
    return fail(fmt::format("\"{}\" is not a number", text));
  if (value < low || value > high)
    return fail(fmt::format("{} is outside {} to {}", text, low, high));
  return value;
}

Result<Nanoseconds> parse_duration(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  for (const Unit& unit : kUnits) {
    if (text.substr(digits) != unit.name) continue;
    const auto value = parse_number(text.substr(0, digits), 0, kDay / unit.nanoseconds);
    if (!value) return fail(value.error());
    return Nanoseconds(std::llround(*value * unit.nanoseconds));
  }
  return fail(fmt::format("\"{}\" is not a duration", text), "write it like 2ms, 1.5s or 100us");
}

}  // namespace slogate::support
