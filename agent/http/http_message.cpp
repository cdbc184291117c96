// SPDX-License-Identifier: Apache-2.0
#include "agent/http/http_message.h"

#include "agent/base/json.h"
#include "maps/integer.h"

namespace slogate {
namespace {

// The character that "%XX" at the start of `text` stands for.
std::optional<char> parse_escape(std::string_view text) {
  if (text.size() < 3) return std::nullopt;
  const auto value = parse_integer<uint8_t>(text.substr(1, 2), 0, UINT8_MAX, 16);
  if (!value) return std::nullopt;
  return static_cast<char>(*value);
}

// No cgroup, objective or metric has control characters in its name; a zero would end one early.
bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

Result<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    std::optional<char> c = text[i];
    if (*c == '+' && plus_is_space) c = ' ';
    if (*c == '%') {
      c = parse_escape(text.substr(i));
      if (!c) return fail("\"%\" is not followed by two hexadecimal digits", "write %25 for \"%\"");
      i += 2;
    }
    if (is_control(*c)) return fail("control character in the request's target");
    decoded += *c;
  }
  return decoded;
}

Result<Pairs> decode_query(std::string_view query) {
  Pairs pairs;
  while (!query.empty()) {
    const std::string_view piece = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), piece.size() + 1));
    if (piece.empty()) continue;
    const size_t equals = std::min(piece.find('='), piece.size());
    auto name = decode(piece.substr(0, equals), true);
    if (!name) return fail(std::move(name.error()));
    auto value = decode(piece.substr(std::min(piece.size(), equals + 1)), true);
    if (!value) return fail(std::move(value.error()));
    pairs.emplace_back(std::move(*name), std::move(*value));
  }
  return pairs;
}

}  // namespace

Result<HttpTarget> parse_target(std::string_view target) {
  if (!target.starts_with('/')) return fail("the request's target does not start with \"/\"");
  const size_t mark = std::min(target.find('?'), target.size());
  auto path = decode(target.substr(0, mark), false);
  if (!path) return fail(std::move(path.error()));
  auto query = decode_query(target.substr(std::min(target.size(), mark + 1)));
  if (!query) return fail(std::move(query.error()));
  return HttpTarget{std::move(*path), std::move(*query)};
}

HttpResponse error_response(int status, std::string_view message) {
  return {.status = status, .body = dump({{"error", message}})};
}

HttpResponse method_not_allowed(std::string_view allow) {
  HttpResponse response = error_response(405, fmt::format("this path takes {}", allow));
  response.headers.emplace_back("Allow", allow);
  return response;
}

}  // namespace slogate
