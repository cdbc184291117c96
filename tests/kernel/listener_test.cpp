// SPDX-License-Identifier: Apache-2.0
// What a listener turns away: as much as the kernel calls ListenOverflows, and nothing else that it
// drops.
#include <sys/ioctl.h>

#include <algorithm>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class Listener : public BestMode {
 protected:
  // A client that has its SYN answered and puts off its own ACK until it has something to send.
  static void half_open(const Fd& client, const Address& address) {
    set_option(client.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, 5);
    EXPECT_EQ(try_connect(client.get(), address), 0);
  }

  // One whose SYN finds the queue full.
  [[nodiscard]] Fd turned_away(const Address& address) const {
    Fd fd = open_socket(client_, address.family());
    const int on = 1;
    check(ioctl(fd.get(), FIONBIO, &on), "FIONBIO");
    EXPECT_EQ(try_connect(fd.get(), address), EINPROGRESS);
    return fd;
  }

  void give_up(const Address& address, int times) const {
    for (int i = 0; i < times; ++i) {
      Fd client = open_socket(client_);
      half_open(client, address);
      abort_connection(std::move(client));
    }
  }

  [[nodiscard]] uint64_t overflows() {
    kernel().take_inventory();
    return counter(server_counts(), SLOGATE_COUNTER_server_listen_overflow);
  }
};

TEST_F(Listener, DoesNotOverflowByHandshakesThatClientsGiveUp) {
  const Netns own;
  own.run([&] {
    const Fd listener = listen_on(server_, Address(kLoopback, 0));
    give_up(Address::of_socket(listener.get()), 20);
    EXPECT_EQ(own.statistic("TcpExt", "EmbryonicRsts"), 20u);
    EXPECT_EQ(own.statistic("TcpExt", "ListenOverflows"), 0u);
    EXPECT_EQ(overflows(), 0u);
  });
  EXPECT_EQ(errors(server_counts()), 0u);
  EXPECT_EQ(server_counts().drops.total(), 0u);
}

TEST_F(Listener, DoesNotOverflowByDeferredAccepts) {
  const Netns own;
  own.run([&] {
    Fd listener = listen_on(server_, Address(kLoopback, 0));
    set_option(listener.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, 5);
    std::vector<Connection> connections(20);
    for (Connection& connection : connections)
      connection.client = connect_to(client_, Address::of_socket(listener.get()));
    EXPECT_EQ(own.statistic("TcpExt", "TCPDeferAcceptDrop"), connections.size());
    EXPECT_EQ(overflows(), 0u);
    for (Connection& connection : connections) {
      send_text(connection.client.get(), "ping");
      connection.server = accept_from(listener.get());
      read_exactly(connection.server.get(), 4);
      send_text(connection.server.get(), "pong");
      read_exactly(connection.client.get(), 4);
    }
    EXPECT_EQ(own.statistic("TcpExt", "ListenOverflows"), 0u);
    listener.reset();
  });
  EXPECT_EQ(errors(server_counts()), 0u);
  EXPECT_EQ(server_counts().drops.total(), 0u);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 20u);
}

// By last ACKs and by SYNs, with SYN cookies and without, and between handshakes that are given up.
// Before 6.15 no kernel tells that sk_drops counts the last ACKs of those without cookies twice.
TEST_F(Listener, OverflowsAsOftenAsTheKernelSays) {
  const auto reasons = features_of(Mode::Locked).drop_reasons;
  const bool exact = std::ranges::find(reasons, "TCP_LISTEN_OVERFLOW") != reasons.end();
  for (const int backlog : {1, 8}) {
    SCOPED_TRACE(backlog);
    const Netns own;
    const uint64_t before = overflows();
    own.run([&] {
      // Of these, `late` were last ACKs.
      const auto expect_overflows = [&](uint64_t n, uint64_t late) {
        EXPECT_EQ(own.statistic("TcpExt", "ListenOverflows"), n);
        EXPECT_GE(overflows() - before, n);
        EXPECT_LE(overflows() - before, exact ? n : n + late);
      };
      const Fd listener = listen_on(server_, Address(kLoopback, 0), backlog);
      const Address address = Address::of_socket(listener.get());
      give_up(address, 10);
      expect_overflows(0, 0);
      // Made first: a client puts off its ACK for no more than 200 ms.
      std::vector<Fd> late, waiting, away;
      for (int i = 0; i < 5; ++i) late.push_back(open_socket(client_));
      // Backlogs have room for one more.
      for (int i = 0; i <= backlog; ++i) waiting.push_back(open_socket(client_));
      for (const Fd& client : late) half_open(client, address);
      for (const Fd& client : waiting) ASSERT_EQ(try_connect(client.get(), address), 0);
      for (const Fd& client : late) send_text(client.get(), "ping");
      expect_overflows(5, 5);
      for (int i = 0; i < 3; ++i) away.push_back(turned_away(address));
      expect_overflows(8, 5);
      // There is room again, as the next connection finds.
      away.clear();
      for (int i = 0; i <= backlog; ++i) accept_from(listener.get());
      waiting.push_back(connect_to(client_, address));
      accept_from(listener.get());
      for (Fd& client : late) abort_connection(std::move(client));
      give_up(address, 10);
      expect_overflows(8, 5);
    });
  }
}

}  // namespace
}  // namespace slogate
