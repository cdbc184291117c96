// SPDX-License-Identifier: Apache-2.0
// From what is known of pods to names, SLOs and conditions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/canary/analysis.h"
#include "agent/kubernetes/annotations.h"
#include "agent/kubernetes/pod_slos.h"
#include "agent/kubernetes/readiness.h"
#include "agent/measure/pod_names.h"
#include "agent/measure/pod_path.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kUid = "3f0ba5b1-9f52-4b2e-8d3c-1d2b7a4c5e6f";
const std::string kIdA(64, 'a'), kIdB(64, 'b');

// ---- paths ----

TEST(PodPath, OfEachDriverAndRuntime) {
  const PodPath expected{kUid, kIdA};
  const std::string slice =
      "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
      "3f0ba5b1_9f52_4b2e_8d3c_1d2b7a4c5e6f.slice/";
  for (const std::string& path : {
           fmt::format("/kubepods/burstable/pod{}/{}", kUid, kIdA),
           fmt::format("/kubepods/pod{}/{}", kUid, kIdA),
           fmt::format("{}cri-containerd-{}.scope", slice, kIdA),
           fmt::format("{}crio-{}.scope", slice, kIdA),
           fmt::format("{}docker-{}.scope", slice, kIdA),
           fmt::format("{}crio-{}.scope/container", slice, kIdA),
           "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod"
           "3f0ba5b1_9f52_4b2e_8d3c_1d2b7a4c5e6f.slice/cri-containerd-" +
               kIdA + ".scope",
           fmt::format("/kubepods/burstable/pod{}/{}/system.slice/nginx.service", kUid, kIdA),
       })
    EXPECT_THAT(parse_pod_path(path), ElementsAre(expected)) << path;
}

TEST(PodPath, OfAContainerWithinAContainer) {
  EXPECT_THAT(parse_pod_path(fmt::format("/kubepods/pod{}/{}/docker/{}", kUid, kIdA, kIdB)),
              ElementsAre(PodPath{kUid, kIdA}, PodPath{"", kIdB}));
  EXPECT_THAT(parse_pod_path(fmt::format("/docker/{}/kubelet/kubepods/pod{}/{}", kIdB, kUid, kIdA)),
              ElementsAre(PodPath{"", kIdB}, PodPath{kUid, kIdA}));
}

TEST(PodPath, OfWhatIsNoContainer) {
  for (const std::string& path :
       {std::string(""), std::string("/"), std::string("/system.slice/pod.service"),
        "/kubepods/pod" + std::string(kUid) + "x/y", "/user/" + kIdA.substr(1),
        "/x/crio-conmon-" + kIdA + ".scope", "/x/" + std::string(64, 'g'),
        std::string("/pod/-pod")})
    EXPECT_THAT(parse_pod_path(path), IsEmpty()) << path;
  EXPECT_THAT(parse_pod_path("/kubepods/pod0123456789abcdef0123456789abcdef"),
              ElementsAre(PodPath{"0123456789abcdef0123456789abcdef", ""}));
}

// ---- a cluster ----

Pod pod_of(const std::string& uid, const std::string& name, const std::string& replica_set,
           const std::string& container_id) {
  Pod pod;
  pod.uid = uid;
  pod.namespace_ = "shop";
  pod.name = name;
  pod.owner = {"ReplicaSet", replica_set, replica_set};
  pod.annotations = {{"slo", "p99(request) < 15ms"}};
  pod.containers = {{container_id, "app"}};
  pod.gated = true;
  return pod;
}

Revision revision_of(const std::string& uid, int64_t number, uint64_t pods, uint64_t ready) {
  return {.uid = uid,
          .name = "web-" + uid,
          .hash = uid,
          .number = number,
          .pods = pods,
          .ready = ready,
          .available = ready,
          .annotations = {{"slo", "p99(request) < 15ms"}}};
}

Cluster cluster_of(const std::vector<Pod>& pods, const std::vector<Revision>& revisions) {
  Cluster cluster;
  cluster.synced = true;
  for (const Pod& pod : pods) cluster.pods.push_back(std::make_shared<const Pod>(pod));
  if (revisions.empty()) return cluster;
  cluster.deployments["d"] =
      std::make_shared<const Deployment>(Deployment{"d", "Deployment", "shop", "web", revisions});
  for (const Revision& revision : revisions) {
    cluster.deployment_of[revision.uid] = "d";
    cluster.revision_pods[revision.uid] = std::make_shared<const RevisionPods>();
  }
  cluster.capacities["d"] = std::nullopt;
  return cluster;
}

// ---- names ----

std::string container_path(const std::string& id) {
  return fmt::format("/kubepods/pod{}/{}", kUid, id);
}

TEST(PodNames, ANameThatComesLateIsKeptWhenThePodIsGone) {
  PodNames names;
  names.set_pods({});
  EXPECT_EQ(names.of(7, container_path(kIdA), 0s).pod, nullptr);
  names.set_pods(cluster_of({pod_of("p", "web-1", "r", kIdA)}, {}).pods);
  EXPECT_EQ(names.of(7, container_path(kIdA), 0s).pod->name, "web-1");
  EXPECT_EQ(names.of(7, container_path(kIdA), 0s).container, "app");
  EXPECT_EQ(names.of(8, container_path(kIdB), 0s).pod, nullptr);
  names.set_pods({});
  EXPECT_EQ(names.of(7, container_path(kIdA), 0s).pod->name, "web-1");
}

TEST(PodNames, AnIdThatIsUsedAgainIsAnotherCgroup) {
  PodNames names;
  names.set_pods(
      cluster_of({pod_of("p", "web-1", "r", kIdA), pod_of("q", "web-2", "r", kIdB)}, {}).pods);
  EXPECT_EQ(names.of(7, container_path(kIdA), 0s).pod->name, "web-1");
  EXPECT_EQ(names.of(7, container_path(kIdB), 0s).pod->name, "web-2");
  EXPECT_EQ(names.of(7, "/system.slice", 0s).pod, nullptr);
}

TEST(PodNames, WhatNobodyHasNamedIsWaitedForAWhile) {
  PodNames names;
  EXPECT_FALSE(names.of(6, container_path(kIdA), 0s).pending) << "there is no Kubernetes";
  names.expect_pods();
  EXPECT_TRUE(names.of(7, container_path(kIdA), 0s).pending);
  EXPECT_FALSE(names.of(8, "/system.slice/sshd.service", 0s).pending);
  EXPECT_FALSE(names.of(7, container_path(kIdA), kNamePatience).pending);
  names.set_pods(cluster_of({pod_of("p", "web-1", "r", kIdA)}, {}).pods);
  EXPECT_FALSE(names.of(7, container_path(kIdA), 1s).pending);
}

TEST(PodNames, WhatNobodyAsksForIsForgotten) {
  PodNames names;
  names.set_pods(cluster_of({pod_of("p", "web-1", "r", kIdA)}, {}).pods);
  EXPECT_NE(names.of(7, container_path(kIdA), 0s).pod, nullptr);
  names.forget_others();
  names.set_pods({});
  names.forget_others();
  EXPECT_EQ(names.of(7, container_path(kIdA), 0s).pod, nullptr);
}

// ---- annotations ----

TEST(Annotations, Objectives) {
  const auto parsed = parse_objectives(
      "p99(request) < 15ms; p99.9( request )<=baseline + 50ms;\n errors < baseline+0.1%; "
      "drops < 1%;");
  ASSERT_TRUE(parsed) << parsed.error().line();
  EXPECT_THAT(*parsed, ElementsAre(LatencyObjective{SLOGATE_SIGNAL_request, 0.99, 15ms, {}},
                                   LatencyObjective{SLOGATE_SIGNAL_request, 0.999, {}, 50ms},
                                   RatioObjective{RatioSignal::Errors, {}, 0.001},
                                   RatioObjective{RatioSignal::Drops, 0.01, {}}));
}

TEST(Annotations, OfWhatAnswersSay) {
  const auto parsed = parse_objectives(
      "errors < 1%; errors < baseline + 0.5%; misses(client) < 5%; misses( client,redis )<5%; "
      "tls_full < baseline + 10%; errors(client, postgresql) < 1%");
  ASSERT_TRUE(parsed) << parsed.error().line();
  EXPECT_THAT(*parsed, ElementsAre(RatioObjective{RatioSignal::Errors, 0.01, {}},
                                   RatioObjective{RatioSignal::Errors, {}, 0.005},
                                   RatioObjective{RatioSignal::MissesOfClient, 0.05, {}},
                                   RatioObjective{RatioSignal::MissesOfRedis, 0.05, {}},
                                   RatioObjective{RatioSignal::TlsFull, {}, 0.1},
                                   RatioObjective{RatioSignal::ErrorsOfPostgresql, 0.01, {}}));
}

// "errors" is no old name of connection_errors, though it once meant these.
TEST(Annotations, RatiosHaveSeveralNamesAndOneMeaning) {
  for (const char* name : {"connection_errors", "connect_errors"}) {
    const auto parsed = parse_annotations({{"slo", fmt::format("{} < 1%; drops < 1%", name)}});
    ASSERT_TRUE(parsed && *parsed) << name;
    EXPECT_EQ((*parsed)->slo.objectives.front(),
              Objective(RatioObjective{RatioSignal::ConnectionErrors, 0.01, {}}));
    EXPECT_EQ((*parsed)->slo.notes.size(), name == std::string_view("connect_errors") ? 1u : 0u);
  }
  const auto twice = parse_objectives("connection_errors < 1%; connect_errors < 2%");
  ASSERT_FALSE(twice);
  EXPECT_THAT(twice.error().line(), HasSubstr("bounds the same"));
}

TEST(Annotations, WhatIsWrongIsNamed) {
  const auto error = [](std::string_view text) {
    const auto parsed = parse_objectives(text);
    return parsed ? std::string("no error") : parsed.error().line();
  };
  EXPECT_THAT(error(""), HasSubstr("no objectives"));
  EXPECT_THAT(error(" ; "), HasSubstr("empty"));
  EXPECT_THAT(error("p99(request)"), HasSubstr("nothing is bounded"));
  EXPECT_THAT(error("p99(requests) < 15ms"), HasSubstr("unknown signal \"requests\""));
  EXPECT_THAT(error("p100(request) < 15ms"), HasSubstr("not a quantile"));
  EXPECT_THAT(error("q99(request) < 15ms"), HasSubstr("not a quantile"));
  EXPECT_THAT(error("p99(request) x < 15ms"), HasSubstr("left over"));
  EXPECT_THAT(error("p99(request) < 15"), HasSubstr("15"));
  EXPECT_THAT(error("p99(request) < baseline"), HasSubstr("how far above"));
  EXPECT_THAT(error("p99(request) < 15ms; p99(request) < 16ms"), HasSubstr("bounds the same"));
  EXPECT_THAT(error("request < 15ms"), HasSubstr("unknown ratio"));
  EXPECT_THAT(error("errors < 15ms"), HasSubstr("15ms"));
  EXPECT_THAT(error("misses(client, http) < 1%"),
              HasSubstr("unknown ratio \"misses(client, http)"));
  EXPECT_THAT(error("errors(clients) < 1%"), HasSubstr("unknown ratio \"errors(clients)"));
}

TEST(Annotations, OfAPod) {
  const auto parsed = parse_annotations({{"slo", "errors < 1%"},
                                         {"alpha", "0.01"},
                                         {"warmup", "10s"},
                                         {"pass-within", "5m"},
                                         {"node-margin", "1.5"},
                                         {"weight", "from 10; step 20; every 1m; most 95"},
                                         {"port", "8080"},
                                         {"container", "app"}});
  ASSERT_TRUE(parsed && *parsed);
  EXPECT_EQ((*parsed)->slo.alpha, 0.01);
  EXPECT_EQ((*parsed)->slo.warmup, 10s);
  EXPECT_EQ((*parsed)->slo.pass_within, 5min);
  EXPECT_EQ((*parsed)->slo.node_margin, 1.5);
  EXPECT_EQ((*parsed)->slo.weight,
            (WeightSteps{.from = 10, .step = 20, .most = 95, .every = 1min}));
  EXPECT_EQ((*parsed)->slo.port, 8080);
  EXPECT_EQ((*parsed)->slo.container, "app");
  const auto none = parse_annotations({{"other", "x"}});
  EXPECT_TRUE(none && !*none);
  EXPECT_FALSE(parse_annotations({{"slo", "errors < 1%"}, {"wramup", "10s"}}));
  EXPECT_FALSE(parse_annotations({{"slo", "errors < 1%"}, {"track", "canary"}}));
  EXPECT_FALSE(parse_annotations({{"slo", "errors < 1%"}, {"track", "blue"}, {"workload", "web"}}));
}

TEST(Annotations, WhatIsEnforced) {
  const auto enforce = [](std::string_view text) {
    return parse_annotations({{"slo", "errors < 1%"}, {"enforce", std::string(text)}});
  };
  EXPECT_EQ((*enforce("refuse"))->slo.enforce, EnforceTerms{.mode = EnforceMode::Refuse});
  EXPECT_EQ((*enforce("refuse for latency"))->slo.enforce,
            (EnforceTerms{.mode = EnforceMode::Refuse, .latency = true}));
  EXPECT_EQ((*enforce("off"))->slo.enforce, EnforceTerms{});
  for (const char* text : {"", "Refuse", "drop", "refuse for misses", "refuse,latency"}) {
    ASSERT_FALSE(enforce(text)) << text;
    EXPECT_THAT(enforce(text).error().line(), HasSubstr("slogate.io/enforce")) << text;
  }
}

TEST(Annotations, TheStepsOfAWeight) {
  const auto weight = [](std::string_view text) {
    return parse_annotations({{"slo", "errors < 1%"}, {"weight", std::string(text)}});
  };
  EXPECT_EQ((*weight("most 50;"))->slo.weight, WeightSteps{.most = 50});
  for (const auto& [text, message] :
       std::map<std::string_view, std::string_view>{{"", "unknown part of a weight"},
                                                    {"50", "unknown part of a weight"},
                                                    {"form 5", "did you mean \"from\"?"},
                                                    {"from 5%; from 6%", "second time"},
                                                    {"from", "not a percentage"},
                                                    {"every 30", "no unit"},
                                                    {"from 60; most 50", "at most \"most\""}}) {
    const auto parsed = weight(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().line(), HasSubstr("slogate.io/weight")) << text;
    EXPECT_THAT(parsed.error().line(), HasSubstr(message)) << text;
  }
}

// ---- SLOs ----

TEST(PodSlos, TheNewestRevisionIsTheCanaryAlsoAfterAnUndo) {
  const Cluster cluster = cluster_of({pod_of("p", "web-1", "old", kIdA)},
                                     {revision_of("bad", 2, 1, 0), revision_of("old", 3, 3, 3)});
  const PodSlos slos = slos_of_pods(cluster, {}, {});
  ASSERT_THAT(slos.slos, SizeIs(1));
  EXPECT_EQ(slos.slos[0].name, "shop.web");
  EXPECT_EQ(slos.slos[0].rollout, "old-3");
  EXPECT_EQ(std::get<RevisionSelector>(slos.slos[0].canary),
            (RevisionSelector{"revision 3 (old) of shop/web", {"old"}}));
  EXPECT_EQ(std::get<RevisionSelector>(*slos.slos[0].baseline),
            (RevisionSelector{"the other revisions of shop/web", {"bad"}}));
  // A baseline is not what was vetoed.
  const PodSlos without =
      slos_of_pods(cluster, {{{"shop.web", "revision 2 (bad) of shop/web"}, "slow"}}, {});
  EXPECT_THAT(std::get<RevisionSelector>(*without.slos[0].baseline).replica_sets, IsEmpty());
}

TEST(PodSlos, BetweenRolloutsWhatServesIsTheBaseline) {
  const Cluster cluster = cluster_of({pod_of("p", "web-1", "new", kIdA)},
                                     {revision_of("old", 1, 0, 0), revision_of("new", 2, 3, 3)});
  const Slo slo = slos_of_pods(cluster, {}, {}).slos.at(0);
  EXPECT_THAT(std::get<RevisionSelector>(slo.canary).replica_sets, IsEmpty());
  EXPECT_THAT(std::get<RevisionSelector>(*slo.baseline).replica_sets, ElementsAre("old", "new"));
}

TEST(PodSlos, WhatIsWrongIsSaidOfTheSloAndItsPods) {
  Pod pod = pod_of("p", "web-1", "new", kIdA);
  pod.annotations["slo"] = "p99 < 15ms";
  Revision revision = revision_of("new", 1, 1, 1);
  revision.annotations = pod.annotations;
  const PodSlos slos = slos_of_pods(cluster_of({pod}, {revision}), {}, {});
  EXPECT_THAT(slos.slos, IsEmpty());
  ASSERT_THAT(slos.problems, SizeIs(1));
  EXPECT_EQ(slos.problems[0].slo, "shop.web");
  EXPECT_THAT(slos.problems[0].message, HasSubstr("slogate.io/slo"));
  ASSERT_THAT(slos.bad_pods, SizeIs(1));
  EXPECT_EQ(slos.bad_pods[0].first, "p");
}

TEST(PodSlos, TheConfigurationGoesFirst) {
  const Cluster cluster =
      cluster_of({pod_of("p", "web-1", "new", kIdA)}, {revision_of("new", 1, 1, 1)});
  const PodSlos slos = slos_of_pods(cluster, {}, {"shop.web"});
  EXPECT_THAT(slos.slos, IsEmpty());
  EXPECT_THAT(slos.problems, SizeIs(1));
}

TEST(PodSlos, TracksAreTheArmsOfTheWorkloadTheyName) {
  Pod canary = pod_of("p", "web-0", "", kIdA), stable = pod_of("q", "web-1", "", kIdB);
  canary.owner = stable.owner = {"StatefulSet", "web", "s"};
  canary.annotations["track"] = "canary";
  stable.annotations["track"] = "stable";
  canary.annotations["workload"] = stable.annotations["workload"] = "web";
  const PodSlos slos = slos_of_pods(cluster_of({canary, stable}, {}), {}, {});
  ASSERT_THAT(slos.slos, SizeIs(1));
  EXPECT_EQ(std::get<TrackSelector>(slos.slos[0].canary), (TrackSelector{"shop", "web", "canary"}));
  EXPECT_EQ(std::get<TrackSelector>(*slos.slos[0].baseline),
            (TrackSelector{"shop", "web", "stable"}));
  canary.annotations.erase("track");
  canary.annotations.erase("workload");
  EXPECT_THAT(slos_of_pods(cluster_of({canary}, {}), {}, {}).problems, SizeIs(1));
}

TEST(PodSlos, APodWhoseReplicaSetIsNotKnownYetIsNoProblem) {
  const PodSlos slos = slos_of_pods(cluster_of({pod_of("p", "web-1", "new", kIdA)}, {}), {}, {});
  EXPECT_THAT(slos.slos, IsEmpty());
  EXPECT_THAT(slos.problems, IsEmpty());
}

// ---- arms ----

TEST(PodArms, FollowTheReplicaSetsOfTheirPods) {
  const Cluster cluster =
      cluster_of({pod_of("p", "web-1", "new", kIdA), pod_of("q", "web-2", "old", kIdB)},
                 {revision_of("old", 1, 1, 1), revision_of("new", 2, 1, 1)});
  Slo slo = slos_of_pods(cluster, {}, {}).slos[0];
  Workload first, second, other;
  first.id = 1, second.id = 2, other.id = 3;
  first.path = container_path(kIdA), second.path = container_path(kIdB), other.path = "/system";
  for (Workload* row : {&first, &second, &other}) row->service = std::make_shared<const Counts>();
  Arms arms(slo);
  arms.look({first, second, other}, {});  // nothing is known of pods yet
  EXPECT_THAT(arms.canary(), IsEmpty());
  first.pod = {cluster.pods[0], "app"};
  second.pod = {cluster.pods[1], "app"};
  arms.look({first, second, other}, {});
  EXPECT_THAT(arms.canary(), ElementsAre(first.path));
  EXPECT_THAT(arms.baseline(), ElementsAre(second.path));
  slo.container = "sidecar";
  Arms sidecars(slo);
  sidecars.look({first, second, other}, {});
  EXPECT_THAT(sidecars.canary(), IsEmpty());
}

// ---- rollouts ----

// Whoever rolls out again finds no evidence of before, and a veto is not forgotten.
TEST(PodRollouts, FollowOneAnother) {
  const std::vector<Pod> pods = {pod_of("p", "web-1", "old", kIdA)};
  const auto slos_at = [&](const std::vector<Revision>& revisions) {
    return slos_of_pods(cluster_of(pods, revisions), {}, {}).slos;
  };
  const auto steady = slos_at({revision_of("old", 1, 3, 3)});
  const auto rolling = slos_at({revision_of("old", 1, 3, 3), revision_of("new", 2, 1, 1)});
  CanaryAnalysis analysis;
  analysis.set_slos(rolling, {});
  Verdict veto = *analysis.verdicts()->list.at(0);
  EXPECT_EQ(veto.rollout, "new-2");
  veto.decision = Decision::Veto;
  EXPECT_EQ(analysis.restore({{"revision 2 (new) of shop/web", veto}}), 1U);
  EXPECT_EQ(analysis.verdicts()->list.at(0)->decision, Decision::Veto);
  analysis.set_slos(steady, {});
  EXPECT_EQ(analysis.verdicts()->list.at(0)->rollout, "none");
  EXPECT_EQ(analysis.verdicts()->list.at(0)->decision, Decision::Hold);
  EXPECT_THAT(analysis.vetoes(), SizeIs(1));
  analysis.set_slos(slos_at({revision_of("old", 1, 3, 3), revision_of("new", 3, 1, 1)}), {});
  EXPECT_EQ(analysis.verdicts()->list.at(0)->decision, Decision::Hold);
  analysis.set_slos(rolling, {});
  EXPECT_EQ(analysis.verdicts()->list.at(0)->decision, Decision::Veto);
  ASSERT_TRUE(analysis.reset("shop.web", {}));
  EXPECT_THAT(analysis.vetoes(), IsEmpty());
  EXPECT_TRUE(analysis.verdicts()->list.at(0)->rollout.starts_with("new-2-"));
}

// ---- readiness ----

class ReadinessOf : public ::testing::Test {
 protected:
  PodWrites look(const std::vector<Revision>& revisions) {
    const Cluster cluster = cluster_of(
        {pod_of("p", "web-new", "new", kIdA), pod_of("q", "web-old", "old", kIdB)}, revisions);
    return readiness_.look(cluster, slos_of_pods(cluster, {}, {}), vetoes_, blind_, holds_, now_);
  }
  static bool status_of(const PodWrites& writes, const std::string& uid) {
    const auto found = std::ranges::find(writes.conditions, uid, &PodCondition::uid);
    EXPECT_NE(found, writes.conditions.end()) << uid;
    return found != writes.conditions.end() && found->status;
  }
  void veto(const std::string& canary) { vetoes_[{"shop.web", canary}] = "p99 is twice as slow"; }

  Readiness readiness_;
  static std::string text_of(const PodWrites& writes, const std::string& uid) {
    return std::ranges::find(writes.conditions, uid, &PodCondition::uid)->message;
  }

  Vetoes vetoes_, blind_;
  Holds holds_;
  TickTime now_{};
};

TEST_F(ReadinessOf, APodIsReadyAtOnceUnlessItsRevisionIsVetoed) {
  const std::vector<Revision> rollout = {revision_of("old", 1, 2, 2), revision_of("new", 2, 1, 1)};
  PodWrites writes = look(rollout);
  EXPECT_TRUE(status_of(writes, "p"));
  EXPECT_TRUE(status_of(writes, "q"));
  EXPECT_THAT(writes.events, IsEmpty());
  veto("revision 2 (new) of shop/web");
  writes = look(rollout);
  EXPECT_FALSE(status_of(writes, "p"));
  EXPECT_TRUE(status_of(writes, "q"));
  ASSERT_THAT(writes.events, SizeIs(1));
  EXPECT_EQ(writes.events[0].reason, "SLOVeto");
  EXPECT_THAT(look(rollout).events, IsEmpty()) << "it is said once";
}

// The API server forgets events after an hour.
TEST_F(ReadinessOf, WhatHoldsARolloutIsSaidAgainBeforeItIsForgotten) {
  const std::vector<Revision> rollout = {revision_of("old", 1, 2, 2), revision_of("new", 2, 1, 1)};
  veto("revision 2 (new) of shop/web");
  size_t said = 0;
  for (int i = 0; i < 2 * 3600; ++i) {
    said += look(rollout).events.size();
    now_.monotonic += 1s;
  }
  EXPECT_EQ(said, 4U);
}

TEST_F(ReadinessOf, ACanaryWhoseAnswersNobodyCanReadServesAndIsToldOfOnce) {
  const std::vector<Revision> rollout = {revision_of("old", 1, 2, 2), revision_of("new", 2, 1, 1)};
  blind_[{"shop.web", "revision 2 (new) of shop/web"}] = "too little is known of what it answers";
  const PodWrites writes = look(rollout);
  EXPECT_TRUE(status_of(writes, "p"));
  ASSERT_THAT(writes.events, SizeIs(1));
  EXPECT_EQ(writes.events[0].uid, "p");
  EXPECT_EQ(writes.events[0].reason, "OutcomesUnknown");
  EXPECT_THAT(look(rollout).events, IsEmpty());
}

TEST_F(ReadinessOf, ACanarySaysHowLongAPassTakes) {
  const std::vector<Revision> rollout = {revision_of("old", 1, 2, 2), revision_of("new", 2, 1, 1)};
  std::optional<double>& hold = holds_[{"shop.web", "revision 2 (new) of shop/web"}];
  EXPECT_EQ(text_of(look(rollout), "p"),
            "nothing speaks against it; nobody knows yet how long a pass takes");
  EXPECT_EQ(text_of(look(rollout), "q"), "nothing speaks against it");
  now_.monotonic += kLeastBetweenTexts;
  hold = 550;
  EXPECT_EQ(text_of(look(rollout), "p"),
            "nothing speaks against it; a pass takes about 10 min more");
  now_.monotonic += kLeastBetweenTexts;
  hold = 45 * 60;
  EXPECT_THAT(text_of(look(rollout), "p"), HasSubstr("about 45 min more: synthetic load"));
  now_.monotonic += kLeastBetweenTexts;
  holds_.clear();
  EXPECT_EQ(text_of(look(rollout), "p"), "nothing speaks against it");
}

// Each text is a write to the API server.
TEST_F(ReadinessOf, WhatAConditionSaysOfTimeChangesSeldom) {
  const std::vector<Revision> rollout = {revision_of("old", 1, 2, 2), revision_of("new", 2, 1, 1)};
  std::optional<double>& hold = holds_[{"shop.web", "revision 2 (new) of shop/web"}];
  const auto texts_of = [&](const auto& expected) {
    size_t changes = 0;
    std::string before = text_of(look(rollout), "p");
    for (int i = 0; i < 4 * 600; ++i) {  // ten minutes of looks
      now_.monotonic += 250ms;
      hold = expected(i);
      const std::string text = text_of(look(rollout), "p");
      changes += std::exchange(before, text) != text;
    }
    return changes;
  };
  EXPECT_LE(texts_of([](int i) { return 600 - i / 4.0; }), 5u);               // it runs out
  EXPECT_LE(texts_of([](int i) { return i % 2 == 0 ? 400.0 : 500.0; }), 2u);  // between two steps
  EXPECT_LE(texts_of([](int i) { return i % 2 == 0 ? std::optional(60.0) : std::nullopt; }), 20u);
}

TEST_F(ReadinessOf, AVetoNeverTakesAwayTheLastThatServes) {
  veto("revision 2 (new) of shop/web");
  EXPECT_TRUE(status_of(look({revision_of("old", 1, 2, 0), revision_of("new", 2, 1, 1)}), "p"))
      << "the old ones are not Ready";
  EXPECT_TRUE(status_of(look({revision_of("old", 1, 0, 0), revision_of("new", 2, 1, 1)}), "p"))
      << "the rollout is over";
}

TEST_F(ReadinessOf, ARevisionThatIsRolledOutAgainIsTriedAgain) {
  veto("revision 2 (new) of shop/web");
  EXPECT_TRUE(status_of(look({revision_of("old", 3, 2, 2), revision_of("new", 4, 1, 1)}), "p"));
}

TEST_F(ReadinessOf, AVetoedRevisionStaysAwayAfterAnUndo) {
  veto("revision 2 (new) of shop/web");
  const PodWrites writes = look({revision_of("old", 3, 2, 2), revision_of("new", 2, 1, 0)});
  EXPECT_FALSE(status_of(writes, "p"));
  EXPECT_TRUE(status_of(writes, "q"));
}

// One choice for all that is done to pods: what is turned away may be refused, gated or not.
TEST_F(ReadinessOf, WhoIsTurnedAwayIsToldToOthersAsWell) {
  const auto away = [&](const std::vector<Revision>& revisions) {
    return Readiness::away(
        cluster_of({pod_of("p", "web-new", "new", kIdA), pod_of("q", "web-old", "old", kIdB)},
                   revisions),
        vetoes_);
  };
  const std::vector<Revision> rolling = {revision_of("old", 1, 2, 2), revision_of("new", 2, 1, 1)};
  EXPECT_THAT(away(rolling), IsEmpty());
  veto("revision 2 (new) of shop/web");
  EXPECT_THAT(away(rolling), testing::ElementsAre("p"));
  EXPECT_THAT(away({revision_of("old", 1, 2, 0), revision_of("new", 2, 1, 1)}), IsEmpty());
}

TEST_F(ReadinessOf, ARefusedPodSaysSo) {
  veto("revision 2 (new) of shop/web");
  const Cluster cluster =
      cluster_of({pod_of("p", "web-new", "new", kIdA), pod_of("q", "web-old", "old", kIdB)},
                 {revision_of("old", 1, 2, 2), revision_of("new", 2, 1, 1)});
  const PodWrites writes =
      readiness_.look(cluster, slos_of_pods(cluster, {}, {}), vetoes_, blind_, holds_, now_,
                      {{"p", "new connections to it are refused"}});
  EXPECT_EQ(text_of(writes, "p"), "new connections to it are refused; p99 is twice as slow");
  EXPECT_TRUE(std::ranges::any_of(writes.events, [](const PodEvent& event) {
    return event.uid == "p" && event.reason == "ConnectionsRefused";
  }));
}

// Its other pods have to be known when the veto comes: asking takes longer than refusing.
TEST_F(ReadinessOf, APodThatMayBeRefusedIsFollowedFromTheBeginning) {
  const auto followed = [&](const char* enforce, const std::vector<Revision>& revisions) {
    Pod fresh = pod_of("p", "web-new", "new", kIdA);
    if (*enforce != '\0') fresh.annotations["enforce"] = enforce;
    const Cluster cluster = cluster_of({fresh, pod_of("q", "web-old", "old", kIdB)}, revisions);
    return readiness_.look(cluster, slos_of_pods(cluster, {}, {}), vetoes_, blind_, holds_, now_)
        .vetoed;
  };
  const std::vector<Revision> rolling = {revision_of("old", 1, 2, 2), revision_of("new", 2, 1, 1)};
  EXPECT_THAT(followed("refuse", rolling), IsEmpty()) << "nothing is enforced";
  readiness_.set_enforces(true);
  EXPECT_THAT(followed("refuse", rolling), SizeIs(1));
  EXPECT_THAT(followed("", rolling), IsEmpty());
  EXPECT_THAT(followed("refuse", {revision_of("new", 2, 1, 1)}), IsEmpty()) << "no rollout";
}

TEST_F(ReadinessOf, RevisionsThatAreNotToldAreWaitedForAWhile) {
  EXPECT_THAT(look({}).conditions, IsEmpty());
  now_.monotonic += kRevisionPatience;
  EXPECT_TRUE(status_of(look({}), "p"));
}

TEST_F(ReadinessOf, NothingIsSaidBeforeThePodsAreKnown) {
  Cluster cluster = cluster_of({pod_of("p", "web-1", "new", kIdA)}, {});
  cluster.synced = false;
  EXPECT_THAT(readiness_.look(cluster, {}, {}, {}, {}, now_).conditions, IsEmpty());
}

}  // namespace
}  // namespace slogate
