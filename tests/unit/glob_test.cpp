// SPDX-License-Identifier: Apache-2.0
#include "agent/glob.h"

#include <gtest/gtest.h>

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
