// SPDX-License-Identifier: Apache-2.0
// A pattern and, on the lines after it, paths. What matches is compared with the regular
// expression.
#include "agent/base/glob.h"

#include <algorithm>
#include <regex>

#include "tests/fuzz/fuzz.h"

namespace {

// std::regex takes a stack frame for each character and exponential time for some patterns.
constexpr size_t kShort = 24;

bool is_short_ascii(std::string_view text) {
  return text.size() <= kShort &&
         std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7f; });
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest = slogate::fuzz::text(data, size);
  const std::string_view pattern = slogate::fuzz::take_line(rest);
  const auto glob = slogate::Glob::parse(pattern);
  if (!glob) return 0;
  const std::string regex = glob->to_regex();
  while (!rest.empty()) {
    const std::string path(slogate::fuzz::take_line(rest));
    const bool matches = glob->matches(path);
    if (is_short_ascii(pattern) && is_short_ascii(path))
      slogate::fuzz::require(matches == std::regex_match(path, std::regex(regex)),
                             "the regular expression is the same set of paths");
  }
  return 0;
}
