// SPDX-License-Identifier: Apache-2.0
// Whole numbers in text, as the kernel, files, requests and people write them.
#pragma once

#include <algorithm>
#include <charconv>
#include <concepts>
#include <limits>
#include <optional>
#include <string_view>

namespace slogate {

// A number from `least` to `most` that is the whole text: no blanks, no "+", no "0x", and "-" only
// where T has a sign. Nothing for any other text.
template <std::integral T>
[[nodiscard]] std::optional<T> parse_integer(std::string_view text,
                                             T least = std::numeric_limits<T>::min(),
                                             T most = std::numeric_limits<T>::max(),
                                             int base = 10) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc{} || stop != end || value < least || value > most) return std::nullopt;
  return value;
}

// The decimal digits that a text begins with, for a number that something follows.
[[nodiscard]] constexpr std::string_view leading_digits(std::string_view text) {
  return text.substr(0, text.find_first_not_of("0123456789"));
}

}  // namespace slogate
