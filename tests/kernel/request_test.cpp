// SPDX-License-Identifier: Apache-2.0
// One request, one count: whatever its segments, its connections and families.
#include <map>
#include <thread>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class Request : public AllModes {
 protected:
  // Nothing that belongs to the other side shows up on this one.
  void expect_apart() const {
    const Counts server = server_counts(), client = client_counts();
    EXPECT_EQ(samples(server, SLOGATE_SIGNAL_client_request), 0u);
    EXPECT_EQ(samples(client, SLOGATE_SIGNAL_request), 0u);
    EXPECT_EQ(samples(client, SLOGATE_SIGNAL_queue), 0u);
    EXPECT_EQ(counter(server, SLOGATE_COUNTER_connections_client), 0u);
    EXPECT_EQ(counter(client, SLOGATE_COUNTER_connections_server), 0u);
  }
};
SLOGATE_IN_ALL_MODES(Request);

TEST_P(Request, KeepAliveCountsEachOne) {
  const Connection connection = connect_both(server_, client_);
  for (int i = 0; i < 100; ++i) exchange(connection);
  expect_requests(100);
  expect_apart();
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 1u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 1u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_connect), 1u);
}

// The agent reads what is marked, and nothing else of a slot after the first time.
TEST_P(Request, MarksSayWhatChanged) {
  Maps& maps = kernel().maps();
  std::map<size_t, Counts> read;
  const Connection connection = connect_both(server_, client_);
  for (int i = 0; i < 12; ++i) {
    send_text(connection.client.get(), "ping");
    read_exactly(connection.server.get(), 4);
    std::this_thread::sleep_for(std::chrono::microseconds(1 << (i + 6)));
    send_text(connection.server.get(), "pong");
    read_exactly(connection.client.get(), 4);
    kernel().take_inventory();
    for (size_t slot = SLOGATE_FIRST_SLOT; slot < maps.slab().slots(); ++slot) {
      const uint64_t cgroup = maps.slab().owner(slot).cgroup;
      if (cgroup != server_.id() && cgroup != client_.id()) continue;
      const uint64_t marks = maps.slab().take_dirty(slot);
      EXPECT_NE(marks, 0u);
      maps.slab().copy(slot, read[slot], marks);
      Counts all;
      maps.slab().copy(slot, all);
      EXPECT_EQ(read[slot], all) << "after request " << i;
    }
  }
  EXPECT_EQ(read.size(), 2u);
}

TEST_P(Request, ShortConnectionsCountEachOne) {
  const Fd listener = listen_on(server_, Address(kLoopback, 0));
  for (int i = 0; i < 20; ++i) {
    Connection connection;
    connection.client = connect_to(client_, Address::of_socket(listener.get()));
    connection.server = accept_from(listener.get());
    exchange(connection);
    connection.client.reset();
    EXPECT_TRUE(at_end(connection.server.get()));
  }
  expect_requests(20);
  expect_apart();
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 20u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 20u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_connect), 20u);
  EXPECT_EQ(errors(server_counts()) + errors(client_counts()), 0u);
}

TEST_P(Request, OfManySegmentsCountsOnce) {
  const Connection connection = connect_both(server_, client_);
  for (int i = 0; i < 10; ++i) send_text(connection.client.get(), "part");
  read_exactly(connection.server.get(), 40);
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
}

TEST_P(Request, ReadPieceByPieceCountsOnce) {
  const Connection connection = connect_both(server_, client_);
  for (int i = 0; i < 10; ++i) {
    send_text(connection.client.get(), "part");
    read_exactly(connection.server.get(), 4);
  }
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
}

TEST_P(Request, OfOneMegabyteCountsOnce) {
  const Connection connection = connect_both(server_, client_);
  const std::string large(1 << 20, 'x');
  std::jthread writer([&] { send_text(connection.client.get(), large); });
  read_exactly(connection.server.get(), large.size());
  writer.join();
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
}

TEST_P(Request, CountsWithIpv6AndMappedAddresses) {
  uint64_t n = 0;
  for (const char* ip : {"::1", "::ffff:127.0.0.1"}) {
    SCOPED_TRACE(ip);
    const Connection connection = connect_both(server_, client_, ip);
    for (int i = 0; i < 5; ++i) exchange(connection);
    expect_requests(n += 5);
  }
  expect_apart();
}

TEST_P(Request, OfAnIpv4ClientToADualStackListenerCounts) {
  const Fd listener = listen_on(server_, Address("::", 0));
  Connection connection;
  connection.client =
      connect_to(client_, Address(kLoopback, Address::of_socket(listener.get()).port()));
  connection.server = accept_from(listener.get());
  for (int i = 0; i < 5; ++i) exchange(connection);
  expect_requests(5);
}

TEST_P(Request, IsAsSlowAsItWaitsInTheAcceptQueue) {
  const Fd listener = listen_on(server_, Address(kLoopback, 0));
  Connection connection;
  connection.client = connect_to(client_, Address::of_socket(listener.get()));
  send_text(connection.client.get(), "ping");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  connection.server = accept_from(listener.get());
  read_exactly(connection.server.get(), 4);
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.1), 1u);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_queue, 0.1), 1u);
  EXPECT_EQ(samples_from(client_counts(), SLOGATE_SIGNAL_client_request, 0.1), 1u);
}

TEST_P(Request, ThatIsReadAtOnceAndAnsweredLateHasNoQueue) {
  const Connection connection = connect_both(server_, client_);
  send_text(connection.client.get(), "ping");
  read_exactly(connection.server.get(), 4);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.1), 1u);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_queue, 0.1), 0u);
}

}  // namespace
}  // namespace slogate
