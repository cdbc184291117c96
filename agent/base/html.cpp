// SPDX-License-Identifier: Apache-2.0
#include "agent/base/html.h"

#include <utf8.h>

#include <cstdint>
#include <iterator>

namespace slogate {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

bool is_harmful(char32_t c) {
  const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
  const bool turns = c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
                     (c >= 0x2066 && c <= 0x2069);
  const bool breaks = c == 0x2028 || c == 0x2029;
  return control || turns || breaks;
}

std::string_view reference(char32_t c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return {};
  }
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  utf8::replace_invalid(text.begin(), text.end(), std::back_inserter(valid));
  std::string html;
  html.reserve(valid.size());
  for (auto at = valid.cbegin(); at != valid.cend();) {
    const auto begin = at;
    const char32_t c = utf8::unchecked::next(at);
    if (is_harmful(c))
      html += kReplacement;
    else if (const std::string_view as = reference(c); !as.empty())
      html += as;
    else
      html.append(begin, at);
  }
  return html;
}

}  // namespace slogate
