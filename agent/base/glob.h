// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "maps/error.h"

namespace slogate {

// A pattern over cgroup paths: `?` one character, `*` any number within one part, `**` any number
// across parts (`/a/**` matches /a itself too), `[a-z]` and `[!a-z]` one of a set, `\` the next
// character as it stands.
class Glob {
 public:
  // Refuses an empty pattern, one that does not start with "/" or "**", an unclosed set and a
  // trailing backslash.
  static Result<Glob> parse(std::string_view pattern);

  [[nodiscard]] bool matches(std::string_view path) const;
  [[nodiscard]] const std::string& pattern() const { return pattern_; }

  // The same set of paths as a regular expression that must match the whole of one: for paths of
  // ASCII, since here a character is a byte. RE2 and ECMAScript read it alike.
  [[nodiscard]] std::string to_regex() const;

  bool operator==(const Glob&) const = default;

 private:
  explicit Glob(std::string_view pattern) : pattern_(pattern) {}
  std::string pattern_;
};

}  // namespace slogate
