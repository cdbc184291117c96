// SPDX-License-Identifier: Apache-2.0
// Text as a terminal or a pipe can show it.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

namespace slogate::cli {

// What the reader's end can show.
struct Style {
  bool colour = false;
  bool utf8 = false;                                  // the locale takes characters beyond ASCII
  size_t width = std::numeric_limits<size_t>::max();  // columns of the terminal
};

// Colours and weights, as the parameters of the terminal's escape sequence.
inline constexpr std::string_view kPlain = "";
inline constexpr std::string_view kBold = "1";
inline constexpr std::string_view kDim = "2";
inline constexpr std::string_view kRed = "31";
inline constexpr std::string_view kGreen = "32";
inline constexpr std::string_view kYellow = "33";

// `text` in a colour, where the style has colours.
[[nodiscard]] std::string paint(std::string_view text, std::string_view colour, const Style& style);

// `text` without what could command a terminal: names of cgroups may hold any byte.
[[nodiscard]] std::string printable(std::string_view text);

// How many columns `text` takes: one for each character.
[[nodiscard]] size_t columns_of(std::string_view text);

// `text` in at most `width` columns, its middle left out where it is longer.
[[nodiscard]] std::string shorten(std::string_view text, size_t width, const Style& style);

// `text` in at least `width` columns, blanks before (right) or after it.
[[nodiscard]] std::string pad(std::string_view text, size_t width, bool right);

}  // namespace slogate::cli
