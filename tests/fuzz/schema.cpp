// SPDX-License-Identifier: Apache-2.0
// Pinned maps of any layout. The input is what is different from the schema of this version, bit by
// bit, and then what lies in a slot: so that seeds are text, blanks are our own layout.
#include "maps/schema.h"

#include <cstring>
#include <vector>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  slogate_schema schema = slogate::own_schema(1);
  auto* bytes = reinterpret_cast<uint8_t*>(&schema);
  const size_t changed = std::min(size, sizeof schema);
  for (size_t i = 0; i < changed; ++i) bytes[i] ^= data[i] ^ ' ';
  (void)slogate::is_compatible(schema);
  if (!slogate::check_schema(schema)) return 0;
  // Exactly a slot, so that the sanitizer sees a read beyond it.
  std::vector<__u64> words(schema.slot_bytes / sizeof(__u64));
  std::memcpy(words.data(), data + changed, std::min<size_t>(size - changed, schema.slot_bytes));
  slogate::Counts counts;
  slogate::add_foreign(schema, words, counts);
  return 0;
}
