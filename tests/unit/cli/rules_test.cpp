// SPDX-License-Identifier: Apache-2.0
// What `slogate rules` is made of. What its rules compute: tests/e2e/rules.sh and queries.sh.
#include "tools/cli/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace slogate::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

Slo compared(std::string_view canary) {
  Slo slo{.name = "demo"};
  slo.canary = std::vector{*Glob::parse(canary)};
  slo.baseline = std::vector{*Glob::parse("/a.slice/**"), *Glob::parse("/b/*")};
  return slo;
}

std::string text_of(const Slo& slo) {
  return render_rules(to_rules({{slo}}, 15s));
}

// What Ville's inequality asks of the mixture over starts.
TEST(CliRules, WeightsOfTheStartsAddUpToOne) {
  double weights = PooledStarts::kFirstWeight;
  EXPECT_EQ(weights + PooledStarts::left_for_later(1), 1);
  for (int block = 2; block <= 100'000; ++block) {
    const double weight =
        PooledStarts::left_for_later(block - 1) - PooledStarts::left_for_later(block);
    EXPECT_GT(weight, 0);
    weights += weight;
  }
  EXPECT_NEAR(weights + PooledStarts::left_for_later(100'000), 1, 1e-9);
}

TEST(CliRules, SelectsTheArmsAsTheAgentDoes) {
  const std::string text = text_of(compared("/c'\n[ab]"));
  EXPECT_THAT(text, HasSubstr(R"(cgroup=~'/c\'\x0a[ab]')"));
  EXPECT_THAT(text, HasSubstr(R"(cgroup=~'/a\\.slice(?:/.*)?|/b/[^/]*',cgroup!~'/c\'\x0a[ab]')"));
  EXPECT_THAT(text, HasSubstr("interval: 15000ms"));
}

TEST(CliRules, ComparesWhatIsStatedAndWhatMattersMost) {
  Slo slo = compared("/c");
  slo.objectives = {LatencyObjective{.quantile = 0.99, .max = 1s, .max_increase = {}},
                    RatioObjective{.signal = RatioSignal::Resets, .max_increase = 0.01}};
  const std::string text = text_of(slo);
  for (const char* objective : {"request against the baseline", "resets max_increase 1 %",
                                "connection_errors against the baseline", "drops against the"})
    EXPECT_THAT(text, HasSubstr(objective));
  EXPECT_THAT(text, Not(HasSubstr("max 1 s")));
  EXPECT_THAT(text, Not(HasSubstr("slogate_queue_duration_seconds")));
}

// A service that speaks TLS has no errors to compare, though it leaves some requests unanswered.
TEST(CliRules, ComparesErrorsWhereHalfOfThemAreKnown) {
  const Json rules = to_rules({{compared("/c")}}, 15s)["groups"][0]["rules"];
  size_t guarded = 0;
  for (const Json& rule : rules) {
    if (rule["record"] != "slo:slogate_pooled_exposures") continue;
    const std::string expr = rule["expr"], objective = rule["labels"]["objective"];
    const bool is_guarded =
        expr.contains(") >= 0.5 * (sum(clamp_min(histogram_count(slogate_request_duration_seconds");
    if (is_guarded) {
      const std::string known = expr.substr(expr.find(" and (sum("));
      EXPECT_THAT(known, Not(HasSubstr("slogate_unanswered_requests_total{role='server',cgroup=~"
                                       "'/c(/.*)?'} +")));
    }
    EXPECT_EQ(is_guarded, objective == "errors against the baseline") << expr;
    guarded += is_guarded;
    EXPECT_EQ(expr.contains("outcome='unknown',"), is_guarded);
  }
  EXPECT_EQ(guarded, 2u) << "both arms";
}

TEST(CliRules, WarnsOfOldNamesAndMakesTheRulesOfTheNewOnes) {
  const std::string path = ::testing::TempDir() + fmt::format("slogate-rules-{}.yaml", ::getpid());
  const auto rules_of = [&path](const char* signal) {
    std::ofstream(path) << fmt::format(
        "slos:\n- name: demo\n  canary: {{ cgroup: /c }}\n  baseline: {{ cgroup: /b }}\n"
        "  objectives:\n  - {{ signal: {}, max_increase: 1% }}\n",
        signal);
    auto report = show_rules({.config = path, .workloads = ""}, {});
    std::filesystem::remove(path);
    return report;
  };
  const auto now = rules_of("connection_errors"), old = rules_of("connect_errors");
  ASSERT_TRUE(now && old);
  EXPECT_EQ(old->text, now->text);
  EXPECT_EQ(now->warnings, "");
  EXPECT_THAT(old->warnings, HasSubstr(":6:15: connect_errors is called connection_errors now"));
}

// What there is since before the warm-up, not what has only come; without one a difference says so
// itself.
TEST(CliRules, CountsWhatOutlivedTheWarmup) {
  Slo slo = compared("/c");
  slo.warmup = 45s;
  EXPECT_THAT(text_of(slo),
              HasSubstr("offset 15000ms), 0) and slogate_request_duration_seconds{role='server',"
                        "cgroup=~'/c'} offset 60000ms"));
  slo.warmup = 0s;
  EXPECT_THAT(text_of(slo), Not(HasSubstr(", 0) and ")));
}

// Prometheus may drop the history of a minute; see add_edges().
TEST(CliRules, EdgesOutliveAMinuteWithoutHistoryWhileTheBaselineIsThere) {
  size_t edges = 0;
  const Json rules = to_rules({{compared("/c")}}, 15s)["groups"][1]["rules"];
  for (const Json& rule : rules) {
    if (rule["record"] != "slo:slogate_pooled_edge" || rule["labels"]["arm"] != "baseline")
      continue;
    const std::string objective = rule["labels"]["objective"], level = rule["labels"]["level"];
    EXPECT_TRUE(rule["expr"].get<std::string>().ends_with(fmt::format(
        ") or on () "
        "(slo:slogate_pooled_edge{{slo='demo',objective='{0}',level='{1}',arm='baseline'}}"
        " and on () slo:slogate_pooled_exposures{{slo='demo',objective='{0}',arm='baseline'}})",
        objective, level)))
        << rule["expr"];
    ++edges;
  }
  EXPECT_GE(edges, 4u);
}

TEST(CliRules, LeavesPortsAndWhatHasNoBaselineToTheNodes) {
  Slo alone = compared("/c"), port = alone;
  alone.baseline.reset();
  port.port = 8080;
  for (const Slo& slo : {alone, port}) {
    const Json rules = to_rules({{slo}}, 30s)["groups"][0]["rules"];
    ASSERT_EQ(rules.size(), 1U);
    EXPECT_EQ(rules[0]["record"], "slo:slogate_evidence_threshold");
  }
  EXPECT_TRUE(to_rules({}, 30s)["groups"].empty());
}

TEST(CliRules, AsksTheAgentsWhichPodsAreOfAnArm) {
  Slo slo = compared("/c");
  slo.canary = PodSelector{.namespace_ = "a", .labels = {{"b", "c"}}};
  slo.container = "app";
  const std::string text = render_rules(to_rules({{slo, "web-.*"}}, 15s));
  EXPECT_THAT(text, HasSubstr("role='server',namespace='a',pod=~'web-.*',container='app'}"));
  EXPECT_THAT(text, HasSubstr(" and on (namespace, pod, container) "
                              "slogate_slo_workload{slo='demo',arm='canary'})"));
  // Names of containers are those of pods, so cgroups are no longer told by their paths.
  EXPECT_THAT(text, Not(HasSubstr("cgroup=~")));
}

// ---- SLOs of workloads ----

FleetSlos slos_of(const std::string& items) {
  const auto found = slos_of_workloads(R"({"kind": "List", "items": [)" + items + "]}");
  EXPECT_TRUE(found) << found.error().line();
  return found.value_or(FleetSlos{});
}

std::string workload(const std::string& kind, const std::string& name,
                     const std::string& annotations) {
  return fmt::format(R"({{"kind": "{}", "metadata": {{"namespace": "shop", "name": "{}"}},
    "spec": {{"template": {{"metadata": {{"annotations": {{{}}}}}}}}}}})",
                     kind, name, annotations);
}

constexpr const char* kP99 = R"("slogate.io/slo": "p99(request) < baseline + 50ms")";

TEST(CliRules, TakesTheSloOfADeployment) {
  const FleetSlos found = slos_of(workload("Deployment", "web.1", kP99) + "," +
                                  workload("Deployment", "other", "") + R"(,{"kind": "Pod"})");
  EXPECT_TRUE(found.problems.empty());
  ASSERT_EQ(found.slos.size(), 1U);
  EXPECT_EQ(found.slos[0].slo.name, "shop.web.1");
  EXPECT_EQ(found.slos[0].pod_names, "web\\.1-.*");
  ASSERT_EQ(found.slos[0].slo.objectives.size(), 1U);
}

TEST(CliRules, CutsTheNamesOfPodsAsTheApiServerDoes) {
  const FleetSlos found = slos_of(workload("Deployment", std::string(70, 'x'), kP99));
  ASSERT_EQ(found.slos.size(), 1U);
  EXPECT_EQ(found.slos[0].pod_names, std::string(58, 'x') + ".*");
}

TEST(CliRules, TakesTheSloOfTracksOnce) {
  const auto track = [](const char* name, const char* arm) {
    return workload(
        "StatefulSet", name,
        fmt::format(R"({}, "slogate.io/workload": "db", "slogate.io/track": "{}")", kP99, arm));
  };
  const FleetSlos found =
      slos_of(track("a", "stable") + "," + track("b", "canary") + "," + track("c", "canary"));
  EXPECT_TRUE(found.problems.empty());
  ASSERT_EQ(found.slos.size(), 1U);
  EXPECT_EQ(found.slos[0].slo.name, "shop.db");
  EXPECT_EQ(found.slos[0].pod_names, "");
}

TEST(CliRules, NamesWorkloadsThatItLeavesOut) {
  const FleetSlos found = slos_of(workload("DaemonSet", "a", kP99) + "," +
                                  workload("Deployment", "b", R"("slogate.io/slo": "p99 < 1")"));
  EXPECT_TRUE(found.slos.empty());
  ASSERT_EQ(found.problems.size(), 2U);
  EXPECT_THAT(found.problems[0], HasSubstr("DaemonSet shop/a: it has no revisions"));
  EXPECT_THAT(found.problems[1], HasSubstr("Deployment shop/b: slogate.io/slo: "));
}

TEST(CliRules, RefusesWhatIsNoWorkload) {
  for (const char* text :
       {"", "[]", "{}", R"({"kind": "List"} x)", R"({"kind": "List", "items": 1})"})
    EXPECT_THAT(slos_of_workloads(text).error().line(), HasSubstr("kubectl get")) << text;
  const auto single = slos_of_workloads(workload("Deployment", "web", kP99));
  ASSERT_TRUE(single);
  EXPECT_EQ(single->slos.size(), 1U);
}

}  // namespace
}  // namespace slogate::cli
