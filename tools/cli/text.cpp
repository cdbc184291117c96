// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace slogate::cli {
namespace {

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

// Bytes of the first `count` characters.
size_t bytes_of(std::string_view text, size_t count) {
  size_t at = 0;
  for (; at < text.size(); ++at)
    if (!is_continuation(text[at]) && count-- == 0) break;
  return at;
}

// U+0080 to U+009F, which are commands to a terminal.
bool is_c1(std::string_view text) {
  return text.size() >= 2 && text[0] == '\xc2' && static_cast<unsigned char>(text[1]) < 0xa0;
}

}  // namespace

std::string paint(std::string_view text, std::string_view colour, const Style& style) {
  if (!style.colour || colour.empty() || text.empty()) return std::string(text);
  return fmt::format("\033[{}m{}\033[0m", colour, text);
}

std::string printable(std::string_view text) {
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool c1 = is_c1(text.substr(i));
    const bool command = static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7f || c1;
    safe += command ? '?' : text[i];
    if (c1) ++i;
  }
  return safe;
}

size_t columns_of(std::string_view text) {
  return text.size() -
         static_cast<size_t>(std::count_if(text.begin(), text.end(), is_continuation));
}

std::string shorten(std::string_view text, size_t width, const Style& style) {
  const size_t columns = columns_of(text);
  if (columns <= width) return std::string(text);
  const std::string_view dots = style.utf8 ? "\u2026" : "..";
  if (width <= columns_of(dots)) return std::string(text.substr(0, bytes_of(text, width)));
  // The end of a path says more than its beginning.
  const size_t kept = width - columns_of(dots);
  const size_t head = kept / 3;
  return fmt::format("{}{}{}", text.substr(0, bytes_of(text, head)), dots,
                     text.substr(bytes_of(text, columns - (kept - head))));
}

std::string pad(std::string_view text, size_t width, bool right) {
  const std::string blanks(width - std::min(width, columns_of(text)), ' ');
  return right ? blanks + std::string(text) : std::string(text) + blanks;
}

}  // namespace slogate::cli
