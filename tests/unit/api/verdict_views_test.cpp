// SPDX-License-Identifier: Apache-2.0
// The verdict through the API, the CLI and the metrics.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/api/api.h"
#include "agent/canary/verdict_json.h"
#include "tests/support/exposition.h"
#include "tools/cli/events.h"
#include "tools/cli/gate_progress.h"
#include "tools/cli/verdicts.h"

namespace slogate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Snapshot snapshot_with(Decision decision) {
  Verdict verdict{.slo = "demo", .decision = decision, .message = "p99 of request: canary 31 ms"};
  verdict.rollout = "r1";
  verdict.log_e = 8.3;
  verdict.threshold = 6.9;
  verdict.outcomes_known = 0.75;
  verdict.shown = 0.9;
  verdict.expected_seconds = 240;
  verdict.rate = 18;
  verdict.objectives = {{.objective = "request against the baseline",
                         .log_e = 8.3,
                         .needed = true,
                         .levels = {{.quantile = 0.9, .log_proof = 3.5, .expected_seconds = 0},
                                    {.quantile = 0.99, .log_proof = 1.2, .expected_seconds = 240},
                                    {.quantile = 0.999, .needed = false}},
                         .expected_seconds = 240,
                         .canary = 0.031,
                         .baseline = 0.012,
                         .components = {{"p99/r2", 1.5, 0.1}}}};
  auto verdicts = std::make_shared<Verdicts>();
  SloStatus status;
  status.slo.name = "demo";
  status.slo.canary = std::vector{*Glob::parse("/demo/canary/**")};
  status.objectives = {"request against the baseline"};
  status.canary = {"/demo/canary/a"};
  verdicts->slos = {std::make_shared<const SloStatus>(status)};
  verdicts->list = {std::make_shared<const Verdict>(verdict)};
  Snapshot snapshot;
  snapshot.drop_reasons = std::make_shared<const std::vector<std::string>>();
  snapshot.verdicts = verdicts;
  snapshot.events =
      std::make_shared<const std::deque<Event>>(std::deque<Event>{{.id = 1,
                                                                   .time = {},
                                                                   .type = "verdict",
                                                                   .subject = "demo",
                                                                   .from = "hold",
                                                                   .to = "veto",
                                                                   .message = "slow"}});
  return snapshot;
}

HttpResponse ask(Decision decision, std::string path, Pairs query = {}, std::string method = "GET",
                 std::optional<Peer> peer = Peer{.uid = 7}) {
  HttpRequest request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.query = std::move(query);
  request.peer = peer;
  ApiActions actions;
  actions.reset = [](const std::string& slo) -> Result<std::string> { return "reset " + slo; };
  auto later = std::make_shared<const Snapshot>(snapshot_with(decision));
  actions.latest = [later] { return later; };
  return answer(request, *later, actions);
}

TEST(Gate, OpensForAPassAndForAHoldIfAllowed) {
  const Pairs allow = {{"allow", "hold"}};
  EXPECT_EQ(ask(Decision::Pass, "/v1/gate/demo").status, 200);
  EXPECT_EQ(ask(Decision::Hold, "/v1/gate/demo").status, 412);
  EXPECT_EQ(ask(Decision::Veto, "/v1/gate/demo").status, 412);
  EXPECT_EQ(ask(Decision::Hold, "/v1/gate/demo", allow).status, 200);
  EXPECT_EQ(ask(Decision::Veto, "/v1/gate/demo", allow).status, 412);
  EXPECT_EQ(ask(Decision::Veto, "/v1/gate/demo", {{"allow", "veto"}}).status, 400);
  EXPECT_EQ(ask(Decision::Pass, "/v1/gate/demo", {}, "POST").status, 200);
  EXPECT_EQ(ask(Decision::Pass, "/v1/gate/other").status, 404);
  const Json veto = Json::parse(ask(Decision::Veto, "/v1/gate/demo").body);
  EXPECT_EQ(veto["verdict"], "veto");
  EXPECT_EQ(veto["error"], "veto: p99 of request: canary 31 ms");
}

TEST(VerdictApi, OneAndAll) {
  const Json all = Json::parse(ask(Decision::Hold, "/v1/verdicts").body);
  const Json one = Json::parse(ask(Decision::Hold, "/v1/verdicts/demo").body);
  EXPECT_EQ(all, Json::array({one}));
  for (const char* key : {"slo", "verdict", "reason", "weight", "objectives", "samples", "log_e",
                          "outcomes_known", "threshold", "since", "rollout"})
    EXPECT_TRUE(one.contains(key)) << key;
  EXPECT_EQ(one["watched"], 1);
  EXPECT_EQ(one["outcomes_known"], 0.75);
  // For controllers, which come over TCP: controllers_test.cpp.
  EXPECT_EQ(ask(Decision::Hold, "/v1/verdicts/other").status, 404);
  const Json slos = Json::parse(ask(Decision::Hold, "/v1/slos").body);
  EXPECT_EQ(slos[0]["canary"], "/demo/canary/**");
  EXPECT_EQ(slos[0]["baseline"], nullptr);
  EXPECT_EQ(slos[0]["weight"],
            Json::parse(R"({"from": 5, "step": 5, "every_seconds": 30, "most": 100})"));
}

TEST(VerdictApi, OnlyRootResets) {
  const auto reset = [](const char* slo, std::optional<Peer> peer) {
    return ask(Decision::Veto, fmt::format("/v1/slos/{}/reset", slo), {}, "POST", peer).status;
  };
  EXPECT_EQ(reset("demo", Peer{.uid = 0}), 200);
  EXPECT_EQ(reset("demo", Peer{.uid = 7}), 403);
  EXPECT_EQ(reset("demo", std::nullopt), 403);
  EXPECT_EQ(reset("other", Peer{.uid = 0}), 404);
  EXPECT_EQ(ask(Decision::Veto, "/v1/slos/demo/reset").status, 405);
}

TEST(BreakerApi, IsForRootAloneOverTheSocket) {
  const auto post = [](const char* what, std::optional<Peer> peer, bool possible = true) {
    HttpRequest request;
    request.method = "POST";
    request.path = what;
    request.peer = peer;
    ApiActions actions;
    actions.admins = {7};
    if (possible)
      actions.breaker = [](const std::string& slo, bool open) -> Result<std::string> {
        return slo + (open ? " open" : " closed");
      };
    return answer(request, snapshot_with(Decision::Veto), actions);
  };
  EXPECT_EQ(Json::parse(post("/v1/slos/demo/breaker/open", Peer{.uid = 0}).body)["done"],
            "demo open");
  EXPECT_EQ(Json::parse(post("/v1/slos/demo/breaker/close", Peer{.uid = 0}).body)["done"],
            "demo closed");
  EXPECT_EQ(post("/v1/slos/demo/breaker/open", Peer{.uid = 7}).status, 403);
  EXPECT_EQ(post("/v1/slos/demo/breaker/open", std::nullopt).status, 403);
  EXPECT_EQ(post("/v1/slos/demo/breaker/open", Peer{.uid = 0}, false).status, 403);
  EXPECT_EQ(post("/v1/slos/other/breaker/open", Peer{.uid = 0}).status, 404);
  EXPECT_EQ(post("/v1/slos/demo/breaker", Peer{.uid = 0}).status, 404);
}

TEST(BreakerViews, SayHowItStands) {
  Snapshot snapshot = snapshot_with(Decision::Veto);
  const auto verdict = [&] {
    HttpRequest request;
    request.method = "GET";
    request.path = "/v1/verdicts/demo";
    request.peer = Peer{.uid = 7};
    return Json::parse(answer(request, snapshot, {}).body);
  };
  EXPECT_TRUE(verdict()["breaker"].is_null());
  EXPECT_THAT(support::text_of(snapshot), Not(HasSubstr("slogate_breaker")));
  EXPECT_THAT(cli::render_verdict(verdict(), {}), Not(HasSubstr("breaker")));
  BreakerStatus status{.slo = "demo",
                       .open = true,
                       .targets = {"shop/web-1"},
                       .since = std::chrono::system_clock::time_point{},
                       .until = std::chrono::system_clock::time_point{} + std::chrono::minutes(10),
                       .counts = {.refused = 12, .would_refuse = 3, .exempt = 4}};
  const auto show = [&] {
    snapshot.breakers = std::make_shared<const Breakers>(Breakers{{status}});
    return cli::render_verdict(verdict(), {});
  };
  EXPECT_THAT(show(), HasSubstr("breaker: open until 00:10:00 UTC: new connections to shop/web-1 "
                                "are refused; connections that were open go on; 12 were refused"));
  EXPECT_EQ(verdict()["breaker"]["state"], "open");
  EXPECT_EQ(verdict()["breaker"]["until"], "1970-01-01T00:10:00.000Z");
  const std::string metrics = support::text_of(snapshot);
  EXPECT_THAT(metrics, HasSubstr("slogate_breaker_open{slo=\"demo\"} 1"));
  EXPECT_THAT(metrics, HasSubstr("slogate_breaker_refused_total{slo=\"demo\"} 12"));
  EXPECT_THAT(metrics, HasSubstr("slogate_breaker_would_refuse_total{slo=\"demo\"} 3"));
  EXPECT_THAT(metrics, HasSubstr("slogate_breaker_exempt_total{slo=\"demo\"} 4"));
  status.dry_run = true;
  EXPECT_THAT(show(), HasSubstr("would be refused"));
  EXPECT_THAT(support::text_of(snapshot), HasSubstr("slogate_breaker_open{slo=\"demo\"} 0"));
  status = {.slo = "demo", .note = "its time is over"};
  EXPECT_THAT(show(), HasSubstr("breaker: closed; its time is over"));
}

TEST(EventApi, LinesAndWhatFollows) {
  const HttpResponse all = ask(Decision::Veto, "/v1/events");
  EXPECT_EQ(all.content_type, "application/x-ndjson");
  EXPECT_EQ(Json::parse(all.body)["subject"], "demo");
  EXPECT_FALSE(all.more);
  const HttpResponse on = ask(Decision::Veto, "/v1/events", {{"follow", "1"}});
  ASSERT_TRUE(on.more);
  EXPECT_EQ(on.more(), "");
  EXPECT_EQ(ask(Decision::Veto, "/v1/events", {{"follow", "yes"}}).status, 400);
}

TEST(VerdictMetrics, OneSeriesForEachThatThereCouldBe) {
  const std::string text = support::text_of(snapshot_with(Decision::Veto));
  EXPECT_THAT(text, HasSubstr("slogate_verdict{slo=\"demo\",verdict=\"veto\"} 1"));
  EXPECT_THAT(text, HasSubstr("slogate_verdict{slo=\"demo\",verdict=\"pass\"} 0"));
  EXPECT_THAT(text,
              HasSubstr("slogate_verdict_reason{reason=\"insufficient_samples\",slo=\"demo\"} 1"));
  EXPECT_THAT(text, Not(HasSubstr("slogate_verdict_reason{reason=\"proven\"")));
  EXPECT_THAT(text, HasSubstr("slogate_evidence_samples{arm=\"canary\",slo=\"demo\"} 0"));
  EXPECT_THAT(text, HasSubstr("slogate_verdict_expected_pass_seconds{slo=\"demo\"} 240"));
  EXPECT_THAT(text, HasSubstr("slogate_evidence_outcomes_known_ratio{slo=\"demo\"} 0.75"));
  EXPECT_THAT(text, HasSubstr("slogate_evidence_rollout{revision=\"r1\",slo=\"demo\"} 1"));
  EXPECT_THAT(text, HasSubstr("slogate_evidence_component{component=\"p99/r2\","));
}

// A verdict that was made beside three other nodes.
Verdict lent_verdict() {
  Verdict verdict{.slo = "demo"};
  verdict.lenders = {{.node = "a",
                      .state = LenderState::Lends,
                      .samples = 500,
                      .decision = Decision::Veto,
                      .log_e = 8},
                     {.node = "b", .state = LenderState::Silent, .samples = 400},
                     {.node = "c", .state = LenderState::Lends, .samples = 300}};
  return verdict;
}

TEST(VerdictMetrics, LendersAreCountedByState) {
  Snapshot snapshot = snapshot_with(Decision::Hold);
  EXPECT_THAT(support::text_of(snapshot), Not(HasSubstr("slogate_lenders{")));
  auto verdicts = std::make_shared<Verdicts>(*snapshot.verdicts);
  verdicts->list.front() = std::make_shared<const Verdict>(lent_verdict());
  snapshot.verdicts = verdicts;
  const std::string text = support::text_of(snapshot);
  EXPECT_THAT(text, HasSubstr("slogate_lenders{slo=\"demo\",state=\"lends\"} 2"));
  EXPECT_THAT(text, HasSubstr("slogate_lenders{slo=\"demo\",state=\"silent\"} 1"));
  EXPECT_THAT(text, HasSubstr("slogate_lenders{slo=\"demo\",state=\"asked\"} 0"));
}

TEST(VerdictJson, LendersComeBackFromTheStateDirectory) {
  const Json json = verdict_json(lent_verdict());
  EXPECT_EQ(json["lenders"][0],
            Json::parse(R"({"node": "a", "state": "lends", "samples": 500, "verdict": "veto",
                            "log_e": 8})"));
  const auto parsed = parse_verdict(json);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(dump(verdict_json(*parsed)), dump(json));
  Json old = json;
  old.erase("lenders");
  EXPECT_TRUE(parse_verdict(old)->lenders.empty());
  old["lenders"] = Json::parse(R"([{"node": "a", "state": "away", "samples": 1}])");
  EXPECT_FALSE(parse_verdict(old));
}

TEST(VerdictCli, LendersHaveATableOfTheirOwn) {
  const std::string text = cli::render_verdict(verdict_json(lent_verdict()), {});
  EXPECT_THAT(text, HasSubstr("LENDER"));
  EXPECT_THAT(text, HasSubstr("silent"));
  EXPECT_THAT(text, HasSubstr("1 : 2980"));
  EXPECT_THAT(cli::render_verdict(verdict_json(Verdict{}), {}), Not(HasSubstr("LENDER")));
}

TEST(VerdictMetrics, WhatIsNotTrustedSpeaksForTheCanaryAlone) {
  constexpr const char* part =
      "slogate_evidence_component{component=\"p99/r2\","
      "objective=\"request against the baseline\",revision=\"r1\","
      "slo=\"demo\"}";
  const auto exported = [&](Reason reason, double sum) {
    Snapshot snapshot = snapshot_with(Decision::Hold);
    Verdict verdict = *snapshot.verdicts->list.front();
    verdict.reason = reason;
    verdict.objectives.front().components.front().sum = sum;
    auto verdicts = std::make_shared<Verdicts>(*snapshot.verdicts);
    verdicts->list.front() = std::make_shared<const Verdict>(std::move(verdict));
    snapshot.verdicts = verdicts;
    return support::parse_text(support::text_of(snapshot)).at(part);
  };
  for (const Reason reason : {Reason::SamplesLost, Reason::Multiplexed, Reason::BaselineUnstable}) {
    EXPECT_EQ(exported(reason, 3), 0);
    EXPECT_EQ(exported(reason, -3), -3);
  }
  EXPECT_EQ(exported(Reason::InsufficientSamples, 3), 3);
  EXPECT_EQ(exported(Reason::Regressed, 3), 3);
}

TEST(VerdictMetrics, NamesTheWorkloadsOfAnArmAsTheirCountsAreNamed) {
  Snapshot snapshot = snapshot_with(Decision::Hold);
  snapshot.workloads = {support::workload("/demo/canary/a", {}, 1),
                        support::workload("/demo/canary/a", {}, 2),  // made again
                        support::workload("/demo/canary/b", {}, 3)};
  EXPECT_THAT(support::text_of(snapshot),
              HasSubstr("\nslogate_slo_workload{arm=\"canary\",cgroup=\"/demo/canary/a\","
                        "slo=\"demo\"} 1\n"));
  auto pod = std::make_shared<Pod>();
  pod->namespace_ = "shop";
  pod->name = "web-1";
  snapshot.workloads.edit().pop_back();
  snapshot.workloads.edit().pop_back();
  snapshot.workloads.edit()[0].pod = {.pod = pod, .container = "app"};
  EXPECT_THAT(support::text_of(snapshot),
              HasSubstr("\nslogate_slo_workload{arm=\"canary\",container=\"app\","
                        "namespace=\"shop\",pod=\"web-1\",slo=\"demo\"} 1\n"));
}

// ---- the CLI ----

cli::Fetch fetch_of(Decision decision) {
  return [decision](const std::string& target) -> cli::Outcome<cli::Json> {
    const HttpResponse response = ask(decision, target);
    return cli::parse_answer(static_cast<unsigned>(response.status), response.body);
  };
}

int gate(Decision decision, bool wait = false, std::string slo = "demo") {
  size_t looks = 0;
  const auto outcome = cli::pass_gate(
      fetch_of(decision),
      {.slo = std::move(slo), .wait = wait, .timeout = std::chrono::milliseconds(20)}, {},
      [&looks](std::chrono::milliseconds) { ++looks; }, [](std::string_view) {});
  return outcome ? outcome->exit : outcome.error().exit;
}

TEST(GateCommand, ExitCodes) {
  EXPECT_EQ(gate(Decision::Pass), 0);
  EXPECT_EQ(gate(Decision::Veto), 1);
  EXPECT_EQ(gate(Decision::Hold), 2);
  EXPECT_EQ(gate(Decision::Hold, true), 2);  // when the time is over
  EXPECT_EQ(gate(Decision::Veto, true), 1);
  EXPECT_EQ(gate(Decision::Pass, false, "other"), 64);
}

TEST(GateCommand, NothingThatFailsLooksLikeAVeto) {
  for (const cli::Exit exit : {cli::kFailed, cli::kUnreachable}) {
    const cli::Fetch fetch = [exit](const std::string&) -> cli::Outcome<cli::Json> {
      return cli::fail(exit, "no");
    };
    const auto outcome = cli::pass_gate(fetch, {.slo = "demo", .timeout = {}}, {}, {}, {});
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().exit, cli::kUnreachable);
  }
}

TEST(GateCommand, SaysHowItGoesWhileItWaits) {
  std::string noted;
  const auto note = [&noted](std::string_view lines) { noted += lines; };
  const auto waited = [&](bool quiet) {
    return cli::pass_gate(
        fetch_of(Decision::Hold),
        {.slo = "demo", .wait = true, .timeout = std::chrono::milliseconds(20), .quiet = quiet}, {},
        [](std::chrono::milliseconds) {}, note);
  };
  EXPECT_EQ(waited(true)->exit, cli::kHold);
  EXPECT_EQ(noted, "");
  EXPECT_EQ(waited(false)->exit, cli::kHold);
  EXPECT_THAT(noted, HasSubstr("demo: hold after 0 s: p99 of request"));
  // Nothing changed, so it is one line, and one that the time will not do.
  EXPECT_EQ(std::ranges::count(noted, '\n'), 2) << noted;
  EXPECT_THAT(noted,
              HasSubstr("a pass takes about 4 min more at this rate, and the timeout is in"));
}

Json held(std::optional<double> expected, double samples, std::string_view reason) {
  return {{"slo", "demo"},
          {"verdict", "hold"},
          {"reason", reason},
          {"message", "m"},
          {"expected_seconds", expected ? Json(*expected) : Json()},
          {"samples", {{"canary", samples}}},
          {"block_seconds", 0.25}};
}

TEST(GateProgress, OneLineAChangeAndAtMostEveryFewSeconds) {
  using std::chrono::minutes;
  using std::chrono::seconds;
  cli::GateProgress progress(seconds(3));
  const auto look = [&](double expected, int at) {
    return progress.look(held(expected, at, "insufficient_samples"), seconds(at), minutes(10));
  };
  EXPECT_EQ(look(240, 0), "demo: hold after 0 s: m\n");
  EXPECT_EQ(look(238, 10), "") << "about 4 min as before";
  EXPECT_EQ(look(180, 20), "demo: hold after 20 s: m\n");
  EXPECT_EQ(look(120, 21), "") << "too soon";
  EXPECT_EQ(look(120, 23), "demo: hold after 23 s: m\n");
}

TEST(GateProgress, ATimeoutThatWillNotDoIsSaidAtOnceAndOnce) {
  using std::chrono::minutes;
  using std::chrono::seconds;
  cli::GateProgress progress(minutes(1));
  const auto look = [&](std::optional<double> expected, int at, double samples) {
    return progress.look(held(expected, samples, "insufficient_samples"), seconds(at), minutes(5));
  };
  look(290, 0, 1);
  EXPECT_THAT(look(1500, 1, 2), HasSubstr("about 25 min more at this rate, and the timeout is in "
                                          "about 5 min: state absolute objectives, wait longer "
                                          "(--timeout) or add synthetic load"));
  EXPECT_EQ(look(1400, 2, 3), "");
  EXPECT_EQ(look(280, 3, 4), "") << "by chance";
  EXPECT_EQ(look(1400, 4, 5), "");
  look(100, 5, 6);
  EXPECT_THAT(look(1400, 6, 7), HasSubstr("synthetic load")) << "it fitted meanwhile";
}

TEST(GateProgress, NoTrafficIsSaidAfterAMoment) {
  using std::chrono::minutes;
  using std::chrono::seconds;
  cli::GateProgress progress(minutes(1));
  const auto look = [&](int at, std::string_view reason) {
    return progress.look(held(std::nullopt, 7, reason), seconds(at), minutes(5));
  };
  look(0, "no_canary");
  EXPECT_EQ(look(6, "no_canary"), "") << "that is another matter";
  cli::GateProgress quiet(minutes(1));
  const auto still = [&](int at) {
    return quiet.look(held(std::nullopt, 7, "insufficient_samples"), seconds(at), minutes(5));
  };
  EXPECT_THAT(still(0), Not(HasSubstr("synthetic")));
  EXPECT_EQ(still(4), "");
  EXPECT_THAT(still(5), HasSubstr("no request of the canary for 5 s, and the timeout"));
  EXPECT_EQ(still(60), "");
}

TEST(GateCommand, ExplainsWhatAPassNeeds) {
  const auto explained = cli::pass_gate(
      fetch_of(Decision::Hold), {.slo = "demo", .timeout = {}, .explain = true}, {}, {}, {});
  ASSERT_TRUE(explained);
  EXPECT_EQ(explained->exit, cli::kHold);
  const std::string& text = explained->text;
  EXPECT_THAT(text, HasSubstr("request latency is shown to hold up to p90\n"));
  EXPECT_THAT(text, HasSubstr("18 canary samples/s of late\n"));
  EXPECT_THAT(text, ::testing::ContainsRegex("p90 +shown +3.5 of 3.0 +- +-"));
  EXPECT_THAT(text,
              ::testing::ContainsRegex("p99 +not shown +1.2 of 3.0 +about 4,300 +about 4 min"));
  EXPECT_THAT(text, ::testing::ContainsRegex("p99.9 +not needed at this rate"));
}

TEST(VerdictCommand, SaysItInASentence) {
  const auto all = cli::show_verdicts(fetch_of(Decision::Veto), "", {});
  ASSERT_TRUE(all);
  EXPECT_THAT(all->text, HasSubstr("demo: veto: p99 of request: canary 31 ms"));
  const auto one = cli::show_verdicts(fetch_of(Decision::Veto), "demo", {});
  ASSERT_TRUE(one);
  EXPECT_THAT(one->text, HasSubstr("request against the baseline"));
  EXPECT_THAT(one->text, HasSubstr("31 ms"));
  EXPECT_THAT(cli::show_slos(fetch_of(Decision::Veto), {})->text, HasSubstr("/demo/canary/a"));
}

TEST(VerdictCommand, SaysWhatShareItRestsOn) {
  Json verdict = Json::parse(ask(Decision::Hold, "/v1/verdicts/demo").body);
  EXPECT_THAT(cli::render_verdict(verdict, {}), Not(HasSubstr("watched")));
  verdict["watched"] = 0.25;
  EXPECT_THAT(cli::render_verdict(verdict, {}),
              HasSubstr("only 25.0 % of the connections are watched"));
}

TEST(EventsCommand, FollowsWithoutRepeating) {
  std::vector<std::string> shown;
  int asked = 0;
  const cli::FetchText fetch = [&asked](const std::string&) -> cli::Outcome<std::string> {
    if (++asked == 4) return cli::fail(cli::kFailed, "enough");
    std::string lines = R"({"id": 1, "type": "verdict", "subject": "demo", "to": "hold"})"
                        "\n";
    if (asked == 3)
      lines += R"({"id": 2, "type": "verdict", "subject": "demo", "to": "veto"})"
               "\n";
    return lines;
  };
  const auto done = cli::show_events(
      fetch, true, {}, [](std::chrono::milliseconds) {},
      [&shown](std::string_view text) { return shown.emplace_back(text), true; });
  EXPECT_FALSE(done);
  ASSERT_EQ(shown.size(), 2u);
  EXPECT_THAT(shown[1], HasSubstr("veto"));
  EXPECT_THAT(shown[1], Not(HasSubstr("hold")));
}

}  // namespace
}  // namespace slogate
