// SPDX-License-Identifier: Apache-2.0
#include "agent/base/units.h"
#include "maps/integer.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>

namespace slogate {
namespace {

// A number at the start of a text, and what follows it.
struct Number {
  double value;
  std::string_view digits, rest;
};

std::optional<Number> split_number(std::string_view text, std::chars_format format) {
  Number number{};
  const char* end = text.end();
  const auto [stop, error] = std::from_chars(text.begin(), end, number.value, format);
  if (error != std::errc{} || !std::isfinite(number.value)) return std::nullopt;
  number.digits = {text.begin(), stop};
  number.rest = {stop, end};
  return number;
}

// Nanoseconds in a unit, 0 when there is no such unit.
double unit_ns(std::string_view unit) {
  struct Unit {
    std::string_view name;
    double ns;
  };
  // The two spellings of "µs" are U+00B5 and U+03BC.
  static constexpr std::array<Unit, 8> units = {{{"ns", 1},
                                                 {"us", 1e3},
                                                 {"\u00b5s", 1e3},
                                                 {"\u03bcs", 1e3},
                                                 {"ms", 1e6},
                                                 {"s", 1e9},
                                                 {"m", 60e9},
                                                 {"h", 3600e9}}};
  for (const Unit& known : units)
    if (known.name == unit) return known.ns;
  return 0;
}

// A plain number, or one in percent as a share of one; nothing when it is neither.
std::optional<double> parse_fraction(std::string_view text) {
  if (const auto plain = split_number(text, std::chars_format::general);
      plain && plain->rest.empty())
    return plain->value;
  const auto percent = split_number(text, std::chars_format::fixed);
  if (!percent || percent->rest != "%") return std::nullopt;
  // Not value / 100, which for "0.7%" is not the double nearest to 0.007.
  const auto exact =
      split_number(fmt::format("{}e-2", percent->digits), std::chars_format::general);
  if (!exact) return std::nullopt;
  return exact->value;
}

bool is_address(int family, const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return inet_pton(family, host.c_str(), bytes.data()) == 1;
}

}  // namespace

std::string_view cut_text(std::string_view text, size_t longest) {
  if (text.size() <= longest) return text;
  size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

std::string in_quotes(std::string_view text) {
  constexpr size_t longest = 60;
  if (text.size() <= longest) return fmt::format("\"{}\"", text);
  return fmt::format("\"{}...\"", cut_text(text, longest));
}

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  constexpr std::string_view remedy = "write a number and a unit, like 250us, 15ms, 1.5s or 2m";
  const auto number = split_number(text, std::chars_format::fixed);
  if (!number)
    return fail(fmt::format("{} is not a duration", in_quotes(text)), std::string(remedy));
  if (number->rest.empty())
    return fail(fmt::format("duration {} has no unit", in_quotes(text)), std::string(remedy));
  const double unit = unit_ns(number->rest);
  if (unit == 0)
    return fail(fmt::format("{} is not a unit of time", in_quotes(number->rest)),
                "one of ns, us, ms, s, m, h");
  if (std::signbit(number->value))
    return fail(fmt::format("duration {} is negative", in_quotes(text)), std::string(remedy));
  const double ns = number->value * unit;
  if (ns > static_cast<double>(kLongestDuration.count()))
    return fail(fmt::format("duration {} is too long", in_quotes(text)), "at most 24h");
  const std::chrono::nanoseconds rounded{std::llround(ns)};
  if (rounded.count() == 0 && number->value != 0)
    return fail(fmt::format("duration {} is too short", in_quotes(text)), "at least 1ns");
  return rounded;
}

Result<double> parse_ratio(std::string_view text, double most) {
  const std::string remedy =
      fmt::format("write a ratio like 1% or 0.01: above 0, at most {}", most);
  const auto value = parse_fraction(text);
  if (!value) return fail(fmt::format("{} is not a ratio", in_quotes(text)), remedy);
  if (!(*value > 0 && *value <= most))
    return fail(fmt::format("ratio {} is out of range", in_quotes(text)), remedy);
  return *value;
}

Result<double> parse_quantile(std::string_view text) {
  constexpr const char* remedy = "write it like 0.99: above 0, below 1";
  const auto value = parse_fraction(text);
  if (!value) return fail(fmt::format("{} is not a quantile", in_quotes(text)), remedy);
  if (!(*value > 0 && *value < 1))
    return fail(fmt::format("quantile {} is out of range", in_quotes(text)), remedy);
  return *value;
}

Result<uint16_t> parse_port(std::string_view text) {
  if (const auto port = parse_integer<uint16_t>(text, 1)) return *port;
  return fail(fmt::format("{} is not a port", in_quotes(text)), "a number from 1 to 65535");
}

Result<ListenAddress> parse_address(std::string_view text) {
  const std::string bad = fmt::format("{} is not an address to listen on", in_quotes(text));
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(']'))
    return fail(bad, "write ADDR:PORT, like 0.0.0.0:9937 or [::]:9937");
  std::string host(text.substr(0, colon));
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (!is_address(AF_INET6, host))
      return fail(bad, "what is in brackets must be an IPv6 address");
  } else if (host.contains(':')) {
    return fail(bad, "put an IPv6 address in brackets: [ADDR]:PORT");
  } else if (!is_address(AF_INET, host)) {
    return fail(bad, "names are not resolved: give the IP address, 0.0.0.0 for all");
  }
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return fail(port.error().within(bad));
  return ListenAddress{.host = std::move(host), .port = *port};
}

}  // namespace slogate
