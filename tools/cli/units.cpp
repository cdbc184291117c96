// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/units.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <span>

#include "agent/base/figures.h"

namespace slogate::cli {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// A unit, the value from which the next one is used, and how many of it make the next one.
struct Unit {
  const char* name;
  double limit, step;
};
constexpr Unit kCounts[] = {
    {"", 1e5, 1e3}, {"k", 1e3, 1e3}, {"M", 1e3, 1e3}, {"G", 1e3, 1e3}, {"T", kNever, 1}};
constexpr Unit kBytes[] = {{" B", 1024, 1024},
                           {" KiB", 1024, 1024},
                           {" MiB", 1024, 1024},
                           {" GiB", 1024, 1024},
                           {" TiB", kNever, 1}};

std::string scale(double value, std::span<const Unit> units) {
  size_t unit = 0;
  // Rounded as it will be shown, or 999.9k would read "1000k".
  for (; unit + 1 < units.size() && std::round(value) >= units[unit].limit; ++unit)
    value /= units[unit].step;
  const bool decimal = unit != 0 && std::fabs(value) < 9.95;
  return fmt::format("{:.{}f}{}", value, decimal ? 1 : 0, units[unit].name);
}

// NaN stands for everything that cannot be shown.
double known(std::optional<double> value) {
  return value.value_or(std::numeric_limits<double>::quiet_NaN());
}

}  // namespace

std::string to_duration(std::optional<double> seconds) {
  const double value = known(seconds);
  if (!std::isfinite(value)) return "-";
  return value == 0 ? "0 s" : duration_text(value, kInTable);
}

std::string to_count(std::optional<double> count) {
  const double value = known(count);
  return std::isfinite(value) ? scale(value, kCounts) : "-";
}

std::string to_rate(std::optional<double> rate) {
  const double value = known(rate);
  if (!std::isfinite(value)) return "-";
  if (value == 0) return "0";
  return value < 9.95 ? fmt::format("{:.1f}", value) : to_count(rate);
}

std::string to_bytes(std::optional<double> bytes) {
  const double value = known(bytes);
  return std::isfinite(value) ? scale(value, kBytes) : "-";
}

std::string to_percent(std::optional<double> share) {
  const double value = known(share);
  return std::isfinite(value) ? fmt::format("{:.1f} %", value * 100) : "-";
}

}  // namespace slogate::cli
