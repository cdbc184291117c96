// SPDX-License-Identifier: Apache-2.0
// What a configuration means. What is refused: config_problems_test.cpp.
#include "agent/config/config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "maps/tables.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// The configuration of a text that must have no problem.
Config parsed(std::string_view yaml) {
  auto config = parse_config(yaml, "test.yaml");
  if (config) return std::move(*config);
  for (const ConfigProblem& problem : config.error()) ADD_FAILURE() << problem.line();
  return {};
}

std::vector<std::string> patterns(const std::vector<Glob>& globs) {
  std::vector<std::string> result;
  for (const Glob& glob : globs) result.push_back(glob.pattern());
  return result;
}

std::vector<std::string> patterns(const Selector& selector) {
  return patterns(std::get<std::vector<Glob>>(selector));
}

using Patterns = std::vector<std::string>;

void expect_defaults(const Config& config) {
  EXPECT_EQ(config.listen, (ListenAddress{"0.0.0.0", 9937}));
  EXPECT_EQ(config.api_listen, std::nullopt);
  EXPECT_EQ(config.socket, "/run/slogate/agent.sock");
  EXPECT_EQ(patterns(config.cgroups.include), Patterns{"/**"});
  EXPECT_EQ(patterns(config.cgroups.exclude), Patterns{});
  EXPECT_EQ(config.maps.memory_ratio, 0.0025);
  EXPECT_EQ(config.cpu_ratio, 0.005);
  EXPECT_EQ(config.maps.grace, 60s);
  EXPECT_EQ(config.metrics, MetricsSettings{});
  EXPECT_TRUE(config.admin_uids.empty());
  EXPECT_EQ(config.state_dir, "/var/lib/slogate");
  EXPECT_EQ(config.enforce, EnforceConfig{});
  EXPECT_TRUE(config.classes.empty());
  EXPECT_TRUE(config.slos.empty());
}

std::string read_sample() {
  std::ifstream file(SLOGATE_SOURCE_DIR "/daemonset/slogate.yaml");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A file without the key was written when no payload was read.
TEST(Config, OutcomesAreOfSlosAloneWhereAFileDoesNotSay) {
  EXPECT_EQ(Config{}.outcomes, Outcomes::All);
  EXPECT_EQ(parsed("").outcomes, Outcomes::Slos);
  EXPECT_EQ(parsed("slos: []").outcomes, Outcomes::Slos);
  EXPECT_EQ(parsed("outcomes: all").outcomes, Outcomes::All);
  EXPECT_EQ(parsed("outcomes: slos").outcomes, Outcomes::Slos);
  EXPECT_EQ(parsed("outcomes: off").outcomes, Outcomes::Off);
  EXPECT_EQ(parsed(read_sample()).outcomes, Outcomes::All);
}

TEST(Config, DefaultsWhereNothingIsSaid) {
  expect_defaults(Config{});
  for (const char* yaml :
       {"", "\n\n", "# only a comment\n", "---\n", "---\n...\n", "\xef\xbb\xbf", "{}"}) {
    SCOPED_TRACE(yaml);
    expect_defaults(parsed(yaml));
  }
}

TEST(Config, TheSampleHasTheDefaults) {
  const std::string sample = read_sample();
  for (const char* key : {"listen", "api_listen", "socket", "cgroups", "  include", "  exclude",
                          "maps", "  memory_ratio", "  grace", "cpu_ratio", "outcomes", "metrics",
                          "  max_series", "admin_uids", "state_dir", "enforce", "classes", "slos"})
    EXPECT_TRUE(sample.contains(fmt::format("\n{}:", key))) << key;
  expect_defaults(parsed(sample));
}

// The examples in the sample: their lines start with "#", but not with one space after it.
std::string with_examples(const std::string& sample) {
  std::string result, line;
  for (std::istringstream lines(sample); std::getline(lines, line);) {
    if (line == "classes: []" || line == "slos: []" || line == "peers: []" ||
        line == "peer_listen: \"\"" || line.starts_with("enforce: { mode: off"))
      continue;
    const bool is_prose = line.starts_with("# ") && !line.starts_with("#  ");
    result += line.starts_with('#') && !is_prose ? line.substr(1) : line;
    result += '\n';
  }
  return result;
}

TEST(Config, Metrics) {
  const Config config = parsed(
      "metrics:\n  max_series: 5000\n  buckets:\n    request: [977us, 1.0650ms, 1s, 64s]\n"
      "    rtt: []\n");
  EXPECT_EQ(config.metrics.max_series, 5000u);
  EXPECT_EQ(config.metrics.buckets[SLOGATE_SIGNAL_request], (ClassicEdges{80, 81, 160, 208}));
  EXPECT_EQ(config.metrics.buckets[SLOGATE_SIGNAL_rtt], ClassicEdges{});
  EXPECT_EQ(config.metrics.buckets[SLOGATE_SIGNAL_queue], octaves());
}

TEST(Config, TheExamplesOfTheSampleAreValid) {
  const Config config = parsed(with_examples(read_sample()));
  ASSERT_EQ(config.classes.size(), 2U);
  EXPECT_EQ(config.classes[0], (ClassRule{SLOGATE_CLASS_probe, 8081, true}));
  EXPECT_EQ(config.classes[1], (ClassRule{SLOGATE_CLASS_scrape, 9090, false}));
  EXPECT_EQ(config.peers.size(), 3U);
  EXPECT_TRUE(config.peer_listen);
  ASSERT_EQ(config.slos.size(), 1U);
  const Slo& slo = config.slos[0];
  EXPECT_EQ(slo.container, "app");
  EXPECT_EQ(std::get<PodSelector>(slo.canary),
            (PodSelector{"production", {{"app", "payment-api"}, {"track", "canary"}}}));
  EXPECT_EQ(slo.objectives.size(), 4U);
  EXPECT_EQ(slo.alpha, Slo{}.alpha);
  EXPECT_EQ(slo.warmup, Slo{}.warmup);
  EXPECT_EQ(slo.pass_within, Slo{}.pass_within);
  EXPECT_EQ(slo.node_margin, Slo{}.node_margin);
  EXPECT_EQ(slo.weight, WeightSteps{});
}

// As the public documentation has it.
constexpr const char* kDocumented =
    R"(listen: 0.0.0.0:9937                  # metrics; "" turns it off
api_listen: ""                        # the read-only API on TCP, for controllers
socket: /run/slogate/agent.sock
cgroups: { include: ["/**"], exclude: [] }
maps: { memory_ratio: 0.0025 }        # of the node's RAM, the ceiling for all maps together
state_dir: /var/lib/slogate           # audit log, latched vetoes
slos:
  - name: payment-api
    port: 8080                        # optional: judge only this local port; also `container:` in Kubernetes
    canary:   { cgroup: "/demo/canary/**" }      # or pods: { namespace: production, labels: { app: payment-api, track: canary } }
    baseline: { cgroup: "/demo/stable/**" }      # optional
    objectives:
      - { signal: request, quantile: 0.99, max: 15ms }
      - { signal: request, quantile: 0.99, max_increase: 50ms }     # against the baseline
      - { signal: connection_errors, max_ratio: 1%, max_increase: 0.1% }
      - { signal: drops, max_ratio: 1% }
    alpha: 0.001                      # chance of ever vetoing a canary that is no worse
    warmup: 30s
    pass_within: 10s                  # as much of the tail as the rate lets a pass show in this time
)";

TEST(Config, TheDocumentedExample) {
  const Config config = parsed(kDocumented);
  ASSERT_EQ(config.slos.size(), 1U);
  const Slo& slo = config.slos[0];
  EXPECT_EQ(slo.name, "payment-api");
  EXPECT_EQ(slo.port, 8080);
  EXPECT_EQ(slo.container, std::nullopt);
  EXPECT_EQ(patterns(slo.canary), Patterns{"/demo/canary/**"});
  ASSERT_TRUE(slo.baseline.has_value());
  EXPECT_EQ(patterns(*slo.baseline), Patterns{"/demo/stable/**"});
  const std::vector<Objective> expected = {
      LatencyObjective{.signal = SLOGATE_SIGNAL_request, .quantile = 0.99, .max = 15ms},
      LatencyObjective{.signal = SLOGATE_SIGNAL_request, .quantile = 0.99, .max_increase = 50ms},
      RatioObjective{
          .signal = RatioSignal::ConnectionErrors, .max_ratio = 0.01, .max_increase = 0.001},
      RatioObjective{.signal = RatioSignal::Drops, .max_ratio = 0.01}};
  EXPECT_EQ(slo.objectives, expected);
  EXPECT_EQ(slo.alpha, 0.001);
  EXPECT_EQ(slo.warmup, 30s);
  EXPECT_EQ(slo.pass_within, 10s);
}

TEST(Config, TheStepsOfAWeight) {
  const auto weight = [](std::string_view steps) {
    return parsed(fmt::format("slos: [{{ name: a, canary: {{ cgroup: /a }}, baseline: {{ cgroup: "
                              "/b }}, weight: {} }}]\n",
                              steps))
        .slos.at(0)
        .weight;
  };
  EXPECT_EQ(weight("{ from: 20, step: 2.5, every: 1m, most: 95% }"),
            (WeightSteps{.from = 20, .step = 2.5, .most = 95, .every = 1min}));
  EXPECT_EQ(weight("{ most: 50 }"), WeightSteps{.most = 50});
  EXPECT_EQ(weight("{ from: 100, every: 1s }"), (WeightSteps{.from = 100, .every = 1s}));
}

TEST(Config, EveryKeyHasAnEffect) {
  const Config config = parsed(
      "listen: ''\napi_listen: '[::1]:9938'\nsocket: /tmp/s\nstate_dir: /tmp/state\n"
      "maps: { memory_ratio: 1%, grace: 2m }\nadmin_uids: [7, 1000]\ncgroups: { include: /a/**, "
      "exclude: [/a/b, '**/c'] }\n"
      "classes: [{ class: proxy, port: 15001, peer: any }, { class: probe, peer: node }]\n");
  EXPECT_EQ(config.listen, std::nullopt);
  EXPECT_EQ(config.api_listen, (ListenAddress{"::1", 9938}));
  EXPECT_EQ(config.socket, "/tmp/s");
  EXPECT_EQ(config.state_dir, "/tmp/state");
  EXPECT_EQ(config.maps.memory_ratio, 0.01);
  EXPECT_EQ(config.maps.grace, 120s);
  EXPECT_EQ(config.admin_uids, (std::vector<uint32_t>{7, 1000}));
  EXPECT_EQ(patterns(config.cgroups.include), Patterns{"/a/**"});
  EXPECT_EQ(patterns(config.cgroups.exclude), (Patterns{"/a/b", "**/c"}));
  ASSERT_EQ(config.classes.size(), 2U);
  EXPECT_EQ(config.classes[0], (ClassRule{SLOGATE_CLASS_proxy, 15001, false}));
  EXPECT_EQ(config.classes[1], (ClassRule{SLOGATE_CLASS_probe, 0, true}));
}

TEST(Config, EverySignalCanBeNamed) {
  std::string yaml = "slos:\n- name: a\n  canary: { cgroup: /a }\n  objectives:\n";
  for (const SignalInfo& signal : kSignals)
    yaml += fmt::format("  - {{ signal: {}, quantile: 0.5, max: 1s }}\n", signal.name);
  for (const JudgedSignal& ratio : kJudgedRatios)
    yaml += fmt::format("  - {{ signal: \"{}\", max_ratio: 1% }}\n", ratio.name);
  const Config config = parsed(yaml);
  ASSERT_EQ(config.slos.size(), 1U);
  const auto& objectives = config.slos[0].objectives;
  ASSERT_EQ(objectives.size(), kSignals.size() + kJudgedRatios.size());
  EXPECT_EQ(std::get<LatencyObjective>(objectives[SLOGATE_SIGNAL_rtt]).signal, SLOGATE_SIGNAL_rtt);
  EXPECT_EQ(std::get<RatioObjective>(objectives.back()).signal, RatioSignal::MissesOfMemcached);
}

TEST(Config, AnOldNameIsUnderstoodAndWarnedOfOnce) {
  const Config config = parsed(
      "slos:\n- name: a\n  canary: { cgroup: /a }\n  objectives:\n"
      "  - { signal: drops, max_ratio: 1% }\n"
      "  - { signal: connect_errors, max_ratio: 1% }\n"
      "- name: b\n  canary: { cgroup: /b }\n  objectives:\n"
      "  - { signal: connect_errors, max_ratio: 2% }\n"
      "- name: c\n  canary: { cgroup: /c }\n  objectives:\n"
      "  - { signal: connection_errors, max_ratio: 2% }\n");
  ASSERT_EQ(config.warnings.size(), 1U);
  EXPECT_EQ(config.warnings[0].line(),
            "test.yaml:6:15: connect_errors is called connection_errors now: the old name will not "
            "be understood for ever");
  ASSERT_EQ(config.slos.size(), 3U);
  const RatioObjective errors{.signal = RatioSignal::ConnectionErrors, .max_ratio = 0.01};
  EXPECT_EQ(config.slos[0].objectives[1], Objective(errors));
  EXPECT_EQ(config.slos[0].notes.size(), 1U);
  EXPECT_EQ(config.slos[1].notes, config.slos[0].notes);
  EXPECT_TRUE(config.slos[2].notes.empty());
}

TEST(Config, AnSloOfThreeLines) {
  const Config config =
      parsed("slos:\n- name: a\n  canary: { cgroup: [/a, /b] }\n  baseline: { cgroup: /c }\n");
  ASSERT_EQ(config.slos.size(), 1U);
  EXPECT_EQ(patterns(config.slos[0].canary), (Patterns{"/a", "/b"}));
  EXPECT_TRUE(config.slos[0].objectives.empty());
}

TEST(Config, QuotedAndPlainValuesAreAsTheyStand) {
  EXPECT_EQ(parsed("socket: '/a''b'\n").socket, "/a'b");
  EXPECT_EQ(parsed("socket: \"/a\\\"\\\\\\u00e9\" # x\n").socket, "/a\"\\\u00e9");
  EXPECT_EQ(parsed("# \u00e9\r\nsocket:  /a  b#\u00e9 \u00e9 # x\r\n").socket,
            "/a  b#\u00e9 \u00e9");
  EXPECT_EQ(parsed("\"socket\": /a").socket, "/a");
}

TEST(Config, LinesMayEndAsOnWindows) {
  EXPECT_EQ(parsed("socket: /tmp/s\r\n\r\n# x\r\nstate_dir: /s\r\n").state_dir, "/s");
}

TEST(Config, TabsAreFineOutsideTheIndentation) {
  EXPECT_EQ(parsed("socket:\t/tmp/s\t# the socket\n \t\n").socket, "/tmp/s");
}

}  // namespace
}  // namespace slogate
