// SPDX-License-Identifier: Apache-2.0
// For which vetoes the breaker opens, and to whom.
#include "agent/breaker_wishes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace slogate {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<Glob> globs(const char* text) {
  return {*Glob::parse(text)};
}

Verdict veto_of(std::initializer_list<std::pair<const char*, ObjectiveState>> objectives) {
  Verdict verdict{.slo = "demo",
                  .decision = Decision::Veto,
                  .reason = Reason::Regressed,
                  .message = {},
                  .objectives = {},
                  .rollout = "one"};
  double log_e = 1;
  for (const auto& [name, state] : objectives)
    verdict.objectives.push_back({.objective = name,
                                  .state = state,
                                  .log_e = log_e++,
                                  .canary = {},
                                  .baseline = {},
                                  .components = {}});
  return verdict;
}

constexpr auto kAgainst = ObjectiveState::Against, kOpen = ObjectiveState::Open;

TEST(BreakerVetoes, FailuresOpenAndLatencyWhereItIsSaid) {
  const EnforceTerms usual{.mode = EnforceMode::Refuse};
  const EnforceTerms latency{.mode = EnforceMode::Refuse, .latency = true};
  for (const char* name : {"errors max_increase 0.5 %", "connection_errors max_ratio 1 %",
                           "client_errors", "resets"}) {
    EXPECT_EQ(why_not_opened_by(veto_of({{name, kAgainst}}), usual), "") << name;
    EXPECT_EQ(why_not_opened_by(veto_of({{name, kAgainst}}), latency), "") << name;
  }
  for (const char* name : {"request p99 max 15 ms", "answer", "queue"}) {
    EXPECT_THAT(why_not_opened_by(veto_of({{name, kAgainst}}), usual),
                HasSubstr("opens for failures"))
        << name;
    EXPECT_EQ(why_not_opened_by(veto_of({{name, kAgainst}}), latency), "") << name;
  }
  // To refuse for a cold cache would make a failure of what is none.
  for (const char* name : {"misses max_ratio 5 %", "tls_full max_ratio 5 %", "retransmits", "drops",
                           "errors(client) max_ratio 1 %"})
    EXPECT_NE(why_not_opened_by(veto_of({{name, kAgainst}}), latency), "") << name;
}

TEST(BreakerVetoes, WhatIsAgainstDecidesElseWhatIsMostSo) {
  const EnforceTerms usual{.mode = EnforceMode::Refuse};
  EXPECT_EQ(why_not_opened_by(veto_of({{"errors", kAgainst}, {"request", kAgainst}}), usual), "");
  EXPECT_NE(why_not_opened_by(veto_of({{"request", kAgainst}, {"errors", kOpen}}), usual), "");
  EXPECT_EQ(why_not_opened_by(veto_of({{"request", kOpen}, {"errors", kOpen}}), usual), "");
  EXPECT_NE(why_not_opened_by(veto_of({{"errors", kOpen}, {"request", kOpen}}), usual), "");
  EXPECT_NE(why_not_opened_by(veto_of({}), usual), "");
}

// An SLO, its verdict and who is there.
class BreakerWishes : public testing::Test {
 protected:
  BreakerWishes() {
    slo_.name = "demo";
    slo_.canary = globs("/canary/**");
    slo_.baseline = globs("/stable/**");
    slo_.enforce.mode = EnforceMode::Refuse;
    verdict_ = veto_of({{"errors", kAgainst}});
    add(1, "/canary/a");
    add(2, "/canary/b");
    add(3, "/stable/a");
  }
  void add(uint64_t id, const char* path) {
    workloads_.push_back(
        {.id = id, .path = path, .service = std::make_shared<Counts>(), .others = {}});
  }
  std::shared_ptr<Pod> pod(const char* uid, const char* enforce) {
    auto pod = std::make_shared<Pod>();
    pod->uid = uid;
    pod->namespace_ = "shop";
    pod->name = fmt::format("web-{}", uid);
    if (*enforce != '\0') pod->annotations["enforce"] = enforce;
    return pod;
  }
  std::vector<BreakerWish> wishes() {
    Verdicts verdicts;
    verdicts.slos.push_back(std::make_shared<SloStatus>(SloStatus{
        .slo = slo_, .objectives = {}, .canary = canary_, .baseline = baseline_, .notes = {}}));
    verdicts.list.push_back(std::make_shared<Verdict>(verdict_));
    return breaker_wishes({.config = config_,
                           .verdicts = verdicts,
                           .workloads = workloads_,
                           .restored = restored_,
                           .on_kubernetes = on_kubernetes_,
                           .heard = heard_,
                           .away = away_,
                           .silent = silent_,
                           .trouble = trouble_,
                           .trouble_for = trouble_for_});
  }
  BreakerWish wish() {
    const auto all = wishes();
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? BreakerWish{} : all[0];
  }
  std::vector<uint64_t> chosen() {
    std::vector<uint64_t> ids;
    for (const BreakerTarget& one : wish().canary)
      if (one.chosen) ids.push_back(one.cgroup);
    return ids;
  }

  EnforceConfig config_{.mode = EnforceMode::Refuse};
  Slo slo_{.name = {}, .port = {}, .container = {}, .canary = {}, .baseline = {}, .objectives = {}};
  Verdict verdict_;
  std::vector<std::string> canary_ = {"/canary/a", "/canary/b"};
  std::vector<std::string> baseline_ = {"/stable/a"};
  std::vector<Workload> workloads_;
  std::set<std::pair<std::string, std::string>> restored_;
  std::set<std::string> away_;
  std::set<std::string> silent_;
  std::string trouble_;
  std::chrono::nanoseconds trouble_for_{0};
  bool on_kubernetes_ = false, heard_ = false;
};

TEST_F(BreakerWishes, AreOfThoseSlosAloneThatEnforce) {
  EXPECT_TRUE(wish().said.vetoed);
  EXPECT_EQ(wish().said.obstacle, "");
  EXPECT_EQ(wish().others, std::set<uint64_t>{3});
  EXPECT_THAT(chosen(), ElementsAre(1, 2));
  verdict_.decision = Decision::Hold;
  EXPECT_FALSE(wish().said.vetoed);
  slo_.enforce.mode = EnforceMode::Off;
  EXPECT_TRUE(wishes().empty());
}

TEST_F(BreakerWishes, WhatTheSloSaysGoesFirst) {
  EXPECT_THAT(wish().ports, ElementsAre());
  EXPECT_EQ(wish().said.max, std::chrono::minutes(10));
  slo_.port = 80;
  EXPECT_THAT(wish().ports, ElementsAre(80));
  slo_.enforce.ports = {81, 82};
  slo_.enforce.max = std::chrono::minutes(1);
  slo_.enforce.dry_run = true;
  EXPECT_THAT(wish().ports, ElementsAre(81, 82));
  EXPECT_EQ(wish().said.max, std::chrono::minutes(1));
  EXPECT_TRUE(wish().dry_run);
  config_.dry_run = true;
  slo_.enforce.dry_run = false;
  EXPECT_FALSE(wish().dry_run);
}

TEST_F(BreakerWishes, AVetoOfBeforeOpensNothing) {
  restored_ = {{"demo", "another"}};
  EXPECT_EQ(wish().said.obstacle, "");
  restored_ = {{"demo", "one"}};
  EXPECT_THAT(wish().said.obstacle, HasSubstr("an agent before"));
}

TEST_F(BreakerWishes, NobodyIsRefusedWhereNobodyIsLeft) {
  baseline_.clear();
  EXPECT_THAT(wish().said.must_close, HasSubstr("nothing of the baseline"));
  baseline_ = {"/stable/a"};
  EXPECT_EQ(wish().said.must_close, "");
  silent_ = {"demo"};
  EXPECT_THAT(wish().said.must_close, HasSubstr("no traffic"));
  slo_.baseline.reset();
  EXPECT_THAT(wish().said.must_close, HasSubstr("no baseline"));
}

TEST_F(BreakerWishes, AnApiServerThatIsAwayOpensNothingAndClosesAfterAMinute) {
  on_kubernetes_ = heard_ = true;
  trouble_ = "the API server is away";
  EXPECT_EQ(wish().said.barrier, trouble_);
  EXPECT_EQ(wish().said.must_close, "");
  trouble_for_ = kClusterTrust;
  EXPECT_EQ(wish().said.must_close, trouble_);
}

TEST_F(BreakerWishes, OnKubernetesPodsAreChosenByTheirDeploymentAlone) {
  on_kubernetes_ = true;
  EXPECT_THAT(wish().said.barrier, HasSubstr("has not been heard"));
  heard_ = true;
  restored_ = {{"demo", "one"}};
  EXPECT_EQ(wish().said.obstacle, "");
  // A pattern of cgroups hits what is no pod, and nothing that may become one.
  workloads_[0].pod.pod = pod("a", "refuse");
  away_ = {"a", "b"};
  EXPECT_THAT(chosen(), ElementsAre(2));
  // Known by its path alone where its name has not come in time.
  workloads_[1].path = canary_[1] = "/canary/kubepods/b";
  EXPECT_THAT(chosen(), ElementsAre());
  workloads_[1].path = canary_[1] = "/canary/b";
  workloads_[1].pod.pending = true;
  EXPECT_THAT(chosen(), ElementsAre());
  // Both the pod and the choice have to allow it.
  slo_.canary = RevisionSelector{"revision 2", {"uid"}};
  workloads_[1].pod = {.pod = pod("b", ""), .container = "app"};
  EXPECT_THAT(chosen(), ElementsAre(1));
  EXPECT_EQ(wish().canary[0].name, "shop/web-a");
  EXPECT_THAT(wish().spared, HasSubstr("shop/web-b"));
  workloads_[1].pod.pod = pod("b", "refuse for latency");
  EXPECT_THAT(chosen(), ElementsAre(1, 2));
  away_ = {"b"};
  EXPECT_THAT(chosen(), ElementsAre(2));
}

TEST_F(BreakerWishes, AnSloThatCannotBeEnforcedSaysSo) {
  EXPECT_EQ(enforce_note(slo_, config_, false), "");
  EXPECT_THAT(enforce_note(slo_, {}, false), HasSubstr("no effect"));
  EXPECT_THAT(enforce_note(slo_, config_, false, "it cannot be loaded"),
              HasSubstr("it cannot be loaded"));
  slo_.canary = TrackSelector{"shop", "web", "canary"};
  EXPECT_THAT(enforce_note(slo_, config_, true), HasSubstr("revisions"));
  slo_.enforce.mode = EnforceMode::Off;
  EXPECT_EQ(enforce_note(slo_, {}, true), "");
}

}  // namespace
}  // namespace slogate
