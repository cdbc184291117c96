// SPDX-License-Identifier: Apache-2.0
// What the commands print, from answers as docs/api.md has them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tools/cli/cgroups.h"
#include "tools/cli/doctor.h"
#include "tools/cli/maps.h"
#include "tools/cli/probes.h"

namespace slogate::cli {
namespace {

using ::testing::HasSubstr;

constexpr const char* kCgroups = R"([
  {"id": 1234, "path": "/demo/canary", "gone": false,
   "signals": {"request": {"count": 1000, "sum": 1.9, "p50": 0.0018, "p90": 0.002, "p99": 0.0021,
                           "p999": 0.003}},
   "counters": {"connections": {"server": 10, "client": 2},
                "answers": {"server": {"http": {"success": 980, "server_error": 8, "unknown": 1},
                                       "tls": {"unknown": 3}},
                            "client": {"redis": {"success": 4, "server_error": 70}}},
                "unanswered_requests": {"server": 1, "client": 500},
                "connection_errors": {"server": {"timed_out": 1, "reset": 2},
                                      "client": {"refused": 4}},
                "client_gone": 6, "retransmits": 5, "segments": {"in": 10, "out": 10},
                "drops": {"TCP_CSUM": 1, "NO_SOCKET": 2}},
   "inflight": {"server": {"requests": 0, "oldest_seconds": 0}}, "lost": 3},
  {"id": 7, "path": "/load", "gone": true,
   "signals": {"client_request": {"count": 123456, "sum": 1, "p50": 0.00095, "p90": 1, "p99": 2,
                                  "p999": 64}},
   "counters": {"connections": {"client": 1}, "answers": {"client": {"tls": {"unknown": 9}}}},
   "lost": 0},
  {"id": 8, "path": "", "signals": {}}])";

Fetch fixed(const std::string& target, const std::string& body) {
  return [=](const std::string& asked) -> Outcome<Json> {
    EXPECT_EQ(asked, target);
    return Json::parse(body);
  };
}

const Fetch kNobody = [](const std::string&) -> Outcome<Json> {
  return fail(kUnreachable, "cannot reach the agent at /x: no", "is it running?");
};

TEST(CgroupsView, OneRowEach) {
  EXPECT_EQ(show_cgroups(fixed("/v1/cgroups", kCgroups), "", {})->text,
            "CGROUP        ROLE    REQUESTS     P50     P90     P99   P99.9  CONNECTIONS  ERRORS  "
            "CONN ERRORS  CLIENT GONE  RETRANSMITS  DROPS  LOST\n"
            "/demo/canary  server      1000  1.8 ms  2.0 ms  2.1 ms  3.0 ms           12       9  "
            "          7            6            5      3     3\n"
            "/load (gone)  client      123k  950 us   1.0 s   2.0 s    64 s            1       -  "
            "          -            -            -      -     0\n"
            "id 8          -              -       -       -       -       -            -       -  "
            "          -            -            -      -     -\n");
}

TEST(CgroupsView, PatternIsForTheAgent) {
  EXPECT_EQ(show_cgroups(fixed("/v1/cgroups?match=/demo/%2A", "[]"), "/demo/*", {})->text,
            "No cgroup that used TCP matches /demo/*.\n");
  EXPECT_EQ(show_cgroups(fixed("/v1/cgroups", "[]"), "", {})->text,
            "No cgroup has used TCP since the agent started.\n");
}

TEST(CgroupsView, FitsTheTerminal) {
  const std::string text = render_cgroups(Json::parse(kCgroups), {.width = 60});
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    EXPECT_LE(end - at, 60u) << text;
    at = end + 1;
  }
  EXPECT_THAT(text, HasSubstr("ERRORS"));
}

TEST(Views, JsonIsWhatTheAgentSaid) {
  EXPECT_EQ(show_maps(fixed("/v1/maps", R"([{"z": 1, "a": null}])"), {.json = true})->text,
            "[{\"z\":1,\"a\":null}]\n");
}

TEST(Views, NobodyThere) {
  for (const auto& outcome :
       {show_maps(kNobody, {}), show_probes(kNobody, {}), show_cgroups(kNobody, "", {})}) {
    ASSERT_FALSE(outcome.has_value());
    EXPECT_EQ(outcome.error().exit, kUnreachable);
  }
}

TEST(MapsView, OneRowEach) {
  EXPECT_EQ(render_maps(Json::parse(R"([
      {"name": "slogate_slab", "type": "array_of_maps", "entries": 3, "capacity": 64,
       "bytes": 655360, "pressure": 0.047, "resizes": 1, "lost": 0},
      {"name": "slogate_socks", "type": "sk_storage", "entries": 12, "capacity": null,
       "bytes": 100, "pressure": 0, "resizes": 0, "lost": 2}])"),
                        {}),
            "MAP            TYPE           ENTRIES  CAPACITY  PRESSURE   MEMORY  RESIZES  LOST\n"
            "slogate_slab   array_of_maps        3        64     4.7 %  640 KiB        1     0\n"
            "slogate_socks  sk_storage          12         -         -    100 B        0     2\n");
}

TEST(MapsView, AFullMapStandsOut) {
  EXPECT_THAT(render_maps(Json::parse(R"([{"name": "m", "capacity": 1, "pressure": 1.0}])"),
                          {.colour = true}),
              HasSubstr("\033[31m100.0 %\033[0m"));
}

TEST(MapsView, TheLatestResizesStandBelow) {
  EXPECT_THAT(render_maps(Json::parse(R"([
      {"name": "slogate_slab", "latest_resizes": [
        {"time": "2026-11-21T12:00:02Z", "from": 64, "to": 96, "reason": "free slots ran short"}]},
      {"name": "slogate_index", "latest_resizes": [
        {"time": "2026-11-21T12:00:01Z", "from": 64, "to": 256, "reason": "by hand"}]}])"),
                          {}),
              HasSubstr("\n"
                        "RESIZED               MAP            FROM   TO  REASON\n"
                        "2026-11-21T12:00:01Z  slogate_index    64  256  by hand\n"
                        "2026-11-21T12:00:02Z  slogate_slab     64   96  free slots ran short\n"));
}

TEST(MapView, ColumnsAreThoseOfTheMap) {
  EXPECT_EQ(show_map(fixed("/v1/maps/slogate_slab", R"({"name": "slogate_slab",
      "columns": ["slot", "path", "free_listed"],
      "entries": [{"slot": 3, "path": "/a", "free_listed": 12345678},
                  {"slot": 14, "path": "", "free_listed": 0}], "left_out": 7})"),
                     "slogate_slab", {})
                ->text,
            "SLOT  PATH  FREE LISTED\n"
            "   3  /a       12345678\n"
            "  14  -               0\n"
            "\n... and 7 more\n");
  EXPECT_EQ(render_map(Json::parse(R"({"columns": ["port"], "entries": []})"), {}),
            "The map is empty.\n");
}

TEST(ResizeMap, PostsTheSizeAndSaysWhatBecameOfIt) {
  const Post post = [](const std::string& target, const Json& body) -> Outcome<Json> {
    EXPECT_EQ(target, "/v1/maps/slogate_slab/resize");
    EXPECT_EQ(body.dump(), R"({"entries":300})");
    return Json{{"map", "slogate_slab"}, {"done", "slogate_slab has 317 entries"}};
  };
  EXPECT_EQ(resize_map(post, "slogate_slab", 300, {})->text, "slogate_slab has 317 entries\n");
}

TEST(ProbesView, ReasonsStandBelow) {
  EXPECT_EQ(render_probes(Json::parse(R"([
      {"program": "data_ready", "object": "request", "tracepoint": "sk_data_ready",
       "attached": true, "attached_to": "tp_btf/sk_data_ready", "reason": "",
       "degraded": false, "what": "request", "runs": 123456,
       "skipped": 1000, "missed": 3, "ns_per_run": 88.1},
      {"program": "send_length", "tracepoint": "sock_send_length", "attached": false,
       "reason": "send_locked is attached", "degraded": false, "what": "the end", "runs": 0,
       "missed": null, "ns_per_run": null},
      {"program": "inventory", "tracepoint": "", "attached": false, "reason": "refused",
       "degraded": true, "what": "rtt"}])"),
                          {}),
            "PROGRAM      ATTACHED TO           STATE       RUNS  PER RUN  LOST WITHOUT IT\n"
            "data_ready   tp_btf/sk_data_ready  attached    123k    88 ns  request\n"
            "send_length  -                     not needed     0        -  the end\n"
            "inventory    -                     missing        -        -  rtt\n"
            "\n"
            "data_ready: 1000 runs were left out to keep the CPU budget\n"
            "data_ready: 3 runs were left out by the kernel, see docs/method.md\n"
            "send_length: send_locked is attached\n"
            "inventory: refused\n");
}

std::vector<Finding> findings() {
  return {{.name = "kernel", .detail = "6.18"},
          {.name = "bpffs",
           .state = FindingState::Degraded,
           .detail = "not mounted",
           .remedy = "mount it"}};
}

TEST(DoctorView, EveryFindingAndWhetherAnAgentAnswers) {
  const auto report = show_doctor(findings(), kNobody, {});
  EXPECT_EQ(report->text,
            "ok        kernel  6.18\n"
            "degraded  bpffs   not mounted\n"
            "          -> mount it\n"
            "degraded  agent   cannot reach the agent at /x: no\n"
            "          -> is it running?\n"
            "\n"
            "This host can run slogate: 2 degraded.\n");
  EXPECT_EQ(report->exit, kOk);
}

TEST(DoctorView, WhatIsMissingMakesItUnusable) {
  auto missing = findings();
  missing[0].state = FindingState::Missing;
  const auto report = show_doctor(missing, fixed("/v1/status", R"({"version": "0.1.0"})"), {});
  EXPECT_THAT(report->text, HasSubstr("ok        agent   slogate 0.1.0 answers\n"));
  EXPECT_THAT(report->text, HasSubstr("This host cannot run slogate: 1 missing.\n"));
  EXPECT_EQ(report->exit, kFailed);
}

TEST(DoctorView, Json) {
  const auto report =
      show_doctor(findings(), fixed("/v1/status", R"({"version": 3})"), {.json = true});
  EXPECT_EQ(report->text,
            R"({"usable":true,"findings":[)"
            R"({"name":"kernel","state":"ok","detail":"6.18","remedy":""},)"
            R"({"name":"bpffs","state":"degraded","detail":"not mounted","remedy":"mount it"},)"
            R"({"name":"agent","state":"ok","detail":"something answers that does not tell its )"
            R"(version","remedy":""}]})"
            "\n");
}

TEST(DoctorView, ThisHost) {
  const auto report = show_doctor(inspect_host({}), kNobody, {});
  for (const char* name : {"kernel", "BTF", "sk_data_ready", "CAP_BPF", "cgroup2", "bpffs"})
    EXPECT_THAT(report->text, HasSubstr(name));
}

// An agent that is not what it should be must not end the client by other means than an error.
TEST(Views, HostileAnswersAreFailures) {
  for (const char* body :
       {"null",
        "3",
        "[3]",
        "[null]",
        "[[]]",
        "{}",
        "{\"a\": 1}",
        R"(["x"])",
        R"([{"id": "x", "path": "/"}])",
        R"([{"id": -1, "path": "/"}])",
        R"([{"id": 1}])",
        R"([{"id": 1, "path": null}])",
        R"([{"id": 1e300, "path": "/"}])",
        R"([{"id": 1, "path": "/", "signals": {"request": {"count": "many"}}}])",
        R"([{"id": 1, "path": "/", "signals": {"request": {"count": [1]}}}])",
        R"([{"id": 1, "path": "/", "signals": 7, "counters": [1], "inflight": "x"}])",
        R"([{"id": 1, "path": "/", "counters": {"drops": {"A": {"B": "C"}}}}])",
        R"([{"name": 3}])",
        R"([{"name": "m", "bytes": "x"}])",
        R"([{"name": "m", "type": 3}])",
        R"([{"program": "p", "attached": "yes"}])",
        R"([{"program": 1, "attached": true}])",
        R"([{"program": "p", "attached": true, "reason": {}}])"}) {
    const Fetch fetch = [&](const std::string&) -> Outcome<Json> { return Json::parse(body); };
    const std::function<Outcome<Report>()> commands[] = {
        [&] { return show_cgroups(fetch, "", {}); }, [&] { return show_maps(fetch, {}); },
        [&] { return show_probes(fetch, {}); }, [&] { return show_doctor({}, fetch, {}); }};
    for (const auto& command : commands) {
      const auto outcome = guarded(command);
      if (!outcome) {
        EXPECT_EQ(outcome.error().exit, kFailed) << body;
      }
    }
  }
}

TEST(Views, NumbersOfAnySizeCanBeShown) {
  const Json cgroups = Json::parse(
      R"([{"id": 18446744073709551615, "path": "/", "lost": -5,
           "signals": {"request": {"count": 1e308, "p50": -1, "p90": 1e300, "p99": null}},
           "counters": {"connection_errors": {"a": 1e308, "b": 1e308}}}])");
  EXPECT_THAT(render_cgroups(cgroups, {}), HasSubstr("server"));
}

}  // namespace
}  // namespace slogate::cli
