// SPDX-License-Identifier: Apache-2.0
// What the CPU budget leaves out is left out whole: no connection is counted in part.
#include <gtest/gtest.h>

#include <thread>

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
  void take_inventory() { own_->take_inventory(); }

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
  take_inventory();
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

}  // namespace
}  // namespace slogate
