// SPDX-License-Identifier: Apache-2.0
#include "agent/api/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "agent/api/views_json.h"

namespace slogate {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Pair;
using namespace std::chrono_literals;

constexpr uint64_t kLargestId = 18446744073709551615u;

// A bucket in the middle of the histogram: values up to 2^-8 s.
constexpr size_t kBucket = 96;

std::shared_ptr<const Counts> canary_counts() {
  Counts counts;
  counts.histograms[SLOGATE_SIGNAL_request][kBucket] = 1000;
  counts.counters[SLOGATE_COUNTER_connections_server] = 10;
  counts.counters[SLOGATE_COUNTER_client_refused] = 2;
  counts.counters[SLOGATE_COUNTER_segments_in] = 11;
  counts.counters[SLOGATE_COUNTER_segments_out] = 12;
  counts.counters[SLOGATE_COUNTER_retransmits] = 3;
  counts.drops[0] = 5;
  counts.drops[2] = 1;
  counts.drops[3] = 77;    // has no name: not a drop
  counts.drops[139] = 78;  // beyond the names
  return std::make_shared<const Counts>(counts);
}

std::shared_ptr<const Counts> probe_counts() {
  Counts counts;
  counts.histograms[SLOGATE_SIGNAL_rtt][SLOGATE_BUCKETS - 1] = 1;
  return std::make_shared<const Counts>(counts);
}

Snapshot snapshot() {
  Snapshot s;
  s.agent.version = "0.1.0";
  s.agent.kernel = "6.18.44";
  s.agent.started = std::chrono::sys_days(std::chrono::year(2026) / 11 / 21) + 8h + 300ms;
  s.agent.ticked = 12500ms;
  s.agent.ticks = 12;
  s.agent.last_tick = 500us;
  s.agent.lost[SLOGATE_SITE_no_slot] = 7;
  s.agent.problems = {{"maps", ""}, {"state", "the disk is full"}};
  s.agent.cpu = {.budget = 0.005,
                 .agent = 0.002,
                 .programs = 0.01,
                 .step = 2,
                 .watched = 0.5,
                 .off = {SLOGATE_PROBE_first_read}};
  s.agent.heap = {.used = 1000, .free = 20};
  s.agent.notes = {"pods are invisible"};

  s.workloads.edit().resize(2);
  Workload& canary = s.workloads.edit()[0];
  canary.id = 1234;
  canary.lost = 4;
  s.resizes = {{s.agent.started, "slogate_slab", 32, 64, "test"}};
  canary.path = "/demo/canary";
  canary.service = canary_counts();
  canary.others = {{SLOGATE_CLASS_probe, probe_counts()}};
  canary.server = {.requests = 2, .oldest = 1500ms};
  Workload& stable = s.workloads.edit()[1];
  stable.id = kLargestId;
  stable.path = "/demo/sta\xff-e";
  stable.gone = true;
  stable.service = std::make_shared<const Counts>();

  s.maps = {{"slogate_slab", "array_of_maps", 3, 64, 655360, 1, 2, "no_slot"},
            {"slogate_socks", "sk_storage", 5}};
  s.probes.resize(2);
  s.probes[0] = {SLOGATE_PROBE_data_ready, true, "", false, 2048, 2, 177ns,
                 "tp_btf/sk_data_ready",   5,    7};
  s.probes[1] = {SLOGATE_PROBE_first_read, false, "no such tracepoint", true};
  s.drop_reasons = std::make_shared<const std::vector<std::string>>(
      std::vector<std::string>{"", "NO_SOCKET", "TCP_CSUM", ""});
  return s;
}

HttpRequest get(std::string path, Pairs query = {}) {
  HttpRequest request;
  request.method = "GET";
  request.path = std::move(path);
  request.query = std::move(query);
  return request;
}

// The body of an answer that has to be 200.
Json body(const HttpRequest& request) {
  const HttpResponse response = answer(request, snapshot());
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(response.content_type, "application/json");
  return Json::parse(response.body);
}

int status(const HttpRequest& request) {
  const HttpResponse response = answer(request, snapshot());
  if (response.status >= 400) {
    const Json json = Json::parse(response.body);
    EXPECT_TRUE(json.size() == 1 && json.contains("error")) << response.body;
  }
  return response.status;
}

TEST(Api, Status) {
  Json status = body(get("/v1/status"));
  // What no cgroup holds, in the form of a class.
  for (const char* rest : {"removed", "unattributed"}) {
    EXPECT_TRUE(status[rest]["signals"].is_object());
    EXPECT_TRUE(status[rest]["counters"].contains("connections"));
    status.erase(rest);
  }
  EXPECT_EQ(status.dump(), Json::parse(R"({
    "version": "0.1.0", "kernel": "6.18.44", "started": "2026-11-21T08:00:00Z",
    "uptime_seconds": 12.5, "ticks": 12, "tick_seconds": 0.0005, "cgroups": 2,
    "lost": {"no_slot": 7, "index_full": 0, "no_storage": 0, "no_stream": 0, "no_roll": 0, "no_name": 0},
    "degraded": [{"program": "first_read", "reason": "no such tracepoint", "without": "queue"}],
    "cpu": {"budget": 0.005, "agent": 0.002, "programs": 0.01, "step": 2, "watched": 0.5,
            "off": ["first_read"]},
    "heap": {"used_bytes": 1000, "free_bytes": 20},
    "problems": {"state": "the disk is full"},
    "notes": ["pods are invisible"]
  })")
                               .dump());
}

TEST(Api, Cgroups) {
  const double middle = std::exp2((static_cast<double>(kBucket) - 160 - 0.5) / 8);
  Json expected = Json::parse(R"([{
    "id": 1234, "path": "/demo/canary", "gone": false,
    "signals": {"request": {"count": 1000, "sum": 0, "p50": 0, "p90": 0, "p99": 0, "p999": 0}},
    "counters": {
      "connections": {"server": 10, "client": 0},
      "used_connections": {"server": 0, "client": 0},
      "unmeasured_connections": {"server": {"mptcp": 0}, "client": {"mptcp": 0}},
      "connection_errors": {
        "server": {"timed_out": 0, "reset": 0, "unreachable": 0, "listen_overflow": 0, "refused": 0,
                   "other": 0},
        "client": {"refused": 2, "timed_out": 0, "reset": 0, "unreachable": 0, "other": 0}},
      "retransmits": 3, "segments": {"in": 11, "out": 12}, "resets": {"in": 0, "out": 0},
      "harmful_resets": {"in": 0, "out": 0},
      "unanswered_requests": {"server": 0, "client": 0}, "client_gone": 0, "overlapped_requests": 0,
      "listener_gaps": {"server": 0},
      "answers": {"server": 0, "client": 0},
      "tls_handshakes": {"server": {"full": 0, "resumed": 0, "failed": 0},
                         "client": {"full": 0, "resumed": 0, "failed": 0}},
      "streams_reset": {"server": {"no_error": 0, "internal_error": 0, "refused_stream": 0,
                                   "cancel": 0, "enhance_your_calm": 0, "other": 0},
                        "client": {"no_error": 0, "internal_error": 0, "refused_stream": 0,
                                   "cancel": 0, "enhance_your_calm": 0, "other": 0}},
      "streams_missed": 0, "goaways": {"server": 0, "client": 0},
      "drops": {"OTHER": 5, "TCP_CSUM": 1}},
    "inflight": {"server": {"requests": 2, "oldest_seconds": 1.5},
                 "client": {"requests": 0, "oldest_seconds": 0.0}},
    "lost": 4,
    "classes": {"probe": {"signals": {}, "counters": {}}}}])");
  Json& request = expected[0]["signals"]["request"];
  for (const char* name : {"p50", "p90", "p99", "p999"}) request[name] = middle;
  const auto known =
      Json::parse(R"({"success": 0, "client_error": 0, "server_error": 0, "unknown": 0})");
  const auto with_misses = Json::parse(
      R"({"success": 0, "client_error": 0, "server_error": 0, "miss": 0, "unknown": 0})");
  const auto of_redis = Json::parse(R"({"success": 0, "client_error": 0, "server_error": 0,
                                        "redirect": 0, "miss": 0, "unknown": 0})");
  const auto unknown = Json::parse(R"({"unknown": 0})");
  for (const char* role : {"server", "client"}) {
    Json& answers = expected[0]["counters"]["answers"][role] = Json::object();
    answers["http"] = known;
    answers["redis"] = of_redis;
    answers["postgresql"] = known;
    answers["mysql"] = known;
    answers["memcached"] = with_misses;
    answers["http2"] = known;
    answers["grpc"] = known;
    answers["tls"] = unknown;
    answers["unknown"] = unknown;
  }
  request["sum"] = middle * 1000;

  Json got = body(get("/v1/cgroups", {{"match", "/demo/canary"}}));
  ASSERT_EQ(got.size(), 1u);
  // The other classes are rendered by the same functions; their values are looked at by themselves.
  Json& probe = got[0]["classes"]["probe"];
  EXPECT_EQ(probe["signals"]["rtt"]["p99"], 64.0);
  EXPECT_EQ(probe["counters"]["connections"]["server"], 0);
  probe["signals"] = probe["counters"] = Json::object();
  EXPECT_EQ(got.dump(), expected.dump());
}

TEST(Api, CgroupsThatNobodyUsedAndOddNames) {
  const Json got = body(get("/v1/cgroups"));
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[1]["id"].get<uint64_t>(), kLargestId);
  EXPECT_EQ(got[1]["path"], "/demo/sta\xef\xbf\xbd-e");
  EXPECT_EQ(got[1]["gone"], true);
  EXPECT_EQ(got[1]["signals"], Json::object());
  EXPECT_EQ(got[1]["counters"]["drops"], Json::object());
  EXPECT_FALSE(got[1].contains("classes"));
}

TEST(Api, CgroupsAreMatchedByPath) {
  EXPECT_EQ(body(get("/v1/cgroups", {{"match", "/**"}})).size(), 2u);
  EXPECT_EQ(body(get("/v1/cgroups", {{"match", "/demo/c*"}})).size(), 1u);
  EXPECT_EQ(body(get("/v1/cgroups", {{"match", "/none"}})).dump(), "[]");
}

TEST(Api, CgroupsWhosePathIsNotKnownAreListed) {
  Snapshot s = snapshot();
  s.workloads.edit()[0].path = "";
  EXPECT_EQ(Json::parse(answer(get("/v1/cgroups"), s).body).size(), 2u);
}

TEST(Api, Histograms) {
  const Json got = body(get("/v1/cgroups/1234/histograms"));
  EXPECT_EQ(got["id"], 1234);
  EXPECT_EQ(got["path"], "/demo/canary");
  ASSERT_EQ(got["signals"].size(), kSignals.size());
  for (const SignalInfo& signal : kSignals)
    EXPECT_EQ(got["signals"][std::string(signal.name)].size(), SLOGATE_BUCKETS) << signal.name;
  const Json& request = got["signals"]["request"];
  EXPECT_EQ(request[kBucket].dump(), R"({"le":0.00390625,"count":1000})");
  EXPECT_EQ(request[SLOGATE_EDGES - 1]["le"], 64.0);
  EXPECT_EQ(request.back().dump(), R"({"le":null,"count":0})");
}

TEST(Api, HistogramsOfTheLargestId) {
  EXPECT_EQ(status(get("/v1/cgroups/18446744073709551615/histograms")), 200);
}

TEST(Api, Maps) {
  EXPECT_EQ(body(get("/v1/maps")).dump(), Json::parse(R"([
    {"name": "slogate_slab", "type": "array_of_maps", "entries": 3, "capacity": 64,
     "bytes": 655360, "pressure": 0.046875, "resizes": 1, "lost": 2,
     "lost_by_site": {"no_slot": 2},
     "latest_resizes": [{"time": "2026-11-21T08:00:00Z", "from": 32, "to": 64, "reason": "test"}]},
    {"name": "slogate_socks", "type": "sk_storage", "entries": 5, "capacity": null,
     "bytes": 0, "pressure": 0.0, "resizes": 0, "lost": 0, "lost_by_site": {},
     "latest_resizes": []}])")
                                              .dump());
}

TEST(Api, WhatLiesInAMap) {
  ApiActions actions;
  actions.contents = [](const std::string& map) -> Result<MapContents> {
    if (map != "slogate_slab") return fail("cannot", "do not");
    return MapContents{{"slot", "path"}, {{uint64_t{3}, "/a\xff"}}, 7};
  };
  const auto ask = [&actions](const std::string& map) {
    return answer(get("/v1/maps/" + map), snapshot(), actions);
  };
  EXPECT_EQ(Json::parse(ask("slogate_slab").body).dump(),
            Json::parse(R"({"name": "slogate_slab", "columns": ["slot", "path"],
                            "entries": [{"slot": 3, "path": "/a\ufffd"}], "left_out": 7})")
                .dump());
  EXPECT_EQ(ask("slogate_socks").status, 400);
  EXPECT_EQ(ask("slogate_none").status, 404);
  // Over TCP nobody may ask for so much work.
  EXPECT_EQ(status(get("/v1/maps/slogate_slab")), 403);
}

TEST(Api, Probes) {
  EXPECT_EQ(body(get("/v1/probes")).dump(), Json::parse(R"([
    {"program": "data_ready", "object": "request", "tracepoint": "sk_data_ready",
     "attached": true, "attached_to": "tp_btf/sk_data_ready", "reason": "", "degraded": false,
     "what": "request, queue and client_request", "runs": 2048, "skipped": 5,
     "missed": 7, "ns_per_run": 88.5},
    {"program": "first_read", "object": "request", "tracepoint": "tcp_rcv_space_adjust",
     "attached": false, "attached_to": "", "reason": "no such tracepoint", "degraded": true,
     "what": "queue",
     "runs": 0, "skipped": 0, "missed": null, "ns_per_run": null}])")
                                                .dump());
}

TEST(Api, AnEmptySnapshotIsAnsweredToo) {
  Snapshot s;
  s.drop_reasons = std::make_shared<const std::vector<std::string>>();
  for (const char* path : {"/v1/status", "/v1/cgroups", "/v1/maps", "/v1/probes"}) {
    const HttpResponse response = answer(get(path), s);
    EXPECT_EQ(response.status, 200) << path;
    EXPECT_TRUE(Json::accept(response.body)) << path;
  }
}

TEST(Api, UnknownPathsAreNever200) {
  for (const char* path :
       {"/", "/v1", "/v1/", "/v2/status", "/v1/status/", "/v1/statusx", "//v1/status", "/V1/status",
        "/v1/cgroups/", "/v1/cgroups/1234", "/v1/cgroups/1234/", "/v1/cgroups//histograms",
        "/v1/cgroups/1234/x/histograms", "/v1/cgroups/1234/histograms/", "/metrics", "/v1/gate/x"})
    EXPECT_EQ(status(get(path)), 404) << path;
  EXPECT_EQ(status(get("/v1/cgroups/99/histograms")), 404);
}

TEST(Api, OtherMethodsAreRefused) {
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "get", "BREW", ""}) {
    HttpRequest request = get("/v1/cgroups/1234/histograms");
    request.method = method;
    const HttpResponse response = answer(request, snapshot());
    EXPECT_EQ(response.status, 405) << method;
    EXPECT_THAT(response.headers, Contains(Pair("Allow", "GET, HEAD"))) << method;
    request.path = "/v1/nothing";
    EXPECT_EQ(status(request), 404) << method;
  }
}

TEST(Api, BadArgumentsAre400) {
  for (const char* id : {"x", "-1", "+1", "1x", "0x1", " 1", "18446744073709551616", "1.0"})
    EXPECT_EQ(status(get(std::string("/v1/cgroups/") + id + "/histograms")), 400) << id;
  for (const char* pattern : {"", "demo", "/[", "/a\\"})
    EXPECT_EQ(status(get("/v1/cgroups", {{"match", pattern}})), 400) << pattern;
  EXPECT_EQ(status(get("/v1/cgroups", {{"match", "/" + std::string(600, '*')}})), 400);
}

TEST(Api, UnknownAndRepeatedParametersAre400) {
  EXPECT_EQ(status(get("/v1/cgroups", {{"macth", "/**"}})), 400);
  EXPECT_EQ(status(get("/v1/cgroups", {{"match", "/**"}, {"x", ""}})), 400);
  EXPECT_EQ(status(get("/v1/cgroups", {{"match", "/**"}, {"match", "/a"}})), 400);
  EXPECT_EQ(status(get("/v1/status", {{"match", "/**"}})), 400);
  EXPECT_EQ(status(get("/v1/status", {{"", ""}})), 400);
}

TEST(Api, WhatAnErrorQuotesIsEscaped) {
  const HttpResponse response = answer(get("/v1/cgroups", {{"match", "\"<\xff"}}), snapshot());
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(Json::parse(response.body)["error"].get<std::string>(), HasSubstr("\"<\xef\xbf\xbd"));
}

HttpRequest resize_request(std::string_view map, std::string body, uid_t uid) {
  HttpRequest request;
  request.method = "POST";
  request.path = fmt::format("/v1/maps/{}/resize", map);
  request.body = std::move(body);
  request.peer = Peer{.uid = uid, .gid = 0, .pid = 1};
  return request;
}

TEST(Api, ResizeIsForRootAndAdmins) {
  std::string asked;
  ApiActions actions;
  actions.resize = [&asked](const std::string& map, size_t entries) -> Result<std::string> {
    asked = fmt::format("{} {}", map, entries);
    return "done";
  };
  const HttpRequest good = resize_request("slogate_slab", R"({"entries": 500})", 0);
  EXPECT_EQ(answer(good, snapshot(), actions).status, 200);
  EXPECT_EQ(asked, "slogate_slab 500");
  EXPECT_EQ(answer(good, snapshot(), {}).status, 403);

  HttpRequest other = good;
  other.peer->uid = 1000;
  EXPECT_EQ(answer(other, snapshot(), actions).status, 403);
  other.peer.reset();
  EXPECT_EQ(answer(other, snapshot(), actions).status, 403);
  actions.admins = {1000};
  other.peer = Peer{.uid = 1000, .gid = 0, .pid = 1};
  EXPECT_EQ(answer(other, snapshot(), actions).status, 200);
}

TEST(Api, ResizeRefusesWhatItCannotMean) {
  ApiActions actions;
  actions.resize = [](const std::string&, size_t) -> Result<std::string> {
    return fail("it cannot be resized");
  };
  EXPECT_EQ(answer(resize_request("nothing", R"({"entries": 5})", 0), snapshot(), actions).status,
            404);
  for (const char* body :
       {"", "{}", "5", R"({"entries": -1})", R"({"entries": 1.5})", R"({"entries": "5"})",
        R"({"entries": 5, "more": 1})", R"({"entries": 99999999999999999999})",
        R"({"entries": 9999999})", R"({"entries": 5})"})
    EXPECT_EQ(answer(resize_request("slogate_slab", body, 0), snapshot(), actions).status, 400)
        << body;
}

}  // namespace
}  // namespace slogate
