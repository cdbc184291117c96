// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "agent/kubernetes/access.h"
#include "agent/kubernetes/text.h"

namespace slogate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr const char* kPod = R"({
  "metadata": {"uid": "u1", "namespace": "shop", "name": "web-1", "labels": {"app": "web", "n": 1},
    "annotations": {"slogate.io/slo": "p99<1s", "other/slo": "x", "slogate.io/odd": 5},
    "managedFields": [{"manager": "kubectl"}], "deletionTimestamp": null,
    "ownerReferences": [{"kind": "Node", "name": "n", "uid": "o1"},
      {"kind": "ReplicaSet", "name": "web", "uid": "o2", "controller": true}]},
  "spec": {"readinessGates": [{"conditionType": "other"}, {"conditionType": "slogate.io/slo"}],
    "containers": [{"name": "main"}]},
  "status": {"phase": "Running",
    "conditions": [{"type": "Ready", "status": "True"},
      {"type": "slogate.io/slo", "status": "False", "reason": "Vetoed", "message": "slow"}],
    "containerStatuses": [{"name": "main", "containerID": "containerd://c2", "restartCount": 4,
      "lastState": {"terminated": {"containerID": "containerd://c1"}}, "state": {"running": {}}}],
    "initContainerStatuses": [{"name": "init", "containerID": "cri-o://c0", "restartCount": 9,
      "state": {"terminated": {"containerID": "cri-o://c0"}}}],
    "ephemeralContainerStatuses": [{"name": "debug", "containerID": "c3"},
      {"name": "waiting", "containerID": ""}]}})";

TEST(KubernetesParse, Pod) {
  const auto object = parse_object(kPod);
  ASSERT_TRUE(object);
  const auto pod = to_pod(*object);
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->uid, "u1");
  EXPECT_EQ(pod->namespace_, "shop");
  EXPECT_EQ(pod->name, "web-1");
  EXPECT_THAT(pod->labels, UnorderedElementsAre(Pair("app", "web")));
  EXPECT_THAT(pod->annotations, UnorderedElementsAre(Pair("slo", "p99<1s")));
  EXPECT_EQ(pod->owner, (OwnerReference{"ReplicaSet", "web", "o2"}));
  EXPECT_THAT(pod->containers, UnorderedElementsAre(Pair("c0", "init"), Pair("c1", "main"),
                                                    Pair("c2", "main"), Pair("c3", "debug")));
  EXPECT_THAT(pod->restarts, UnorderedElementsAre(Pair("main", 4)));
  EXPECT_TRUE(pod->gated);
  EXPECT_EQ(pod->condition, false);
  EXPECT_EQ(pod->condition_reason, "Vetoed");
  EXPECT_EQ(pod->condition_message, "slow");
  EXPECT_TRUE(pod->ready);
  EXPECT_FALSE(pod->leaving);
  EXPECT_FALSE(pod->gone);
}

TEST(KubernetesParse, LeavesOutWhatNobodyReads) {
  const auto object = parse_object(kPod);
  ASSERT_TRUE(object);
  EXPECT_FALSE((*object)["metadata"].contains("managedFields"));
  EXPECT_FALSE((*object)["spec"].contains("containers"));
  EXPECT_TRUE((*object)["status"].contains("containerStatuses"));
}

TEST(KubernetesParse, PodsThatEndedAreLeaving) {
  for (
      const char* text :
      {R"({"metadata": {"uid": "u", "namespace": "n", "name": "p"}, "status": {"phase": "Failed"}})",
       R"({"metadata": {"uid": "u", "namespace": "n", "name": "p", "deletionTimestamp": "x"}})"}) {
    const auto pod = to_pod(*parse_object(text));
    ASSERT_TRUE(pod);
    EXPECT_TRUE(pod->leaving);
  }
}

constexpr const char* kSet = R"({
  "metadata": {"uid": "r1", "namespace": "shop", "name": "web-abc",
    "labels": {"pod-template-hash": "abc"},
    "annotations": {"deployment.kubernetes.io/revision": "12"},
    "ownerReferences": [{"kind": "Deployment", "name": "web", "uid": "d1", "controller": true}]},
  "spec": {"selector": {"matchLabels": {"app": "web", "pod-template-hash": "abc"},
      "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "x", "operator": "NotIn", "values": ["c"]}, {"key": "e", "operator": "Exists"},
        {"key": "rollouts-pod-template-hash", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist"}]},
    "template": {"metadata": {"annotations": {"slogate.io/slo": "p99<1s"}}}},
  "status": {"replicas": 3, "readyReplicas": -2}})";

TEST(KubernetesParse, ReplicaSet) {
  const auto set = to_replica_set(*parse_object(kSet));
  ASSERT_TRUE(set);
  EXPECT_EQ(set->owner, (OwnerReference{"Deployment", "web", "d1"}));
  EXPECT_EQ(set->selector, "app=web,tier in (a,b),x notin (c),e,!d");
  EXPECT_EQ(set->revision.hash, "abc");
  EXPECT_EQ(set->revision.number, 12);
  EXPECT_EQ(set->revision.pods, 3U);
  EXPECT_EQ(set->revision.ready, 0U);
  EXPECT_THAT(set->revision.annotations, ElementsAre(Pair("slo", "p99<1s")));
}

Result<std::vector<std::string>> list_uids(std::string_view text) {
  std::vector<std::string> uids;
  const auto page = parse_list(text, [&uids](const ApiJson& object) -> Result<void> {
    uids.push_back(uid_of(object));
    return {};
  });
  if (!page) return fail(page.error());
  return uids;
}

TEST(KubernetesParse, ListsAreTakenOnlyWhenTheyAreLists) {
  const auto good = list_uids(R"({"kind": "PodList", "metadata": {"resourceVersion": "7"},
      "items": [{"metadata": {"uid": "a"}}, {"metadata": {"uid": "b"}}]})");
  ASSERT_TRUE(good);
  EXPECT_THAT(*good, ElementsAre("a", "b"));
  EXPECT_TRUE(list_uids(R"({"kind":"PodList","metadata":{"resourceVersion":"7"},"items":null})"));
  for (const char* text :
       {"", "null", "[]", "{", R"({"kind": "Status"})",
        R"({"kind": "PodList", "metadata": {"resourceVersion": "7"}})",
        R"({"kind": "PodList", "metadata": {}, "items": []})",
        R"({"kind": "Pod", "metadata": {"resourceVersion": "7"}, "items": []})",
        R"({"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": [1]})",
        R"({"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": [[{}]]})",
        R"({"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": {"a": 1}})",
        R"({"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": [{}]} x)"})
    EXPECT_FALSE(list_uids(text)) << text;
}

TEST(KubernetesParse, WhatIsTooDeepOrTooMuchIsAnError) {
  const std::string deep = std::string(1'000'000, '[');
  EXPECT_FALSE(parse_object(deep));
  EXPECT_FALSE(parse_object(R"({"a":)" + deep));
  // Brackets in strings are no depth.
  EXPECT_TRUE(
      parse_object(R"({"a": "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["})"));
  std::string many = R"({"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[{"x":[0)";
  for (int i = 0; i < 150'000; ++i) many += ",0";
  const auto result = list_uids(many + "]}]}");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("values"));
}

TEST(KubernetesParse, Events) {
  const auto event =
      parse_event(R"({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->type, WatchEvent::Type::Bookmark);
  EXPECT_EQ(resource_version_of(event->object), "9");
  EXPECT_EQ(parse_event(R"({"type": "NEWER", "object": {}})")->type, WatchEvent::Type::Unknown);
  EXPECT_FALSE(parse_event(R"({"type": "ADDED", "object": 5})"));
  EXPECT_FALSE(parse_event(R"({"type": 1, "object": {}})"));
  EXPECT_FALSE(parse_event("<html>"));
}

// Every value of a good object in turn becomes every type: nothing may go wrong but the answer.
void replace_each(ApiJson& root, ApiJson& at, const std::function<void()>& look) {
  static const ApiJson others[] = {nullptr,
                                   true,
                                   -1,
                                   1.5,
                                   "text",
                                   ApiJson::array(),
                                   ApiJson::object(),
                                   {{"a", 1}},
                                   ApiJson::array({1, "x", nullptr})};
  const ApiJson before = at;
  for (const ApiJson& other : others) {
    at = other;
    look();
  }
  at = before;
  if (!at.is_structured()) return;
  for (ApiJson& child : at) replace_each(root, child, look);
}

TEST(KubernetesParse, AnyShapeOfJsonIsSurvived) {
  for (const char* text : {kPod, kSet}) {
    ApiJson object = ApiJson::parse(text);
    replace_each(object, object, [&object] {
      (void)to_pod(object);
      (void)to_replica_set(object);
      (void)to_status(object);
      const std::string whole = object.dump();
      (void)parse_event(R"({"type":"ADDED","object":)" + whole + "}");
      (void)list_uids(R"({"kind":"L","metadata":{"resourceVersion":"1"},"items":[)" + whole + "]}");
      (void)list_uids(whole);
    });
  }
}

TEST(KubernetesParse, GarbageIsSurvived) {
  std::minstd_rand random(1);
  for (int round = 0; round < 500; ++round) {
    std::string text = kPod;
    for (int i = 0; i < 4; ++i) text[random() % text.size()] = static_cast<char>(random());
    if (const auto object = parse_object(text)) (void)to_pod(*object);
    (void)list_uids(text);
    (void)parse_event(text);
  }
}

TEST(KubernetesText, NothingForeignReachesATerminal) {
  EXPECT_EQ(for_log("a\nb\x1b[31m\x7f\xc2\x9b!"),
            "a?b?[31m?"
            "?!");
  EXPECT_EQ(for_log("\xc3\xa4"), "\xc3\xa4");
  const std::string cut = for_log(std::string(299, 'x') + "\xc3\xa4\xc3\xa4");
  EXPECT_EQ(cut, std::string(299, 'x') + "...");
  EXPECT_EQ(url_escape("a=b,c in (d)/~"), "a%3Db%2Cc%20in%20%28d%29%2F~");
}

Result<std::optional<KubernetesAccess>> access_with(std::map<std::string, std::string> variables) {
  return access_of({[variables](const char* name) {
                      const auto found = variables.find(name);
                      return found == variables.end() ? std::string() : found->second;
                    },
                    "/nowhere"});
}

TEST(KubernetesAccess, OutsideOfAPodThereIsNone) {
  const auto access = access_with({{"NODE_NAME", "n"}});
  ASSERT_TRUE(access);
  EXPECT_FALSE(*access);
}

TEST(KubernetesAccess, WhatIsMissingIsNamed) {
  EXPECT_THAT(access_with({{"KUBERNETES_SERVICE_HOST", "h"}}).error().message, HasSubstr("_PORT"));
  std::map<std::string, std::string> variables = {{"KUBERNETES_SERVICE_HOST", "h"},
                                                  {"KUBERNETES_SERVICE_PORT", "443"}};
  EXPECT_THAT(access_with(variables).error().message, HasSubstr("NODE_NAME"));
  variables["NODE_NAME"] = "n";
  EXPECT_THAT(access_with(variables).error().message, HasSubstr("/nowhere/token"));
}

}  // namespace
}  // namespace slogate
