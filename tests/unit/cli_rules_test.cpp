// SPDX-License-Identifier: Apache-2.0
// What `slogate rules` is made of. What its rules compute: tests/e2e/rules.sh and queries.sh.
#include "tools/cli/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  return render_rules(to_rules({slo}, 15s));
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
                                "connect_errors against the baseline", "drops against the"})
    EXPECT_THAT(text, HasSubstr(objective));
  EXPECT_THAT(text, Not(HasSubstr("max 1 s")));
  EXPECT_THAT(text, Not(HasSubstr("slogate_queue_duration_seconds")));
}

TEST(CliRules, LeavesPodsAndWhatHasNoBaselineToTheNodes) {
  Slo alone = compared("/c"), pods = alone;
  alone.baseline.reset();
  pods.canary = PodSelector{.namespace_ = "a", .labels = {{"b", "c"}}};
  for (const Slo& slo : {alone, pods}) {
    const Json rules = to_rules({slo}, 30s)["groups"][0]["rules"];
    ASSERT_EQ(rules.size(), 1U);
    EXPECT_EQ(rules[0]["record"], "slo:slogate_evidence_threshold");
  }
  EXPECT_TRUE(to_rules({}, 30s)["groups"].empty());
}

}  // namespace
}  // namespace slogate::cli
