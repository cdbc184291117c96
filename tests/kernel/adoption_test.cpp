// SPDX-License-Identifier: Apache-2.0
// Sockets that are older than the agent.
#include <optional>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class Adoption : public testing::TestWithParam<Mode> {
 protected:
  // The agent comes.
  void attach(std::string_view without = "") {
    KernelFeatures features = features_of(GetParam());
    features.tracepoints.erase(std::string(without));
    kernel_.emplace(features);
  }
  [[nodiscard]] Counts server_counts() const { return kernel_->counts(server_.id()); }
  [[nodiscard]] Counts client_counts() const { return kernel_->counts(client_.id()); }
  void expect_requests(uint64_t n) const {
    EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), n);
    EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_queue), n);
    EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), n);
    EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_client_request), 0u);
    EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_request), 0u);
  }

  TestCgroup server_, client_;
  std::optional<Kernel> kernel_;
};
SLOGATE_IN_ALL_MODES(Adoption);

TEST_P(Adoption, CountsEveryRequestFromTheFirstOneOn) {
  uint64_t n = 0;
  std::vector<Connection> connections;
  for (const char* ip : {"127.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.1"}) {
    connections.push_back(connect_both(server_, client_, ip));
    exchange(connections.back());
  }
  attach();
  expect_requests(0);
  for (int i = 0; i < 3; ++i)
    for (const Connection& connection : connections) {
      exchange(connection);
      expect_requests(++n);
    }
  // They had been opened before, so that is not counted; what comes now is.
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 0u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 0u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_connect), 0u);
  abort_connection(std::move(connections[0].server));
  fill(connections[1].server.get());
  abort_connection(std::move(connections[1].client));
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_client_reset), 1u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_server_reset), 1u);
}

TEST_P(Adoption, CountsSegmentsFromThenOn) {
  Connection connection = connect_both(server_, client_);
  for (int i = 0; i < 100; ++i) exchange(connection);
  attach();
  exchange(connection);
  kernel_->take_inventory();
  const uint64_t before = counter(client_counts(), SLOGATE_COUNTER_segments_out);
  EXPECT_LE(before, 4u);
  const tcp_info info = info_of(connection.client.get());
  for (int i = 0; i < 10; ++i) exchange(connection);
  const uint32_t sent = info_of(connection.client.get()).tcpi_segs_out - info.tcpi_segs_out;
  kernel_->take_inventory();
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_segments_out), before + sent);
}

// Nobody saw when it came, so nobody says how long it took; the next one is timed.
TEST_P(Adoption, OfARequestInFlightIsNoSample) {
  const Connection connection = connect_both(server_, client_);
  send_text(connection.client.get(), "ping");
  attach();
  read_exactly(connection.server.get(), 4);
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(0);
  exchange(connection);
  expect_requests(1);
  EXPECT_TRUE(kernel_->inflight(server_).empty());
  EXPECT_TRUE(kernel_->inflight(client_).empty());
}

TEST_P(Adoption, TakesAClientThatBoundItsPortForAServer) {
  const Fd listener = listen_on(server_, Address(kLoopback, 0));
  Connection connection{{}, open_socket(client_)};
  const Address any(kLoopback, 0), to = Address::of_socket(listener.get());
  check(bind(connection.client.get(), any.data(), any.size()), "bind");
  ASSERT_EQ(try_connect(connection.client.get(), to), 0);
  connection.server = accept_from(listener.get());
  attach();
  for (int i = 0; i < 3; ++i) exchange(connection);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 3u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 0u);
  EXPECT_GT(samples(client_counts(), SLOGATE_SIGNAL_request), 0u);
}

TEST_P(Adoption, OfAListenerCountsItsNewConnectionsAndWhatItTurnsAway) {
  const Netns own;
  own.run([&] {
    const Fd listener = listen_on(server_, Address(kLoopback, 0), 0);
    const Address address = Address::of_socket(listener.get());
    Connection connection;
    connection.client = connect_to(client_, address);
    // The agent's own time: what had been turned away before is not counted.
    const Fd before = open_socket(client_);
    set_option(before.get(), IPPROTO_TCP, TCP_SYNCNT, 1);
    const timeval soon{.tv_sec = 0, .tv_usec = 1000};
    check(setsockopt(before.get(), SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)), "timeout");
    EXPECT_EQ(try_connect(before.get(), address), EINPROGRESS);
    const uint64_t turned_away = own.statistic("TcpExt", "ListenOverflows");
    EXPECT_GE(turned_away, 1u);
    attach();
    connection.server = accept_from(listener.get());
    const Fd next = connect_to(client_, address);  // its arrival is the listener's first event
    const Fd late = open_socket(client_);
    check(setsockopt(late.get(), SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)), "timeout");
    const uint64_t at_start = own.statistic("TcpExt", "ListenOverflows");
    EXPECT_EQ(try_connect(late.get(), address), EINPROGRESS);
    kernel_->take_inventory();
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_server_listen_overflow),
              own.statistic("TcpExt", "ListenOverflows") - at_start);
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 1u);
    EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 1u);
    exchange(connection);
    expect_requests(1);
  });
}

// The end of the handshake is the first that the programs see of it, once with the SYN that is sent
// again and once without.
TEST_P(Adoption, OfAConnectOnItsWayIsAClients) {
  for (const char* without : {"", "tcp_retransmit_skb"}) {
    SCOPED_TRACE(without);
    const Link link;
    const auto neighbour = [&link](const char* what) {
      link.left.command(
          {"ip", "neigh", what, kRightIp, "lladdr", "02:00:00:00:00:01", "dev", "left"});
    };
    Connection connection;
    Fd listener;
    link.right.run([&] { listener = listen_on(server_, Address(kRightIp, 0)); });
    neighbour("add");
    link.left.run([&] { connection.client = open_socket(client_); });
    const timeval soon{.tv_sec = 0, .tv_usec = 1000};
    check(setsockopt(connection.client.get(), SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)), "");
    const Address address = Address::of_socket(listener.get());
    EXPECT_EQ(try_connect(connection.client.get(), address), EINPROGRESS);
    attach(without);
    neighbour("del");
    connection.server = accept_from(listener.get());
    for (int i = 0; i < 3; ++i) exchange(connection);
    expect_requests(3);
    EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 1u);
    EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_server), 0u);
    EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_connect), 0u);
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 1u);
  }
}

}  // namespace
}  // namespace slogate
