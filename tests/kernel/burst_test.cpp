// SPDX-License-Identifier: Apache-2.0
// What is counted where requests and answers do not simply take turns: pipelining, half-closed
// connections, data that comes with the handshake, requests without an answer.
#include <ctime>
#include <fstream>

#include <thread>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class Burst : public AllModes {
 protected:
  // The server takes one request of four bytes, and answers it.
  static void serve(const Connection& connection) {
    read_exactly(connection.server.get(), 4);
    send_text(connection.server.get(), "pong");
  }
};
SLOGATE_IN_ALL_MODES(Burst);

TEST_P(Burst, ThatIsThereBeforeItsFirstAnswerCountsOnce) {
  const Connection connection = connect_both(server_, client_);
  for (uint64_t burst = 1; burst <= 5; ++burst) {
    send_text(connection.client.get(), std::string(8 * 4, 'r'));
    for (int i = 0; i < 8; ++i) serve(connection);
    read_exactly(connection.client.get(), 8 * 4);
    expect_requests(burst);
  }
}

TEST_P(Burst, CountsOnceForEachAnswerThatFoundSomethingOpen) {
  const Connection connection = connect_both(server_, client_);
  send_text(connection.client.get(), "req1");
  send_text(connection.client.get(), "req2");
  serve(connection);
  send_text(connection.client.get(), "req3");
  serve(connection);
  serve(connection);
  read_exactly(connection.client.get(), 3 * 4);
  expect_requests(2);
}

TEST_P(Burst, OfPipelinedRequestsNeverCountsMoreThanWereSent) {
  constexpr int kSent = 8 * 200;
  const Connection connection = connect_both(server_, client_);
  std::jthread server([&] {
    for (int i = 0; i < kSent; ++i) serve(connection);
  });
  // Eight on the way at any time.
  for (int i = 0; i < 8; ++i) send_text(connection.client.get(), "ping");
  for (int i = 8; i < kSent; ++i) {
    read_exactly(connection.client.get(), 4);
    send_text(connection.client.get(), "ping");
  }
  read_exactly(connection.client.get(), 8 * 4);
  server.join();
  for (const auto& [counts, signal] : {std::pair{server_counts(), SLOGATE_SIGNAL_request},
                                       std::pair{server_counts(), SLOGATE_SIGNAL_queue},
                                       std::pair{client_counts(), SLOGATE_SIGNAL_client_request}}) {
    EXPECT_GE(samples(counts, signal), kSent / 8u) << kSignals[signal].name;
    EXPECT_LE(samples(counts, signal), static_cast<uint64_t>(kSent)) << kSignals[signal].name;
  }
}

TEST_P(Burst, OfInterleavedRequestsIsReportedAsOverlapped) {
  const Connection connection = connect_both(server_, client_);
  for (int i = 0; i < 10; ++i) exchange(connection);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_overlapped), 0u);
  send_text(connection.client.get(), "req1");
  read_exactly(connection.server.get(), 4);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // far above the round-trip time
  send_text(connection.client.get(), "req2");
  serve(connection);
  expect_requests(11);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_overlapped), 1u);
}

TEST_P(Burst, LargeRequestInOneGoIsNotOverlapped) {
  const Connection connection = connect_both(server_, client_);
  const std::string large(4 << 20, 'x');
  std::jthread writer([&] { send_text(connection.client.get(), large); });
  read_exactly(connection.server.get(), large.size());
  writer.join();
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_overlapped), 0u);
}

// ---- half-closed ----

TEST_P(Burst, RequestWithTheFinInItsSegmentCounts) {
  const Connection connection = connect_both(server_, client_);
  set_option(connection.client.get(), IPPROTO_TCP, TCP_CORK, 1);
  send_text(connection.client.get(), "ping");
  check(shutdown(connection.client.get(), SHUT_WR), "shutdown");
  // SYN, its ACK, and data with FIN in one.
  EXPECT_EQ(info_of(connection.client.get()).tcpi_segs_out, 3u);
  read_exactly(connection.server.get(), 4);
  EXPECT_TRUE(at_end(connection.server.get()));
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
}

TEST_P(Burst, RequestBeforeAShutdownCounts) {
  const Connection connection = connect_both(server_, client_);
  send_text(connection.client.get(), "ping");
  check(shutdown(connection.client.get(), SHUT_WR), "shutdown");
  read_exactly(connection.server.get(), 4);
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
}

TEST_P(Burst, FinAloneIsNoRequest) {
  Connection connection = connect_both(server_, client_);
  check(shutdown(connection.client.get(), SHUT_WR), "shutdown");
  EXPECT_TRUE(at_end(connection.server.get()));
  send_text(connection.server.get(), "bye");
  read_exactly(connection.client.get(), 3);
  expect_requests(0);
  EXPECT_TRUE(kernel().inflight(server_).empty());
}

TEST_P(Burst, ServerThatSpeaksFirstIsNoRequest) {
  const Connection connection = connect_both(server_, client_);
  send_text(connection.server.get(), "220 ready");
  read_exactly(connection.client.get(), 9);
  expect_requests(0);
  exchange(connection);
  expect_requests(1);
}

// ---- data with the handshake ----

TEST_P(Burst, DataOnTheLastAckOfTheHandshakeCounts) {
  uint64_t n = 0;
  for (const bool deferred_accept : {false, true}) {
    SCOPED_TRACE(deferred_accept);
    const Fd listener = listen_on(server_, Address(kLoopback, 0));
    if (deferred_accept) set_option(listener.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, 5);
    Connection connection;
    connection.client = open_socket(client_);
    // On a client it holds the ACK back until there is data to go with it.
    set_option(connection.client.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, 5);
    ASSERT_EQ(try_connect(connection.client.get(), Address::of_socket(listener.get())), 0);
    send_text(connection.client.get(), "ping");
    EXPECT_EQ(info_of(connection.client.get()).tcpi_segs_out, 2u);
    connection.server = accept_from(listener.get());
    read_exactly(connection.server.get(), 4);
    send_text(connection.server.get(), "pong");
    read_exactly(connection.client.get(), 4);
    expect_requests(n += 1);
    exchange(connection);
    expect_requests(n += 1);
  }
}

TEST_P(Burst, DataOnTheSynCounts) {
  const Netns own;
  own.run([&] {
    // Both roles, no cookie needed.
    std::ofstream("/proc/sys/net/ipv4/tcp_fastopen") << 0x607;
    const Fd listener = listen_on(server_, Address(kLoopback, 0));
    set_option(listener.get(), IPPROTO_TCP, TCP_FASTOPEN, 16);
    Connection connection;
    connection.client = open_socket(client_);
    const Address to = Address::of_socket(listener.get());
    check(sendto(connection.client.get(), "ping", 4, MSG_FASTOPEN, to.data(), to.size()), "sendto");
    await(server_, SLOGATE_COUNTER_connections_server, 1);
    connection.server = accept_from(listener.get());
    EXPECT_NE(info_of(connection.client.get()).tcpi_options & TCPI_OPT_SYN_DATA, 0);
    read_exactly(connection.server.get(), 4);
    send_text(connection.server.get(), "pong");
    read_exactly(connection.client.get(), 4);
    EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 1u);
    EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_queue), 1u);
    exchange(connection);
    EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 2u);
    EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_queue), 2u);
    // No program sees the client hand over what travels in the SYN.
    EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 1u);
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 1u);
    EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 1u);
    EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_connect), 1u);
  });
}

// ---- no answer ----

TEST_P(Burst, RequestThatIsNeverAnsweredIsUnansweredOnBothSides) {
  Connection connection = connect_both(server_, client_);
  exchange(connection);
  send_text(connection.client.get(), "ping");
  read_exactly(connection.server.get(), 4);
  connection.server.reset();
  EXPECT_TRUE(at_end(connection.client.get()));
  connection.client.reset();
  await(server_, SLOGATE_COUNTER_unanswered_server, 1);
  await(client_, SLOGATE_COUNTER_unanswered_client, 1);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 1u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 1u);
  EXPECT_EQ(errors(server_counts()) + errors(client_counts()), 0u);
}

TEST_P(Burst, RequestThatIsAbortedIsUnansweredAndReset) {
  Connection connection = connect_both(server_, client_);
  send_text(connection.client.get(), "ping");
  read_exactly(connection.server.get(), 4);
  abort_connection(std::move(connection.server));
  await(server_, SLOGATE_COUNTER_unanswered_server, 1);
  await(client_, SLOGATE_COUNTER_unanswered_client, 1);
  await(client_, SLOGATE_COUNTER_client_reset, 1);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 0u);
}

uint64_t monotonic_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

TEST_P(Burst, OpenRequestIsInTheInventoryOfBothSides) {
  const Connection connection = connect_both(server_, client_);
  exchange(connection);
  EXPECT_TRUE(kernel().inflight(server_).empty());
  EXPECT_TRUE(kernel().inflight(client_).empty());

  const uint64_t before = monotonic_now();
  send_text(connection.client.get(), "ping");
  const uint64_t after = monotonic_now();
  const auto at_server = kernel().inflight(server_), at_client = kernel().inflight(client_);
  ASSERT_EQ(at_server.size(), 1u);
  ASSERT_EQ(at_client.size(), 1u);
  EXPECT_EQ(at_server[0].role, static_cast<uint32_t>(SLOGATE_ROLE_server));
  EXPECT_EQ(at_client[0].role, static_cast<uint32_t>(SLOGATE_ROLE_client));
  for (const slogate_inflight& open : {at_server[0], at_client[0]}) {
    EXPECT_GE(open.opened, before);
    EXPECT_LE(open.opened, after);
  }
  serve(connection);
  read_exactly(connection.client.get(), 4);
  EXPECT_TRUE(kernel().inflight(server_).empty());
  EXPECT_TRUE(kernel().inflight(client_).empty());
}

}  // namespace
}  // namespace slogate
