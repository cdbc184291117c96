// SPDX-License-Identifier: Apache-2.0
// Sockets of protocol 262, which is what Go listens with since 1.24. What they send goes past every
// hook of TCP, so their requests cannot be told: none may be counted, and none be open for ever.
#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

constexpr int kMptcp = 262, kSolMptcp = 284, kMptcpInfo = 1;

// As accept() hands it out: where the client does not speak MPTCP that is a plain TCP socket.
int protocol_of(const Fd& fd) {
  int protocol = 0;
  socklen_t size = sizeof(protocol);
  check(getsockopt(fd.get(), SOL_SOCKET, SO_PROTOCOL, &protocol, &size), "SO_PROTOCOL");
  return protocol;
}

// A connection on which both ends speak it.
bool speaks_mptcp(const Fd& fd) {
  std::array<char, 256> info{};
  socklen_t size = info.size();
  return getsockopt(fd.get(), kSolMptcp, kMptcpInfo, info.data(), &size) == 0;
}

class Mptcp : public AllModes {
 protected:
  void SetUp() override {
    AllModes::SetUp();
    if (const Fd any(socket(AF_INET, SOCK_STREAM, kMptcp)); !any)
      GTEST_SKIP() << "this kernel has no MPTCP: " << strerrordesc_np(errno);
  }

  Connection connect(int server, int client, const std::string& ip = kLoopback) {
    const Fd listener = listen_on(server_, Address(ip, 0), 128, server);
    Connection made;
    made.client = connect_to(client_, Address::of_socket(listener.get()), client);
    made.server = accept_from(listener.get());
    return made;
  }

  void expect_unmeasured(uint64_t server, uint64_t client) const {
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_unmeasured_server), server);
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 1u);
    EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_unmeasured_client), client);
    EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 1u);
  }
};

TEST_P(Mptcp, ConnectionsAreCountedApartAndNothingOfThemIsOpen) {
  for (const char* ip : {"127.0.0.1", "::1"}) {
    SCOPED_TRACE(ip);
    Connection both = connect(kMptcp, kMptcp, ip);
    ASSERT_EQ(protocol_of(both.server), kMptcp);
    ASSERT_TRUE(speaks_mptcp(both.server) && speaks_mptcp(both.client));
    for (int i = 0; i < 100; ++i) exchange(both);
    send_text(both.client.get(), "ping");
    read_exactly(both.server.get(), 4);
    EXPECT_TRUE(kernel().inflight(server_).empty());
    EXPECT_TRUE(kernel().inflight(client_).empty());
  }
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_unmeasured_server), 2u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_unmeasured_client), 2u);
  expect_requests(0);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_connect), 2u);
  for (const Counts& counts : {server_counts(), client_counts()}) {
    EXPECT_EQ(errors(counts), 0u);
    EXPECT_EQ(counter(counts, SLOGATE_COUNTER_unanswered_server), 0u);
    EXPECT_EQ(counter(counts, SLOGATE_COUNTER_unanswered_client), 0u);
  }
}

TEST_P(Mptcp, APlainClientOfSuchAListenerIsMeasured) {
  const Connection both = connect(kMptcp, IPPROTO_TCP);
  ASSERT_EQ(protocol_of(both.server), IPPROTO_TCP);
  for (int i = 0; i < 100; ++i) exchange(both);
  expect_requests(100);
  expect_unmeasured(0, 0);
}

TEST_P(Mptcp, AServerThatDoesNotSpeakItIsMeasured) {
  const Connection both = connect(IPPROTO_TCP, kMptcp);
  for (int i = 0; i < 100; ++i) exchange(both);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 100u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 0u);
  EXPECT_TRUE(kernel().inflight(client_).empty());
  expect_unmeasured(0, 1);
}

SLOGATE_IN_ALL_MODES(Mptcp);

}  // namespace
}  // namespace slogate
