// SPDX-License-Identifier: Apache-2.0
// Durations, ratios and addresses as people write them in the configuration and on command lines.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "maps/error.h"

namespace slogate {

// Where to listen with TCP: a numeric IPv4 or IPv6 address, the latter without its brackets.
struct ListenAddress {
  std::string host;
  uint16_t port = 0;

  bool operator==(const ListenAddress&) const = default;
};

inline constexpr std::chrono::nanoseconds kLongestDuration = std::chrono::hours{24};

// A number and its unit, "250us", "15ms", "1.5s", "2m" or "1h": from 0 to 24 hours, rounded to
// whole nanoseconds. What is not zero but would round to it is refused.
[[nodiscard]] Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

// A share of one, as "1%" or 0.01: above 0 and at most `most`.
[[nodiscard]] Result<double> parse_ratio(std::string_view text, double most = 1);

// 0.99 or "99%": above 0 and below 1.
[[nodiscard]] Result<double> parse_quantile(std::string_view text);

// 1 to 65535.
[[nodiscard]] Result<uint16_t> parse_port(std::string_view text);

// "127.0.0.1:9937" or "[::1]:9937". Host names are refused: the agent resolves none.
[[nodiscard]] Result<ListenAddress> parse_address(std::string_view text);

// Its first `longest` bytes at the most, not ending in the middle of a UTF-8 sequence.
[[nodiscard]] std::string_view cut_text(std::string_view text, size_t longest);

// The value in quotes for a message, cut when it is long.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace slogate
