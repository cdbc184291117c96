// SPDX-License-Identifier: Apache-2.0
// Connections that fail or break: each counted once, by what went wrong and to whose account. What
// drops packets does so in network namespaces of the test's own.
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class Failure : public BestMode {
 protected:
  // These, and no other error of either role.
  void expect_errors(const TestCgroup& cgroup,
                     const std::map<slogate_counter, uint64_t>& wanted) const {
    const Counts counts = counts_of(cgroup);
    for (size_t i = 0; i < kCounters.size(); ++i) {
      if (kCounters[i].family != "connection_errors") continue;
      const auto row = wanted.find(static_cast<slogate_counter>(i));
      EXPECT_EQ(counts.counters[i], row == wanted.end() ? 0 : row->second) << kCounters[i].name;
    }
  }

  static void set_sysctl(const std::string& name, int value) {
    std::ofstream file("/proc/sys/net/" + name);
    file << value;
    if (!file.flush()) throw std::runtime_error("cannot set " + name);
  }

  // Starts to connect, and leaves it at that.
  Fd begin_connect(const Address& address) const {
    Fd fd = open_socket(client_, address.family());
    const int on = 1;
    check(ioctl(fd.get(), FIONBIO, &on), "FIONBIO");
    EXPECT_EQ(try_connect(fd.get(), address), EINPROGRESS);
    return fd;
  }

  // What came of it, once the kernel has decided.
  static int outcome(const Fd& fd) {
    pollfd one{fd.get(), POLLOUT, 0};
    check(poll(&one, 1, 20'000), "poll");
    int error = 0;
    socklen_t size = sizeof(error);
    check(getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size), "SO_ERROR");
    return one.revents == 0 ? EINPROGRESS : error;
  }
};

// An address on the link where a frame arrives and nobody feels meant.
constexpr const char* kSilentIp = "10.77.0.9";
// And one that the other side knows to be out of reach.
constexpr const char* kFarIp = "10.88.0.1";

// A link where two kinds of connects fail after seconds: one SYN, and one more a second later.
struct BrokenLink : Link {
  BrokenLink() {
    left.command({"ip", "neigh", "add", kSilentIp, "lladdr", "02:00:00:00:00:01", "dev", "left"});
    left.command({"ip", "route", "add", "10.88.0.0/24", "via", kRightIp});
    right.command({"ip", "route", "add", "unreachable", "10.88.0.0/24"});
  }
};

TEST_F(Failure, RefusedConnectsAreCountedOneByOne) {
  for (const char* ip : {"127.0.0.1", "::1", "::ffff:127.0.0.1"}) {
    // Bound and not listening: nobody else gets this port.
    const Fd holder = open_socket(server_, Address(ip, 0).family());
    check(bind(holder.get(), Address(ip, 0).data(), Address(ip, 0).size()), "bind");
    const Address closed = Address::of_socket(holder.get());
    for (int i = 0; i < 100; ++i)
      ASSERT_EQ(try_connect(open_socket(client_, closed.family()).get(), closed), ECONNREFUSED);
  }
  expect_errors(client_, {{SLOGATE_COUNTER_client_refused, 300}});
  expect_errors(server_, {});
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 0u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_connect), 0u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_unanswered_client), 0u);
}

TEST_F(Failure, OfEveryKindIsToldApart) {
  constexpr int kRefused = 7, kTimedOut = 5, kUnreachable = 2, kGivenUp = 3, kOpened = 6;
  const BrokenLink link;
  std::vector<Fd> timed_out, unreachable, opened, given_up;
  link.right.run([] {
    set_sysctl("ipv4/ip_forward", 1);  // a host that does not forward says nothing either
    // No limit on ICMP; that on unreachable routes lets five of them pass.
    set_sysctl("ipv4/icmp_ratemask", 0);
  });
  link.left.run([&] {
    set_sysctl("ipv4/tcp_syn_retries", 1);
    if (std::filesystem::exists("/proc/sys/net/ipv4/tcp_syn_linear_timeouts"))  // since 6.5
      set_sysctl("ipv4/tcp_syn_linear_timeouts", 0);
    for (int i = 0; i < kTimedOut; ++i) timed_out.push_back(begin_connect(Address(kSilentIp, 80)));
    for (int i = 0; i < kUnreachable; ++i)
      unreachable.push_back(begin_connect(Address(kFarIp, 80)));
    for (int i = 0; i < kGivenUp; ++i) given_up.push_back(begin_connect(Address(kSilentIp, 80)));
  });
  Fd listener;
  link.right.run([&] { listener = listen_on(server_, Address(kRightIp, 0)); });
  const Address open = Address::of_socket(listener.get());
  link.left.run([&] {
    for (int i = 0; i < kRefused; ++i)
      EXPECT_EQ(try_connect(open_socket(client_).get(), Address(kRightIp, 1)), ECONNREFUSED);
    for (int i = 0; i < kOpened; ++i) opened.push_back(connect_to(client_, open));
  });
  given_up.clear();
  for (const Fd& fd : timed_out) EXPECT_EQ(outcome(fd), ETIMEDOUT);
  // Only now: asking for the error takes it away, and on this link the first answer comes while
  // connect() still holds the socket, when TCP does no more than take a note of it. The one to the
  // second SYN ends the connection, or the end of all retries.
  await(client_, SLOGATE_COUNTER_client_unreachable, kUnreachable);
  for (const Fd& fd : unreachable) EXPECT_EQ(outcome(fd), EHOSTUNREACH);
  expect_errors(client_, {{SLOGATE_COUNTER_client_refused, kRefused},
                          {SLOGATE_COUNTER_client_timed_out, kTimedOut},
                          {SLOGATE_COUNTER_client_unreachable, kUnreachable},
                          {SLOGATE_COUNTER_client_other, kGivenUp}});
  expect_errors(server_, {});
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), uint64_t{kOpened});
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), uint64_t{kOpened});
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_connect), uint64_t{kOpened});
}

// A client cannot know whether the answer was complete; a server that has given its answer owes
// nothing, see ending_test.cpp.
TEST_F(Failure, AResetIsTheErrorOfTheClientThatReceivesIt) {
  for (int i = 0; i < 10; ++i) {
    Connection connection = connect_both(server_, client_);
    exchange(connection);
    abort_connection(std::move(i < 4 ? connection.server : connection.client));
    const Fd& other = i < 4 ? connection.client : connection.server;
    char byte = 0;
    EXPECT_EQ(recv(other.get(), &byte, 1, 0), -1);
    EXPECT_EQ(errno, ECONNRESET);
  }
  expect_errors(client_, {{SLOGATE_COUNTER_client_reset, 4}});
  expect_errors(server_, {});
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_resets_out), 4u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_resets_in), 4u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_resets_out), 6u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_resets_in), 6u);
  expect_requests(10);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_unanswered_server), 0u);
}

// Unread data turns a close into a reset.
TEST_F(Failure, AServerThatClosesOnUnreadDataResets) {
  Connection connection = connect_both(server_, client_);
  send_text(connection.client.get(), "ping");
  EXPECT_TRUE(eventually([&] { return kernel().inflight(server_).size() == 1; }));
  connection.server.reset();
  await(client_, SLOGATE_COUNTER_client_reset, 1);
  await(client_, SLOGATE_COUNTER_resets_in, 1);
  await(server_, SLOGATE_COUNTER_resets_out, 1);
  await(server_, SLOGATE_COUNTER_unanswered_server, 1);
  await(client_, SLOGATE_COUNTER_unanswered_client, 1);
  expect_errors(server_, {});
  expect_errors(client_, {{SLOGATE_COUNTER_client_reset, 1}});
}

TEST_F(Failure, AnOpenConnectionThatFallsSilentTimesOutOnTheSideThatSends) {
  const Link link;
  Fd listener;
  link.right.run([&] { listener = listen_on(server_, Address(kRightIp, 0)); });
  Connection by_client, by_server;
  link.left.run([&] {
    for (Connection* one : {&by_client, &by_server}) {
      one->client = connect_to(client_, Address::of_socket(listener.get()));
      one->server = accept_from(listener.get());
      exchange(*one);
    }
  });
  constexpr int kMilliseconds = 300;
  set_option(by_client.client.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, kMilliseconds);
  set_option(by_server.server.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, kMilliseconds);
  // The carrier stays, so nobody is told.
  for (const auto& [end, other] : {std::pair{&link.left, kRightIp}, {&link.right, kLeftIp}})
    end->command({"ip", "neigh", "replace", other, "lladdr", "02:00:00:00:00:01", "dev",
                  end == &link.left ? "left" : "right"});
  send_text(by_client.client.get(), "ping");
  send_text(by_server.server.get(), "push");
  EXPECT_EQ(outcome(by_client.client), 0);  // writable
  await(client_, SLOGATE_COUNTER_client_timed_out, 1);
  await(server_, SLOGATE_COUNTER_server_timed_out, 1);
  expect_errors(client_, {{SLOGATE_COUNTER_client_timed_out, 1}});
  expect_errors(server_, {{SLOGATE_COUNTER_server_timed_out, 1}});
  await(client_, SLOGATE_COUNTER_unanswered_client, 1);
}

TEST_F(Failure, AFullAcceptQueueCountsEveryConnectionItTurnsAway) {
  constexpr int kTurnedAway = 20;
  const Netns own;
  own.run([&] {
    Fd listener = listen_on(server_, Address(kLoopback, 0), 1);
    const Address address = Address::of_socket(listener.get());
    // A queue of 1 holds 2.
    const Fd first = connect_to(client_, address), second = connect_to(client_, address);
    EXPECT_EQ(own.statistic("TcpExt", "ListenOverflows"), 0u);
    std::vector<Fd> waiting;
    for (int i = 0; i < kTurnedAway; ++i) waiting.push_back(begin_connect(address));
    kernel().take_inventory();
    // TCP itself counts a SYN again each time it is sent again, and so do we.
    const uint64_t before = own.statistic("TcpExt", "ListenOverflows");
    const uint64_t counted = counter(server_counts(), SLOGATE_COUNTER_server_listen_overflow);
    EXPECT_GE(counted, uint64_t{kTurnedAway});
    EXPECT_LE(counted, before);
    // They come again, which the last look at the listener must not miss.
    EXPECT_TRUE(
        eventually([&] { return own.statistic("TcpExt", "ListenOverflows") >= 2 * kTurnedAway; },
                   std::chrono::seconds(5)));
    waiting.clear();
    listener.reset();
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_server_listen_overflow),
              own.statistic("TcpExt", "ListenOverflows"));
  });
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 2u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 2u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_client_other), uint64_t{kTurnedAway});
}

}  // namespace
}  // namespace slogate
