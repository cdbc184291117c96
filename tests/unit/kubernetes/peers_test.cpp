// SPDX-License-Identifier: Apache-2.0
// Whom to ask on other nodes, and who may ask.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "agent/canary/arms.h"
#include "agent/kubernetes/peer_search.h"
#include "agent/kubernetes/pod_slos.h"
#include "agent/kubernetes/token.h"
#include "agent/kubernetes/token_review.h"
#include "tests/unit/kubernetes/fake.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Json = nlohmann::json;

// ---- nodes that mean the same ----

Pod pod_of(const std::string& uid, const std::string& set) {
  Pod pod{uid, "shop", "web-" + uid};
  pod.owner = {"ReplicaSet", "web-" + set, set};
  pod.annotations = {{"slo", "p99(request) < 15ms"}};
  return pod;
}

Revision revision_of(const std::string& uid, int64_t number, uint64_t pods) {
  return {.uid = uid,
          .name = "web-" + uid,
          .hash = "h" + uid,
          .number = number,
          .pods = pods,
          .ready = pods,
          .available = pods,
          .annotations = {{"slo", "p99(request) < 15ms"}, {"port", "8080"}, {"warmup", "5s"}}};
}

// As a node with these pods sees it: revisions are the cluster's, and so the same everywhere.
Cluster node_with(const std::vector<Pod>& pods, const std::vector<Revision>& revisions,
                  const std::string& kind = "Deployment") {
  Cluster cluster;
  cluster.synced = true;
  for (const Pod& pod : pods) cluster.pods.push_back(std::make_shared<const Pod>(pod));
  cluster.deployments["d"] =
      std::make_shared<const Deployment>(Deployment{"d", kind, "shop", "web", revisions});
  for (const Revision& revision : revisions) cluster.deployment_of[revision.uid] = "d";
  return cluster;
}

const std::vector<Revision> kRollout = {revision_of("older", 1, 0), revision_of("old", 2, 5),
                                        revision_of("new", 3, 1)};

TEST(PodSlosOfNodes, WithOneArmEachMeanTheSame) {
  const PodSlos canary = slos_of_pods(node_with({pod_of("c", "new")}, kRollout), {}, {});
  const PodSlos stable = slos_of_pods(node_with({pod_of("s", "old")}, kRollout), {}, {});
  ASSERT_THAT(canary.slos, SizeIs(1));
  EXPECT_EQ(canary.slos, stable.slos);
  // A node that does not know of the rollout yet has another canary, and the same baseline.
  const PodSlos late =
      slos_of_pods(node_with({pod_of("s", "old")}, {revision_of("old", 2, 5)}), {}, {});
  ASSERT_THAT(late.slos, SizeIs(1));
  EXPECT_EQ(selector_text(*late.slos[0].baseline), selector_text(*canary.slos[0].baseline));
}

// What this node has vetoed is no baseline of its own; that is no other question to other nodes.
TEST(PodSlosOfNodes, AVetoOfOneNodeIsNoOtherQuestion) {
  const Vetoes vetoes = {{{"shop.web", "revision 2 (hold) of shop/web"}, "p99 is high"}};
  const PodSlos one = slos_of_pods(node_with({pod_of("c", "new")}, kRollout), vetoes, {});
  const PodSlos other = slos_of_pods(node_with({pod_of("s", "old")}, kRollout), {}, {});
  EXPECT_NE(one.slos, other.slos);
  EXPECT_EQ(selector_text(*one.slos[0].baseline), selector_text(*other.slos[0].baseline));
}

TEST(PodSlosOfNodes, WithTheStableTrackAloneHaveTheSloAsWell) {
  Pod canary = pod_of("c", "s"), stable = pod_of("s", "s");
  canary.owner = stable.owner = {"StatefulSet", "web", "s"};
  canary.annotations["workload"] = stable.annotations["workload"] = "web";
  canary.annotations["track"] = "canary";
  stable.annotations["track"] = "stable";
  Cluster both, one;
  both.pods = {std::make_shared<const Pod>(stable), std::make_shared<const Pod>(canary)};
  one.pods = {std::make_shared<const Pod>(stable)};
  const PodSlos slos = slos_of_pods(one, {}, {});
  ASSERT_THAT(slos.slos, SizeIs(1));
  EXPECT_EQ(slos.slos, slos_of_pods(both, {}, {}).slos);
  // Where both are here and differ, the canary's word counts.
  stable.annotations["port"] = "1";
  both.pods[0] = std::make_shared<const Pod>(stable);
  EXPECT_EQ(slos_of_pods(both, {}, {}).slos[0].port, std::nullopt);
}

// ---- what to look for ----

PeerWishes both(const std::string& slo) {
  return {{slo}, {slo}};
}

TEST(PeerSearches, AreOfWhatIsWantedAlone) {
  const Cluster cluster = node_with({pod_of("c", "new")}, kRollout);
  const auto slos = slos_of_pods(cluster, {}, {}).slos;
  EXPECT_THAT(peer_searches(cluster, slos, {{"shop.web"}, {}}),
              ElementsAre(PeerSearch{"shop.web", "shop", "pod-template-hash in (hold)", ""}));
  EXPECT_THAT(peer_searches(cluster, slos, {{}, {"shop.web"}}),
              ElementsAre(PeerSearch{"shop.web", "shop", "", "pod-template-hash in (hnew)"}));
}

TEST(PeerSearches, OfRevisionsGoByTheirHashes) {
  Cluster cluster = node_with({pod_of("c", "new")}, kRollout);
  const auto slos = slos_of_pods(cluster, {}, {}).slos;
  EXPECT_THAT(peer_searches(cluster, slos, both("shop.web")),
              ElementsAre(PeerSearch{"shop.web", "shop", "pod-template-hash in (hold)",
                                     "pod-template-hash in (hnew)"}));
  EXPECT_THAT(peer_searches(cluster, slos, {}), IsEmpty());
  EXPECT_THAT(peer_searches(cluster, slos, both("other")), IsEmpty());
  cluster = node_with({pod_of("c", "new")}, kRollout, "Rollout");
  EXPECT_EQ(peer_searches(cluster, slos, both("shop.web"))[0].lenders,
            "rollouts-pod-template-hash in (hold)");
}

TEST(PeerSearches, OfTheConfigurationGoByTheirLabels) {
  Slo slo;
  slo.name = "api";
  slo.canary = PodSelector{"shop", {{"app", "api"}, {"track", "canary"}}};
  slo.baseline = PodSelector{"shop", {{"app", "api"}, {"track", "stable"}}};
  EXPECT_THAT(
      peer_searches({}, {slo}, both("api")),
      ElementsAre(PeerSearch{"api", "shop", "app=api,track=stable", "app=api,track=canary"}));
  slo.canary = TrackSelector{"shop", "api", "canary"};
  slo.baseline = TrackSelector{"shop", "api", "stable"};
  EXPECT_THAT(peer_searches({}, {slo}, both("api")), IsEmpty());
  slo.baseline.reset();
  EXPECT_THAT(peer_searches({}, {slo}, both("api")), IsEmpty());
}

Json placed(const std::string& node, bool ready = true, bool leaving = false) {
  Json pod = {
      {"metadata", {{"uid", "u"}, {"namespace", "shop"}, {"name", "p"}}},
      {"spec", {{"nodeName", node}}},
      {"status",
       {{"hostIP", "10.0.0." + node},
        {"conditions", Json::array({{{"type", "Ready"}, {"status", ready ? "True" : "False"}}})}}}};
  if (leaving) pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z";
  return pod;
}

Json list_json(const std::vector<Json>& items, const std::string& next = "") {
  return {{"kind", "List"},
          {"metadata", {{"resourceVersion", "5"}, {"continue", next}}},
          {"items", items}};
}

class KubernetesPeers : public ::testing::Test {
 protected:
  KubernetesPeers() : finder(api.world(), "1") {}
  std::shared_ptr<const PeerNodes> found(const std::string& slo = "web") {
    finder.step();
    Cluster cluster;
    finder.add_to(cluster);
    const auto at = cluster.peers.find(slo);
    return at == cluster.peers.end() ? nullptr : at->second;
  }
  static PeerSearch search(const std::string& slo = "web") {
    return {slo, "shop", "hash in (" + slo + ")", "canary=" + slo};
  }

  FakeApi api;
  PeerFinder finder;
};

TEST_F(KubernetesPeers, AreTheNodesOfBothArms) {
  finder.search({search()});
  EXPECT_EQ(found(), nullptr);
  EXPECT_EQ(api.targets.back(),
            "/api/v1/namespaces/shop/pods?labelSelector=hash%20in%20%28web%29&limit=250");
  // More than a page is enough: what is beyond it is not asked for.
  api.answer("hash", 200,
             list_json({placed("3"), placed("2"), placed("3"), placed("1"), placed("4", false),
                        placed("5", true, true), Json::object(), placed("")},
                       "more"));
  EXPECT_EQ(found(), nullptr) << "not before both are listed";
  api.answer("canary", 200, list_json({placed("1", false), placed("9", false)}));
  ASSERT_NE(found(), nullptr);
  EXPECT_THAT(found()->lenders, ElementsAre(PeerNode{"2", "10.0.0.2"}, PeerNode{"3", "10.0.0.3"}));
  EXPECT_THAT(found()->witnesses, ElementsAre(PeerNode{"9", "10.0.0.9"}));
  EXPECT_THAT(api.pending, IsEmpty());
}

TEST_F(KubernetesPeers, AreLookedForAgainAndSeldomer) {
  finder.search({search()});
  std::vector<long> intervals;
  for (int i = 0; i < 6; ++i) {
    finder.step();
    api.answer("hash", 200, list_json({placed("2")}));
    api.answer("canary", 200, list_json({}));
    intervals.push_back((finder.step() - api.now.steady) / 1s);
    api.pass(std::chrono::seconds(intervals.back()));
  }
  EXPECT_THAT(intervals, ElementsAre(30, 60, 120, 240, 300, 300));
}

// A value that is the same is the same pointer: nobody is woken for it.
TEST_F(KubernetesPeers, WhatIsKnownStaysWhileTheServerIsAway) {
  finder.search({search()});
  finder.step();
  api.answer("hash", 200, list_json({placed("2")}));
  api.answer("canary", 200, list_json({}));
  const auto before = found();
  for (int i = 0; i < 2; ++i) {
    api.pass(5min);
    finder.step();
    api.answer("hash", ApiAnswer{.end = ApiAnswer::End::Away, .error = "gone"});
  }
  EXPECT_EQ(found(), before);
  EXPECT_THAT(finder.problem(), StartsWith("the API server is away since"));
  api.pass(5min);
  finder.step();
  api.answer("hash", 200, list_json({placed("2")}));
  api.answer("canary", 200, list_json({}));
  EXPECT_EQ(found(), before);
  EXPECT_THAT(finder.problem(), IsEmpty());
  finder.search({});
  EXPECT_EQ(found(), nullptr);
}

TEST_F(KubernetesPeers, ASearchThatChangesIsMadeAtOnceAndOthersGoOn) {
  finder.search({search("a"), search("b")});
  finder.step();
  for (const char* slo : {"a", "b"}) {
    api.answer(fmt::format("in%20%28{}", slo), 200, list_json({placed("2")}));
    api.answer(fmt::format("canary%3D{}", slo), 200, list_json({}));
  }
  PeerSearch other = search("a");
  other.lenders = "hash in (c)";
  finder.search({other, search("b")});
  EXPECT_NE(found("a"), nullptr) << "until the new list is there";
  EXPECT_THAT(api.pending, SizeIs(1));
  finder.search({search("b")});
  EXPECT_THAT(api.pending, IsEmpty()) << "cancelled";
  EXPECT_NE(found("b"), nullptr);
}

// ---- who may ask ----

std::string base64url(std::string_view text) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  uint32_t bits = 0;
  int known = 0;
  for (const char c : text) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (known += 8; known >= 6; known -= 6) out += digits[bits >> (known - 6) & 63];
  }
  if (known > 0) out += digits[bits << (6 - known) & 63];
  return out;
}

const std::string kOurs = "system:serviceaccount:slogate-system:slogate";

std::string token_of(const Json& claims, const std::string& signature = "s") {
  return base64url(R"({"alg":"RS256"})") + "." + base64url(claims.dump()) + "." + signature;
}
Json claims_of(const std::string& subject = kOurs) {
  return {{"sub", subject}, {"aud", Json::array({"slogate"})}, {"exp", 1'767'330'000}};
}

TEST(PeerToken, SaysWhatItClaims) {
  const auto claims = parse_token(token_of(claims_of()));
  ASSERT_TRUE(claims);
  EXPECT_EQ(claims->subject, kOurs);
  EXPECT_THAT(claims->audiences, ElementsAre("slogate"));
  EXPECT_EQ(claims->expires, 1'767'330'000s);
  EXPECT_THAT(parse_token(token_of({{"aud", "one"}}))->audiences, ElementsAre("one"));
  for (const std::string& none :
       {std::string(), std::string("a.b"), std::string("a.!!.c"), std::string("..."),
        "a." + base64url("[1]") + ".c", "a." + base64url("{") + ".c",
        "a b." + base64url("{}") + ".c", "a." + std::string(100'000, 'x') + ".c"})
    EXPECT_FALSE(parse_token(none)) << none.substr(0, 40);
}

TEST(PeerToken, IsReadFromItsFile) {
  const std::string path = fmt::format("{}/slogate-token-{}", ::testing::TempDir(), ::getpid());
  EXPECT_FALSE(read_token(path));
  std::ofstream(path) << "abc.def.ghi\n";
  EXPECT_EQ(*read_token(path), "abc.def.ghi");
  std::ofstream(path) << "abc\ndef";
  ASSERT_FALSE(read_token(path));
  EXPECT_THAT(read_token(path).error().line(), Not(HasSubstr("abc")));
  std::remove(path.c_str());
}

class PeerTokens : public ::testing::Test {
 protected:
  PeerTokens() : reviews(api.world(), [this] { return own; }) {}

  void check(const std::string& token) {
    reviews.check(token, [this](const Result<void>& result) {
      said.push_back(result ? "good" : result.error().line());
    });
    reviews.step();
  }
  static Json review(bool good = true, const std::string& user = kOurs,
                     const std::string& audience = "slogate") {
    return {{"kind", "TokenReview"},
            {"status",
             {{"authenticated", good},
              {"user", {{"username", user}}},
              {"audiences", Json::array({audience})}}}};
  }

  FakeApi api;
  Result<std::string> own = token_of(claims_of(), "own");
  TokenReviews reviews;
  std::vector<std::string> said;
};

TEST_F(PeerTokens, AreAskedOfTheApiServerAndBelievedForAMinute) {
  const std::string token = token_of(claims_of());
  check(token);
  check(token);
  ASSERT_THAT(api.pending, SizeIs(1)) << "one question for both";
  const ApiCall& call = api.call("/apis/authentication.k8s.io/v1/tokenreviews");
  EXPECT_EQ(call.method, "POST");
  EXPECT_EQ(Json::parse(call.body)["spec"],
            (Json{{"token", token}, {"audiences", Json::array({"slogate"})}}));
  api.answer("tokenreviews", 201, review());
  EXPECT_THAT(said, ElementsAre("good", "good"));
  api.pass(59s);
  check(token);
  EXPECT_THAT(said, SizeIs(3));
  EXPECT_THAT(api.pending, IsEmpty());
  api.pass(1s);
  check(token);
  EXPECT_THAT(api.pending, SizeIs(1));
  api.answer("tokenreviews", 201, review(false));
  EXPECT_EQ(said.back(), "the API server does not know it");
  check(token);
  EXPECT_THAT(api.pending, SizeIs(1)) << "it is not believed any more";
}

TEST_F(PeerTokens, OfOthersAreRefused) {
  const std::vector<Json> answers = {review(false), review(true, "system:serviceaccount:shop:web"),
                                     review(true, kOurs, "https://kubernetes.default.svc"),
                                     Json("text"), Json::object()};
  for (size_t i = 0; i < answers.size(); ++i) {
    check(token_of(claims_of(), std::to_string(i)));
    api.answer("tokenreviews", 201, answers[i]);
    EXPECT_THAT(said.back(), HasSubstr("does not know it")) << answers[i];
  }
}

// Whoever sends rubbish costs the API server nothing.
TEST_F(PeerTokens, WhatDoesNotEvenClaimToBeOursIsNotAskedAbout) {
  Json audience = claims_of(), expired = claims_of();
  audience["aud"] = Json::array({"https://kubernetes.default.svc"});
  expired["exp"] = 1'767'323'000;
  for (const std::string& token :
       {std::string("x"), token_of(claims_of("system:serviceaccount:shop:web")), token_of(audience),
        token_of(expired), token_of(Json::object())})
    check(token);
  EXPECT_THAT(said, SizeIs(5));
  EXPECT_THAT(said, Not(::testing::Contains("good")));
  own = fail("nothing there");
  check(token_of(claims_of()));
  EXPECT_EQ(said.back(), "nothing there");
  EXPECT_THAT(api.targets, IsEmpty());
}

TEST_F(PeerTokens, AFloodIsBounded) {
  for (int i = 0; i < 1'000; ++i) check(token_of(claims_of(), std::to_string(i)));
  EXPECT_THAT(api.pending, SizeIs(TokenReviews::kMostCalls));
  EXPECT_THAT(said, SizeIs(1'000 - TokenReviews::kMostWaiting));
  EXPECT_THAT(said, ::testing::Each("too many others are asked about"));
  while (!api.pending.empty()) {
    api.answer("tokenreviews", 201, review());
    reviews.step();
  }
  EXPECT_THAT(said, SizeIs(1'000));
}

TEST_F(PeerTokens, WhoWasGoodLatelyIsBelievedWhileTheServerIsAway) {
  const std::string token = token_of(claims_of());
  check(token);
  api.answer("tokenreviews", 201, review());
  api.pass(9min);
  const ApiAnswer away{.end = ApiAnswer::End::Away, .error = "cannot connect"};
  check(token);
  api.answer("tokenreviews", away);
  EXPECT_EQ(said.back(), "good");
  check(token_of(claims_of(), "unknown"));
  api.answer("tokenreviews", away);
  EXPECT_THAT(said.back(), HasSubstr("nobody can tell"));
  EXPECT_THAT(reviews.problem(), StartsWith("the API server is away"));
  api.pass(1min);
  check(token);
  api.answer("tokenreviews", away);
  EXPECT_THAT(said.back(), HasSubstr("nobody can tell"));
}

TEST_F(PeerTokens, WhatRbacForbidsIsSaid) {
  check(token_of(claims_of()));
  api.answer("tokenreviews", 403, {{"kind", "Status"}, {"code", 403}, {"message", "no"}});
  EXPECT_THAT(said.back(), HasSubstr("RBAC does not allow the agent to create tokenreviews"));
  EXPECT_THAT(reviews.problem(),
              StartsWith("RBAC does not allow the agent to create tokenreviews"));
}

}  // namespace
}  // namespace slogate
