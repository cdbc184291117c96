// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/fields.h"

namespace slogate {

void append_varint(std::string& to, uint64_t number) {
  for (; number >= 0x80; number >>= 7) to.push_back(static_cast<char>(0x80 | (number & 0x7f)));
  to.push_back(static_cast<char>(number));
}

void FieldWriter::number(uint64_t field, uint64_t value) {
  append_varint(to_, field << 1);
  append_varint(to_, value);
}

void FieldWriter::bytes(uint64_t field, std::string_view value) {
  append_varint(to_, field << 1 | 1);
  append_varint(to_, value.size());
  to_.append(value);
}

std::optional<uint64_t> FieldReader::varint() {
  constexpr unsigned bits = 64;
  uint64_t number = 0;
  for (unsigned shift = 0; shift < bits && !rest_.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    const uint64_t part = byte & 0x7f;
    if (shift + 7 > bits && part >> (bits - shift) != 0) return std::nullopt;
    number |= part << shift;
    if (byte < 0x80) return number;
  }
  return std::nullopt;
}

Result<WireField> FieldReader::next() {
  const auto key = varint();
  if (!key) return fail("a field has no key");
  WireField field{.number = *key >> 1, .is_bytes = (*key & 1) != 0, .content = {}};
  const auto value = varint();
  if (!value) return fail(fmt::format("field {} is cut off", field.number));
  if (!field.is_bytes) {
    field.value = *value;
    return field;
  }
  if (*value > rest_.size())
    return fail(fmt::format("field {} says it has {} bytes, and {} are left", field.number, *value,
                            rest_.size()));
  field.content = rest_.substr(0, *value);
  rest_.remove_prefix(*value);
  return field;
}

}  // namespace slogate
