// SPDX-License-Identifier: Apache-2.0
// What the fuzzers have in common. Each is a file with one LLVMFuzzerTestOneInput, which says what
// must hold whatever the input; the sanitizers say the rest. Run by tools/fuzz.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace slogate::fuzz {

inline std::string_view text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Takes the first line, without its end, off `rest`.
inline std::string_view take_line(std::string_view& rest) {
  const std::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(line.size() == rest.size() ? rest.size() : line.size() + 1);
  return line;
}

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace slogate::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
