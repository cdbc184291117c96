// SPDX-License-Identifier: Apache-2.0
// How many pods of a vetoed revision are turned away, and which, by agents that decide alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "agent/kubernetes/capacity.h"
#include "agent/kubernetes/parse.h"
#include "agent/kubernetes/pods.h"
#include "agent/kubernetes/readiness.h"
#include "agent/kubernetes/siblings.h"
#include "tests/unit/kubernetes/fake.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;
using Json = nlohmann::json;

// ---- what a Deployment can do without ----

struct Rounding {
  int replicas;
  Json unavailable, surge;
  uint64_t expected;
};

TEST(Capacity, RoundsAsTheDeploymentControllerDoes) {
  const std::vector<Rounding> cases = {
      {10, "25%", "25%", 2},     // down, and the surge up
      {3, "25%", "25%", 0},      // a surge of one goes on
      {3, "25%", 0, 1},          // neither would ever go on
      {1, "25%", "0%", 1},       //
      {3, 0, "1%", 0},           // rounds up to one
      {100, "1%", 0, 1},         //
      {99, "1%", 0, 1},          // neither
      {4, "50%", 1, 2},          //
      {5, "50%", 1, 2},          //
      {5, 2, 0, 2},              //
      {5, 7, 0, 5},              // no more than there are
      {5, "100%", 0, 5},         //
      {5, "1000%", 0, 5},        //
      {0, "25%", "25%", 0},      //
      {0, 0, 0, 0},              //
      {7, nullptr, nullptr, 1},  // 25 % are the default of both
      {5, -3, 1, 0},             // garbage allows nothing
      {5, "many", 1, 0},         //
      {5, "-5%", 1, 0},          //
      {5, Json::object(), 1, 0},
  };
  for (const Rounding& one : cases) {
    Json rolling = Json::object();
    if (!one.unavailable.is_null()) rolling["maxUnavailable"] = one.unavailable;
    if (!one.surge.is_null()) rolling["maxSurge"] = one.surge;
    const Json deployment = {
        {"spec",
         {{"replicas", one.replicas},
          {"strategy", {{"type", "RollingUpdate"}, {"rollingUpdate", rolling}}}}}};
    const auto capacity = to_capacity(deployment);
    ASSERT_TRUE(capacity) << deployment;
    EXPECT_EQ(capacity->replicas, static_cast<uint64_t>(one.replicas));
    EXPECT_EQ(capacity->max_unavailable, one.expected) << deployment;
    const auto rollout =
        to_capacity({{"spec", {{"replicas", one.replicas}, {"strategy", {{"canary", rolling}}}}}});
    EXPECT_EQ(rollout, capacity) << "a Rollout with canaries rounds alike: " << deployment;
  }
}

TEST(Capacity, OfOtherStrategies) {
  EXPECT_EQ(to_capacity({{"spec", {{"replicas", 4}, {"strategy", {{"type", "Recreate"}}}}}}),
            (Capacity{4, 0}));
  EXPECT_EQ(
      to_capacity({{"spec", {{"replicas", 4}, {"strategy", {{"blueGreen", Json::object()}}}}}}),
      (Capacity{4, 0}));
  EXPECT_EQ(to_capacity(
                {{"spec",
                  {{"replicas", 4}, {"strategy", {{"blueGreen", {{"maxUnavailable", "50%"}}}}}}}}),
            (Capacity{4, 2}));
  EXPECT_EQ(to_capacity({{"spec", Json::object()}}), (Capacity{1, 0})) << "one, by default";
  EXPECT_EQ(to_capacity(Json::object()), std::nullopt);
  EXPECT_EQ(to_capacity({{"spec", {{"replicas", INT64_MAX}}}})->replicas, uint64_t{1} << 31);
}

// ---- who goes ----

RevisionPod pod_at(const std::string& uid, int second, bool able = true) {
  return {uid, "web-" + uid, fmt::format("2026-01-02T03:04:{:02}Z", second), able};
}

TEST(TurnedAway, TheNewestAndOnlyAsManyAsTheOthersCanReplace) {
  const RevisionPods pods = {pod_at("b", 2), pod_at("a", 1), pod_at("c", 3)};
  const Capacity five{5, 1};
  EXPECT_THAT(turned_away(pods, 4, five), UnorderedElementsAre("a", "b", "c"));
  EXPECT_THAT(turned_away(pods, 9, five), SizeIs(3));
  EXPECT_THAT(turned_away(pods, 3, five), UnorderedElementsAre("b", "c"));
  EXPECT_THAT(turned_away(pods, 2, five), UnorderedElementsAre("c"));
  EXPECT_THAT(turned_away(pods, 1, five), IsEmpty());
  EXPECT_THAT(turned_away(pods, 0, five), IsEmpty());
  EXPECT_THAT(turned_away(pods, 0, Capacity{5, 5}), SizeIs(3));
  EXPECT_THAT(turned_away({}, 0, five), IsEmpty());
}

TEST(TurnedAway, PodsOfOneSecondGoByUid) {
  EXPECT_THAT(turned_away({pod_at("b", 7), pod_at("c", 7), pod_at("a", 7)}, 2, Capacity{3, 0}),
              UnorderedElementsAre("b", "c"));
}

// It takes nothing from anybody, and is no reason to turn another one away either.
TEST(TurnedAway, WhoeverCannotServeSparesNobody) {
  const RevisionPods pods = {pod_at("a", 1, false), pod_at("b", 2), pod_at("c", 3)};
  EXPECT_THAT(turned_away(pods, 2, Capacity{3, 0}), UnorderedElementsAre("a", "c"));
  EXPECT_THAT(turned_away({pod_at("a", 1, false)}, 0, Capacity{3, 0}), ElementsAre("a"));
}

TEST(TurnedAway, WithoutACapacityTheNewestAlone) {
  const RevisionPods pods = {pod_at("b", 2), pod_at("a", 1), pod_at("c", 3), pod_at("d", 4, false)};
  EXPECT_THAT(turned_away(pods, 9, std::nullopt), UnorderedElementsAre("c", "d"));
  EXPECT_THAT(turned_away({}, 9, std::nullopt), IsEmpty());
}

// ---- agents that decide alone ----

class Fleet {
 public:
  static constexpr size_t kNodes = 20;

  Fleet(RevisionPods pods, uint64_t stable, std::optional<Capacity> capacity)
      : pods_(std::move(pods)), stable_(stable), capacity_(capacity) {}

  // What all agents together say: the uids of the pods that they turn away.
  std::set<std::string> look() {
    std::set<std::string> away;
    for (size_t node = 0; node < kNodes; ++node)
      for (const PodCondition& one : look_at(node).conditions) {
        texts[one.uid] = one.reason + ": " + one.message;
        if (!one.status) away.insert(one.uid);
      }
    return away;
  }
  std::map<std::string, std::string> texts;

 private:
  [[nodiscard]] Cluster cluster_at(size_t node) const {
    Cluster cluster;
    cluster.synced = true;
    for (size_t i = node; i < pods_.size(); i += kNodes) {
      Pod pod{pods_[i].uid, "shop", pods_[i].name};
      pod.owner = {"ReplicaSet", "web-new", "new"};
      pod.annotations = {{"slo", "errors < 1%"}};
      pod.created = pods_[i].created;
      pod.able = pods_[i].able;
      pod.gated = true;
      cluster.pods.push_back(std::make_shared<const Pod>(pod));
    }
    const Revision stable{.uid = "old",
                          .hash = "old",
                          .number = 1,
                          .pods = stable_,
                          .ready = stable_,
                          .available = stable_};
    const Revision vetoed{.uid = "new", .hash = "new", .number = 2, .pods = pods_.size()};
    cluster.deployments["d"] = std::make_shared<const Deployment>(
        Deployment{"d", "Deployment", "shop", "web", {stable, vetoed}});
    cluster.deployment_of = {{"old", "d"}, {"new", "d"}};
    cluster.revision_pods["new"] = std::make_shared<const RevisionPods>(pods_);
    cluster.capacities["d"] = capacity_;
    return cluster;
  }
  PodWrites look_at(size_t node) {
    const Vetoes vetoes = {{{"shop.web", "revision 2 (new) of shop/web"}, "p99 is high"}};
    return readiness_[node].look(cluster_at(node), {}, vetoes, {}, {}, {});
  }

  RevisionPods pods_;
  uint64_t stable_;
  std::optional<Capacity> capacity_;
  std::array<Readiness, kNodes> readiness_;
};

TEST(AgentsThatDecideAlone, NeverTakeADeploymentBelowWhatItNeeds) {
  std::minstd_rand random(7);
  const auto chance = [&random](uint64_t most) {
    return std::uniform_int_distribution<uint64_t>(0, most)(random);
  };
  for (int round = 0; round < 300; ++round) {
    RevisionPods pods;
    const uint64_t many = 1 + chance(40);
    for (uint64_t i = 0; i < many; ++i)
      pods.push_back(pod_at(fmt::format("u{:03}", chance(999)) + std::to_string(i),
                            static_cast<int>(chance(9)), chance(4) > 0));
    std::ranges::shuffle(pods, random);
    const uint64_t stable = 1 + chance(30),
                   able = static_cast<uint64_t>(std::ranges::count_if(pods, &RevisionPod::able));
    const Capacity capacity{1 + chance(50), 0};
    const std::set<std::string> away = Fleet(pods, stable, capacity).look();
    const auto served = static_cast<uint64_t>(std::ranges::count_if(
        pods, [&](const RevisionPod& pod) { return pod.able && !away.contains(pod.uid); }));
    const uint64_t least = std::min(capacity.replicas, stable + able);
    EXPECT_GE(stable + served, least);
    if (served > 0) {
      EXPECT_EQ(stable + served, least) << "and spare no more than that takes";
    }
  }
}

TEST(AgentsThatDecideAlone, SaySoToWhomTheySpare) {
  RevisionPods pods;
  for (int i = 0; i < 6; ++i) pods.push_back(pod_at("p" + std::to_string(i), i));
  Fleet fleet(pods, 3, Capacity{6, 2});
  EXPECT_THAT(fleet.look(), UnorderedElementsAre("p1", "p2", "p3", "p4", "p5"));
  EXPECT_EQ(
      fleet.texts["p0"],
      "Spared: vetoed, but shop/web wants 4 of 6 pods available; turned away: web-p1, web-p2, "
      "web-p3 and 2 more: p99 is high");
  Fleet unreadable(pods, 3, std::nullopt);
  EXPECT_THAT(unreadable.look(), ElementsAre("p5"));
  EXPECT_EQ(unreadable.texts["p0"],
            "Spared: vetoed, but how many pods shop/web can do without cannot be read, so only the "
            "newest is turned away: web-p5: p99 is high");
}

TEST(AgentsThatDecideAlone, TurnNobodyAwayBeforeTheyKnowTheOthers) {
  Cluster cluster;
  cluster.synced = true;
  Pod pod{"p", "shop", "web-p"};
  pod.owner = {"ReplicaSet", "web-new", "new"};
  pod.gated = true;
  pod.condition = true;
  cluster.pods.push_back(std::make_shared<const Pod>(pod));
  const Revision old{
      .uid = "old", .hash = "old", .number = 1, .pods = 3, .ready = 3, .available = 3};
  const Revision vetoed{.uid = "new", .hash = "new", .number = 2, .pods = 1};
  cluster.deployments["d"] = std::make_shared<const Deployment>(
      Deployment{"d", "Deployment", "shop", "web", {old, vetoed}});
  cluster.deployment_of = {{"old", "d"}, {"new", "d"}};
  const Vetoes vetoes = {{{"shop.web", "revision 2 (new) of shop/web"}, "p99 is high"}};
  Readiness readiness;
  PodWrites writes = readiness.look(cluster, {}, vetoes, {}, {}, {});
  EXPECT_THAT(writes.conditions, IsEmpty());
  EXPECT_THAT(writes.vetoed, ElementsAre("new")) << "it is asked for";
  cluster.capacities["d"] = Capacity{3, 0};
  EXPECT_THAT(readiness.look(cluster, {}, vetoes, {}, {}, {}).conditions, IsEmpty());
  // This node's own pod counts, whether or not the list has it by now.
  cluster.revision_pods["new"] = std::make_shared<const RevisionPods>();
  writes = readiness.look(cluster, {}, vetoes, {}, {}, {});
  ASSERT_THAT(writes.conditions, SizeIs(1));
  EXPECT_FALSE(writes.conditions[0].status);
}

// ---- what they have to know ----

Json set_json(const std::string& uid, const std::string& kind = "Deployment") {
  return {
      {"metadata",
       {{"uid", uid},
        {"namespace", "shop"},
        {"name", "web-" + uid},
        {"labels", {{"pod-template-hash", "h" + uid}}},
        {"ownerReferences",
         Json::array({{{"kind", kind}, {"name", "web"}, {"uid", "d"}, {"controller", true}}})}}},
      {"spec", {{"selector", {{"matchLabels", {{"app", "web"}}}}}}}};
}

Json pod_json(const std::string& uid, const std::string& set, bool able = true) {
  return {{"metadata",
           {{"uid", uid},
            {"namespace", "shop"},
            {"name", "web-" + uid},
            {"creationTimestamp", "2026-01-02T03:04:05Z"},
            {"annotations", {{"slogate.io/slo", "errors < 1%"}}},
            {"ownerReferences", Json::array({{{"kind", "ReplicaSet"},
                                              {"name", "web-" + set},
                                              {"uid", set},
                                              {"controller", true}}})}}},
          {"status",
           {{"conditions",
             Json::array({{{"type", "Ready"}, {"status", "False"}},
                          {{"type", "ContainersReady"}, {"status", able ? "True" : "False"}}})}}}};
}

Json list_json(const std::vector<Json>& items) {
  return {{"kind", "List"}, {"metadata", {{"resourceVersion", "5"}}}, {"items", items}};
}

class KubernetesSiblings : public ::testing::Test {
 protected:
  KubernetesSiblings()
      : pods([this] { return api.now; }),
        workloads(api.world(), pods),
        siblings(api.world(), workloads) {}

  // Up to where the Deployment of this node's pod is known.
  void know(const std::string& kind = "Deployment") {
    pods.change(pod_json("p", "new"));
    workloads.step();
    api.answer("web-new", 200, set_json("new", kind));
    workloads.step();
    api.answer("replicasets?", 200, list_json({set_json("old", kind), set_json("new", kind)}));
    workloads.step();
  }
  Cluster cluster() {
    siblings.step();
    Cluster cluster;
    siblings.add_to(cluster);
    return cluster;
  }

  FakeApi api;
  Pods pods;
  Workloads workloads;
  Siblings siblings;
};

TEST_F(KubernetesSiblings, AreThePodsOfThatRevisionInTheWholeCluster) {
  siblings.follow({"new"});
  EXPECT_THAT(cluster().revision_pods, IsEmpty()) << "its Deployment is not known yet";
  know();
  EXPECT_THAT(cluster().revision_pods, IsEmpty());
  api.answer(
      "/api/v1/namespaces/shop/pods?labelSelector=pod-template-hash%3Dhnew", 200,
      list_json({pod_json("p", "new"), pod_json("q", "new", false), pod_json("x", "alike")}));
  Cluster now = cluster();
  ASSERT_TRUE(now.revision_pods.contains("new"));
  EXPECT_THAT(*now.revision_pods["new"],
              ElementsAre(RevisionPod{"p", "web-p", "2026-01-02T03:04:05Z", true},
                          RevisionPod{"q", "web-q", "2026-01-02T03:04:05Z", false}));
  EXPECT_THAT(now.capacities, IsEmpty());
  Json deployment = {{"metadata", {{"uid", "d"}, {"namespace", "shop"}, {"name", "web"}}},
                     {"spec", {{"replicas", 7}}}};
  api.answer("deployments?fieldSelector=metadata.name%3Dweb", 200, list_json({deployment}));
  EXPECT_EQ(cluster().capacities.at("d"), (Capacity{7, 1}));

  deployment["spec"]["replicas"] = 40;
  api.line("deployments?", Json{{"type", "MODIFIED"}, {"object", deployment}});
  EXPECT_EQ(cluster().capacities.at("d"), (Capacity{40, 10}));
  Json leaving = pod_json("q", "new");
  leaving["metadata"]["deletionTimestamp"] = "2026-01-02T03:05:05Z";
  api.line("pods?labelSelector", Json{{"type", "MODIFIED"}, {"object", leaving}});
  EXPECT_THAT(*cluster().revision_pods["new"], SizeIs(1));
  api.line("deployments?", Json{{"type", "DELETED"}, {"object", deployment}});
  EXPECT_EQ(cluster().capacities.at("d"), std::nullopt);

  siblings.follow({});
  EXPECT_THAT(cluster().revision_pods, IsEmpty());
  EXPECT_THAT(api.pending, SizeIs(1)) << "only the ReplicaSets are watched";
}

// Who may not read it has to know that there is nothing to wait for.
TEST_F(KubernetesSiblings, WhatMayNotBeReadIsKnownToBeSo) {
  know();
  siblings.follow({"new"});
  cluster();
  api.answer("deployments?", 403, {{"kind", "Status"}, {"code", 403}, {"message", "no"}});
  const Cluster now = cluster();
  ASSERT_TRUE(now.capacities.contains("d"));
  EXPECT_EQ(now.capacities.at("d"), std::nullopt);
  EXPECT_THAT(siblings.problem(),
              StartsWith("RBAC does not allow the agent to list deployments in namespace shop"));
}

// What was read and cannot be read any more is another matter.
TEST_F(KubernetesSiblings, WhatWasReadGoesStale) {
  const Json forbidden = {{"kind", "Status"}, {"code", 403}, {"message", "no"}};
  // The watch after it lives.
  const auto settle = [this](std::string_view part) {
    cluster();
    api.open(part);
    api.pass(std::chrono::seconds(3));
    cluster();
  };
  know();
  siblings.follow({"new"});
  cluster();
  api.answer("deployments?", 403, forbidden);
  cluster();
  EXPECT_EQ(siblings.stale(), "") << "what nobody ever read is not out of date";
  api.answer("pods?labelSelector", 200, list_json({pod_json("p", "new")}));
  settle("pods?labelSelector");
  EXPECT_EQ(siblings.stale(), "");

  api.answer("pods?labelSelector", 403, forbidden);
  EXPECT_THAT(*cluster().revision_pods["new"], SizeIs(1)) << "it is kept, and said to be old";
  EXPECT_THAT(siblings.stale(), HasSubstr("watch pods"));
  api.pass(std::chrono::minutes(5));
  settle("pods?labelSelector");
  EXPECT_EQ(siblings.stale(), "");

  const Json deployment = {{"metadata", {{"uid", "d"}, {"namespace", "shop"}, {"name", "web"}}},
                           {"spec", {{"replicas", 7}}}};
  api.answer("deployments?", 200, list_json({deployment}));
  settle("deployments?");
  EXPECT_EQ(siblings.stale(), "");
  api.answer("deployments?", 403, forbidden);
  EXPECT_EQ(cluster().capacities.at("d")->replicas, 7u);
  EXPECT_THAT(siblings.stale(), HasSubstr("watch deployments"));
}

TEST_F(KubernetesSiblings, OfARolloutOfArgoHaveItsLabel) {
  know("Rollout");
  siblings.follow({"new"});
  cluster();
  api.find("pods?labelSelector=rollouts-pod-template-hash%3Dhnew");
  api.find("/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts?fieldSelector=metadata.name%3Dweb");
}

TEST_F(KubernetesSiblings, MoreThanAreSensibleAreNoList) {
  know();
  siblings.follow({"new"});
  cluster();
  std::vector<Json> many;
  for (int i = 0; i < 5'001; ++i) many.push_back(pod_json(std::to_string(i), "new"));
  api.answer("pods?labelSelector", 200, list_json(many));
  EXPECT_THAT(cluster().revision_pods, IsEmpty());
  EXPECT_THAT(siblings.problem(), HasSubstr("more than 5000 pods of one revision"));
}

}  // namespace
}  // namespace slogate
