// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/text.h"

#include <fmt/format.h>

#include "agent/base/units.h"

namespace slogate {
namespace {

constexpr size_t kLongest = 300;

bool is_control(unsigned char c) {
  return c < 0x20 || c == 0x7f;
}
// U+0080 to U+009F, which some terminals obey.
bool is_c1(std::string_view text) {
  return text.size() > 1 && text[0] == '\xc2' && static_cast<unsigned char>(text[1]) < 0xa0;
}

// Not <cctype>: that depends on the locale.
bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

}  // namespace

std::string for_log(std::string_view text) {
  const bool cut = text.size() > kLongest;
  text = cut_text(text, kLongest);
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool c1 = is_c1(text.substr(i));
    safe += c1 || is_control(static_cast<unsigned char>(text[i])) ? '?' : text[i];
    if (c1) ++i;
  }
  return cut ? safe + "..." : safe;
}

std::string url_escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (is_unreserved(c))
      escaped += c;
    else
      escaped += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return escaped;
}

}  // namespace slogate
