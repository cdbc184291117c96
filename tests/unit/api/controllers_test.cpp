// SPDX-License-Identifier: Apache-2.0
// What Argo Rollouts and Flagger are told, and what they make of it.
#include "agent/api/controllers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/api/api.h"
#include "agent/api/views_json.h"
#include "tests/support/controller.h"

namespace slogate {
namespace {

using support::ArgoConditions;
using support::ArgoPhase;
using support::GoAnswer;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kSlo = "production.payment-api";
constexpr const char* kRollout = "7d9fc6b8d5-2";

Snapshot snapshot_with(Decision decision) {
  Verdict verdict{.slo = kSlo, .decision = decision, .message = "p99 of request: canary 31 ms"};
  verdict.rollout = kRollout;
  verdict.log_e = std::numeric_limits<double>::quiet_NaN();
  Verdict other{.slo = "alone", .decision = Decision::Veto, .message = "slow"};
  auto verdicts = std::make_shared<Verdicts>();
  verdicts->slos.resize(2);
  verdicts->list = {std::make_shared<const Verdict>(verdict),
                    std::make_shared<const Verdict>(other)};
  Snapshot snapshot;
  snapshot.drop_reasons = std::make_shared<const std::vector<std::string>>();
  snapshot.verdicts = verdicts;
  return snapshot;
}

// Over TCP, where nobody has credentials.
HttpResponse ask(const Snapshot& snapshot, std::string method, std::string path, Pairs query = {},
                 std::string body = "") {
  HttpRequest request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.query = std::move(query);
  request.body = std::move(body);
  return answer(request, snapshot);
}

// ---- Argo Rollouts ----

const ArgoConditions kVeto{.success = {}, .failure = "veto"};
const ArgoConditions kGate{.success = "pass", .failure = "veto"};
const ArgoConditions kNaive{.success = "pass", .failure = {}};

ArgoPhase measure(Decision decision, const ArgoConditions& conditions,
                  const std::string& slo = kSlo, Pairs query = {}) {
  const HttpResponse response =
      ask(snapshot_with(decision), "GET", "/v1/verdicts/" + slo, std::move(query));
  EXPECT_TRUE(Json::accept(response.body)) << response.body;
  return to_argo_phase({.status = response.status, .body = response.body}, conditions);
}

TEST(ArgoWeb, VetoAbortsAndHoldWaits) {
  EXPECT_EQ(measure(Decision::Pass, kVeto), ArgoPhase::Successful);
  EXPECT_EQ(measure(Decision::Hold, kVeto), ArgoPhase::Successful);
  EXPECT_EQ(measure(Decision::Veto, kVeto), ArgoPhase::Failed);
  EXPECT_EQ(measure(Decision::Pass, kGate), ArgoPhase::Successful);
  EXPECT_EQ(measure(Decision::Hold, kGate), ArgoPhase::Inconclusive);
  EXPECT_EQ(measure(Decision::Veto, kGate), ArgoPhase::Failed);
}

TEST(ArgoWeb, WhatIsNotKnownHolds) {
  EXPECT_EQ(measure(Decision::Veto, kGate, "nothing"), ArgoPhase::Inconclusive);
  EXPECT_EQ(measure(Decision::Veto, kVeto, "nothing"), ArgoPhase::Successful);
  const Json json =
      Json::parse(ask(snapshot_with(Decision::Veto), "GET", "/v1/verdicts/no\"x").body);
  EXPECT_EQ(json["verdict"], "hold");
  EXPECT_EQ(json["reason"], "no_canary");
  EXPECT_THAT(json["message"].get<std::string>(), HasSubstr("no\"x"));
}

TEST(ArgoWeb, AVerdictIsAboutOneRevision) {
  const auto with = [](const char* revision) {
    return measure(Decision::Veto, kGate, kSlo, {{"revision", revision}});
  };
  EXPECT_EQ(with("7d9fc6b8d5"), ArgoPhase::Failed);
  EXPECT_EQ(with(kRollout), ArgoPhase::Failed);
  for (const char* other : {"7d9fc6b8d", "7d9fc6b8d5-", "7d9fc6b8d5-22", "58f6d7", ""})
    EXPECT_EQ(with(other), ArgoPhase::Inconclusive) << other;
  EXPECT_EQ(measure(Decision::Pass, kGate, kSlo, {{"revision", "x"}}), ArgoPhase::Inconclusive);
  EXPECT_EQ(measure(Decision::Pass, kGate, kSlo, {{"revison", "x"}}), ArgoPhase::Error);
}

// Why the API answers as it does: what Argo would make of other answers.
TEST(ArgoWeb, Rules) {
  const auto phase = [](int status, const char* body, const ArgoConditions& conditions) {
    return to_argo_phase({.status = status, .body = body}, conditions);
  };
  for (const int status : {302, 404, 412, 500, 503})
    EXPECT_EQ(phase(status, R"({"verdict": "veto"})", kVeto), ArgoPhase::Error) << status;
  EXPECT_EQ(to_argo_phase({.error = "timeout"}, kVeto), ArgoPhase::Error);
  EXPECT_EQ(phase(200, "{}", kVeto), ArgoPhase::Error);
  EXPECT_EQ(phase(200, "[]", kVeto), ArgoPhase::Error);
  EXPECT_EQ(phase(200, R"({"verdict": null})", kVeto), ArgoPhase::Successful);
  for (const char* text :
       {"", "busy", R"({"verdict": "veto", "log_e": NaN})", R"({"verdict": "ve)"}) {
    EXPECT_EQ(phase(200, text, kNaive), ArgoPhase::Failed) << text;
    EXPECT_EQ(phase(200, text, kVeto), ArgoPhase::Successful) << text;
    EXPECT_EQ(phase(204, text, kGate), ArgoPhase::Inconclusive) << text;
  }
}

// ---- Flagger ----

constexpr const char* kBody = R"({"name": "payment-api", "namespace": "production",
    "phase": "Progressing", "checksum": "8b4c9"})";

HttpResponse call(Decision decision, const std::string& hook, std::string body = kBody) {
  return ask(snapshot_with(decision), "POST", "/flagger/" + hook, {}, std::move(body));
}

struct HookCase {
  const char* name;
  int pass, hold, veto;
};
constexpr HookCase kCases[] = {
    {"confirm-rollout", 200, 200, 200},   {"pre-rollout", 200, 200, 200},
    {"rollout", 200, 200, 412},           {"confirm-traffic-increase", 200, 412, 412},
    {"confirm-promotion", 200, 412, 412}, {"rollback", 409, 409, 200},
    {"post-rollout", 200, 200, 200},      {"event", 200, 200, 200}};

TEST(Flagger, EachWebhookHasItsPolarity) {
  for (const auto& [name, pass, hold, veto] : kCases) {
    EXPECT_EQ(call(Decision::Pass, name).status, pass) << name;
    EXPECT_EQ(call(Decision::Hold, name).status, hold) << name;
    EXPECT_EQ(call(Decision::Veto, name).status, veto) << name;
    // What is not known is as a hold.
    const char* unknown = R"({"name": "x", "namespace": "y"})";
    EXPECT_EQ(call(Decision::Veto, name, unknown).status, hold) << name;
  }
}

TEST(Flagger, NothingButAVetoRollsBack) {
  for (const char* body :
       {"", "null", "[]", "{}", "{", R"({"name": "payment-api"})",
        R"({"name": 1, "namespace": ""})", R"({"name": "a", "namespace": "b", "metadata": []})",
        R"({"name": "a", "namespace": "b", "metadata": {"slo": 7}})",
        R"({"name": "a\nb", "namespace": "production"})"})
    for (const HookCase& hook : kCases)
      EXPECT_EQ(call(Decision::Veto, hook.name, body).status, 400) << hook.name << body;
  for (const char* path : {"/flagger/rollback/", "/flagger/", "/flagger", "/rollback",
                           "/flagger/Rollback", "/flagger/rollback/x"})
    EXPECT_EQ(ask(snapshot_with(Decision::Veto), "POST", path, {}, kBody).status, 404) << path;
  EXPECT_EQ(
      ask(snapshot_with(Decision::Veto), "POST", "/flagger/rollback", {{"a", ""}}, kBody).status,
      400);
  for (const HookCase& hook : kCases)
    for (const char* method : {"GET", "PUT", "DELETE"})
      EXPECT_EQ(
          ask(snapshot_with(Decision::Veto), method, fmt::format("/flagger/{}", hook.name)).status,
          405);
}

TEST(Flagger, TheSloIsNamedOrFollowsFromTheCanary) {
  const auto rollback = [](const char* body) {
    return call(Decision::Pass, "rollback", body).status;
  };
  EXPECT_EQ(rollback(R"({"name": "x", "namespace": "y", "metadata": {"slo": "alone"}})"), 200);
  EXPECT_EQ(rollback(R"({"name": "alone", "namespace": "y", "metadata": {"a": "b"}})"), 200);
  EXPECT_EQ(rollback(R"({"name": "alone", "namespace": "y", "metadata": null})"), 200);
  // What is named and not known is not replaced by something else.
  EXPECT_EQ(rollback(R"({"name": "alone", "namespace": "y", "metadata": {"slo": "x"}})"), 409);
  EXPECT_EQ(rollback(kBody), 409);
}

TEST(Flagger, RefusalsAreOneLineOfText) {
  const HttpResponse veto = call(Decision::Veto, "rollout");
  EXPECT_EQ(veto.body, "veto: p99 of request: canary 31 ms");
  EXPECT_THAT(veto.content_type, HasSubstr("text/plain"));
  for (const char* body : {"{", kBody, R"({"name": "x", "namespace": "y"})"})
    EXPECT_THAT(call(Decision::Hold, "confirm-promotion", body).body, Not(HasSubstr("\n")));
  EXPECT_EQ(Json::parse(call(Decision::Veto, "rollback").body)["verdict"], "veto");
}

TEST(Flagger, Rules) {
  for (const int status : {200, 201, 202}) EXPECT_TRUE(support::is_yes({.status = status}));
  for (const int status : {203, 204, 301, 409, 412, 503})
    EXPECT_FALSE(support::is_yes({.status = status}));
  EXPECT_FALSE(support::is_yes({.error = "timeout"}));
}

}  // namespace
}  // namespace slogate
