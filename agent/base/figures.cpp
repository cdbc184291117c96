// SPDX-License-Identifier: Apache-2.0
#include "agent/base/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

namespace slogate {
namespace {

// Beyond this nobody reads the digits.
constexpr double kMostOdds = 1e9;

// `from`: of the unit before it, so many are written in this one.
struct Unit {
  std::string_view name;
  double per_second, from;
};
constexpr std::array<Unit, 6> kUnits = {{{"ns", 1e9, 0},
                                         {"us", 1e6, 1e3},
                                         {"ms", 1e3, 1e3},
                                         {"s", 1, 1e3},
                                         {"min", 1.0 / 60, 120},
                                         {"h", 1.0 / 3600, 120}}};
constexpr std::span<const Unit> kInnerUnits = std::span(kUnits).subspan(1, 3);

std::string figure(double value, const DurationForm& form) {
  if (form.keeps_zeros) return fmt::format("{:.{}f}", value, value < 9.95 ? form.digits - 1 : 0);
  if (value >= std::pow(10, form.digits) - 0.5) return fmt::format("{:.0f}", value);
  return fmt::format("{:.{}g}", value, form.digits);
}

}  // namespace

std::string duration_text(double seconds, const DurationForm& form) {
  const std::span<const Unit> units = form.has_outer_units ? kUnits : kInnerUnits;
  auto unit = units.begin();
  // Rounded as it will be shown, or 999.9 ms would read "1000 ms".
  while (unit + 1 != units.end() && std::round(seconds * unit->per_second) >= (unit + 1)->from)
    ++unit;
  const double value = seconds * unit->per_second;
  // Less than a nanosecond is nothing.
  const bool is_whole = unit->per_second == 1e9;
  return fmt::format("{}{}{}", is_whole ? fmt::format("{:.0f}", value) : figure(value, form),
                     form.gap, unit->name);
}

std::string about_text(double seconds) {
  struct Step {
    double below, unit, to;  // up to so many seconds it is rounded to so many
    std::string_view name;
  };
  constexpr double minute = 60, hour = 3600, day = 86'400;
  constexpr std::array<Step, 4> steps = {{{55, 1, 10, "s"},
                                          {9.5 * minute, minute, minute, "min"},
                                          {117.5 * minute, minute, 5 * minute, "min"},
                                          {47.5 * hour, hour, hour, "h"}}};
  if (seconds < 10) return "less than 10 s";
  for (const Step& step : steps) {
    if (seconds >= step.below) continue;
    const double rounded = std::max(1.0, std::round(seconds / step.to)) * step.to;
    return fmt::format("about {:.0f} {}", rounded / step.unit, step.name);
  }
  return fmt::format("about {:.0f} days", std::round(seconds / day));
}

std::string rate_text(double per_second) {
  if (per_second < 9.95) return fmt::format("{:.2g}", per_second);
  const double step = std::pow(10, std::max(0.0, std::floor(std::log10(per_second)) - 1));
  return count_text(std::round(per_second / step) * step);
}

std::string share_text(double share) {
  return fmt::format("{:.3g} %", share * 100);
}

std::string quantile_text(double quantile) {
  return fmt::format("p{:.6g}", quantile * 100);
}

std::string count_text(double count) {
  std::string digits = fmt::format("{:.0f}", std::max(count, 0.0)), text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string odds_text(double log_e) {
  if (log_e < std::log(2)) return "";
  const bool is_more = log_e > std::log(kMostOdds);
  const double odds = is_more ? kMostOdds : std::exp(log_e);
  // Two digits: the rest is chance.
  const double step = std::pow(10, std::max(0.0, std::floor(std::log10(odds)) - 1));
  return fmt::format("odds 1 : {}{} against chance", is_more ? "more than " : "",
                     count_text(std::floor(odds / step + 1e-9) * step));
}

}  // namespace slogate
