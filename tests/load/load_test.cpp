// SPDX-License-Identifier: Apache-2.0
// slogate-load against itself: whatever the shape of requests and answers, both sides agree on what
// was sent. Other tests take its numbers for the truth.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/support/process.h"

namespace slogate::support {
namespace {

using namespace std::chrono_literals;
using Arguments = std::vector<std::string>;
using Json = nlohmann::json;

constexpr auto kPatience = 30s;

struct Server {
  Process process;
  std::string port;
};

Arguments to_command(Arguments first, const Arguments& rest) {
  first.insert(first.begin(), load_program());
  first.insert(first.end(), rest.begin(), rest.end());
  return first;
}

Server start_server(const std::string& command, const Arguments& arguments) {
  auto process = Process::spawn(to_command({command, "--port", "0"}, arguments)).value();
  const std::string ready = process.wait_for_line("ready ", within(kPatience)).value();
  return {std::move(process), ready.substr(6)};
}

// The facts of a process that is about to end, or is told to.
Json take_facts(Process& process) {
  const Json facts = Json::parse(process.wait_for_line("{", within(kPatience)).value());
  EXPECT_EQ(process.wait(within(kPatience)).value(), 0);
  return facts;
}

Json stop_server(Server& server) {
  server.process.signal(SIGTERM);
  return take_facts(server.process);
}

Json drive(const std::string& port, const Arguments& arguments) {
  auto process = Process::spawn(to_command({"drive", "--port", port}, arguments)).value();
  return take_facts(process);
}

uint64_t sum(const Json& facts, std::initializer_list<const char*> names) {
  uint64_t all = 0;
  for (const char* name : names) all += facts.at(name).get<uint64_t>();
  return all;
}

void expect_all_accounted_for(const Json& server, const Json& client) {
  EXPECT_EQ(server["requests"],
            sum(server, {"answered", "hung", "closed_unanswered", "reset", "abandoned", "failed"}));
  EXPECT_EQ(client["attempted"], sum(client, {"sent", "not_sent"}));
  EXPECT_EQ(client["sent"], sum(client, {"answered", "unanswered"}));
  EXPECT_EQ(client["wrong_id"], 0);
}

constexpr int kRequests = 24;

struct Shape {
  const char* name;
  Arguments serve, drive;
  int bursts, answer_calls, request_calls, connections;
};

const Shape kShapes[] = {
    {"plain", {}, {}, 24, 24, 24, 1},
    {"connections", {}, {"--connections", "4"}, 24, 24, 24, 4},
    {"writes", {"--answer", "writes:3"}, {}, 24, 72, 24, 1},
    {"writev", {"--answer", "writev"}, {}, 24, 24, 24, 1},
    {"splice", {"--answer", "splice"}, {}, 24, 24, 24, 1},
    {"sendfile", {"--answer", "sendfile:300000"}, {}, 24, 24, 24, 1},
    {"zerocopy", {"--answer", "zerocopy"}, {}, 24, 24, 24, 1},
    {"pipeline", {}, {"--pipeline", "6"}, 4, 24, 4, 1},
    {"segments", {}, {"--segments", "3:1ms"}, 24, 24, 72, 1},
    {"connect_per_request", {}, {"--connect-per-request"}, 24, 24, 24, 24},
    {"half_close", {}, {"--half-close"}, 24, 24, 24, 24},
    {"half_closed_pipeline", {}, {"--half-close", "--pipeline", "6"}, 4, 24, 4, 4},
    {"open_loop", {}, {"--rate", "500"}, 24, 24, 24, 1},
    {"ipv6", {"--ipv6"}, {"--host", "::1"}, 24, 24, 24, 1},
    {"kernel_stamp", {"--kernel-stamp", "--service", "constant:1ms"}, {}, 24, 24, 24, 1},
};

class LoadShape : public ::testing::TestWithParam<Shape> {};

TEST_P(LoadShape, BothSidesAgree) {
  const Shape& shape = GetParam();
  Server server = start_server("serve", shape.serve);
  Arguments arguments = shape.drive;
  arguments.insert(arguments.end(), {"--requests", std::to_string(kRequests)});
  const Json client = drive(server.port, arguments);
  const Json facts = stop_server(server);
  expect_all_accounted_for(facts, client);
  EXPECT_EQ(client["answered"], kRequests);
  EXPECT_EQ(facts["answered"], kRequests);
  EXPECT_EQ(client["bursts"], shape.bursts);
  EXPECT_EQ(client["send_calls"], shape.request_calls);
  EXPECT_EQ(facts["send_calls"], shape.answer_calls);
  EXPECT_EQ(facts["connections"], shape.connections);
  EXPECT_EQ(client["connections"], shape.connections);
  EXPECT_EQ(client["bytes_out"], facts["bytes_in"]);
  EXPECT_EQ(client["bytes_in"], facts["bytes_out"]);
  EXPECT_EQ(client["errors"].size() + facts["errors"].size(), 0U);
}

INSTANTIATE_TEST_SUITE_P(All, LoadShape, ::testing::ValuesIn(kShapes),
                         [](const auto& shape) { return std::string(shape.param.name); });

struct Failure {
  const char* name;
  Arguments serve;
  const char* server_count;
  const char* client_error;
  int failed;
};

// One connection at a time and 24 requests.
const Failure kFailures[] = {
    {"hang", {"--hang-after", "22"}, "hung", "answer_timeout", 2},
    {"reset", {"--reset-after", "3"}, "reset", "ECONNRESET", 6},
    {"close", {"--close-without-answer"}, "closed_unanswered", "eof", 24},
};

class LoadFailure : public ::testing::TestWithParam<Failure> {};

TEST_P(LoadFailure, IsAccountedFor) {
  const Failure& failure = GetParam();
  Server server = start_server("serve", failure.serve);
  const Json client = drive(server.port, {"--requests", "24", "--answer-timeout", "1s"});
  const Json facts = stop_server(server);
  expect_all_accounted_for(facts, client);
  EXPECT_EQ(facts[failure.server_count], failure.failed);
  EXPECT_EQ(client["unanswered"], failure.failed);
  EXPECT_EQ(client["errors"], (Json{{failure.client_error, failure.failed}}));
}

INSTANTIATE_TEST_SUITE_P(All, LoadFailure, ::testing::ValuesIn(kFailures),
                         [](const auto& failure) { return std::string(failure.param.name); });

TEST(Load, ServesNoSoonerThanTold) {
  Server server = start_server("serve", {"--service", "constant:3ms"});
  const Json client = drive(server.port, {"--requests", "30"});
  const Json facts = stop_server(server);
  EXPECT_EQ(facts["service"]["sum_ns"], 90'000'000);
  EXPECT_GE(facts["latency"]["min_ns"], 3'000'000);
  EXPECT_GE(client["first_byte"]["min_ns"], 3'000'000);
}

TEST(Load, OpenLoopKeepsToItsRate) {
  Server server = start_server("serve", {"--service", "constant:1ms"});
  const Json client =
      drive(server.port, {"--rate", "200", "--duration", "500ms", "--connections", "2"});
  const Json facts = stop_server(server);
  EXPECT_EQ(client["answered"], 200);
  EXPECT_EQ(facts["answered"], 200);
}

TEST(Load, RefusedConnectsAreCounted) {
  // A listener that has gone leaves a port nobody listens on.
  Server server = start_server("serve", {});
  stop_server(server);
  auto process =
      Process::spawn(to_command({"connect", "--port", server.port, "--count", "5"}, {})).value();
  EXPECT_EQ(take_facts(process)["outcomes"], (Json{{"ECONNREFUSED", 5}}));
}

TEST(Load, AFullAcceptQueueLetsNobodyIn) {
  Server server = start_server("serve", {"--no-accept", "--backlog", "1"});
  auto process =
      Process::spawn(
          to_command({"connect", "--port", server.port, "--count", "4", "--timeout", "500ms"}, {}))
          .value();
  // The kernel lets in one more than the backlog.
  EXPECT_EQ(take_facts(process)["outcomes"], (Json{{"connected", 2}, {"gave_up", 2}}));
  EXPECT_EQ(stop_server(server)["connections"], 0);
}

TEST(Load, IdleConnectionsStay) {
  Server server = start_server("serve", {});
  auto idle =
      Process::spawn(to_command({"idle", "--port", server.port, "--count", "50"}, {})).value();
  EXPECT_EQ(idle.wait_for_line("ready", within(kPatience)).value(), "ready 50");
  EXPECT_EQ(drive(server.port, {"--requests", "10"})["answered"], 10);
  idle.signal(SIGTERM);
  EXPECT_EQ(take_facts(idle)["closed_by_peer"], 0);
  EXPECT_EQ(stop_server(server)["connections"], 51);
}

TEST(Load, WaitsForItsSignal) {
  Server server = start_server("serve", {});
  auto driver =
      Process::spawn(
          to_command({"drive", "--port", server.port, "--requests", "10", "--start-on-signal"}, {}))
          .value();
  ASSERT_TRUE(driver.wait_for_line("ready", within(kPatience)).has_value());
  driver.signal(SIGUSR1);
  EXPECT_EQ(take_facts(driver)["answered"], 10);
  EXPECT_EQ(stop_server(server)["answered"], 10);
}

TEST(Load, EndsInTimeByItself) {
  Server server = start_server("serve", {"--max-seconds", "1"});
  EXPECT_EQ(take_facts(server.process)["ended"], "max_seconds");
}

class LoadHandoff : public ::testing::TestWithParam<const char*> {};

// Needs root: it makes cgroups.
TEST_P(LoadHandoff, OneListensAndAnotherAnswers) {
  const auto accepts = TestCgroup::make(), answers = TestCgroup::make();
  if (!accepts || !answers) GTEST_SKIP() << "no cgroup of our own: needs root and cgroup2";
  Server server =
      start_server("echo-handoff", {"--cgroup-accept", accepts->directory(), "--cgroup-answer",
                                    answers->directory(), "--pass", GetParam()});
  const Json client = drive(server.port, {"--requests", "12", "--connections", "3"});
  const Json facts = stop_server(server);
  expect_all_accounted_for(facts, client);
  EXPECT_EQ(facts["answered"], 12);
  EXPECT_EQ(facts["connections"], 3);
}

INSTANTIATE_TEST_SUITE_P(All, LoadHandoff, ::testing::Values("connection", "listener"),
                         [](const auto& pass) { return std::string(pass.param); });

std::string read_own_cgroup() {
  std::string text(4096, '\0');
  std::FILE* file = std::fopen("/proc/self/cgroup", "re");
  text.resize(file ? std::fread(text.data(), 1, text.size(), file) : 0);
  if (file) (void)std::fclose(file);
  return text;
}

TEST(SupportCgroup, ProcessesAreInItFromTheStart) {
  const auto parent = TestCgroup::make();
  if (!parent) GTEST_SKIP() << parent.error().line();
  const auto child = parent->child("inner").value();
  EXPECT_EQ(child.path(), parent->path() + "/inner");
  EXPECT_NE(child.id(), parent->id());

  const Ran ran = run_in(
                      child,
                      [](int out) {
                        const std::string text = read_own_cgroup();
                        return ::write(out, text.data(), text.size()) > 0 ? 0 : 1;
                      },
                      within(kPatience))
                      .value();
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_NE(ran.output.find("0::" + child.path() + "\n"), std::string::npos) << ran.output;

  auto program = Process::spawn({"cat", "/proc/self/cgroup"}, &child).value();
  EXPECT_EQ(program.wait(within(kPatience)).value(), 0);
  EXPECT_NE(program.output().find("0::" + child.path() + "\n"), std::string::npos);
}

TEST(SupportCgroup, GoesWithItsProcesses) {
  std::string directory;
  std::optional<Process> process;
  {
    const auto cgroup = TestCgroup::make();
    if (!cgroup) GTEST_SKIP() << cgroup.error().line();
    directory = cgroup->directory();
    process = Process::spawn({"sleep", "60"}, &*cgroup).value();
    EXPECT_EQ(::access(directory.c_str(), F_OK), 0);
  }
  EXPECT_EQ(::access(directory.c_str(), F_OK), -1);
  EXPECT_EQ(process->wait(within(kPatience)).value(), 128 + SIGKILL);
}

}  // namespace
}  // namespace slogate::support
