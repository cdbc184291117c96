// SPDX-License-Identifier: Apache-2.0
// What a configuration is refused for, and that the message says where.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "agent/config/config.h"
#include "agent/config/yaml_tree.h"
#include "maps/counts.h"

namespace slogate {
namespace {

using testing::HasSubstr;

// Where a problem is, and words of its line.
struct Expected {
  int line, column;
  const char* words;
};

struct Row {
  std::string yaml;
  std::vector<Expected> problems;
};

std::vector<ConfigProblem> problems_of(std::string_view yaml) {
  auto config = parse_config(yaml, "f.yaml");
  return config ? std::vector<ConfigProblem>{} : std::move(config.error());
}

void check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    SCOPED_TRACE(row.yaml.substr(0, 300));
    const auto problems = problems_of(row.yaml);
    for (const ConfigProblem& problem : problems) SCOPED_TRACE(problem.line());
    EXPECT_EQ(problems.size(), row.problems.size());
    for (size_t i = 0; i < std::min(problems.size(), row.problems.size()); ++i) {
      const Expected& expected = row.problems[i];
      EXPECT_THAT(problems[i].line(), testing::StartsWith(fmt::format(
                                          "f.yaml:{}:{}: ", expected.line, expected.column)));
      EXPECT_THAT(problems[i].line(), HasSubstr(expected.words));
    }
  }
}

TEST(ConfigProblems, Yaml) {
  check({
      {"listen: @x\n", {{1, 9, "not YAML"}}},
      {"a: [1, 2\n", {{2, 1, "not YAML"}}},
      {"a: b: c\n", {{1, 5, "not YAML"}}},
      {"socket: '/a\nstate_dir: /b\n", {{1, 9, "does not end on its line"}}},
      {"socket: \"/a\\\"\nstate_dir: /b\n", {{1, 9, "does not end on its line"}}},
      {"socket: \"/a\\\n  b\"\n", {{1, 9, "does not end on its line"}}},
      {"socket: '", {{1, 9, "does not end on its line"}}},
      {"socket: /a\n  state_dir\n", {{1, 9, "does not end on its line"}}},
      {"slos: [/a\n /b]\n", {{1, 8, "does not end on its line"}}},
      {"socket: '/a''\nstate_dir: /b\n", {{1, 9, "does not end on its line"}}},
      {"socket: ! /a\n", {{1, 9, "a tag"}}},
      {"socket: !\nlisten: ''\n", {{1, 9, "a tag"}}},
      {"slos: ! []\n", {{1, 7, "a tag"}}},
      {"socket: /a\n%x\n", {{2, 1, "directive"}}},
      {"%YAML 1.2\n---\nsocket: /a\n", {{1, 1, "directive"}}},
      {"- a\nsocket: b\n", {{2, 1, "check the indentation"}}},
      {"just text\n", {{1, 1, "a single value where the configuration belongs"}}},
      {"- a\n- b\n", {{1, 1, "a list where the configuration belongs"}}},
      {"socket: /a\n---\nsocket: /b\n", {{2, 1, "second document"}}},
      {"---\n---\n", {{2, 1, "second document"}}},
      {"socket: &x /a\n", {{1, 9, "an anchor"}}},
      {"socket: &x /a\nstate_dir: *x\n", {{1, 9, "an anchor"}}},
      {"cgroups: &c\n  include: [/a]\n", {{1, 10, "an anchor"}}},
      {"cgroups: { exclude: [*x] }\n", {{1, 22, "quote a value that starts with"}}},
      {"cgroups: { exclude: [**/x] }\n", {{1, 22, "quote a value that starts with"}}},
      {"socket: !!str /a\n", {{1, 9, "a tag"}}},
      {"cgroups: !x {}\n", {{1, 10, "a tag"}}},
      {"# x\ncgroups:\n\tinclude: [/a]\n", {{3, 1, "a tab"}}},
      {"\tsocket: /a\n", {{1, 1, "a tab"}}},
      {std::string("socket: /a\0b\n", 13), {{1, 11, "control character 0x00"}}},
      {"socket: /a\nx: \x04\nstate_dir: b\n", {{2, 4, "control character 0x04"}}},
      {"socket: \"/a\\0b\"\n", {{1, 9, "control character"}}},
      {"socket: |\n  /a\n  /b\n", {{1, 9, "does not end on its line"}}},
      {"socket: /a\xff\n", {{1, 11, "not UTF-8"}}},
      {"socket: /\xc0\xaf\n", {{1, 10, "not UTF-8"}}},
      {"socket: /\xed\xa0\x80\n", {{1, 10, "not UTF-8"}}},
      {"socket: /\xf4\x90\x80\x80\n", {{1, 10, "not UTF-8"}}},
      {"socket: /\xc3", {{1, 10, "not UTF-8"}}},
      {"\xff\xfes", {{1, 1, "not UTF-8"}}},
      {"socket: \"/\\ud800\"\n", {{1, 17, "not YAML"}}},
  });
}

TEST(ConfigProblems, KeysAndTypes) {
  check({
      {"lisen: 0.0.0.0:1\n", {{1, 1, "did you mean \"listen\"?"}}},
      {"sokcet: /a\n", {{1, 1, "did you mean \"socket\"?"}}},
      {"wholly_else: 1\n", {{1, 1, "known: listen, api_listen"}}},
      {"\"\": 1\n", {{1, 1, "unknown key"}}},
      {"[a]: 1\n", {{1, 1, "a list where a single value belongs"}}},
      {"? {a: b}\n: 1\n", {{1, 3, "a mapping where a single value belongs"}}},
      {"socket: /a\nstate_dir: /b\nsocket: /c\n", {{3, 1, "\"socket\" stands twice"}}},
      {"x: 1\nx: 1\n", {{1, 1, "unknown"}, {2, 1, "unknown"}}},
      {"listen:\n", {{1, 1, "\"listen\" has no value"}}},
      {"listen: ~\n", {{1, 1, "\"listen\" has no value"}}},
      {"slos:\n# - name: a\n", {{1, 1, "\"slos\" has no value"}}},
      {"listen: [a]\n", {{1, 9, "a list where a single value belongs"}}},
      {"socket: { a: b }\n", {{1, 9, "a mapping where a single value belongs"}}},
      {"slos: none\n", {{1, 7, "a single value where a list belongs"}}},
      {"slos: { name: a }\n", {{1, 7, "a mapping where a list belongs"}}},
      {"slos: [a]\n", {{1, 8, "a single value where an SLO belongs"}}},
      {"slos: [~]\n", {{1, 8, "nothing where an SLO belongs"}}},
      {"maps: 0.1\n", {{1, 7, "a single value where the limits of maps belongs"}}},
      {"maps: { memory: 0.1 }\n", {{1, 9, "known: memory_ratio, grace"}}},
      {"maps: {}\ncgroups: {}\n", {}},
  });
}

TEST(ConfigProblems, Values) {
  check({
      {"listen: localhost:80\n", {{1, 9, "names are not resolved"}}},
      {"listen: 9937\n", {{1, 9, "ADDR:PORT"}}},
      {"listen: 0.0.0.0:0\n", {{1, 9, "1 to 65535"}}},
      {"api_listen: '::1:80'\n", {{1, 13, "brackets"}}},
      {"api_listen: 0.0.0.0:9937\n", {{1, 13, "is the same"}}},
      {"listen: ''\napi_listen: ''\n", {}},
      {"socket: run/agent.sock\n", {{1, 9, "not an absolute path"}}},
      {"socket: ''\n", {{1, 9, "not an absolute path"}}},
      {"socket: /run/\n", {{1, 9, "name of the socket"}}},
      {"socket: /" + std::string(106, 'a') + "\n", {}},
      {"socket: /" + std::string(107, 'a') + "\n", {{1, 9, "at most 107"}}},
      {"state_dir: var\n", {{1, 12, "not an absolute path"}}},
      {"maps: { memory_ratio: 0 }\n", {{1, 23, "out of range"}}},
      {"maps: { memory_ratio: 0.51 }\n", {{1, 23, "at most 0.5"}}},
      {"maps: { grace: 0s }\n", {{1, 16, "too short"}}},
      {"maps: { grace: 2h }\n", {{1, 16, "from 1s to 1h"}}},
      {"admin_uids: [0, -1, root]\n", {{1, 17, "not a uid"}, {1, 21, "id -u NAME"}}},
      {"admin_uids: 0\n", {{1, 13, "list"}}},
      {"maps: { memory_ratio: -1 }\n", {{1, 23, "out of range"}}},
      {"maps: { memory_ratio: nan }\n", {{1, 23, "not a ratio"}}},
      {"maps: { memory_ratio: 50% }\n", {}},
      {"cpu_ratio: 0\n", {{1, 12, "out of range"}}},
      {"cpu_ratio: 2\n", {{1, 12, "at most 1"}}},
      {"cpu_ratio: much\n", {{1, 12, "not a ratio"}}},
      {"cpu_ratio: 100%\n", {}},
      {"outcomes: some\n", {{1, 11, "unknown choice"}}},
      {"cgroups: { include: [] }\n", {{1, 21, "nothing is included"}}},
      {"cgroups: { include: [demo] }\n", {{1, 22, "can match no cgroup"}}},
      {"cgroups: { exclude: ['/a[', ''] }\n", {{1, 22, "not closed"}, {1, 29, "empty"}}},
      {"cgroups: { exclude: [[/a]] }\n", {{1, 22, "a list where a single value"}}},
  });
}

TEST(ConfigProblems, Metrics) {
  check({
      {"metrics: { max_series: 999 }\n", {{1, 24, "a number from 1000 to 10000000"}}},
      {"metrics: { max_series: 1e6 }\n", {{1, 24, "not a limit of series"}}},
      {"metrics: { max_series: -5 }\n", {{1, 24, "not a limit of series"}}},
      {"metrics: { series: 1 }\n", {{1, 12, "known: max_series, buckets"}}},
      {"metrics: { buckets: [1s] }\n", {{1, 21, "a list where the classic buckets belongs"}}},
      {"metrics: { buckets: { reqest: [1s] } }\n", {{1, 23, "did you mean \"request\"?"}}},
      {"metrics:\n  buckets:\n    request: [1ms, 1s]\n",
       {{3, 15, "no bucket ends at \"1ms\" (the nearest edges are 977us and 1.06ms)"}}},
      {"metrics: { buckets: { rtt: [100ns] } }\n", {{1, 29, "are 0.954us and 1.04us"}}},
      {"metrics: { buckets: { rtt: [65s] } }\n", {{1, 29, "the last edge is 64s"}}},
      {"metrics: { buckets: { rtt: [0s] } }\n", {{1, 29, "no bucket ends at"}}},
      {"metrics: { buckets: { rtt: [1] } }\n", {{1, 29, "no unit"}}},
      {"metrics: { buckets: { rtt: [2s, 1s, 2s] } }\n",
       {{1, 33, "ascending"}, {1, 37, "ascending"}}},
      {"metrics: { buckets: { rtt: 1s } }\n", {{1, 28, "a single value where a list belongs"}}},
  });
  // Each edge can be written as the messages write it.
  std::string all = "metrics: { buckets: { rtt: [";
  for (size_t i = 0; i < SLOGATE_EDGES; ++i)
    all += bucket_edge(i) < 1 ? fmt::format("{:.3g}ms, ", bucket_edge(i) * 1e3)
                              : fmt::format("{:.3g}s, ", bucket_edge(i));
  check({{all + "] } }\n", {}}});
}

TEST(ConfigProblems, Classes) {
  check({
      {"classes: [{ class: prob, port: 1 }]\n", {{1, 20, "did you mean \"probe\"?"}}},
      {"classes: [{ port: 1 }]\n", {{1, 11, "without \"class\""}}},
      {"classes: [{ class: probe }]\n", {{1, 11, "give it a port or peer: node"}}},
      {"classes: [{ class: probe, peer: any }]\n", {{1, 11, "give it a port or peer: node"}}},
      {"classes: [{ class: probe, peer: pod }]\n", {{1, 33, "known: any, node"}}},
      {"classes: [{ class: probe, port: 0 }]\n", {{1, 33, "1 to 65535"}}},
      {"classes: [{ class: probe, port: 70000 }]\n", {{1, 33, "1 to 65535"}}},
      {"classes:\n- { class: probe, port: 1 }\n- { class: scrape, port: 1, peer: any }\n",
       {{3, 3, "the first is in line 2"}}},
      {"classes:\n- { class: probe, port: 1 }\n- { class: probe, port: 1, peer: node }\n", {}},
  });
  std::string many = "classes:\n";
  for (int i = 1; i <= 256; ++i) many += fmt::format("- {{ class: probe, port: {} }}\n", i);
  check(
      {{many, {}}, {many + "- { class: probe, port: 300 }\n", {{258, 3, "more than 256 items"}}}});
}

// An SLO with these lines in addition to those every SLO needs; the first added is line 4.
std::string slo(std::string_view lines) {
  return fmt::format("slos:\n- name: a\n  canary: {{ cgroup: /a }}\n{}", lines);
}

constexpr const char* kObjective = "  objectives: [{ signal: drops, max_ratio: 1% }]\n";

TEST(ConfigProblems, Slos) {
  check({
      {"slos: [{}]\n",
       {{1, 8, "without \"name\""}, {1, 8, "without \"canary\""}, {1, 8, "neither objectives"}}},
      {slo(""), {{2, 3, "neither objectives nor a baseline"}}},
      {slo("  objectives: []\n"), {{4, 15, "no objectives"}}},
      {slo("  baseline: { cgroup: /b }\n  objectives: []\n"), {{5, 15, "no objectives"}}},
      {slo(kObjective) + "  alpha: 0\n", {{5, 10, "out of range"}}},
      {slo(kObjective) + "  alpha: 0.6\n", {{5, 10, "at most 0.5"}}},
      {slo(kObjective) + "  alpha: low\n", {{5, 10, "not a ratio"}}},
      {slo(kObjective) + "  alpha: 0.5\n  warmup: 0s\n", {}},
      {slo(kObjective) + "  warmup: -1s\n", {{5, 11, "negative"}}},
      {slo(kObjective) + "  warmup: 30\n", {{5, 11, "no unit"}}},
      {slo(kObjective) + "  pass_within: 10m\n", {}},
      {slo(kObjective) + "  pass_within: 30\n", {{5, 16, "no unit"}}},
      {slo(kObjective) + "  node_margin: 1\n", {}},
      {slo(kObjective) + "  node_margin: 10\n", {}},
      {slo(kObjective) + "  node_margin: 0.9\n", {{5, 16, "from 1 to 10"}}},
      {slo(kObjective) + "  node_margin: 10.1\n", {{5, 16, "out of range"}}},
      {slo(kObjective) + "  node_margin: 25%\n", {{5, 16, "not a factor"}}},
      {slo(kObjective) + "  warmup: 25h\n", {{5, 11, "at most 24h"}}},
      {slo(kObjective) + "  weight: 50\n", {{5, 11, "a weight"}}},
      {slo(kObjective) + "  weight: { from: 0 }\n", {{5, 19, "from 0.1 to 100, like 5"}}},
      {slo(kObjective) + "  weight: { step: 101 }\n", {{5, 19, "out of range"}}},
      {slo(kObjective) + "  weight: { most: all }\n", {{5, 19, "not a percentage"}}},
      {slo(kObjective) + "  weight: { most: nan }\n", {{5, 19, "not a percentage"}}},
      {slo(kObjective) + "  weight: { every: 0.5s }\n", {{5, 20, "at least 1s"}}},
      {slo(kObjective) + "  weight: { every: 30 }\n", {{5, 20, "no unit"}}},
      {slo(kObjective) + "  weight: { from: 20, most: 10 }\n",
       {{5, 11, "let \"from\" be at most \"most\""}}},
      {slo(kObjective) + "  weight: { until: 50 }\n", {{5, 13, "unknown key"}}},
      {slo(kObjective) + "  enforce: refuse\n", {{5, 12, "what is enforced of an SLO"}}},
      {slo(kObjective) + "  enforce: { ports: [80] }\nenforce: { mode: refuse }\n",
       {{5, 12, "without \"mode\""}}},
      {slo(kObjective) + "  enforce: { mode: refuse }\n",
       {{5, 12, "the SLO enforces, and the agent does not"}}},
      {slo(kObjective) + "  enforce: { mode: off }\n", {}},
      {slo(kObjective) + "  enforce: { mode: refuse }\nenforce: { mode: refuse }\n",
       {{5, 12, "without a baseline"}, {5, 12, "on every port"}}},
      {slo("  baseline: { cgroup: /b }\n  port: 80\n  enforce: { mode: refuse }\n") +
           "enforce: { mode: refuse }\n",
       {}},
      {slo("  baseline: { cgroup: /b }\n") +
           "  enforce: { mode: refuse, ports: [80], for: latency, max: 1s, dry_run: true, exempt: "
           "[10.0.0.7, 10.0.0.0/8, 0.0.0.0/0, '::1', 'fd00::/8', '::/0'] }\n"
           "enforce: { mode: refuse }\n",
       {}},
      {slo(kObjective) + "  enforce: { mode: drop }\n", {{5, 20, "unknown mode"}}},
      {slo(kObjective) + "  enforce: { mode: off, ports: [0] }\n", {{5, 33, "not a port"}}},
      {slo(kObjective) + "  enforce: { mode: off, ports: [1, 2, 3, 4, 5, 6, 7, 8, 9] }\n",
       {{5, 57, "more than 8"}}},
      {slo(kObjective) + "  enforce: { mode: off, for: misses }\n", {{5, 30, "kind of veto"}}},
      {slo(kObjective) + "  enforce: { mode: off, max: 0.5s }\n", {{5, 30, "too short"}}},
      {slo(kObjective) + "  enforce: { mode: off, max: 10 }\n", {{5, 30, "no unit"}}},
      {slo(kObjective) + "  enforce: { mode: off, dry_run: yes }\n",
       {{5, 34, "neither true nor false"}}},
      {slo(kObjective) + "  enforce: { mode: off, exempt: [10.0.0.7/8] }\n",
       {{5, 34, "bits beyond its length"}}},
      {slo(kObjective) + "  enforce: { mode: off, exempt: [localhost] }\n",
       {{5, 34, "not a range of addresses"}}},
      {slo(kObjective) + "  enforce: { mode: off, exempt: [10.0.0.0/33] }\n",
       {{5, 34, "not a range"}}},
      {slo(kObjective) + "  enforce: { mode: off, exempt: ['fd00::/129'] }\n",
       {{5, 34, "not a range"}}},
      {slo(kObjective) + "  port: http\n", {{5, 9, "not a port"}}},
      {slo(kObjective) + "  port: 80\nclasses: [{ class: scrape, port: 80 }]\n",
       {{5, 9, "port 80 is of class scrape"}}},
      {slo(kObjective) + "  port: 80\nclasses: [{ class: probe, port: 80, peer: node }]\n", {}},
      {slo(kObjective) + "  container: Side_Car\n", {{5, 14, "not the name of a container"}}},
      {slo(kObjective) + "  base_line: { cgroup: /b }\n", {{5, 3, "did you mean \"baseline\"?"}}},
      {slo(kObjective) + "- name: a\n  canary: { cgroup: /b }\n" + kObjective,
       {{5, 9, "the first is in line 2"}}},
  });
  for (const char* name : {"A", "-a", "a-", ".a", "a_b", "''", "a b", "\"a/b\""})
    check(
        {{fmt::format(
              "slos: [{{ name: {}, canary: {{ cgroup: /a }}, baseline: {{ cgroup: /b }} }}]", name),
          {{1, 16, "not the name of an SLO"}}}});
  for (const std::string& name : {std::string(63, 'a'), std::string("a.b-c.0"), std::string("7")})
    check(
        {{fmt::format(
              "slos: [{{ name: {}, canary: {{ cgroup: /a }}, baseline: {{ cgroup: /b }} }}]", name),
          {}}});
}

TEST(ConfigProblems, Selectors) {
  const auto canary = [](std::string_view selector) {
    return fmt::format("slos:\n- name: a\n  canary: {}\n{}", selector, kObjective);
  };
  check({
      {canary("{}"), {{3, 11, "selector is empty"}}},
      {canary("/a"), {{3, 11, "where a selector belongs"}}},
      {canary("{ cgroup: [] }"), {{3, 21, "selector is empty"}}},
      {canary("{ cgroup: '' }"), {{3, 21, "pattern is empty"}}},
      {canary("{ cgroup: [/a, b] }"), {{3, 26, "can match no cgroup"}}},
      {canary("{ cgroup: { a: b } }"), {{3, 21, "a mapping where a list belongs"}}},
      {canary("{ cgroups: /a }"), {{3, 11, "is empty"}, {3, 13, "did you mean \"cgroup\"?"}}},
      {canary("{ cgroup: /a, pods: { namespace: n, labels: { a: b } } }"), {{3, 11, "both"}}},
      {canary("{ pods: {} }"), {{3, 19, "without \"namespace\""}, {3, 19, "without \"labels\""}}},
      {canary("{ pods: { namespace: n } }"), {{3, 19, "without \"labels\""}}},
      {canary("{ pods: { namespace: n, labels: {} } }"), {{3, 43, "no labels"}}},
      {canary("{ pods: { namespace: n, labels: [a] } }"), {{3, 43, "no labels"}}},
      {canary("{ pods: { namespace: N, labels: { a: b } } }"), {{3, 32, "not a namespace"}}},
      {canary("{ pods: { namespace: n, labels: { a: -b } } }"), {{3, 48, "value of a label"}}},
      {canary("{ pods: { namespace: n, labels: { /a: b } } }"), {{3, 45, "key of a label"}}},
      {canary("{ pods: { namespace: n, labels: { a: b, a: c } } }"), {{3, 51, "stands twice"}}},
      {canary("{ pods: { namespace: n, labels: { a: [b] } } }"), {{3, 48, "a list where"}}},
      {canary("{ pods: { namespace: n, labels: { k8s.io/a_B: '', b: 'true' } } }"), {}},
      {"slos:\n- name: a\n  canary: { cgroup: [/a, /b] }\n  baseline: { cgroup: [/b, /a] }\n",
       {{4, 13, "same as the canary"}}},
      {"slos:\n- name: a\n  canary: { pods: { namespace: n, labels: { a: b } } }\n"
       "  baseline: { pods: { labels: { a: b }, namespace: n } }\n",
       {{4, 13, "same as the canary"}}},
      {"slos:\n- name: a\n  canary: { pods: { namespace: n, labels: { a: b } } }\n"
       "  baseline: { cgroup: /b }\n",
       {}},
  });
}

TEST(ConfigProblems, Objectives) {
  // The objective begins in line 5, column 5.
  const auto objective = [](std::string_view text, bool baseline = false) {
    return slo(fmt::format("  objectives:\n  - {}\n{}", text,
                           baseline ? "  baseline: { cgroup: /b }\n" : ""));
  };
  check({
      {objective("{}"), {{5, 5, "without \"signal\""}}},
      {objective("request"), {{5, 5, "where an objective belongs"}}},
      {objective("{ signal: [request] }"), {{5, 15, "a list where"}}},
      {objective("{ signal: requests, quantile: 0.5, max: 1s }"),
       {{5, 15,
         "did you mean \"request\"? known: request, client_request, queue, connect, rtt, "
         "failed_request, answer, errors, client_errors, connection_errors, drops, resets, "
         "retransmits, misses, tls_full, errors(client), client_errors(client), misses(client), "
         "tls_full(client))"}}},
      {objective("{ signal: misses(client, redis), max_ratio: 5% }"),
       {{5, 15, "put it in quotes: signal: \"misses(client, redis)\""}, {5, 30, "unknown key"}}},
      {objective("{ signal: x, mx: 1s }"), {{5, 15, "unknown signal"}, {5, 18, "unknown key"}}},
      {objective("{ signal: request, max: 1s }"), {{5, 5, "without \"quantile\""}}},
      {objective("{ signal: request, quantile: 0.5 }"), {{5, 5, "give it max or max_increase"}}},
      {objective("{ signal: drops }"), {{5, 5, "give it max_ratio or max_increase"}}},
      {objective("{ signal: request, quantile: 1, max: 1s }"), {{5, 34, "out of range"}}},
      {objective("{ signal: request, quantile: 0, max: 1s }"), {{5, 34, "out of range"}}},
      {objective("{ signal: request, quantile: 99, max: 1s }"), {{5, 34, "like 0.99"}}},
      {objective("{ signal: request, quantile: 0.5, max: 15 }"), {{5, 44, "no unit"}}},
      {objective("{ signal: request, quantile: 0.5, max: 15sec }"), {{5, 44, "unit of time"}}},
      {objective("{ signal: request, quantile: 0.5, max: 0s }"), {{5, 44, "not above zero"}}},
      {objective("{ signal: request, quantile: 0.5, max: 65s }"), {{5, 44, "up to 64 s"}}},
      {objective("{ signal: request, quantile: 0.5, max: 64s }"), {}},
      {objective("{ signal: request, quantile: 0.5, max_ratio: 1% }"),
       {{5, 5, "bounds nothing"}, {5, 39, "unknown key"}}},
      {objective("{ signal: drops, quantile: 0.5, max_ratio: 1% }"), {{5, 22, "unknown key"}}},
      {objective("{ signal: drops, max_ratio: 2 }"), {{5, 33, "out of range"}}},
      {objective("{ signal: drops, max_ratio: 0% }"), {{5, 33, "out of range"}}},
      {objective("{ signal: drops, max_increase: 1% }"), {{5, 36, "without a baseline"}}},
      {objective("{ signal: drops, max_increase: 1% }", true), {}},
      {objective("{ signal: request, quantile: 0.5, max_increase: 1ms }"),
       {{5, 53, "without a baseline"}}},
      {objective("{ signal: drops, signal: resets, max_ratio: 1% }"), {{5, 22, "stands twice"}}},
      {objective("{ signal: drops, max_ratio: 1% }\n  - { signal: drops, max_ratio: 0.01 }"),
       {{6, 33, "repeats line 5"}}},
      {objective("{ signal: drops, max_ratio: 1% }\n  - { signal: drops, max_ratio: 2% }"),
       {{6, 33, "contradicts line 5"}}},
      {objective("{ signal: connect_errors, max_ratio: 1% }\n"
                 "  - { signal: connection_errors, max_ratio: 2% }"),
       {{6, 45, "contradicts line 5"}}},
      {objective("{ signal: rtt, quantile: 0.9, max: 1s }\n"
                 "  - { signal: rtt, quantile: 90%, max: 2s }"),
       {{6, 40, "contradicts line 5"}}},
      {objective("{ signal: rtt, quantile: 0.9, max: 1s }\n"
                 "  - { signal: rtt, quantile: 0.99, max: 2s }"),
       {}},
  });
}

TEST(ConfigProblems, AllAtOnceInTheirOrder) {
  check(
      {{"slos:\n- name: A\n  alpha: 2\n  canary: { cgroup: a }\n"
        "  objectives: [{ signal: drops, max_increase: 1 % }]\n"
        "cgroups: { include: [] }\nlisten: x\nlisten: y\nfoo: 1\n",
        {{2, 9, "name of an SLO"},
         {3, 10, "out of range"},
         {4, 21, "can match no cgroup"},
         {5, 47, "not a ratio"},
         {5, 47, "without a baseline"},
         {6, 21, "nothing is included"},
         {7, 9, "ADDR:PORT"},
         {8, 1, "stands twice"},
         {9, 1, "unknown key"}}}});
}

TEST(ConfigProblems, AreOneLineEach) {
  const ConfigProblem problem{
      .file = "f", .line_number = 2, .column = 3, .message = "m", .remedy = "r"};
  EXPECT_EQ(problem.line(), "f:2:3: m (r)");
  EXPECT_EQ((ConfigProblem{.file = "f", .message = "m", .remedy = ""}.line()), "f: m");
}

TEST(ConfigProblems, TooManySlos) {
  std::string yaml = "slos:\n";
  for (int i = 0; i < 1000; ++i)
    yaml +=
        fmt::format("- {{ name: a{}, canary: {{ cgroup: /a }}, baseline: {{ cgroup: /b }} }}\n", i);
  check({{yaml, {}}, {yaml + "- {}\n", {{1002, 3, "more than 1000 items"}}}});
}

std::string repeated(std::string_view text, size_t times) {
  std::string result;
  for (size_t i = 0; i < times; ++i) result += text;
  return result;
}

TEST(ConfigProblems, DepthIsBounded) {
  for (const std::string_view text : {"[", "{", "[{", "- ", "? ", "a: ", "{a: ", "-\n"}) {
    SCOPED_TRACE(text);
    EXPECT_EQ(problems_of(repeated(text, 100'000)).size(), 1U);
    EXPECT_EQ(problems_of("slos: " + repeated(text, 100'000)).size(), 1U);
  }
  EXPECT_THAT(problems_of(repeated("[", 100'000)).at(0).line(), HasSubstr("nested too deeply"));
}

TEST(ConfigProblems, SizeIsBounded) {
  EXPECT_TRUE(problems_of("#" + std::string(kMaxYamlBytes - 1, 'x')).empty());
  EXPECT_THAT(problems_of("#" + std::string(kMaxYamlBytes, 'x')).at(0).line(), HasSubstr("1 MiB"));
}

// Bytes that mean something to YAML or to slogate, so that random texts get past the first check.
std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> pieces = {
      "listen", "slos",   "cgroups", "include", "name",     "canary", "objectives", "signal",
      "drops",  "cgroup", "pods",    "labels",  "baseline", "/a/**",  "1%",         "15ms",
      ": ",     "\n",     "\n  ",    "- ",      "{",        "}",      "[",          "]",
      ",",      "#",      "\"",      "'",       "&a",       "*a",     "!",          "|\n",
      "? ",     "---\n",  "\t",      "\\",      "\xc3\xa9", "%",      "~",          ">\n"};
  std::string text;
  for (size_t n = random() % 40; n > 0; --n)
    text += random() % 50 == 0 ? std::string(1, static_cast<char>(random()))
                               : pieces[random() % pieces.size()];
  return text;
}

// Every answer is a configuration or problems inside the file; the sanitizers watch the rest.
TEST(ConfigProblems, RandomTextsAreAnswered) {
  std::mt19937 random(1);  // the same texts every time
  for (int i = 0; i < 5000; ++i) {
    const std::string text = random_text(random);
    const int lines = 2 + static_cast<int>(std::ranges::count(text, '\n'));
    const auto config = parse_config(text, "f.yaml");
    if (config) continue;
    EXPECT_FALSE(config.error().empty()) << text;
    for (const ConfigProblem& problem : config.error()) {
      EXPECT_GE(problem.line_number, 1) << text;
      EXPECT_LE(problem.line_number, lines) << text;
      EXPECT_GE(problem.column, 1) << text;
    }
  }
}

TEST(ReadConfig, NamesTheFile) {
  const auto missing = read_config("/nonexistent/slogate.yaml");
  ASSERT_FALSE(missing.has_value());
  EXPECT_THAT(missing.error().at(0).line(),
              HasSubstr("/nonexistent/slogate.yaml: cannot open: No such file"));
  const auto directory = read_config("/");
  ASSERT_FALSE(directory.has_value());
  EXPECT_THAT(directory.error().at(0).line(), HasSubstr("cannot read: Is a directory"));
}

TEST(ReadConfig, ReadsAFileButNotWithoutEnd) {
  EXPECT_TRUE(read_config(SLOGATE_SOURCE_DIR "/daemonset/slogate.yaml").has_value());
  EXPECT_TRUE(read_config("/dev/null").has_value());
  const auto endless = read_config("/dev/zero");
  ASSERT_FALSE(endless.has_value());
  EXPECT_THAT(endless.error().at(0).line(), HasSubstr("1 MiB"));
}

}  // namespace
}  // namespace slogate
