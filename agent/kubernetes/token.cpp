// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/token.h"

#include <algorithm>

#include "agent/kubernetes/parse.h"
#include "maps/file.h"

namespace slogate {
namespace {

// A token goes into a header: nothing in it may end that.
bool is_token(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

// Of base64url; -1 for what is none.
int value_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '-') return 62;
  return c == '_' ? 63 : -1;
}

std::optional<std::string> decode_base64url(std::string_view text) {
  std::string bytes;
  uint32_t bits = 0;
  int known = 0;  // of `bits`, not more than 13
  for (const char c : text) {
    const int value = value_of(c);
    if (value < 0) return std::nullopt;
    bits = (bits << 6 | static_cast<uint32_t>(value)) & 0x3fff;
    known += 6;
    if (known < 8) continue;
    known -= 8;
    bytes += static_cast<char>(bits >> known & 0xff);
  }
  return bytes;
}

}  // namespace

Result<std::string> read_token(const std::string& path) {
  auto text = read_file(path, kLongestToken + 1);
  if (!text) return fail(text.error().within(path));
  text->erase(text->find_last_not_of("\r\n") + 1);
  if (text->size() > kLongestToken || !is_token(*text))
    return fail(fmt::format("{} holds no token", path));
  return text;
}

// HEADER.CLAIMS.SIGNATURE
std::optional<TokenClaims> parse_token(std::string_view token) {
  if (token.size() > kLongestToken || !is_token(token)) return std::nullopt;
  const size_t begin = token.find('.');
  const size_t end = token.rfind('.');
  if (begin == std::string_view::npos || begin == end) return std::nullopt;
  const auto claims = decode_base64url(token.substr(begin + 1, end - begin - 1));
  if (!claims) return std::nullopt;
  const auto object = parse_object(*claims);
  return object ? std::optional(to_token_claims(*object)) : std::nullopt;
}

}  // namespace slogate
