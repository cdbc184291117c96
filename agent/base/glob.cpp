// SPDX-License-Identifier: Apache-2.0
#include "agent/base/glob.h"

#include <vector>

namespace slogate {
namespace {

// One step of a pattern at `at`: its length, and whether it takes `c`.
struct Step {
  size_t length;
  bool takes;
};

// The set that starts at pattern[at] == '['; length 0 when it is not closed.
Step match_set(std::string_view pattern, size_t at, char c) {
  size_t i = at + 1;
  const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
  if (negated) ++i;
  bool found = false;
  for (const size_t first = i; i < pattern.size() && (pattern[i] != ']' || i == first); ++i) {
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
      found = found || (pattern[i] <= c && c <= pattern[i + 2]);
      i += 2;
    } else {
      found = found || pattern[i] == c;
    }
  }
  if (i >= pattern.size()) return {0, false};
  return {i + 1 - at, c != '/' && found != negated};
}

Step match_one(std::string_view pattern, size_t at, char c) {
  switch (pattern[at]) {
    case '?':
      return {1, c != '/'};
    case '[':
      return match_set(pattern, at, c);
    case '\\':
      return {2, pattern[at + 1] == c};
    default:
      return {1, pattern[at] == c};
  }
}

std::string escaped(char c) {
  constexpr std::string_view special = "\\^$.|?*+()[]{}-";
  return special.contains(c) ? std::string{'\\', c} : std::string{c};
}

// The set that starts at pattern[at] as a class of the characters it takes, or, where it takes
// bytes beyond ASCII, of those it does not.
std::string to_class(std::string_view pattern, size_t at) {
  const bool negated = match_set(pattern, at, '\x80').takes;
  std::string members;
  for (int c = 1; c < 0x80; ++c)
    if (match_set(pattern, at, static_cast<char>(c)).takes != negated)
      members += escaped(static_cast<char>(c));
  if (members.empty()) return R"([^\s\S])";
  return (negated ? "[^" : "[") + members + "]";
}

}  // namespace

Result<Glob> Glob::parse(std::string_view pattern) {
  if (pattern.empty()) return fail("the pattern is empty", "\"/**\" matches every cgroup");
  if (!pattern.starts_with('/') && !pattern.starts_with("**"))
    return fail(fmt::format("pattern \"{}\" can match no cgroup", pattern),
                "paths start with \"/\": begin the pattern with \"/\" or \"**\"");
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
      if (i < pattern.size()) continue;
      return fail(fmt::format("pattern \"{}\" ends in a backslash", pattern),
                  "write \\\\ for a backslash");
    }
    if (pattern[i] == '[') {
      const Step set = match_set(pattern, i, 'x');
      if (set.length == 0)
        return fail(fmt::format("pattern \"{}\" has a \"[\" that is not closed", pattern),
                    "close it with \"]\", or write \\[ for the character");
      i += set.length - 1;
    }
  }
  return Glob(pattern);
}

// Works on all positions of the pattern that the path so far can have led to, so its time is
// bounded by pattern x path whatever the pattern: no backtracking.
bool Glob::matches(std::string_view path) const {
  const std::string_view p = pattern_;
  if (p == "/**" || p == "**") return p == "**" || path.empty() || path.starts_with('/');
  std::vector<char> now(p.size() + 1, 0), next(p.size() + 1, 0);

  const auto add = [&p](std::vector<char>& states, size_t at) {
    for (;;) {
      states[at] = 1;
      if (at >= p.size()) return;
      if (p.substr(at).starts_with("/**") && at + 3 == p.size()) states[p.size()] = 1;
      if (p[at] != '*') return;
      // A star may stand for nothing.
      at += p.substr(at).starts_with("**") ? 2 : 1;
    }
  };

  add(now, 0);
  for (const char c : path) {
    next.assign(next.size(), 0);
    for (size_t at = 0; at < p.size(); ++at) {
      if (!now[at]) continue;
      if (p[at] == '*') {
        const bool across = p.substr(at).starts_with("**");
        if (across || c != '/') add(next, at);
        continue;
      }
      const Step step = match_one(p, at, c);
      if (step.takes) add(next, at + step.length);
    }
    now.swap(next);
  }
  return now[p.size()] != 0;
}

std::string Glob::to_regex() const {
  const std::string_view p = pattern_;
  std::string regex;
  for (size_t at = 0; at < p.size();) {
    if (p.substr(at) == "/**") return regex + "(?:/.*)?";
    if (p[at] == '*') {
      const bool across = p.substr(at).starts_with("**");
      regex += across ? ".*" : "[^/]*";
      at += across ? 2 : 1;
    } else if (p[at] == '?') {
      regex += "[^/]";
      ++at;
    } else if (p[at] == '[') {
      regex += to_class(p, at);
      at += match_set(p, at, 'x').length;
    } else {
      if (p[at] == '\\') ++at;
      regex += escaped(p[at++]);
    }
  }
  return regex;
}

}  // namespace slogate
