// SPDX-License-Identifier: Apache-2.0
// Round-trip times are those of the path, whatever the two ends do with their time.
#include <array>
#include <optional>
#include <thread>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;

class RoundTrip : public BestMode {
 protected:
  using Connections = std::array<Connection, 4>;

  // Kept connections to a server of this cgroup.
  Connections connect_all(const TestCgroup& server) {
    Connections made;
    for (Connection& each : made) each = connect_both(server, client_);
    return made;
  }
  static Connections connect_all(const SlowLink& path, const TestCgroup& server,
                                 const TestCgroup& client) {
    Fd listener;
    path.right.run([&] { listener = listen_on(server, Address(kRightIp, 0)); });
    Connections made;
    for (Connection& each : made) {
      path.left.run([&] { each.client = connect_to(client, Address::of_socket(listener.get())); });
      each.server = accept_from(listener.get());
    }
    return made;
  }

  // Requests at this distance, over the connections in turn.
  static void use(const Connections& connections, microseconds distance, int requests,
                  microseconds answered_after = 1ms) {
    auto next = std::chrono::steady_clock::now();
    for (int i = 0; i < requests; ++i, next += distance) {
      std::this_thread::sleep_until(next);
      const Connection& one = connections[static_cast<size_t>(i) % connections.size()];
      send_text(one.client.get(), "ping");
      read_exactly(one.server.get(), 4);
      std::this_thread::sleep_for(answered_after);
      send_text(one.server.get(), "pong");
      read_exactly(one.client.get(), 4);
    }
  }

  // The longest of TCP's smoothed times at these ends.
  static microseconds smoothed(const Connections& connections, Fd Connection::*end) {
    microseconds longest{};
    for (const Connection& each : connections)
      longest = std::max(longest, microseconds(info_of((each.*end).get()).tcpi_rtt));
    return longest;
  }

  static uint64_t rtts(const Counts& counts, double from = 0) {
    return samples_from(counts, SLOGATE_SIGNAL_rtt, from);
  }
};

// At 200 requests a second on four connections the smoothed time at the server is 19 ms here, at
// 600 it is 5 ms: how long the client has nothing to say and delays its ACK. It delays it only
// where it speaks again within 40 ms.
TEST_F(RoundTrip, DoesNotFollowThePaceOfRequests) {
  const TestCgroup slow, quick;
  const Connections at_slow = connect_all(slow), at_quick = connect_all(quick);
  std::jthread other([&] { use(at_quick, 1667us, 900); });
  use(at_slow, 5ms, 300);
  other.join();
  EXPECT_GE(smoothed(at_slow, &Connection::server), 10ms) << "nothing to be misled by";
  kernel().take_inventory();
  for (const TestCgroup* server : {&slow, &quick}) {
    EXPECT_EQ(rtts(counts_of(*server)), 4u);
    EXPECT_EQ(rtts(counts_of(*server), 0.005), 0u);
  }
}

// A client's request is acknowledged with the answer.
TEST_F(RoundTrip, OfAClientDoesNotHoldTheTimeToTheAnswer) {
  const Connections connections = connect_all(server_);
  use(connections, 20ms, 40, 15ms);
  EXPECT_GE(smoothed(connections, &Connection::client), 10ms) << "nothing to be misled by";
  kernel().take_inventory();
  EXPECT_EQ(rtts(client_counts()), 4u);
  EXPECT_EQ(rtts(client_counts(), 0.005), 0u);
}

TEST_F(RoundTrip, IsTheOneThatTcpCallsTheLowest) {
  const Connections at_server = connect_all(server_);
  use(at_server, 2ms, 40);
  kernel().take_inventory();
  const Counts counts = server_counts();
  for (const Connection& each : at_server) {
    const uint64_t lowest = 1000ull * info_of(each.server.get()).tcpi_min_rtt;
    EXPECT_GE(counts.histograms[SLOGATE_SIGNAL_rtt][slogate_bucket(lowest)], 1u) << lowest << " ns";
  }
}

TEST_F(RoundTrip, OfASlowPathIsSeenAtBothEnds) {
  std::optional<SlowLink> path;
  try {
    path.emplace(10ms);
  } catch (const std::system_error& error) {
    GTEST_SKIP() << error.what();
  }
  const Connections connections = connect_all(*path, server_, client_);
  use(connections, 10ms, 20);
  kernel().take_inventory();
  for (const Counts& counts : {server_counts(), client_counts()}) {
    EXPECT_EQ(rtts(counts), 4u);
    EXPECT_EQ(rtts(counts, 0.019), 4u);
    EXPECT_EQ(rtts(counts, 0.1), 0u);
  }
}

}  // namespace
}  // namespace slogate
