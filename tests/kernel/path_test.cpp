// SPDX-License-Identifier: Apache-2.0
// What TCP and the path do to segments, between namespaces of the test's own, against TCP's own
// counts.
#include <linux/filter.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class Path : public BestMode {
 protected:
  void SetUp() override {
    BestMode::SetUp();
    connect();
  }

  void connect() {
    Fd listener;
    link_.right.run([&] { listener = listen_on(server_, Address(kRightIp, 0)); });
    link_.left.run([&] { both_.client = connect_to(client_, Address::of_socket(listener.get())); });
    both_.server = accept_from(listener.get());
  }

  // Whether what the client sends goes through netem now.
  bool emulate(std::vector<std::string> how) {
    how.insert(how.begin(), {"tc", "qdisc", "add", "dev", "left", "root", "netem"});
    try {
      link_.left.command(how);
    } catch (const std::runtime_error&) {
      return false;
    }
    return true;
  }

  // How many packets of the cgroup's sockets were dropped for this reason.
  [[nodiscard]] uint64_t drops(const Counts& counts, std::string_view reason) const {
    const auto& names = features_.drop_reasons;
    const auto at = std::find(names.begin(), names.end(), reason);
    return at == names.end() ? 0 : counts.drops[static_cast<size_t>(at - names.begin())];
  }
  [[nodiscard]] static uint64_t all_drops(const Counts& counts) { return counts.drops.total(); }

  void expect_segments(const Counts& counts, const tcp_info& info) const {
    EXPECT_EQ(counter(counts, SLOGATE_COUNTER_segments_in), info.tcpi_segs_in);
    EXPECT_EQ(counter(counts, SLOGATE_COUNTER_segments_out), info.tcpi_segs_out);
    EXPECT_EQ(counter(counts, SLOGATE_COUNTER_retransmits), info.tcpi_total_retrans);
  }

  // The packets that a device's first qdisc has dropped, as tc prints them.
  static uint64_t dropped_by_qdisc(const Netns& netns, const std::string& device) {
    uint64_t dropped = 0;
    netns.run([&] {
      FILE* tc = popen(("tc -s qdisc show dev " + device).c_str(), "r");
      if (tc == nullptr) throw std::runtime_error("tc");
      char line[512];
      while (fgets(line, sizeof(line), tc) != nullptr)
        if (const char* at = std::strstr(line, "dropped "); at != nullptr && dropped == 0)
          dropped = std::strtoull(at + 8, nullptr, 10);
      pclose(tc);
    });
    return dropped;
  }

  const KernelFeatures features_ = features_of(Mode::Locked);
  const Link link_;
  Connection both_;
};

TEST_F(Path, SegmentsAndRoundTripTimeAreThoseOfTcp) {
  for (int i = 0; i < 50; ++i) exchange(both_);
  std::jthread writer([&] { send_text(both_.client.get(), std::string(1 << 20, 'x')); });
  read_exactly(both_.server.get(), 1 << 20);
  writer.join();
  kernel().take_inventory();
  // A late ACK may still have been under way.
  EXPECT_TRUE(eventually([&] {
    kernel().take_inventory();
    return counter(client_counts(), SLOGATE_COUNTER_segments_in) ==
           info_of(both_.client.get()).tcpi_segs_in;
  }));
  expect_segments(client_counts(), info_of(both_.client.get()));
  // The server's count begins with its socket: the SYN was the listener's.
  const tcp_info server = info_of(both_.server.get());
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_segments_in), server.tcpi_segs_in);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_segments_out), server.tcpi_segs_out);
  // None, unless the machine was too busy for an ACK.
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_retransmits),
            info_of(both_.client.get()).tcpi_total_retrans);
  EXPECT_GE(samples(client_counts(), SLOGATE_SIGNAL_rtt), 1u);
  EXPECT_EQ(samples_from(client_counts(), SLOGATE_SIGNAL_rtt, 1.0), 0u);
}

TEST_F(Path, ThatDropsInAQueueIsSeenByReasonAndByRetransmits) {
  link_.left.command({"ip", "link", "set", "left", "gso_max_segs", "1"});
  link_.left.command({"tc", "qdisc", "add", "dev", "left", "root", "tbf", "rate", "20mbit", "burst",
                      "5kb", "limit", "10kb"});
  constexpr size_t kBytes = 1 << 20;
  std::jthread writer([&] { send_text(both_.client.get(), std::string(kBytes, 'x')); });
  read_exactly(both_.server.get(), kBytes);
  writer.join();
  EXPECT_TRUE(eventually([&] {
    kernel().take_inventory();
    const tcp_info info = info_of(both_.client.get());
    return info.tcpi_unacked == 0 &&
           counter(client_counts(), SLOGATE_COUNTER_segments_out) == info.tcpi_segs_out;
  }));
  const tcp_info info = info_of(both_.client.get());
  EXPECT_GT(info.tcpi_total_retrans, 0u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_retransmits), info.tcpi_total_retrans);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_retransmits), 0u);
  const uint64_t dropped = dropped_by_qdisc(link_.left, "left");
  EXPECT_GT(dropped, 0u);
  // A packet that the queue cuts into segments, all of which it drops, is one more to the queue:
  // that makes a few in a hundred.
  // Since 7.x most have a reason of the qdiscs' own, which is OTHER to slogate.
  const uint64_t counted = drops(client_counts(), "QDISC_DROP") + client_counts().drops[0];
  EXPECT_LE(counted, dropped);
  EXPECT_GE(10 * counted, 8 * dropped);
  EXPECT_EQ(all_drops(client_counts()), counted);
  EXPECT_EQ(all_drops(server_counts()), 0u);
}

TEST_F(Path, ThatLosesPacketsIsSeenByRetransmits) {
  if (!emulate({"loss", "5%"})) GTEST_SKIP() << "this kernel has no netem (CONFIG_NET_SCH_NETEM)";
  // Hundreds of packets, and again where none of them was lost.
  link_.left.command({"ip", "link", "set", "left", "gso_max_segs", "1"});
  constexpr size_t kBytes = 1 << 20;
  for (int i = 0; i < 10 && info_of(both_.client.get()).tcpi_total_retrans == 0; ++i) {
    std::jthread writer([&] { send_text(both_.client.get(), std::string(kBytes, 'x')); });
    read_exactly(both_.server.get(), kBytes);
    writer.join();
    EXPECT_TRUE(eventually([&] { return info_of(both_.client.get()).tcpi_unacked == 0; }));
  }
  kernel().take_inventory();
  const tcp_info info = info_of(both_.client.get());
  EXPECT_GT(info.tcpi_total_retrans, 0u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_retransmits), info.tcpi_total_retrans);
  // No other socket is in this namespace.
  EXPECT_EQ(link_.left.statistic("Tcp", "RetransSegs"), info.tcpi_total_retrans);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_retransmits), 0u);
}

TEST_F(Path, ThatIsSlowIsSeenByRoundTripsAndRequests) {
  if (!emulate({"delay", "50ms"}))
    GTEST_SKIP() << "this kernel has no netem (CONFIG_NET_SCH_NETEM)";
  connect();  // the first one's times are those of a quick path
  for (int i = 0; i < 5; ++i) exchange(both_);
  kernel().take_inventory();
  const Counts client = client_counts();
  EXPECT_GE(samples_from(client, SLOGATE_SIGNAL_connect, 0.05), 1u);
  EXPECT_EQ(samples_from(client, SLOGATE_SIGNAL_client_request, 0.05), 5u);
  EXPECT_GE(samples_from(client, SLOGATE_SIGNAL_rtt, 0.045), 1u);
}

// By a filter that the application itself has put on its socket.
TEST_F(Path, WhatTheReceiverDropsIsTheReceivers) {
  if (!features_.kfree_skb_has_socket)
    GTEST_SKIP() << "this kernel does not say who was to receive a packet (before 6.11)";
  exchange(both_);
  sock_filter drop_all[] = {{BPF_RET | BPF_K, 0, 0, 0}};
  const sock_fprog program{1, drop_all};
  check(setsockopt(both_.server.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)),
        "SO_ATTACH_FILTER");
  send_text(both_.client.get(), "lost");
  EXPECT_TRUE(eventually([&] { return drops(server_counts(), "SOCKET_FILTER") >= 2; }));
  set_option(both_.server.get(), SOL_SOCKET, SO_DETACH_FILTER, 0);
  read_exactly(both_.server.get(), 4);
  const uint64_t dropped = drops(server_counts(), "SOCKET_FILTER");
  EXPECT_EQ(all_drops(server_counts()), dropped);
  EXPECT_EQ(all_drops(client_counts()), 0u);
  // Each that was lost was sent again; on a busy machine TCP may send one more before the answer to
  // the last is there.
  EXPECT_TRUE(eventually([&] {
    kernel().take_inventory();
    return counter(client_counts(), SLOGATE_COUNTER_retransmits) ==
           info_of(both_.client.get()).tcpi_total_retrans;
  }));
  EXPECT_GE(counter(client_counts(), SLOGATE_COUNTER_retransmits), dropped);
}

TEST_F(Path, OpenRequestsAreFoundInAnyNamespaceWithTheirAge) {
  const auto before = std::chrono::steady_clock::now().time_since_epoch();
  send_text(both_.client.get(), "ping");
  EXPECT_TRUE(eventually([&] { return kernel().inflight(server_).size() == 1; }));
  const auto after = std::chrono::steady_clock::now().time_since_epoch();
  const auto open = kernel().inflight(server_);
  ASSERT_EQ(open.size(), 1u);
  EXPECT_GE(std::chrono::nanoseconds(open[0].opened), before);
  EXPECT_LE(std::chrono::nanoseconds(open[0].opened), after);
  EXPECT_EQ(kernel().inflight(client_).size(), 1u);
  // Still the same one, however long it hangs.
  EXPECT_EQ(kernel().inflight(server_).at(0).opened, open[0].opened);
  both_.client.reset();
  EXPECT_EQ(read_exactly(both_.server.get(), 4), "ping");
  EXPECT_TRUE(at_end(both_.server.get()));
  EXPECT_EQ(kernel().inflight(server_).size(), 1u);  // the client has gone, the request has not
  both_.server.reset();
  await(server_, SLOGATE_COUNTER_client_gone, 1);
  await(client_, SLOGATE_COUNTER_unanswered_client, 1);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_unanswered_server), 0u);
  EXPECT_TRUE(kernel().inflight(server_).empty());
}

}  // namespace
}  // namespace slogate
