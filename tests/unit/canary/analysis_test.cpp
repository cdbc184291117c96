// SPDX-License-Identifier: Apache-2.0
// From workloads to verdicts, events and what is kept on disk.
#include "agent/canary/analysis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "agent/canary/state_dir.h"
#include "agent/canary/verdict_json.h"
#include "agent/events.h"
#include "tests/support/replay.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using support::Sampler;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

Slo slo_of(const char* canary, const char* baseline) {
  Slo slo = support::default_slo(0.001);
  slo.name = "demo";
  slo.canary = std::vector{*Glob::parse(canary)};
  if (baseline != nullptr) slo.baseline = std::vector{*Glob::parse(baseline)};
  slo.warmup = 0s;
  return slo;
}

// Cgroups that count, and an analysis that is told of them every 250 ms.
class Node {
 public:
  explicit Node(const Slo& slo) { analysis.set_slos({slo}, now); }

  void add(uint64_t id, const std::string& path) {
    Workload row;
    row.id = id;
    row.path = path;
    row.service = std::make_shared<const Counts>();
    rows.push_back(std::move(row));
  }
  void answer(size_t row, const Sampler& sampler, size_t requests = 250) {
    auto counts = std::make_shared<Counts>(*rows[row].service);
    sampler.draw(random, requests, counts->histograms[SLOGATE_SIGNAL_request]);
    rows[row].service = std::move(counts);
  }
  void step(std::chrono::nanoseconds time = 250ms) {
    now.monotonic += time;
    now.system += std::chrono::duration_cast<std::chrono::system_clock::duration>(time);
    analysis.tick(rows, now);
  }
  const Verdict& verdict() { return *analysis.verdicts()->list.front(); }

  CanaryAnalysis analysis;
  std::vector<Workload> rows;
  TickTime now{std::chrono::sys_days(std::chrono::year(2026) / 11 / 21), 1h};
  std::mt19937_64 random{3};
};

// Ends in a veto.
void make_bad(Node& node) {
  const Sampler good(support::lognormal()), bad(support::scaled(support::lognormal(), 4));
  node.add(1, "/demo/canary/a");
  node.add(2, "/demo/stable/a");
  for (int i = 0; i < 400 && node.verdict().decision != Decision::Veto; ++i) {
    node.answer(0, bad);
    node.answer(1, good);
    node.step();
  }
  ASSERT_EQ(node.verdict().decision, Decision::Veto) << node.verdict().message;
}

TEST(WithoutBaseline, IsWhereItIsSilentOrGone) {
  const Sampler good(support::lognormal());
  Node node(slo_of("/demo/canary/**", "/demo/stable/**"));
  node.add(1, "/demo/canary/a");
  node.add(2, "/demo/stable/a");
  const auto pass_seconds = [&node, &good](int seconds, bool baseline) {
    for (int i = 0; i < seconds * 4; ++i) {
      node.answer(0, good);
      if (baseline) node.answer(1, good);
      node.step();
    }
    return node.analysis.without_baseline();
  };
  EXPECT_THAT(pass_seconds(20, true), IsEmpty());
  EXPECT_THAT(pass_seconds(5, false), IsEmpty()) << "a pause";
  EXPECT_THAT(pass_seconds(20, false), ElementsAre("demo"));
  EXPECT_THAT(pass_seconds(20, true), IsEmpty()) << "it is back";
  node.rows[1].gone = true;
  EXPECT_THAT(pass_seconds(2, false), ElementsAre("demo"));
  Slo uncompared = slo_of("/demo/canary/**", nullptr);
  uncompared.baseline.reset();
  Node alone(uncompared);
  alone.add(1, "/demo/canary/a");
  alone.step();
  EXPECT_THAT(alone.analysis.without_baseline(), IsEmpty()) << "it never had one to lack";
}

TEST(Arms, WhatBothSelectorsMatchIsTheCanarys) {
  Node node(slo_of("/demo/canary/**", "/demo/**"));
  node.add(1, "/demo/canary/a");
  node.add(2, "/demo/stable");
  node.add(3, "/other");
  node.add(4, "");
  node.step();
  const auto verdicts = node.analysis.verdicts();
  EXPECT_THAT(verdicts->slos[0]->canary, ElementsAre("/demo/canary/a"));
  EXPECT_THAT(verdicts->slos[0]->baseline, ElementsAre("/demo/stable"));
}

TEST(Arms, ACountThatFellIsAnotherLife) {
  Counts before, now;
  before.counters[0] = 5;
  now.counters[0] = 7;
  EXPECT_EQ(added(now, before)->counters[0], 2u);
  now.counters[1] = 1;
  before.counters[1] = 2;
  EXPECT_FALSE(added(now, before));
}

TEST(Arms, TheYoungAreNotJudged) {
  Slo slo = slo_of("/canary", "/stable");
  slo.warmup = 30s;
  Arms arms(slo);
  Node node(slo);
  node.add(1, "/canary");
  const Sampler good(support::lognormal());
  const auto judged_at = [&](std::chrono::nanoseconds time) {
    node.answer(0, good);
    arms.look(node.rows, {.system = {}, .monotonic = time});
    const Observation seen =
        arms.read({{1, {node.rows[0].service}}}, {.system = {}, .monotonic = time});
    return std::pair(seen.canary.warming, count(seen.canary.added.histograms[0]));
  };
  EXPECT_EQ(judged_at(100s), std::pair(size_t{1}, uint64_t{0}));
  EXPECT_EQ(judged_at(129s), std::pair(size_t{1}, uint64_t{0}));
  EXPECT_EQ(judged_at(130s), std::pair(size_t{0}, uint64_t{250}));
}

TEST(Arms, OfAnSloForAPortAreJudgedByThatPortAlone) {
  Slo slo = slo_of("/canary", nullptr);
  slo.port = 8080;
  Arms arms(slo);
  Node node(slo);
  node.add(1, "/canary");
  Workload& row = node.rows[0];
  const Sampler good(support::lognormal());
  const auto judged = [&] {
    arms.look(node.rows, {});
    ServiceCounts counts{row.service};
    for (const PortShare& share : row.ports) counts.ports.emplace(share.port, share.counts);
    const Observation seen = arms.read({{1, counts}}, {});
    return std::pair(count(seen.canary.added.histograms[0]), seen.canary.overdue);
  };
  row.client.overdue = {2s};
  node.answer(0, good);
  EXPECT_EQ(judged(), std::pair(uint64_t{0}, size_t{0}));
  // The first connection to the port comes when the cgroup is known already.
  row.ports = {{.port = 8080, .counts = row.service, .server = {.overdue = {1s, 2s}}},
               {.port = 9090, .counts = row.service}};
  EXPECT_EQ(judged(), std::pair(uint64_t{250}, size_t{2}));
  node.answer(0, good);
  EXPECT_EQ(judged().first, 0u);
}

TEST(Arms, AnIdThatIsUsedAgainIsAnotherCgroup) {
  Arms arms(slo_of("/canary", "/stable"));
  Node node(slo_of("/canary", "/stable"));
  node.add(1, "/canary");
  const Sampler good(support::lognormal());
  const auto canary = [&] {
    node.answer(0, good);
    arms.look(node.rows, {});
    return count(arms.read({{1, {node.rows[0].service}}}, {}).canary.added.histograms[0]);
  };
  canary();
  EXPECT_EQ(canary(), 250u);
  node.rows[0].path = "/other";
  EXPECT_EQ(canary(), 0u);
  EXPECT_THAT(arms.canary(), IsEmpty());
  // Also one that was in neither arm.
  node.rows[0].path = "/canary";
  canary();
  EXPECT_THAT(arms.canary(), ElementsAre("/canary"));
}

// Somebody sets the clock, or the machine sleeps: only CLOCK_MONOTONIC counts.
TEST(CanaryAnalysis, StepsOfTheRealTimeChangeNoVerdict) {
  Node steady(slo_of("/demo/canary/**", "/demo/stable/**"));
  Node stepped(slo_of("/demo/canary/**", "/demo/stable/**"));
  const Sampler good(support::lognormal()), bad(support::scaled(support::lognormal(), 4));
  for (Node* node : {&steady, &stepped}) {
    node->add(1, "/demo/canary/a");
    node->add(2, "/demo/stable/a");
  }
  for (int i = 0; i < 400 && steady.verdict().decision != Decision::Veto; ++i) {
    stepped.now.system += i % 3 == 0 ? -25h : 8h;
    for (Node* node : {&steady, &stepped}) {
      node->answer(0, bad);
      node->answer(1, good);
      node->step();
    }
    ASSERT_EQ(steady.verdict().decision, stepped.verdict().decision) << i;
    ASSERT_EQ(steady.verdict().log_e, stepped.verdict().log_e) << i;
  }
  EXPECT_EQ(stepped.verdict().decision, Decision::Veto);
}

TEST(CanaryAnalysis, AnEmptyCanarySetEndsTheRollout) {
  Node node(slo_of("/demo/canary/**", "/demo/stable/**"));
  make_bad(node);
  const std::string rollout = node.verdict().rollout;
  const Workload canary = node.rows[0];
  node.rows.erase(node.rows.begin());
  node.step(30s);
  node.step(59s);
  EXPECT_EQ(node.verdict().decision, Decision::Veto);
  node.step(1s);
  EXPECT_EQ(node.verdict().decision, Decision::Hold);
  EXPECT_EQ(node.verdict().reason, Reason::NoCanary);
  EXPECT_NE(node.verdict().rollout, rollout);
}

TEST(CanaryAnalysis, ResetBeginsARolloutAndSaysSo) {
  Node node(slo_of("/demo/canary/**", "/demo/stable/**"));
  make_bad(node);
  (void)node.analysis.take_changes();
  EXPECT_TRUE(node.analysis.reset("demo", node.now));
  EXPECT_FALSE(node.analysis.reset("other", node.now));
  const auto changes = node.analysis.take_changes();
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].from, "");
  EXPECT_EQ(changes[0].now->decision, Decision::Hold);
}

// It was hold before, so no change of the decision tells of it.
TEST(CanaryAnalysis, ABoundOnWhatCannotBeKnownIsReportedOnceARollout) {
  Slo slo = slo_of("/demo/canary/**", nullptr);
  slo.baseline.reset();
  slo.objectives = {RatioObjective{RatioSignal::Errors, 0.01, {}}};
  Node node(slo);
  node.add(1, "/demo/canary/a");
  (void)node.analysis.take_changes();
  const auto answer = [&node] {
    for (int i = 0; i < 60; ++i) {
      auto counts = std::make_shared<Counts>(*node.rows[0].service);
      counts->histograms[SLOGATE_SIGNAL_request][40] += 100;
      counts->counters[SLOGATE_COUNTER_server_tls_unknown] += 100;
      node.rows[0].service = std::move(counts);
      node.step(1s);
    }
  };
  answer();
  const auto changes = node.analysis.take_changes();
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].from, "hold");
  EXPECT_EQ(changes[0].now->reason, Reason::OutcomesUnknown);
  answer();
  EXPECT_THAT(node.analysis.take_changes(), IsEmpty());
  EXPECT_TRUE(node.analysis.reset("demo", node.now));
  answer();
  EXPECT_EQ(node.analysis.take_changes().size(), 2u) << "the rollout, and that it is blind";
}

TEST(CanaryAnalysis, LooserObjectivesDoNotLiftAVeto) {
  Node node(slo_of("/demo/canary/**", "/demo/stable/**"));
  make_bad(node);
  Slo looser = slo_of("/demo/canary/**", "/demo/stable/**");
  looser.objectives = {LatencyObjective{SLOGATE_SIGNAL_request, 0.99, {}, 10s}};
  node.analysis.set_slos({looser}, node.now);
  EXPECT_EQ(node.verdict().decision, Decision::Veto);
  node.analysis.set_slos({slo_of("/demo/canary2/**", "/demo/stable/**")}, node.now);
  EXPECT_EQ(node.verdict().decision, Decision::Hold);
}

// What is said of an SLO changes with its text, and no evidence is lost over it.
TEST(CanaryAnalysis, OtherStepsOfTheWeightLeaveTheEvidence) {
  const Sampler good(support::lognormal());
  Slo slo = slo_of("/demo/canary/**", "/demo/stable/**");
  Node node(slo);
  node.add(1, "/demo/canary/a");
  node.add(2, "/demo/stable/a");
  const auto run = [&](int readings) {
    for (int i = 0; i < readings; ++i) {
      node.answer(0, good);
      node.answer(1, good);
      node.step();
    }
  };
  run(400);
  ASSERT_EQ(node.verdict().decision, Decision::Pass) << node.verdict().message;
  const size_t blocks = node.verdict().blocks;
  const double before = node.verdict().traffic_weight;
  slo.weight = {.from = 5, .step = 40, .most = 90, .every = 1s};
  node.analysis.set_slos({slo}, node.now);
  EXPECT_EQ(node.analysis.verdicts()->slos.front()->slo.weight, slo.weight);
  run(200);
  EXPECT_GT(node.verdict().blocks, blocks);
  EXPECT_EQ(node.verdict().traffic_weight, 90) << "from " << before;
}

TEST(CanaryAnalysis, NotesAreThoseOfTheLastConfiguration) {
  Slo slo = slo_of("/demo/canary/**", "/demo/stable/**");
  slo.notes = {"old"};
  Node node(slo);
  make_bad(node);
  EXPECT_THAT(node.analysis.verdicts()->slos.front()->notes, ElementsAre("old"));
  slo.notes.clear();
  node.analysis.set_slos({slo}, node.now);
  EXPECT_THAT(node.analysis.verdicts()->slos.front()->notes, IsEmpty());
  EXPECT_EQ(node.verdict().decision, Decision::Veto);
}

class StateDirTest : public ::testing::Test {
 protected:
  StateDirTest() {
    std::string name = (fs::temp_directory_path() / "slogate-state-XXXXXX").string();
    path_ = ::mkdtemp(name.data()) != nullptr ? name : "";
  }
  ~StateDirTest() override { fs::remove_all(path_); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ + "/" + name, std::ios::binary) << text;
  }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream file(path_ + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string path_;
};

TEST_F(StateDirTest, AVetoComesBackWithItsEvidence) {
  Node node(slo_of("/demo/canary/**", "/demo/stable/**"));
  make_bad(node);
  const auto state = StateDir::open(path_ + "/deep/er");
  ASSERT_TRUE(state);
  EXPECT_THAT(*state->read_vetoes(), IsEmpty());
  ASSERT_TRUE(state->write_vetoes(node.analysis.vetoes()));

  Node after(slo_of("/demo/canary/**", "/demo/stable/**"));
  const auto vetoes = state->read_vetoes();
  ASSERT_TRUE(vetoes) << vetoes.error().line();
  EXPECT_EQ(after.analysis.restore(*vetoes), 1u);
  EXPECT_EQ(verdict_json(after.verdict()).dump(), verdict_json(node.verdict()).dump());
  EXPECT_THAT(after.analysis.take_changes(), IsEmpty());
  Node other(slo_of("/demo/canary2/**", "/demo/stable/**"));
  EXPECT_EQ(other.analysis.restore(*vetoes), 0u);
}

// One that passed, and goes up.
Slo rising_slo(const char* canary) {
  Slo slo = slo_of(canary, "/demo/stable/**");
  slo.weight = {.from = 5, .step = 24, .most = 100, .every = 3s};
  return slo;
}
double make_rise(Node& node, uint64_t canary) {
  const Sampler good(support::lognormal());
  node.add(canary, "/demo/canary/a");
  node.add(2, "/demo/stable/a");
  for (int i = 0; i < 1200 && node.verdict().traffic_weight < 50; ++i) {
    node.answer(0, good);
    node.answer(1, good);
    node.step();
  }
  EXPECT_GE(node.verdict().traffic_weight, 50) << node.verdict().message;
  return node.verdict().traffic_weight;
}
// What an agent says of these weights that begins beside a canary of this id, at its first look.
double weight_after(const Slo& slo, std::vector<KeptWeight> weights, uint64_t canary) {
  Node after(slo);
  after.analysis.restore_weights(std::move(weights));
  EXPECT_EQ(after.verdict().traffic_weight, slo.weight.from) << "nobody has been seen yet";
  after.step();
  EXPECT_EQ(after.verdict().traffic_weight, slo.weight.from) << "the canary is not there yet";
  after.add(canary, "/demo/canary/a");
  after.add(2, "/demo/stable/a");
  after.step();
  return after.verdict().traffic_weight;
}

TEST_F(StateDirTest, BreakersThatWereClosedByHandAreKept) {
  const auto state = StateDir::open(path_);
  ASSERT_TRUE(state);
  EXPECT_THAT(*state->read_closed(), IsEmpty());
  const std::vector<std::pair<std::string, std::string>> closed = {{"demo", "one"}};
  ASSERT_TRUE(state->write_closed(closed));
  EXPECT_EQ(*state->read_closed(), closed);
}

TEST_F(StateDirTest, AWeightGoesOnWhereTheSameCanaryIsStillThere) {
  const Slo slo = rising_slo("/demo/canary/**");
  Node node(slo);
  EXPECT_THAT(node.analysis.weights(), IsEmpty()) << "where every weight begins";
  const double risen = make_rise(node, 7);
  const auto state = StateDir::open(path_);
  ASSERT_TRUE(state);
  EXPECT_THAT(*state->read_weights("boot 1"), IsEmpty());
  ASSERT_TRUE(state->write_weights(node.analysis.weights(), "boot 1"));
  const auto weights = state->read_weights("boot 1");
  ASSERT_TRUE(weights) << weights.error().line();
  EXPECT_EQ(*weights, node.analysis.weights());
  EXPECT_THAT(*state->read_weights("boot 2"), IsEmpty());

  EXPECT_EQ(weight_after(slo, *weights, 7), risen);
  EXPECT_EQ(weight_after(slo, *weights, 8), 5) << "another cgroup of that name";
  EXPECT_EQ(weight_after(rising_slo("/demo/canary/*"), *weights, 7), 5) << "another question";
  Slo capped = slo;
  capped.weight.most = 40;
  EXPECT_EQ(weight_after(capped, *weights, 7), 40);
}

TEST_F(StateDirTest, AWeightOfARolloutWithANameIsOfThatName) {
  Slo slo = rising_slo("/demo/canary/**");
  slo.rollout = "7d9f-3";
  Node node(slo);
  const double risen = make_rise(node, 7);
  EXPECT_EQ(weight_after(slo, node.analysis.weights(), 8), risen);
  slo.rollout = "7d9f-4";
  EXPECT_EQ(weight_after(slo, node.analysis.weights(), 7), 5);
}

// At 100 it has no baseline, and what it passed by nobody can show again.
TEST_F(StateDirTest, ACanaryThatHadAllTheTrafficStaysPassed) {
  const Slo slo = rising_slo("/demo/canary/**");
  const Sampler good(support::lognormal());
  for (const bool passed : {true, false}) {
    Node after(slo);
    after.analysis.restore_weights({{.slo = "demo",
                                     .canary = "/demo/canary/**",
                                     .rollout = "",
                                     .cgroups = {7},
                                     .earned = {.percent = 100, .passed = passed}}});
    after.add(7, "/demo/canary/a");
    after.add(2, "/demo/stable/a");
    for (int i = 0; i < 80; ++i) {
      after.answer(0, good);
      after.step();
    }
    EXPECT_EQ(after.verdict().traffic_weight, 100);
    EXPECT_EQ(after.verdict().decision, passed ? Decision::Pass : Decision::Hold)
        << after.verdict().message;
  }
}

TEST_F(StateDirTest, AVetoLeavesNoWeight) {
  Node node(slo_of("/demo/canary/**", "/demo/stable/**"));
  make_bad(node);
  EXPECT_THAT(node.analysis.weights(), IsEmpty());
}

// As agents wrote it that said connect_errors.
TEST_F(StateDirTest, AVetoWithTheNamesOfBeforeComesBackWithThoseOfNow) {
  write("vetoes.json", R"({"form": 1, "vetoes": [{"canary": "/demo/canary/**", "verdict": {
    "slo": "demo", "verdict": "veto", "reason": "regressed", "message": "connect_errors: canary 5 %",
    "weight": 0, "samples": {"canary": 900, "baseline": 900}, "log_e": 9, "threshold": 6.9,
    "since": "2026-11-21T10:00:00.000Z", "rollout": "r", "blocks": 9, "block_seconds": 1,
    "objectives": [
      {"objective": "connect_errors against the baseline", "state": "against", "log_e": 9,
       "log_proof": -3, "needed": false, "canary": 0.05, "baseline": 0},
      {"objective": "connect against the baseline", "state": "open", "log_e": 0, "log_proof": 0,
       "needed": false, "canary": null, "baseline": null}]}}]})");
  const auto state = StateDir::open(path_);
  ASSERT_TRUE(state);
  const auto vetoes = state->read_vetoes();
  ASSERT_TRUE(vetoes) << vetoes.error().line();
  Node node(slo_of("/demo/canary/**", "/demo/stable/**"));
  EXPECT_EQ(node.analysis.restore(*vetoes), 1u);
  EXPECT_EQ(node.verdict().decision, Decision::Veto);
  ASSERT_EQ(node.verdict().objectives.size(), 2u);
  EXPECT_EQ(node.verdict().objectives[0].objective, "connection_errors against the baseline");
  EXPECT_EQ(node.verdict().objectives[1].objective, "connect against the baseline");
}

TEST_F(StateDirTest, DamagedFilesAreToldOf) {
  const auto state = StateDir::open(path_);
  ASSERT_TRUE(state);
  const std::string deep(100'000, '[');
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"),
        std::string("{\"form\": 2, \"vetoes\": []}"), std::string("{\"form\": 1, \"vetoes\": [7]}"),
        std::string("\0\xff", 2), deep,
        std::string(R"({"form": 1, "vetoes": [{"canary": "/a", "verdict": {"slo": 7}}]})")}) {
    write("vetoes.json", text);
    const auto vetoes = state->read_vetoes();
    ASSERT_FALSE(vetoes) << text.substr(0, 80);
    EXPECT_THAT(vetoes.error().line(), HasSubstr("vetoes.json"));
  }
  const std::string good =
      R"({"slo": "a", "canary": "/a", "rollout": "", "cgroups": [1], "weight": 9, "passed": true})";
  write("weights.json", R"({"form": 1, "boot": "b", "weights": [)" + good + "]}");
  EXPECT_EQ(state->read_weights("b")->size(), 1u);
  for (const auto& [what, instead] : {std::pair("\"cgroups\": [1]", "\"cgroups\": [-1]"),
                                      {"9", "101"},
                                      {"9", "-1"},
                                      {"9", "\"9\""},
                                      {"true", "1"},
                                      {"\"slo\"", "\"no\""},
                                      {good.c_str(), "[]"},
                                      {good.c_str(), "{"}}) {
    std::string text = good;
    text.replace(text.find(what), std::string_view(what).size(), instead);
    write("weights.json", R"({"form": 1, "boot": "b", "weights": [)" + text + "]}");
    const auto weights = state->read_weights("b");
    ASSERT_FALSE(weights) << text;
    EXPECT_THAT(weights.error().line(), HasSubstr("weights.json"));
  }
  fs::remove(path_ + "/vetoes.json");
  fs::create_directory(path_ + "/vetoes.json");
  EXPECT_FALSE(state->read_vetoes());
}

// Found by a fuzzer: so many nanoseconds are no number.
TEST_F(StateDirTest, TimesThatNoClockCanHoldAreDamage) {
  for (const char* since : {"3706-11-21T08:00:00.250Z", "0001-01-01T00:00:00.000Z"}) {
    Json verdict = verdict_json({.slo = "demo", .decision = Decision::Veto});
    ASSERT_TRUE(parse_verdict(verdict));
    verdict["since"] = since;
    EXPECT_FALSE(parse_verdict(verdict)) << since;
  }
}

VerdictChange change_to(Decision decision) {
  Verdict verdict{.slo = "demo", .decision = decision};
  verdict.message = std::string(1000, 'x');
  return {.time = {}, .from = "hold", .now = std::make_shared<const Verdict>(verdict)};
}

// Which the library would turn into whatever the processor makes of it.
TEST_F(StateDirTest, CountsThatAreNoneAreDamage) {
  for (const Json& count : {Json(1e30), Json(-1), Json(2.5), Json("3"), Json(nullptr)}) {
    for (const char* place : {"/samples/canary", "/samples/baseline", "/blocks"}) {
      Json verdict = verdict_json(Verdict{.slo = "demo"});
      ASSERT_TRUE(parse_verdict(verdict));
      verdict[Json::json_pointer(place)] = count;
      EXPECT_FALSE(parse_verdict(verdict)) << place << " " << count;
    }
  }
}

TEST_F(StateDirTest, TheAuditLogIsBoundedAndEveryLineIsWhole) {
  const auto state = StateDir::open(path_);
  ASSERT_TRUE(state);
  write("audit.jsonl", "{\"cut off");
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(state->append(change_to(Decision::Veto)));
  EXPECT_LE(fs::file_size(path_ + "/audit.jsonl"), kAuditBytes);
  EXPECT_LE(fs::file_size(path_ + "/audit.jsonl.1"), kAuditBytes);
  std::istringstream lines(read("audit.jsonl"));
  for (std::string line; std::getline(lines, line);)
    EXPECT_EQ(Json::parse(line)["verdict"]["verdict"], "veto");
}

TEST_F(StateDirTest, AFullDiskLeavesNoHalfLine) {
  const auto state = StateDir::open(path_);
  ASSERT_TRUE(state);
  ASSERT_TRUE(state->append(change_to(Decision::Veto)));
  const std::string before = read("audit.jsonl");
  // No file may be larger than this for a while.
  rlimit unlimited{};
  getrlimit(RLIMIT_FSIZE, &unlimited);
  const auto ignore = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{.rlim_cur = before.size() + 10, .rlim_max = unlimited.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  const auto done = state->append(change_to(Decision::Veto));
  setrlimit(RLIMIT_FSIZE, &unlimited);
  std::signal(SIGXFSZ, ignore);
  EXPECT_FALSE(done);
  EXPECT_EQ(read("audit.jsonl"), before);
  EXPECT_TRUE(state->append(change_to(Decision::Veto)));
  EXPECT_EQ(read("audit.jsonl"), before + before);
}

TEST(Events, ResizesAndLossesSinceTheTickBefore) {
  EventBook book;
  Snapshot snapshot;
  snapshot.resizes = {{snapshot.agent.now, "slogate_slab", 32, 64, "old", 1}};
  snapshot.agent.lost[SLOGATE_SITE_no_slot] = 5;
  book.compare(snapshot);
  EXPECT_THAT(*book.list(), IsEmpty());  // what there was before is no news
  // Somebody has set the clock back.
  snapshot.resizes.push_back({snapshot.agent.now - 1h, "slogate_slab", 64, 128, "grew", 2});
  snapshot.agent.lost[SLOGATE_SITE_no_slot] = 7;
  book.compare(snapshot);
  book.compare(snapshot);
  ASSERT_EQ(book.list()->size(), 2u);
  EXPECT_EQ(book.list()->at(0).message, "grew");
  EXPECT_EQ(book.list()->at(1).type, "loss");
  EXPECT_EQ(book.list()->at(1).to, "7");
  for (int i = 0; i < 1000; ++i) book.add({change_to(Decision::Veto)});
  EXPECT_EQ(book.list()->size(), kMostEvents);
  EXPECT_EQ(book.list()->back().id, 1002u);
}

TEST(VerdictJson, HasNeitherNanNorInfinity) {
  Verdict verdict{.slo = "demo"};
  verdict.traffic_weight = NAN;
  verdict.log_e = INFINITY;
  verdict.objectives.push_back({.objective = "x",
                                .log_e = -std::numeric_limits<double>::infinity(),
                                .log_proof = std::numeric_limits<double>::quiet_NaN()});
  const std::string text = dump(verdict_json(verdict));
  EXPECT_THAT(text, HasSubstr("\"log_e\":null"));
  EXPECT_FALSE(Json::parse(text, nullptr, false).is_discarded());
}

// ---- what agents lend each other ----

// A node with a canary, one with a baseline, and what goes from the one to the other as connections
// would bring it.
TEST(Lending, ANodeJudgesItsCanaryByTheBaselineOfAnother) {
  const Slo slo = slo_of("/demo/canary/**", "/demo/stable/**");
  Node asker(slo), lender(slo);
  asker.analysis.know_peers(true);
  lender.analysis.know_peers(true);
  asker.add(1, "/demo/canary/a");
  lender.add(2, "/demo/stable/a");
  const Sampler good(support::lognormal()), bad(support::scaled(support::lognormal(), 2));
  for (int i = 0; i < 60; ++i) {
    lender.answer(0, good);
    lender.step();
  }
  asker.step();
  ASSERT_EQ(asker.analysis.wanted().size(), 1u);
  EXPECT_THAT(lender.analysis.wanted(), IsEmpty());
  const LentQuestion question = asker.analysis.wanted().front();
  EXPECT_EQ(question.slo, "demo");
  EXPECT_EQ(lender.analysis.matches(question), LentAnswer::State::Lends);
  asker.analysis.ask_lender("demo", "node-2", asker.now);
  for (int i = 0; i < 60 && asker.verdict().decision == Decision::Hold; ++i) {
    LentAnswer answer;
    for (auto& [of, reading] : lender.analysis.take_lendable()) {
      EXPECT_EQ(of, question);
      answer.readings.push_back(std::move(reading));
    }
    asker.analysis.lend(question, "node-2", std::move(answer), asker.now);
    asker.answer(0, bad);
    lender.answer(0, good);
    asker.step();
    lender.step();
  }
  EXPECT_EQ(asker.verdict().decision, Decision::Veto) << asker.verdict().message;
  EXPECT_THAT(asker.verdict().message, HasSubstr("beside the baseline of node-2"));
  ASSERT_TRUE(asker.analysis.evidence_of("demo"));
  EXPECT_EQ(asker.analysis.evidence_of("demo")->log_e, asker.verdict().log_e);
  EXPECT_FALSE(lender.analysis.evidence_of("demo"));
  EXPECT_FALSE(lender.analysis.evidence_of("other"));
}

TEST(Lending, WhoMeansSomethingElseDoesNotLend) {
  const Slo slo = slo_of("/demo/canary/**", "/demo/stable/**");
  Node asker(slo);
  asker.analysis.know_peers(true);
  asker.add(1, "/demo/canary/a");
  asker.step();
  const LentQuestion question = asker.analysis.wanted().front();
  const auto state_of = [&](const Slo& other) { return Node(other).analysis.matches(question); };
  Slo other = slo;
  other.canary = std::vector{*Glob::parse("/elsewhere")};  // whose canary it is does not matter
  EXPECT_EQ(state_of(other), LentAnswer::State::Lends);
  other = slo;
  other.name = "other";
  EXPECT_EQ(state_of(other), LentAnswer::State::NoSuchSlo);
  other = slo;
  other.baseline = std::vector{*Glob::parse("/demo/old/**")};
  EXPECT_EQ(state_of(other), LentAnswer::State::OtherQuestion);
  other = slo;
  other.port = 80;
  EXPECT_EQ(state_of(other), LentAnswer::State::OtherQuestion);
  other = slo;
  other.container = "app";
  EXPECT_EQ(state_of(other), LentAnswer::State::OtherQuestion);
  other = slo;
  other.warmup = 1s;
  EXPECT_EQ(state_of(other), LentAnswer::State::OtherQuestion);
  other = slo;
  other.baseline.reset();
  EXPECT_EQ(state_of(other), LentAnswer::State::OtherQuestion);
}

TEST(Lending, WithoutPeersNothingIsWantedOrMadeReady) {
  Node node(slo_of("/demo/canary/**", "/demo/stable/**"));
  node.add(1, "/demo/canary/a");
  node.step();
  EXPECT_THAT(node.analysis.wanted(), IsEmpty());
  node.add(2, "/demo/stable/a");
  node.step();
  EXPECT_THAT(node.analysis.take_lendable(), IsEmpty());
}

TEST(Lending, ReadingsThatNobodyTakesAreFew) {
  Node node(slo_of("/demo/canary/**", "/demo/stable/**"));
  node.analysis.know_peers(true);
  node.add(1, "/demo/stable/a");
  for (int i = 0; i < 200; ++i) node.step();
  const auto lendable = node.analysis.take_lendable();
  ASSERT_EQ(lendable.size(), 60u);
  EXPECT_EQ(lendable.front().second.number, 141u);
  EXPECT_EQ(lendable.back().second.number, 200u);
  EXPECT_EQ(lendable.back().second.lasted, 250ms);
  EXPECT_THAT(node.analysis.take_lendable(), IsEmpty());
}

TEST(Lending, OtherCanaryNodesAreAskedOfRolloutsThatHaveAName) {
  Slo slo = slo_of("/demo/canary/**", "/demo/stable/**");
  for (const char* rollout : {"", "6d4f-3"}) {
    slo.rollout = rollout;
    Node node(slo);
    node.analysis.know_peers(true);
    node.add(1, "/demo/canary/a");
    node.step();
    EXPECT_EQ(node.analysis.wanted_evidence().size(), slo.rollout.empty() ? 0u : 1u);
  }
}

}  // namespace
}  // namespace slogate
