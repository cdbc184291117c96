// SPDX-License-Identifier: Apache-2.0
// What the CPU budget leaves out is left out whole: no connection is counted in part. And first
// goes what no SLO needs.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "agent/host/host.h"
#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

constexpr size_t kConnections = 64;
constexpr uint64_t kExchanges = 10;
constexpr uint32_t kOneInFour = 3;

// With programs of its own, as what they leave out concerns all sockets of the machine.
class Spared : public AllModes {
 protected:
  void SetUp() override {
    AllModes::SetUp();
    own_.emplace(features_of(GetParam()));
  }
  [[nodiscard]] Maps& maps() { return own_->maps(); }
  [[nodiscard]] Counts of(const TestCgroup& cgroup) const { return own_->counts(cgroup.id()); }
  [[nodiscard]] uint64_t skipped(slogate_probe probe) { return maps().runs().skipped[probe]; }
  void connect_all() {
    for (size_t i = 0; i < kConnections; ++i) all_.push_back(connect_both(server_, client_));
  }
  void exchange_all(uint64_t times = kExchanges) {
    for (const Connection& one : all_)
      for (uint64_t i = 0; i < times; ++i) exchange(one);
  }
  // As the agent does before it watches more connections again.
  void visit_all() { own_->take_inventory(SLOGATE_WALK_all); }

  std::vector<Connection> all_;

 private:
  std::optional<Kernel> own_;
};
SLOGATE_IN_ALL_MODES(Spared);

TEST_P(Spared, OfSomeConnectionsEverythingIsCounted) {
  maps().control().spare(0, kOneInFour);
  connect_all();
  exchange_all();
  const uint64_t server = samples(of(server_), SLOGATE_SIGNAL_request);
  const uint64_t client = samples(of(client_), SLOGATE_SIGNAL_client_request);
  EXPECT_EQ(server % kExchanges, 0u);
  EXPECT_EQ(client % kExchanges, 0u);
  // Of 64 with a chance of 1/4 each: outside once in a million runs.
  for (const uint64_t connections : {server / kExchanges, client / kExchanges}) {
    EXPECT_GE(connections, 2u);
    EXPECT_LE(connections, 34u);
  }
  EXPECT_EQ(samples(of(server_), SLOGATE_SIGNAL_queue), server);
  EXPECT_EQ(counter(of(server_), SLOGATE_COUNTER_connections_server), server / kExchanges);
  EXPECT_EQ(counter(of(client_), SLOGATE_COUNTER_connections_client), client / kExchanges);
  EXPECT_GT(skipped(SLOGATE_PROBE_data_ready), 0u);
}

TEST_P(Spared, ConnectionsThatComeBackBringNothingOld) {
  connect_all();
  exchange_all(1);
  for (const Connection& one : all_) send_text(one.client.get(), "ping");  // open on both sides
  maps().control().spare(0, ~0u);
  for (const Connection& one : all_) {
    read_exactly(one.server.get(), 4);
    send_text(one.server.get(), "pong");
    read_exactly(one.client.get(), 4);
  }
  visit_all();
  std::this_thread::sleep_for(200ms);
  maps().control().spare(0, 0);
  exchange_all();
  const uint64_t whole = kConnections * (1 + kExchanges);
  EXPECT_EQ(samples(of(server_), SLOGATE_SIGNAL_request), whole);
  EXPECT_EQ(samples(of(client_), SLOGATE_SIGNAL_client_request), whole);
  EXPECT_EQ(samples_from(of(server_), SLOGATE_SIGNAL_request, 0.2), 0u);
  EXPECT_EQ(samples_from(of(client_), SLOGATE_SIGNAL_client_request, 0.2), 0u);
  for (Connection& one : all_) one.client.reset();
  for (const Connection& one : all_) EXPECT_TRUE(at_end(one.server.get()));
  EXPECT_EQ(counter(of(client_), SLOGATE_COUNTER_unanswered_client), 0u);
}

TEST_P(Spared, AProgramThatIsSwitchedOffMissesNothingElse) {
  maps().control().spare(1u << SLOGATE_PROBE_first_read, 0);
  connect_all();
  exchange_all();
  EXPECT_EQ(samples(of(server_), SLOGATE_SIGNAL_request), kConnections * kExchanges);
  EXPECT_EQ(samples(of(client_), SLOGATE_SIGNAL_client_request), kConnections * kExchanges);
  EXPECT_EQ(samples(of(server_), SLOGATE_SIGNAL_queue), 0u);
  EXPECT_GE(skipped(SLOGATE_PROBE_first_read), kConnections * kExchanges);
}

// An agent that may use next to nothing, two servers and an SLO about one of them.
class OverBudget : public testing::Test {
 protected:
  void SetUp() override {
    if (hooks_of(kProbes[SLOGATE_PROBE_send_locked], features_of(Mode::Locked)).empty())
      GTEST_SKIP() << "answers cannot be read here";
    LiveConfig config = test_config();
    config.cpu_ratio = 1e-9;
    Slo& slo = config.slos.emplace_back();
    slo.name = "a";
    slo.canary = std::vector{*Glob::parse(judged_.directory().substr(root_.size()))};
    agent_ = *Agent::start({.cgroup_root = root_,
                            .pin_dir = "",
                            .about = {},
                            .features = features_of(Mode::Locked),
                            .config = std::move(config),
                            .ceiling = [](double) { return 1000; }});
    for (const TestCgroup* server : {&judged_, &other_})
      connections_.push_back(connect_both(*server, client_));
  }
  // Ticks that are said to be so far apart.
  void tick(std::chrono::seconds later) {
    time_.system += later;
    time_.monotonic += later;
    agent_->tick(time_);
  }
  void ask_both() {
    for (const Connection& one : connections_) {
      send_text(one.client.get(), "GET / HTTP/1.1\r\n\r\n");
      read_exactly(one.server.get(), 18);
      constexpr std::string_view answer = "HTTP/1.1 200 OK\r\n\r\n";
      send_text(one.server.get(), answer);
      read_exactly(one.client.get(), answer.size());
    }
  }
  [[nodiscard]] uint64_t counted(const TestCgroup& of, slogate_counter which) const {
    const auto& all = *agent_->snapshot()->workloads;
    const auto found = std::ranges::find(all, of.id(), &Workload::id);
    return found == all.end() ? 0 : found->service->counters[which];
  }
  [[nodiscard]] uint64_t read_of(const TestCgroup& of) const {
    return counted(of, SLOGATE_COUNTER_server_http_success);
  }

  const std::string root_ = find_cgroup2({}).value();
  const TestCgroup judged_, other_, client_;
  std::unique_ptr<Agent> agent_;
  std::vector<Connection> connections_;
  TickTime time_ = now();
};

TEST_F(OverBudget, AnswersOfServersThatNoSloIsAboutAreReadNoMore) {
  ask_both();
  tick(1s);
  EXPECT_EQ(read_of(judged_), 1u);
  EXPECT_EQ(read_of(other_), 1u);
  for (int i = 0; i < 3 * Budget::kPatience && agent_->snapshot()->agent.cpu.step == 0; ++i)
    tick(Budget::kWindow);
  ASSERT_EQ(agent_->snapshot()->agent.cpu.step, kOptionalStep);
  ask_both();
  tick(1s);
  EXPECT_EQ(read_of(judged_), 2u);
  EXPECT_EQ(read_of(other_), 1u);
  // They are requests all the same.
  EXPECT_EQ(
      samples(
          *std::ranges::find(*agent_->snapshot()->workloads, other_.id(), &Workload::id)->service,
          SLOGATE_SIGNAL_request),
      2u);
  // A server that an SLO comes to be about is read from then on.
  LiveConfig config = test_config();
  config.cpu_ratio = 1e-9;
  config.slos.emplace_back().name = "b";
  config.slos[0].canary = std::vector{*Glob::parse(other_.directory().substr(root_.size()))};
  ASSERT_TRUE(agent_->apply(config));
  tick(1s);
  ask_both();
  tick(1s);
  EXPECT_EQ(read_of(judged_), 2u);
  EXPECT_EQ(read_of(other_), 2u);
}

}  // namespace
}  // namespace slogate
