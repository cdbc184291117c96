// SPDX-License-Identifier: Apache-2.0
// When each key of the configuration takes effect, and that messages and documentation say so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "agent/config/config.h"

namespace slogate {
namespace {

using testing::HasSubstr;

// For each key something that is not its default; for a key of several, each of them.
const std::multimap<std::string_view, std::string_view> kChanges = {
    {"listen", "listen: 127.0.0.1:1"},
    {"api_listen", "api_listen: 127.0.0.1:2"},
    {"socket", "socket: /s"},
    {"cgroups", "cgroups: { include: [/a] }"},
    {"cgroups", "cgroups: { exclude: [/a] }"},
    {"maps", "maps: { memory_ratio: 1% }"},
    {"maps", "maps: { grace: 2s }"},
    {"cpu_ratio", "cpu_ratio: 1"},
    {"metrics", "metrics: { max_series: 5000 }"},
    {"metrics", "metrics: { buckets: { rtt: [1s] } }"},
    {"page", "page: on"},
    {"page", "page: off"},
    {"admin_uids", "admin_uids: [7]"},
    {"kubernetes", "kubernetes: { server: 'https://a', token_file: /t, ca_file: /c, node: n }"},
    {"state_dir", "state_dir: /d"},
    {"peer_listen", "peer_listen: 127.0.0.1:3"},
    {"peer_tls", "peer_tls: { cert: /c, key: /k, ca: /a }"},
    {"peer_key_file", "peer_key_file: /k"},
    {"peers", "peers: [127.0.0.1:3]"},
    {"lenders", "lenders: 3"},
    {"outcomes", "outcomes: all"},
    {"outcomes", "outcomes: off"},
    {"enforce", "enforce: { mode: refuse }"},
    {"enforce", "enforce: { max: 1m }"},
    {"enforce", "enforce: { dry_run: true }"},
    {"enforce", "enforce: { exempt: [10.0.0.0/8] }"},
    {"classes", "classes: [{ class: probe, port: 1 }]"},
    {"slos", "slos: [{ name: a, canary: { cgroup: /a }, baseline: { cgroup: /b } }]"}};

// What a key cannot be without, where it cannot stand alone.
const std::map<std::string_view, std::string_view> kCompany = {
    {"peer_listen", "peer_key_file: /k\n"}, {"peers", "peer_key_file: /k\n"}};

Config parsed(std::string_view yaml) {
  const auto config = parse_config(yaml, "test.yaml");
  EXPECT_TRUE(config) << yaml << ": " << config.error().at(0).line();
  return config ? *config : Config{};
}

const LiveConfig& live(const Config& config) {
  return config;
}
const StartConfig& at_start(const Config& config) {
  return config;
}

// Each key changes what a running agent takes, or needs a restart and says so, and no other key.
TEST(ConfigKeys, EachTakesEffectWhileRunningOrNeedsARestart) {
  for (const ConfigKey& key : config_keys()) {
    const auto company = kCompany.find(key.name);
    const std::string around(company == kCompany.end() ? "" : company->second);
    const Config before = parsed(around);
    const auto [first, last] = kChanges.equal_range(key.name);
    ASSERT_NE(first, last) << "no change of " << key.name;
    for (auto change = first; change != last; ++change) {
      SCOPED_TRACE(change->second);
      const Config after = parsed(around + std::string(change->second));
      for (const ConfigKey& other : config_keys())
        EXPECT_EQ(other.same(before, after), other.name != key.name) << other.name;
      EXPECT_EQ(live(before) == live(after), key.needs_restart);
      EXPECT_EQ(at_start(before) == at_start(after), !key.needs_restart);
      EXPECT_EQ(needs_restart(before, after),
                key.needs_restart ? fmt::format("{} needs a restart", key.name) : "");
    }
  }
}

TEST(ConfigKeys, ThoseThatNeedARestartAreNamedAndNoOthers) {
  const Config before = parsed("socket: /a\nstate_dir: /b\n");
  EXPECT_EQ(needs_restart(before, before), "");
  EXPECT_EQ(needs_restart(before, parsed("socket: /a\nstate_dir: /c\ncpu_ratio: 1\n")),
            "state_dir needs a restart");
  EXPECT_EQ(needs_restart(before, parsed("socket: /c\nstate_dir: /c\n")),
            "socket and state_dir need a restart");
  EXPECT_EQ(needs_restart(before, parsed("listen: ''\nsocket: /c\nstate_dir: /c\n")),
            "listen, socket and state_dir need a restart");
}

// "BEFOREaAFTER, BEFOREbAFTER and BEFOREcAFTER" of the keys that need a restart.
std::string listed(std::string_view before, std::string_view after) {
  std::vector<std::string> names;
  for (const ConfigKey& key : config_keys())
    if (key.needs_restart) names.push_back(fmt::format("{}{}{}", before, key.name, after));
  const std::string last = names.back();
  names.pop_back();
  return fmt::format("{} and {}", fmt::join(names, ", "), last);
}

// A file of the repository, its line ends as blanks.
std::string read_page(const std::string& path) {
  std::ifstream file(SLOGATE_SOURCE_DIR "/" + path);
  std::string text(std::istreambuf_iterator<char>(file), {});
  EXPECT_NE(text, "") << path;
  std::ranges::replace(text, '\n', ' ');
  return text;
}

TEST(ConfigKeys, TheDocumentationNamesThoseThatNeedARestart) {
  EXPECT_THAT(read_page("docs/operation.md"), HasSubstr(listed("`", "`") + " need a restart"));
  EXPECT_THAT(read_page("packaging/man.sh"), HasSubstr(listed("\\fB", "\\fR") + " need a restart"));
}

}  // namespace
}  // namespace slogate
