// SPDX-License-Identifier: Apache-2.0
#include "agent/base/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace slogate {
namespace {

// Beyond this nobody reads the digits.
constexpr double kMostOdds = 1e9;

// To two digits, or to the unit: 1.5, 15, 150.
std::string figure(double value) {
  if (value >= 99.5) return fmt::format("{:.0f}", value);
  return fmt::format("{:.2g}", value);
}

}  // namespace

std::string duration_text(double seconds) {
  if (seconds >= 0.9995) return figure(seconds) + " s";
  if (seconds >= 0.9995e-3) return figure(seconds * 1e3) + " ms";
  return figure(seconds * 1e6) + " us";
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
