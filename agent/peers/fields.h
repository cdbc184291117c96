// SPDX-License-Identifier: Apache-2.0
// Numbers and fields as agents send them to each other; internal to the wire format.
//
// A message is a row of fields, each a key, which is a varint, and a value. The key is the field's
// number times two, and one more where the value is bytes with their length before them; otherwise
// it is a varint. So a reader passes over fields that a later version added.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "maps/error.h"

namespace slogate {

// Seven bits a byte, the lowest first; the highest bit says that another byte follows.
void append_varint(std::string& to, uint64_t number);

// Adds fields to a message.
class FieldWriter {
 public:
  explicit FieldWriter(std::string& to) : to_(to) {}
  void number(uint64_t field, uint64_t value);
  void bytes(uint64_t field, std::string_view value);

 private:
  std::string& to_;
};

// One field as it was read.
struct WireField {
  uint64_t number = 0;
  bool is_bytes = false;
  uint64_t value = 0;        // of a number
  std::string_view content;  // of bytes; lies in the message
};

// Reads what was written so, and nothing beyond its end.
class FieldReader {
 public:
  explicit FieldReader(std::string_view from) : rest_(from) {}
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  // Of at most ten bytes and 64 bits; nothing for what is cut off or longer.
  std::optional<uint64_t> varint();
  // The next field; an error where it does not end within the message.
  Result<WireField> next();

 private:
  std::string_view rest_;
};

}  // namespace slogate
