// SPDX-License-Identifier: Apache-2.0
// How connections end every day, by FIN, by reset and half closed, and what of it is somebody's
// fault: nothing that owed nothing; a client that gave up is told apart from a server that failed.
#include <fstream>
#include <optional>

#include <thread>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// How one side leaves.
enum class Way { Fin, Reset, Half };
constexpr std::array<Way, 3> kWays = {Way::Fin, Way::Reset, Way::Half};

const char* text_of(Way way) {
  return way == Way::Fin ? "FIN" : way == Way::Reset ? "reset" : "half closed";
}

class Ending : public AllModes {
 protected:
  // Ends the connection as seen by one side; a half-closed one is closed by the other side then.
  static void leave(Fd& leaving, Fd& other, Way way) {
    if (way == Way::Reset) {
      abort_connection(std::move(leaving));
    } else if (way == Way::Fin) {
      leaving.reset();
    } else {
      check(shutdown(leaving.get(), SHUT_WR), "shutdown");
      EXPECT_TRUE(at_end(other.get()));
      other.reset();
      EXPECT_TRUE(at_end(leaving.get()));
      leaving.reset();
    }
    other.reset();
  }

  struct Faults {
    uint64_t server_errors = 0, client_errors = 0, gone = 0, unanswered = 0, harmful_in = 0,
             harmful_out = 0;
    bool operator==(const Faults&) const = default;
  };
  [[nodiscard]] Faults faults() const {
    const Counts server = server_counts(), client = client_counts();
    return {errors(server),
            errors(client),
            counter(server, SLOGATE_COUNTER_client_gone),
            counter(server, SLOGATE_COUNTER_unanswered_server),
            counter(server, SLOGATE_COUNTER_harmful_in),
            counter(server, SLOGATE_COUNTER_harmful_out)};
  }
  friend void PrintTo(const Faults& faults, std::ostream* out) {
    *out << "server_errors " << faults.server_errors << ", client_errors " << faults.client_errors
         << ", gone " << faults.gone << ", unanswered " << faults.unanswered << ", harmful_in "
         << faults.harmful_in << ", harmful_out " << faults.harmful_out;
  }
  [[nodiscard]] uint64_t used() const {
    return counter(server_counts(), SLOGATE_COUNTER_used_server);
  }
  [[nodiscard]] uint64_t requests() const {
    return samples(server_counts(), SLOGATE_SIGNAL_request);
  }

  // A request that the server has taken.
  static void ask(const Connection& connection) {
    send_text(connection.client.get(), "ping");
    read_exactly(connection.server.get(), 4);
  }
  // An answer in two writes, to a client that may have left.
  static void answer_in_two(const Fd& server) {
    for (int i = 0; i < 2; ++i) {
      static_cast<void>(send(server.get(), "po", 2, MSG_NOSIGNAL));
      std::this_thread::sleep_for(5ms);  // for the reset that the first one causes
    }
  }
};
SLOGATE_IN_ALL_MODES(Ending);

TEST_P(Ending, OfAConnectionThatCarriedNothingIsNobodysFault) {
  for (const Way way : kWays) {
    SCOPED_TRACE(text_of(way));
    for (int i = 0; i < 5; ++i) {
      Connection by_client = connect_both(server_, client_);
      leave(by_client.client, by_client.server, way);
      Connection by_server = connect_both(server_, client_);
      leave(by_server.server, by_server.client, way);
    }
  }
  kernel().take_inventory();
  EXPECT_EQ(faults(), Faults{});
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 30u);
  EXPECT_EQ(used(), 0u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_used_client), 0u);
  // Raw counts stay what they are.
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_resets_in), 5u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_resets_out), 5u);
}

TEST_P(Ending, ConnectionsThatCarriedDataAreCountedOnceWhileOpenAndAtTheirEnd) {
  Connection kept = connect_both(server_, client_), brief = connect_both(server_, client_);
  kernel().take_inventory();
  EXPECT_EQ(used(), 0u);
  exchange(kept);
  for (int i = 0; i < 3; ++i) kernel().take_inventory();
  EXPECT_EQ(used(), 1u);
  exchange(brief);
  brief = {};
  await(server_, SLOGATE_COUNTER_used_server, 2);
  kept = {};
  await(client_, SLOGATE_COUNTER_used_client, 2);
  kernel().take_inventory();
  EXPECT_EQ(used(), 2u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 2u);
}

// A server or a balancer drops the kept connections of a pool now and then, by a reset as well.
TEST_P(Ending, OfAnIdleConnectionIsNobodysFault) {
  Connection idle = connect_both(server_, client_), busy = connect_both(server_, client_),
             asked = connect_both(server_, client_);
  for (const Connection* one : {&idle, &asked}) exchange(*one);
  std::this_thread::sleep_for(1200ms);
  exchange(busy);
  ask(asked);
  abort_connection(std::move(idle.server));
  EXPECT_EQ(faults(), Faults{});
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_resets_in), 1u);
  // Right after an answer nobody knows whether there was more to come.
  abort_connection(std::move(busy.server));
  EXPECT_EQ(errors(client_counts()), 1u);
  abort_connection(std::move(asked.server));
  EXPECT_EQ(errors(client_counts()), 2u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_unanswered_client), 1u);
}

// The server ends the connection while a request is open, and so does its client, before either has
// heard of the other.
TEST_P(Ending, OfBothSidesAtTheSameTimeIsTheClientsDoing) {
  std::optional<SlowLink> path;
  try {
    path.emplace(20ms);
  } catch (const std::system_error& error) {
    GTEST_SKIP() << error.what();
  }
  Fd listener;
  path->right.run([&] { listener = listen_on(server_, Address(kRightIp, 0)); });
  Connection crossed, first;
  for (Connection* one : {&crossed, &first}) {
    path->left.run([&] { one->client = connect_to(client_, Address::of_socket(listener.get())); });
    one->server = accept_from(listener.get());
    ask(*one);
  }
  crossed.server.reset();
  crossed.client.reset();
  await(server_, SLOGATE_COUNTER_client_gone, 1);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_unanswered_server), 0u);
  first.server.reset();
  EXPECT_TRUE(at_end(first.client.get()));
  first.client.reset();
  await(server_, SLOGATE_COUNTER_unanswered_server, 1);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_client_gone), 1u);
}

TEST_P(Ending, AfterTheAnswerIsNobodysFault) {
  constexpr int kEach = 50;
  for (const Way way : kWays) {
    SCOPED_TRACE(text_of(way));
    for (int i = 0; i < kEach; ++i) {
      Connection connection = connect_both(server_, client_);
      exchange(connection);
      leave(connection.client, connection.server, way);
    }
  }
  EXPECT_EQ(faults(), Faults{});
  EXPECT_EQ(requests(), 3u * kEach);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_resets_in), uint64_t{kEach});
}

// What the peer has received and not yet acknowledged has arrived: with timestamps, and without.
TEST_P(Ending, AfterAnAnswerWhoseAcknowledgementWasPutOffIsNobodysFault) {
  const Netns own;
  own.run([&] {
    for (const char* timestamps : {"1", "0"}) {
      SCOPED_TRACE(timestamps);
      std::ofstream("/proc/sys/net/ipv4/tcp_timestamps") << timestamps;
      int put_off = 0;
      for (int i = 0; i < 50; ++i) {
        Connection connection = connect_both(server_, client_);
        for (int k = 0; k < 3; ++k) exchange(connection);
        set_option(connection.client.get(), IPPROTO_TCP, TCP_QUICKACK, 0);
        ask(connection);
        std::this_thread::sleep_for(2ms);
        send_text(connection.server.get(), "pong");
        read_exactly(connection.client.get(), 4);
        put_off += info_of(connection.server.get()).tcpi_unacked > 0 ? 1 : 0;
        abort_connection(std::move(connection.client));
      }
      EXPECT_GE(put_off, 10);
    }
  });
  EXPECT_EQ(faults(), Faults{});
}

TEST_P(Ending, AResetOnUnsentBytesOfAnAnswerIsTheServersError) {
  Connection connection = connect_both(server_, client_);
  ask(connection);
  fill(connection.server.get());
  abort_connection(std::move(connection.client));
  EXPECT_EQ(faults(), (Faults{.server_errors = 1, .harmful_in = 1}));
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_server_reset), 1u);
}

TEST_P(Ending, AResetBeforeTheAnswerArrivedIsTheServersError) {
  const Link link;
  for (const char* timestamps : {"1"}) {
    link.left.run([&] { std::ofstream("/proc/sys/net/ipv4/tcp_timestamps") << timestamps; });
    Connection connection;
    Fd listener;
    link.right.run([&] { listener = listen_on(server_, Address(kRightIp, 0)); });
    link.left.run(
        [&] { connection.client = connect_to(client_, Address::of_socket(listener.get())); });
    connection.server = accept_from(listener.get());
    for (int i = 0; i < 3; ++i) exchange(connection);
    ask(connection);
    // From here on nothing reaches the client.
    link.right.command(
        {"ip", "neigh", "replace", kLeftIp, "lladdr", "02:00:00:00:00:01", "dev", "right"});
    std::this_thread::sleep_for(5ms);
    send_text(connection.server.get(), "pong");
    std::this_thread::sleep_for(5ms);
    abort_connection(std::move(connection.client));
    await(server_, SLOGATE_COUNTER_server_reset, 1);
  }
  EXPECT_EQ(faults(), (Faults{.server_errors = 1, .harmful_in = 1}));
}

TEST_P(Ending, BeforeTheAnswerIsAClientThatIsGone) {
  constexpr uint64_t kEach = 20;
  for (const Way way : {Way::Fin, Way::Reset}) {
    SCOPED_TRACE(text_of(way));
    std::vector<Connection> connections;
    for (uint64_t i = 0; i < kEach; ++i) connections.push_back(connect_both(server_, client_));
    const uint64_t gone = faults().gone, answered = requests();
    for (Connection& connection : connections) {
      ask(connection);
      if (way == Way::Reset)
        abort_connection(std::move(connection.client));
      else
        connection.client.reset();
    }
    std::this_thread::sleep_for(20ms);
    for (const Connection& connection : connections) answer_in_two(connection.server);
    // How slow the server was is told where it answered.
    EXPECT_EQ(requests(), answered + (way == Way::Fin ? kEach : 0));
    EXPECT_EQ(faults().gone, gone + kEach);
  }
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.02), kEach);
  EXPECT_EQ(faults(), (Faults{.gone = 2 * kEach}));
}

// As PostgreSQL's and MySQL's clients do, and TLS.
TEST_P(Ending, WithAGoodbyeIsAClientThatIsGone) {
  for (int i = 0; i < 3; ++i) {
    Connection connection = connect_both(server_, client_);
    exchange(connection);
    send_text(connection.client.get(), "quit");
    if (i == 2) {  // the server ends with what it has not read
      connection.client.reset();
    } else {
      connection.client.reset();
      read_exactly(connection.server.get(), 4);
      EXPECT_TRUE(at_end(connection.server.get()));
    }
    connection.server.reset();
  }
  await(server_, SLOGATE_COUNTER_client_gone, 3);
  EXPECT_EQ(faults(), (Faults{.gone = 3}));
}

TEST_P(Ending, HalfClosedClientsThatWaitAreNotGone) {
  Connection connection = connect_both(server_, client_);
  ask(connection);
  check(shutdown(connection.client.get(), SHUT_WR), "shutdown");
  EXPECT_TRUE(at_end(connection.server.get()));
  std::this_thread::sleep_for(20ms);
  answer_in_two(connection.server);
  read_exactly(connection.client.get(), 4);
  connection = {};
  EXPECT_EQ(faults(), Faults{});
  EXPECT_EQ(requests(), 1u);
}

TEST_P(Ending, HalfClosedClientsMayStillGiveUp) {
  Connection connection = connect_both(server_, client_);
  ask(connection);
  check(shutdown(connection.client.get(), SHUT_WR), "shutdown");
  abort_connection(std::move(connection.client));
  answer_in_two(connection.server);
  EXPECT_EQ(faults(), (Faults{.gone = 1}));
}

TEST_P(Ending, ByTheServerBeforeItsAnswerIsTheServersFault) {
  for (const Way way : {Way::Fin, Way::Reset}) {
    SCOPED_TRACE(text_of(way));
    Connection connection = connect_both(server_, client_);
    ask(connection);
    leave(connection.server, connection.client, way);
  }
  // The client, which waited, is reset once.
  EXPECT_EQ(faults(), (Faults{.client_errors = 1, .unanswered = 2, .harmful_out = 1}));
}

TEST_P(Ending, AResetByTheServerHarmsWhereTheAnswerIsUnderWay) {
  Connection owing = connect_both(server_, client_), done = connect_both(server_, client_);
  exchange(done);
  abort_connection(std::move(done.server));
  EXPECT_EQ(faults().harmful_out, 0u);
  ask(owing);
  fill(owing.server.get());
  abort_connection(std::move(owing.server));
  EXPECT_EQ(faults().harmful_out, 1u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_resets_out), 2u);
}

}  // namespace
}  // namespace slogate
