// SPDX-License-Identifier: Apache-2.0
// List and watch, the pods and the workloads, against an API server in the hands of the test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/kubernetes/pods.h"
#include "agent/kubernetes/workloads.h"
#include "tests/unit/kubernetes/fake.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Json = nlohmann::json;

Json pod_json(const std::string& uid, const std::string& container = "", const Json& more = {}) {
  Json pod = {{"metadata", {{"uid", uid}, {"namespace", "shop"}, {"name", "pod-" + uid}}}};
  if (!container.empty())
    pod["status"]["containerStatuses"] =
        Json::array({{{"name", "main"}, {"containerID", "x://" + container}}});
  if (more.is_object()) pod.merge_patch(more);
  return pod;
}

// Not Json for the items: one in braces would be that one.
Json list_json(const std::vector<Json>& items, const std::string& version,
               const std::string& next = "") {
  return {{"kind", "List"},
          {"metadata", {{"resourceVersion", version}, {"continue", next}}},
          {"items", items}};
}

Json event_json(const std::string& type, Json object, const std::string& version = "") {
  if (!version.empty()) object["metadata"]["resourceVersion"] = version;
  return {{"type", type}, {"object", std::move(object)}};
}

Json status_json(int code, const std::string& message) {
  return {{"kind", "Status"}, {"code", code}, {"message", message}};
}

class KubernetesFollow : public ::testing::Test {
 protected:
  KubernetesFollow()
      : pods([this] { return api.now; }),
        reflector(api.world(), {"/pods", "fieldSelector=x", "pods"}, pods) {}

  void list(const std::vector<Json>& items, const std::string& version = "1") {
    reflector.step();
    api.answer("/pods", 200, list_json(items, version));
    reflector.step();
  }
  // A watch that is there for long enough to be trusted.
  void settle() {
    api.open("watch=1");
    api.pass(11s);
    reflector.step();
  }
  void wait_and_step(std::chrono::milliseconds time = 31s) {
    api.pass(time);
    reflector.step();
  }
  ApiAnswer away() { return {.end = ApiAnswer::End::Away, .error = "cannot connect"}; }

  FakeApi api;
  Pods pods;
  Reflector reflector;
};

TEST_F(KubernetesFollow, ListsFromTheCacheAndWatchesFromThere) {
  list({pod_json("a")}, "5");
  EXPECT_THAT(api.targets[0], HasSubstr("resourceVersion=0"));
  EXPECT_THAT(api.targets[1], HasSubstr("watch=1&allowWatchBookmarks=true&resourceVersion=5&"));
  EXPECT_TRUE(pods.synced());
  api.line("watch=1", event_json("ADDED", pod_json("b"), "6"));
  api.line("watch=1", event_json("BOOKMARK", Json::object(), "9"));
  EXPECT_THAT(pods.all(), SizeIs(2));
  settle();
  api.answer("watch=1", ApiAnswer{.status = 200});
  reflector.step();
  EXPECT_THAT(api.targets[2], HasSubstr("resourceVersion=9&"));
  EXPECT_THAT(reflector.problem(), IsEmpty());
}

TEST_F(KubernetesFollow, AListOfPagesCountsWhenItIsComplete) {
  reflector.step();
  api.answer("/pods", 200, list_json({pod_json("a")}, "5", "more/"));
  reflector.step();
  EXPECT_FALSE(pods.synced());
  api.answer("continue=more%2F", 200, list_json({pod_json("b")}, "5"));
  EXPECT_TRUE(pods.synced());
  EXPECT_THAT(pods.all(), SizeIs(2));
}

TEST_F(KubernetesFollow, APageThatExpiredBeginsAgainFromTheStore) {
  reflector.step();
  api.answer("/pods", 200, list_json({pod_json("a")}, "5", "more"));
  reflector.step();
  api.answer("continue=more", 410, status_json(410, "expired"));
  wait_and_step();
  EXPECT_EQ(api.targets.back(), "/pods?fieldSelector=x&limit=500");
  api.answer("/pods", 200, list_json({pod_json("b")}, "6"));
  ASSERT_THAT(pods.all(), SizeIs(1));
  EXPECT_EQ(pods.all()[0]->uid, "b");
}

TEST_F(KubernetesFollow, TooOldAVersionListsAnewAndKeepsTheNames) {
  list({pod_json("a", "c1"), pod_json("b", "c2")}, "5");
  api.line("watch=1", event_json("ERROR", status_json(410, "too old")));
  EXPECT_THAT(api.pending, IsEmpty());
  EXPECT_THAT(reflector.problem(), IsEmpty()) << "the next attempt makes it good";
  wait_and_step();
  EXPECT_THAT(api.targets.back(), HasSubstr("&resourceVersion=5"));
  EXPECT_THAT(api.targets.back(), Not(HasSubstr("limit")));
  api.answer("/pods", 200, list_json({pod_json("a", "c3")}, "8"));
  EXPECT_FALSE(pods.find("a")->gone);
  EXPECT_THAT(pods.find("a")->containers, SizeIs(2));
  EXPECT_TRUE(pods.find("b")->gone);
  EXPECT_THAT(pods.find("b")->containers, SizeIs(1));
}

TEST_F(KubernetesFollow, AServerThatIsAwayIsSaidWithSinceWhen) {
  list({pod_json("a")});
  settle();
  api.answer("watch=1", away());
  EXPECT_THAT(reflector.problem(), IsEmpty()) << "one failure is nothing";
  wait_and_step(499ms);
  EXPECT_THAT(api.pending, IsEmpty());
  wait_and_step(1ms);
  api.answer("watch=1", away());
  const std::string said = reflector.problem();
  EXPECT_EQ(said, "the API server is away since 2026-01-02T03:04:16Z: cannot connect");
  for (int i = 0; i < 20; ++i) {
    wait_and_step();
    api.answer("watch=1", away());
    EXPECT_EQ(reflector.problem(), said);
  }
  EXPECT_FALSE(pods.find("a")->gone);
  wait_and_step();
  api.open("watch=1");
  wait_and_step(2s);
  EXPECT_THAT(reflector.problem(), IsEmpty());
}

TEST_F(KubernetesFollow, AWatchThatIsNotAnsweredIsAskedForAgain) {
  list({});
  wait_and_step(29s);
  EXPECT_THAT(api.targets, SizeIs(2));
  wait_and_step(1s);
  EXPECT_THAT(api.pending, IsEmpty());
  wait_and_step(1s);
  EXPECT_THAT(api.targets, SizeIs(3));
}

TEST_F(KubernetesFollow, DelaysGrowToHalfAMinute) {
  list({});
  std::vector<long> delays;
  for (int i = 0; i < 9; ++i) {
    api.answer("watch=1", away());
    delays.push_back((reflector.step() - api.now.steady) / 1ms);
    wait_and_step();
  }
  EXPECT_THAT(delays,
              ::testing::ElementsAre(500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000));
}

TEST_F(KubernetesFollow, GarbageChangesNothing) {
  list({pod_json("a")});
  for (const char* line : {"garbage", "{}", "[[[[", R"({"type":"ADDED","object":[]})"}) {
    api.line("watch=1", std::string(line));
    EXPECT_THAT(api.pending, IsEmpty()) << line;
    wait_and_step();
    api.answer("/pods", 200, Json("no list"));
    EXPECT_THAT(reflector.problem(), StartsWith("the API server's answers make no sense since"));
    wait_and_step();
    // A list with something that is no pod is none.
    api.answer("/pods", 200, list_json({pod_json("b"), Json::object()}, "9"));
    EXPECT_THAT(pods.all(), SizeIs(1));
    EXPECT_FALSE(pods.find("a")->gone);
    wait_and_step();
    api.answer("/pods", 200, list_json({pod_json("a")}, "9"));
    reflector.step();
  }
}

TEST_F(KubernetesFollow, WhatRbacForbidsIsSaidAtOnceAndNotAskedOften) {
  reflector.step();
  api.answer("/pods", 403, status_json(403, "pods is\nforbidden"));
  EXPECT_THAT(reflector.problem(),
              StartsWith("RBAC does not allow the agent to list pods since 2026-01-02T03:04:05Z: "
                         "HTTP 403, pods is?forbidden"));
  EXPECT_EQ(reflector.step() - api.now.steady, 30s);
}

TEST_F(KubernetesFollow, AServerThatAsksForPatienceGetsIt) {
  reflector.step();
  api.answer("/pods", ApiAnswer{.status = 429, .retry_after = 7s});
  EXPECT_EQ(reflector.step() - api.now.steady, 7s);
}

TEST_F(KubernetesFollow, WatchesThatEndAtOnceAreNotHammered) {
  list({});
  for (int i = 0; i < 3; ++i) {
    api.open("watch=1");
    api.answer("watch=1", ApiAnswer{.status = 200});
    EXPECT_GT(reflector.step(), api.now.steady);
    wait_and_step();
  }
  EXPECT_THAT(reflector.problem(), HasSubstr("ends each watch of pods at once"));
}

TEST_F(KubernetesFollow, DeletedPodsStayForTenMinutes) {
  list({pod_json("a", "c1")});
  api.line("watch=1", event_json("DELETED", pod_json("a", "c2"), "2"));
  ASSERT_TRUE(pods.find("a"));
  EXPECT_TRUE(pods.find("a")->gone);
  EXPECT_THAT(pods.find("a")->containers, SizeIs(2)) << "the last state counts, too";
  api.pass(9min + 59s);
  EXPECT_EQ(pods.expire() - api.now.steady, 1s);
  EXPECT_TRUE(pods.find("a"));
  api.pass(1s);
  pods.expire();
  EXPECT_FALSE(pods.find("a"));
}

TEST_F(KubernetesFollow, AThousandDeletedPodsAreEnough) {
  list({});
  for (int i = 0; i < 1500; ++i) {
    api.line("watch=1", event_json("ADDED", pod_json(std::to_string(i))));
    api.line("watch=1", event_json("DELETED", pod_json(std::to_string(i))));
  }
  pods.expire();
  EXPECT_THAT(pods.all(), SizeIs(1000));
  EXPECT_TRUE(pods.find("1499"));
  EXPECT_FALSE(pods.find("0"));
}

TEST_F(KubernetesFollow, ContainersAreKeptButNotForEver) {
  list({});
  for (int i = 0; i < 100; ++i)
    api.line("watch=1", event_json("MODIFIED", pod_json("a", "c" + std::to_string(i))));
  const auto pod = pods.find("a");
  EXPECT_THAT(pod->containers, SizeIs(64));
  EXPECT_TRUE(pod->containers.contains("c99"));
  EXPECT_TRUE(pod->containers.contains("c36"));
  EXPECT_FALSE(pod->containers.contains("c35"));
}

TEST_F(KubernetesFollow, WhatSaysNothingNewIsNoChange) {
  list({pod_json("a", "c1")});
  const uint64_t version = pods.version();
  api.line("watch=1", event_json("MODIFIED", pod_json("a", "c1"), "7"));
  EXPECT_EQ(pods.version(), version);
}

// ---- workloads ----

Json owned(const std::string& uid, const std::string& set, bool slo = true) {
  Json more = {{"metadata",
                {{"ownerReferences", Json::array({{{"kind", "ReplicaSet"},
                                                   {"name", "web-" + set},
                                                   {"uid", set},
                                                   {"controller", true}}})}}}};
  if (slo) more["metadata"]["annotations"] = {{"slogate.io/slo", "p99<1s"}};
  return pod_json(uid, "", more);
}

Json set_json(const std::string& uid, const std::string& owner, const std::string& number,
              const std::string& kind = "Deployment") {
  return {
      {"metadata",
       {{"uid", uid},
        {"namespace", "shop"},
        {"name", "web-" + uid},
        {"annotations", {{"deployment.kubernetes.io/revision", number}}},
        {"ownerReferences",
         Json::array({{{"kind", kind}, {"name", "web"}, {"uid", owner}, {"controller", true}}})}}},
      {"spec", {{"selector", {{"matchLabels", {{"app", "web"}, {"pod-template-hash", "x"}}}}}}}};
}

class KubernetesWorkloads : public KubernetesFollow {
 protected:
  KubernetesWorkloads() : workloads(api.world(), pods) {}
  Cluster cluster() const {
    Cluster cluster;
    workloads.add_to(cluster);
    return cluster;
  }
  Workloads workloads;
};

TEST_F(KubernetesWorkloads, FromAPodToItsDeployment) {
  list({owned("a", "r1"), owned("b", "r1"), owned("c", "r9", false)});
  workloads.step();
  ASSERT_THAT(api.targets, SizeIs(3)) << "one look-up, and none without an SLO";
  EXPECT_EQ(api.targets[2], "/apis/apps/v1/namespaces/shop/replicasets/web-r1");
  api.answer("web-r1", 200, set_json("r1", "d1", "1"));
  workloads.step();
  EXPECT_THAT(api.targets[3], HasSubstr("replicasets?labelSelector=app%3Dweb&"));
  EXPECT_THAT(cluster().deployments, IsEmpty()) << "not listed yet";
  api.answer("labelSelector", 200,
             list_json({set_json("r2", "d1", "2"), set_json("r1", "d1", "1"),
                        set_json("alike", "d2", "1")},
                       "5"));
  workloads.step();
  ASSERT_THAT(cluster().deployments, SizeIs(1));
  EXPECT_EQ(cluster().deployments.at("d1")->revisions[1].uid, "r2");
  EXPECT_EQ(cluster().deployment_of.at("r1"), "d1");
  EXPECT_FALSE(cluster().deployment_of.contains("alike"));
  // The next revision's pods need no look-up.
  api.line("labelSelector", event_json("ADDED", set_json("r3", "d1", "3"), "6"));
  api.line("fieldSelector", event_json("ADDED", owned("n", "r3"), "6"));
  workloads.step();
  EXPECT_THAT(api.targets, SizeIs(5));
  EXPECT_EQ(cluster().deployment_of.at("r3"), "d1");
}

TEST_F(KubernetesWorkloads, WhatNobodyNeedsIsDroppedAfterAMinute) {
  list({owned("a", "r1")});
  workloads.step();
  api.answer("web-r1", 200, set_json("r1", "d1", "1"));
  workloads.step();
  api.answer("labelSelector", 200, list_json({set_json("r1", "d1", "1")}, "5"));
  workloads.step();
  api.pass(10min);
  workloads.step();
  EXPECT_THAT(cluster().deployments, SizeIs(1));
  api.line("fieldSelector", event_json("DELETED", owned("a", "r1"), "2"));
  workloads.step();
  api.pass(59s);
  workloads.step();
  EXPECT_THAT(cluster().deployments, SizeIs(1));
  api.pass(1s);
  workloads.step();
  EXPECT_THAT(cluster().deployments, IsEmpty());
  EXPECT_THAT(api.pending, SizeIs(1)) << "its watch goes, too";
}

TEST_F(KubernetesWorkloads, OnlyDeploymentsAndRolloutsCount) {
  list({owned("a", "r1"), owned("b", "r2"), owned("c", "r3")});
  workloads.step();
  api.answer("web-r1", 200, set_json("r1", "d1", "1", "Something"));
  api.answer("web-r2", 200, set_json("other", "d2", "1"));  // the name was used again
  api.answer("web-r3", 404, status_json(404, "not found"));
  workloads.step();
  EXPECT_THAT(api.pending, SizeIs(1));
  EXPECT_THAT(workloads.problem(), IsEmpty());
}

TEST_F(KubernetesWorkloads, WhatRbacForbidsIsSaid) {
  list({owned("a", "r1")});
  workloads.step();
  api.answer("web-r1", 403, status_json(403, "no"));
  EXPECT_THAT(workloads.problem(),
              StartsWith("RBAC does not allow the agent to get replicasets in namespace shop"));
  EXPECT_EQ(workloads.step() - api.now.steady, 30s);
}

}  // namespace
}  // namespace slogate
