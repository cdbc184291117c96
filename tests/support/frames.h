// SPDX-License-Identifier: Apache-2.0
// Frames of HTTP/2 (RFC 9113) and fields of HPACK (RFC 7541), as text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace slogate::frames {

enum Type : uint8_t {
  Data,
  Headers,
  Priority,
  Reset,
  Settings,
  Push,
  Ping,
  Goaway,
  Window,
  Continuation
};
enum Flag : uint8_t { None = 0, EndStream = 1, EndHeaders = 4, Padded = 8, WithPriority = 32 };

inline const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string number(uint32_t value, size_t bytes) {
  std::string text;
  for (size_t i = bytes; i-- > 0;) text += static_cast<char>(value >> 8 * i & 0xff);
  return text;
}

inline std::string frame(Type type, unsigned flags, uint32_t stream, std::string_view payload) {
  return number(static_cast<uint32_t>(payload.size()), 3) + static_cast<char>(type) +
         static_cast<char>(flags) + number(stream, 4) + std::string(payload);
}

inline std::string settings() {
  return frame(Settings, None, 0, number(3, 2) + number(100, 4));
}
inline std::string reset(uint32_t stream, uint32_t code) {
  return frame(Reset, None, stream, number(code, 4));
}
inline std::string goaway(uint32_t last, uint32_t code) {
  return frame(Goaway, None, 0, number(last, 4) + number(code, 4));
}

// ---- fields ----

// An integer with a prefix of so many bits, the bits above it from `first`.
inline std::string integer(uint32_t value, unsigned bits, uint8_t first) {
  const uint32_t most = (1U << bits) - 1;
  if (value < most) return {static_cast<char>(first | value)};
  std::string text{static_cast<char>(first | most)};
  for (value -= most; value >= 128; value /= 128) text += static_cast<char>(value % 128 | 128);
  return text + static_cast<char>(value);
}
inline std::string indexed(uint32_t index) {
  return integer(index, 7, 0x80);
}
inline std::string plain(std::string_view value) {
  return integer(static_cast<uint32_t>(value.size()), 7, 0) + std::string(value);
}
// With incremental indexing: the name by its index, or in full.
inline std::string entered(uint32_t name, std::string_view value) {
  return integer(name, 6, 0x40) + plain(value);
}
inline std::string entered(std::string_view name, std::string_view value) {
  return integer(0, 6, 0x40) + plain(name) + plain(value);
}
// Without.
inline std::string literal(uint32_t name, std::string_view value) {
  return integer(name, 4, 0) + plain(value);
}
inline std::string literal(std::string_view name, std::string_view value) {
  return integer(0, 4, 0) + plain(name) + plain(value);
}

// Indexes of the static table.
inline constexpr uint32_t kGet = 2, kPost = 3, kStatus = 8, kStatus200 = 8, kStatus404 = 13,
                          kStatus500 = 14, kContentType = 31;
// The latest entry of the dynamic one.
inline constexpr uint32_t kLatest = 62;

// A request without a body, by what clients say as a rule.
inline std::string get(uint32_t stream) {
  return frame(Headers, EndStream | EndHeaders, stream,
               indexed(kGet) + indexed(6) + indexed(4) + literal(1, "localhost"));
}

}  // namespace slogate::frames
