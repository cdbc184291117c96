// SPDX-License-Identifier: Apache-2.0
#include "agent/base/glob.h"

#include <gtest/gtest.h>

#include <random>
#include <regex>

namespace slogate {
namespace {

struct Row {
  const char* pattern;
  const char* path;
  bool matches;
};

TEST(Glob, Matches) {
  const Row rows[] = {
      {"/**", "/", true},
      {"/**", "/a/b", true},
      {"**", "/a/b", true},
      {"/demo/canary/**", "/demo/canary", true},
      {"/demo/canary/**", "/demo/canary/x/y", true},
      {"/demo/canary/**", "/demo/canaryx", false},
      {"/demo/*", "/demo/a", true},
      {"/demo/*", "/demo/a/b", false},
      {"/demo/*/b", "/demo/a/b", true},
      {"/**/b", "/x/y/b", true},
      {"**/pod?", "/kubepods/pod1", true},
      {"**/pod?", "/kubepods/pod12", false},
      {"/a[0-9]", "/a5", true},
      {"/a[0-9]", "/ax", false},
      {"/a[!0-9]", "/ax", true},
      {"/a[!0-9]", "/a/", false},
      {"/a[]x]", "/a]", true},
      {"/a\\*", "/a*", true},
      {"/a\\*", "/ab", false},
      {"/a*b*c", "/axxbyyc", true},
      {"/a", "/a/b", false},
  };
  for (const Row& row : rows) {
    const auto glob = Glob::parse(row.pattern);
    ASSERT_TRUE(glob.has_value()) << row.pattern;
    EXPECT_EQ(glob->matches(row.path), row.matches) << row.pattern << " on " << row.path;
  }
}

TEST(Glob, RegexOf) {
  const std::pair<const char*, const char*> rows[] = {
      {"/**", "(?:/.*)?"},
      {"/demo/canary/**", "/demo/canary(?:/.*)?"},
      {"**/pod?", ".*/pod[^/]"},
      {"/**/b", "/.*/b"},
      {"/a.slice/*", "/a\\.slice/[^/]*"},
      {"/a[0-3]", "/a[0123]"},
      {"/a\\*", "/a\\*"},
      {"/a[/]", "/a[^\\s\\S]"},
  };
  for (const auto& [pattern, regex] : rows) EXPECT_EQ(Glob::parse(pattern)->to_regex(), regex);
}

TEST(Glob, RegexMatchesTheSamePaths) {
  std::mt19937 random(1);  // NOLINT(bugprone-random-generator-seed): the same patterns every time
  const auto text = [&](std::string_view alphabet, size_t most) {
    std::string drawn = "/";
    for (size_t n = random() % most; n > 0; --n) drawn += alphabet[random() % alphabet.size()];
    return drawn;
  };
  size_t compared = 0, matched = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto glob = Glob::parse(text("ab/.-+*?[]!^\\*", 9));
    if (!glob) continue;
    const std::regex regex(glob->to_regex());
    for (int k = 0; k < 50; ++k, ++compared) {
      const std::string path = text("ab/.-+*[]^\\", 6);
      const bool matches = glob->matches(path);
      matched += matches ? 1 : 0;
      ASSERT_EQ(std::regex_match(path, regex), matches)
          << glob->pattern() << " as " << glob->to_regex() << " on " << path;
    }
  }
  EXPECT_GT(compared, 50'000U);
  EXPECT_GT(matched, 500U);
}

TEST(Glob, RefusesWhatCannotBeMeant) {
  for (const char* pattern : {"", "demo", "*", "/a[", "/a[]", "/a\\"})
    EXPECT_FALSE(Glob::parse(pattern).has_value()) << pattern;
}

TEST(Glob, ManyStarsDoNotTakeForever) {
  std::string pattern = "/", path = "/";
  for (int i = 0; i < 200; ++i) pattern += "*a";
  path.append(4000, 'a');
  EXPECT_FALSE(Glob::parse(pattern + "b")->matches(path));
}

}  // namespace
}  // namespace slogate
