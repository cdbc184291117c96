// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/kubernetes/writer.h"
#include "tests/unit/kubernetes/fake.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Json = nlohmann::json;

class KubernetesWriter : public ::testing::Test {
 protected:
  KubernetesWriter() : pods([this] { return api.now; }), writer(api.world(), "node-a", pods) {}

  void know(const std::string& uid, const Json& condition = {}, int generation = 0) {
    Json pod = {{"metadata", {{"uid", uid}, {"namespace", "shop"}, {"name", "pod-" + uid}}}};
    if (generation > 0) pod["metadata"]["generation"] = generation;
    if (condition.is_object()) {
      pod["status"]["conditions"] = Json::array({condition});
      pod["status"]["conditions"][0]["type"] = "slogate.io/slo";
    }
    pods.change(pod);
  }
  static PodCondition want(const std::string& uid, bool status = true,
                           const std::string& message = "m") {
    return {uid, "shop", "pod-" + uid, status, "R", message};
  }
  void set(std::vector<PodCondition> conditions) {
    writer.set_conditions(std::move(conditions));
    writer.step();
  }
  Json body(const std::string& part) { return Json::parse(api.call(part).body); }

  FakeApi api;
  Pods pods;
  Writer writer;
};

TEST_F(KubernetesWriter, PatchesTheStatusOfThatPod) {
  know("a");
  set({want("a")});
  const ApiCall& call = api.call("pod-a");
  EXPECT_EQ(call.method, "PATCH");
  EXPECT_EQ(call.target, "/api/v1/namespaces/shop/pods/pod-a/status");
  EXPECT_EQ(call.content_type, "application/strategic-merge-patch+json");
  EXPECT_EQ(body("pod-a"), Json::parse(R"({"metadata": {"uid": "a"}, "status": {"conditions": [
      {"type": "slogate.io/slo", "status": "True", "reason": "R", "message": "m",
       "lastTransitionTime": "2026-01-02T03:04:05Z"}]}})"));
}

TEST_F(KubernetesWriter, WritesOnlyWhatIsNotSoAlready) {
  know("a", {{"status", "True"}, {"reason", "R"}, {"message", "m"}});
  set({want("a"), want("unknown")});
  EXPECT_THAT(api.pending, IsEmpty());
  set({want("a", true, "other")});
  EXPECT_FALSE(body("pod-a")["status"]["conditions"][0].contains("lastTransitionTime"));
}

TEST_F(KubernetesWriter, SaysWhichGenerationWasLookedAt) {
  know("a", {}, 3);
  set({want("a")});
  EXPECT_EQ(body("pod-a")["status"]["conditions"][0]["observedGeneration"], 3);
  api.answer("pod-a", 200, Json::object());
  const Json written = {{"status", "True"}, {"reason", "R"}, {"message", "m"}};
  know("a", written, 4);
  writer.step();
  EXPECT_THAT(api.pending, IsEmpty()) << "the server keeps no generations in conditions";
  Json kept = written;
  kept["observedGeneration"] = 3;
  know("a", kept, 4);
  api.pass(31s);
  writer.step();
  EXPECT_EQ(body("pod-a")["status"]["conditions"][0]["observedGeneration"], 4);
  EXPECT_FALSE(body("pod-a")["status"]["conditions"][0].contains("lastTransitionTime"));
}

TEST_F(KubernetesWriter, BelievesAWriteUntilTheWatchTellsOrHalfAMinute) {
  know("a");
  set({want("a")});
  api.answer("pod-a", 200, Json::object());
  writer.step();
  EXPECT_THAT(api.pending, IsEmpty());
  api.pass(30s);
  writer.step();
  EXPECT_THAT(api.pending, SizeIs(1)) << "it was not kept";
}

TEST_F(KubernetesWriter, AnotherPodOfTheSameNameIsLeftAlone) {
  know("a");
  know("b");
  know("c");
  set({want("a"), want("b"), want("c")});
  api.answer("pod-a", 404, {{"kind", "Status"}, {"code", 404}});
  api.answer("pod-b", 409, {{"kind", "Status"}, {"message", "Precondition failed: UID in ..."}});
  api.answer("pod-c", 422, {{"kind", "Status"}, {"message", "Pod is invalid: metadata.uid: ..."}});
  api.pass(1h);
  set({want("a"), want("b", false), want("c")});
  EXPECT_THAT(api.pending, IsEmpty());
  EXPECT_THAT(writer.condition_problem(), IsEmpty());
}

TEST_F(KubernetesWriter, AConflictOfVersionsIsTriedAgain) {
  know("a");
  set({want("a")});
  api.answer("pod-a", 409, {{"kind", "Status"}, {"message", "the object has been modified"}});
  api.pass(31s);
  writer.step();
  EXPECT_THAT(api.pending, SizeIs(1));
}

TEST_F(KubernetesWriter, FailuresAreTriedAgainUntilReplaced) {
  know("a");
  set({want("a")});
  for (int i = 0; i < 5; ++i) {
    api.answer("pod-a", ApiAnswer{.end = ApiAnswer::End::Away, .error = "gone"});
    EXPECT_GT(writer.step(), api.now.steady);
    EXPECT_THAT(api.pending, IsEmpty());
    api.pass(31s);
    writer.step();
  }
  EXPECT_THAT(writer.condition_problem(), StartsWith("the API server is away since"));
  set({});
  EXPECT_THAT(api.pending, IsEmpty());
  EXPECT_THAT(writer.condition_problem(), IsEmpty());
}

TEST_F(KubernetesWriter, AFewAtATime) {
  std::vector<PodCondition> all;
  for (int i = 0; i < 50; ++i) {
    know(std::to_string(i));
    all.push_back(want(std::to_string(i)));
  }
  set(all);
  EXPECT_THAT(api.pending, SizeIs(4));
  // Where the first are forbidden the others are not tried.
  for (int i = 0; i < 4; ++i)
    api.answer("/pods/", 403, {{"kind", "Status"}, {"code", 403}, {"message", "no"}});
  EXPECT_EQ(writer.step() - api.now.steady, 30s);
  EXPECT_THAT(api.pending, IsEmpty());
  EXPECT_THAT(writer.condition_problem(),
              StartsWith("RBAC does not allow the agent to patch pods/status since"));
  api.pass(30s);
  for (int i = 0; i < 50; ++i) {
    writer.step();
    ASSERT_FALSE(api.pending.empty());
    api.answer("/pods/", 200, Json::object());
  }
  writer.step();
  EXPECT_THAT(api.pending, IsEmpty());
  EXPECT_THAT(writer.condition_problem(), IsEmpty());
}

TEST_F(KubernetesWriter, Events) {
  writer.post({{"a", "shop", "pod-a", true, "Slow", std::string(2000, 'x')}}, 0);
  writer.step();
  const Json event = body("/api/v1/namespaces/shop/events");
  EXPECT_EQ(event["involvedObject"]["uid"], "a");
  EXPECT_EQ(event["type"], "Warning");
  EXPECT_EQ(event["source"]["host"], "node-a");
  EXPECT_EQ(event["firstTimestamp"], "2026-01-02T03:04:05Z");
  EXPECT_EQ(event["message"].get<std::string>().size(), 1024U);
  api.answer("events", ApiAnswer{.end = ApiAnswer::End::Away, .error = "gone"});
  api.pass(31s);
  writer.step();
  EXPECT_THAT(api.pending, SizeIs(1)) << "tried again";
  api.pass(29s);
  writer.step();
  EXPECT_THAT(api.pending, IsEmpty()) << "but for a minute only";
}

class KubernetesSeries : public KubernetesWriter {
 protected:
  void post() {
    writer.post({{"a", "shop", "pod-a", true, "Slow", "why"}}, 0);
    writer.step();
  }
  static Json named(const std::string& name) { return {{"metadata", {{"name", name}}}}; }
};

TEST_F(KubernetesSeries, WhatIsSaidAgainIsOneEventWithACount) {
  post();
  api.answer("/events", 201, named("pod-a.x1"));
  api.pass(30min);
  post();
  const ApiCall& again = api.call("/api/v1/namespaces/shop/events/pod-a.x1");
  EXPECT_EQ(again.method, "PATCH");
  EXPECT_EQ(Json::parse(again.body),
            Json::parse(R"({"count": 2, "lastTimestamp": "2026-01-02T03:34:05Z"})"));
  api.answer("/events/", 200, named("pod-a.x1"));
  writer.post({{"a", "shop", "pod-a", true, "Slow", "another reason"}}, 0);
  writer.step();
  EXPECT_EQ(api.call("/events").method, "POST");
}

TEST_F(KubernetesSeries, AnEventThatIsGoneIsWrittenAnewAndGoesOnCounting) {
  post();
  api.answer("/events", 201, named("pod-a.x1"));
  for (const int status : {404, 403}) {
    api.pass(30min);
    post();
    api.answer("/events/pod-a.x1", status, Json::object());
    writer.step();
    const ApiCall& call = api.call("/events");
    EXPECT_EQ(call.method, "POST");
    const Json event = Json::parse(call.body);
    EXPECT_EQ(event["count"], status == 404 ? 2 : 3);
    EXPECT_EQ(event["firstTimestamp"], "2026-01-02T03:04:05Z");
    api.answer("/events", 201, named("pod-a.x1"));
    EXPECT_THAT(writer.event_problem(), IsEmpty());
  }
}

TEST_F(KubernetesSeries, WhatWasNotSaidForLongBeginsAnew) {
  post();
  api.answer("/events", 201, named("pod-a.x1"));
  api.pass(2h);
  post();
  EXPECT_EQ(api.call("/events").method, "POST");
  EXPECT_EQ(Json::parse(api.call("/events").body)["count"], 1);
}

TEST_F(KubernetesWriter, AHundredEventsWait) {
  std::vector<PodEvent> events(150, PodEvent{"a", "shop", "pod-a", false, "R", "m"});
  writer.post(std::move(events), 0);
  int sent = 0;
  for (writer.step(); !api.pending.empty(); writer.step(), ++sent)
    api.answer("events", 201, Json::object());
  EXPECT_EQ(sent, 100);
}

}  // namespace
}  // namespace slogate
