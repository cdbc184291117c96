// SPDX-License-Identifier: Apache-2.0
// Connections that a server refuses, which no socket of it ever sees, and listeners that go and
// come back. In both of the ways in which kernels tell of the first.
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

enum class Told { ByReset, ByDrop };

void PrintTo(Told told, std::ostream* out) {
  *out << (told == Told::ByReset ? "ByReset" : "ByDrop");
}

// Before 6.10 there is the second way alone.
std::vector<Told> ways() {
  return features_of(Mode::Locked).resets_without_socket ? std::vector{Told::ByReset, Told::ByDrop}
                                                         : std::vector{Told::ByDrop};
}

std::unique_ptr<Kernel> kernel_that_tells(Told told) {
  KernelFeatures features = features_of(Mode::Locked);
  if (told == Told::ByDrop) features.resets_without_socket = false;
  return std::make_unique<Kernel>(features);
}

class Refused : public KernelTest, public testing::WithParamInterface<Told> {
 protected:
  static void TearDownTestSuite() { kernels_.clear(); }
  void SetUp() override {
    auto& kernel = kernels_[GetParam()];
    if (!kernel) kernel = kernel_that_tells(GetParam());
    start(*kernel);
    // Before 6.12 no program reads what arrives at a client, which is no matter here.
    for (const ProbeStatus& probe : kernel->probes().status({}))
      ASSERT_FALSE(probe.degraded && kProbes[probe.probe].need != Need::optional)
          << kProbes[probe.probe].name << ": " << probe.reason;
  }

  // All of them, one after the other.
  void expect_refused(const Address& address, int connects) {
    for (int i = 0; i < connects; ++i)
      ASSERT_EQ(try_connect(open_socket(client_, address.family()).get(), address), ECONNREFUSED);
  }
  // A place where the cgroup listened, and nobody does now.
  static Address closed_place(const TestCgroup& cgroup, const std::string& ip, uint16_t port = 0) {
    return Address::of_socket(listen_on(cgroup, Address(ip, port)).get());
  }
  [[nodiscard]] uint64_t refused(const TestCgroup& cgroup,
                                 slogate_class class_ = SLOGATE_CLASS_service, uint16_t port = 0) {
    return counter(kernel().counts(cgroup.id(), class_, port), SLOGATE_COUNTER_server_refused);
  }
  [[nodiscard]] uint64_t gaps(const TestCgroup& cgroup) {
    return counter(counts_of(cgroup), SLOGATE_COUNTER_listener_gaps);
  }

 private:
  static inline std::map<Told, std::unique_ptr<Kernel>> kernels_;
};
INSTANTIATE_TEST_SUITE_P(, Refused, testing::ValuesIn(ways()),
                         [](const auto& told) { return testing::PrintToString(told.param); });

// The address of a Link's left end, as programs have it.
slogate_address left_of_link() {
  slogate_address left{};
  left.bytes[10] = left.bytes[11] = 0xff;
  const std::array<uint8_t, 4> ip = {10, 77, 0, 1};
  std::ranges::copy(ip, left.bytes + 12);
  return left;
}

Fd share_port(const TestCgroup& owner, const Address& address) {
  Fd fd = open_socket(owner, address.family());
  set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  check(bind(fd.get(), address.data(), address.size()), "bind");
  check(listen(fd.get(), 8), "listen");
  return fd;
}

TEST_P(Refused, ConnectsAreCountedOneByOne) {
  const Netns own;
  uint64_t sent = 0;
  own.run([&] {
    for (const char* ip : {"127.0.0.1", "::1", "::ffff:127.0.0.1"}) {
      expect_refused(closed_place(server_, ip), 20);
      EXPECT_EQ(refused(server_), sent += 20) << ip;
    }
    EXPECT_EQ(own.statistic("Tcp", "OutRsts"), sent);
  });
  EXPECT_EQ(errors(server_counts()), sent);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_client_refused), sent);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 0u);
}

TEST_P(Refused, AListenerOfAnyAddressRefusesAtEach) {
  const Netns own;
  own.run([&] {
    const uint16_t v4 = closed_place(server_, "0.0.0.0").port();
    expect_refused(Address("127.0.0.1", v4), 3);
    expect_refused(Address("127.0.0.7", v4), 2);
    EXPECT_EQ(refused(server_), 5u);
    expect_refused(Address("::1", v4), 4);
    EXPECT_EQ(refused(server_), 5u) << "nobody listened there";

    const uint16_t both = closed_place(server_, "::").port();
    expect_refused(Address("::1", both), 3);
    expect_refused(Address("127.0.0.1", both), 2);
    EXPECT_EQ(refused(server_), 10u);

    Fd fd = open_socket(server_, AF_INET6);
    set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
    const Address any("::", 0);
    check(bind(fd.get(), any.data(), any.size()), "bind");
    check(listen(fd.get(), 8), "listen");
    const uint16_t v6 = Address::of_socket(fd.get()).port();
    fd.reset();
    expect_refused(Address("::1", v6), 3);
    expect_refused(Address("127.0.0.1", v6), 2);
    EXPECT_EQ(refused(server_), 13u);
  });
}

TEST_P(Refused, WhereNobodyEverListenedIsNobodys) {
  const Netns own;
  own.run([&] {
    const Address elsewhere = closed_place(server_, "127.0.0.2");
    const size_t used = kernel().maps().slab().used();
    expect_refused(Address(kLoopback, elsewhere.port()), 10);
    expect_refused(Address(kLoopback, static_cast<uint16_t>(elsewhere.port() ^ 1)), 10);
    EXPECT_EQ(kernel().maps().slab().used(), used + 1);  // the client's
    EXPECT_EQ(refused(server_), 0u);
    expect_refused(elsewhere, 1);
  });
  EXPECT_EQ(refused(server_), 1u);
}

TEST_P(Refused, NothingIsWhileAnotherListens) {
  const TestCgroup other;
  const Netns own;
  own.run([&] {
    Fd one = share_port(server_, Address(kLoopback, 0));
    const Address place = Address::of_socket(one.get());
    Fd two = share_port(other, place);
    one.reset();
    for (int i = 0; i < 5; ++i) connect_to(client_, place);
    EXPECT_EQ(refused(server_) + refused(other), 0u);
    two.reset();
    expect_refused(place, 5);
  });
  // The other was the last.
  EXPECT_EQ(refused(server_), 0u);
  EXPECT_EQ(refused(other), 5u);
}

TEST_P(Refused, IsTheFailureOfWhoListenedInThatNamespace) {
  const TestCgroup other;
  const Netns ours, theirs;
  Address place;
  ours.run([&] { place = closed_place(server_, kLoopback); });
  theirs.run([&] { closed_place(other, kLoopback, place.port()); });
  ours.run([&] { expect_refused(place, 3); });
  theirs.run([&] { expect_refused(place, 4); });
  EXPECT_EQ(refused(server_), 3u);
  EXPECT_EQ(refused(other), 4u);
}

TEST_P(Refused, ThroughALinkAsWell) {
  const Link link;
  Address place;
  link.right.run([&] { place = closed_place(server_, kRightIp); });
  link.left.run([&] { expect_refused(place, 7); });
  EXPECT_EQ(refused(server_), 7u);
}

TEST_P(Refused, HasTheClassThatTheConnectionWouldHaveHad) {
  const Link link;
  Fd listener;
  link.right.run([&] { listener = listen_on(server_, Address("0.0.0.0", 0)); });
  const uint16_t port = Address::of_socket(listener.get()).port();
  Maps& maps = kernel().maps();
  ASSERT_TRUE(maps.set_node_addresses({left_of_link()}));
  const ClassRules rules = {{{.port = 0, .peer = 1}, {SLOGATE_CLASS_probe, 0}},
                            {{.port = port, .peer = 0}, {SLOGATE_CLASS_service, port}},
                            {{.port = port, .peer = 1}, {SLOGATE_CLASS_probe, 0}}};
  ASSERT_TRUE(maps.set_class_rules(rules));
  // Of the port's own class, as a listener made under these rules would be.
  link.right.run([&] {
    listener.reset();
    listener = listen_on(server_, Address("0.0.0.0", port));
  });
  const auto from_left = [&](int connects) {
    link.left.run([&] { expect_refused(Address(kRightIp, port), connects); });
  };
  link.left.run([&] { connect_to(client_, Address(kRightIp, port)); });
  listener.reset();
  from_left(3);
  link.right.run([&] { expect_refused(Address(kRightIp, port), 5); });
  EXPECT_EQ(refused(server_, SLOGATE_CLASS_probe), 3u);
  EXPECT_EQ(refused(server_, SLOGATE_CLASS_service, port), 5u);
  EXPECT_EQ(refused(server_), 0u);
  ASSERT_TRUE(maps.set_class_rules({}));
  ASSERT_TRUE(maps.set_node_addresses({}));
}

// A container that is being started again refuses the kubelet, which is no user's failure.
TEST_P(Refused, TheNodeItselfIsNoFailureOfAPod) {
  const Link link;
  Address place;
  link.right.run([&] { place = closed_place(server_, kRightIp); });
  ASSERT_TRUE(kernel().maps().set_node_addresses({left_of_link()}));
  link.left.run([&] { expect_refused(place, 3); });
  EXPECT_EQ(refused(server_), 0u);
  link.right.run([&] { expect_refused(place, 5); });
  EXPECT_EQ(refused(server_), 5u);
  ASSERT_TRUE(kernel().maps().set_node_addresses({}));
}

// A datagram that nobody takes is dropped for the same reason as a SYN, and at the place of its
// flags may be anything.
TEST_P(Refused, DatagramsAreNoConnections) {
  const Netns own;
  own.run([&] {
    const Address place = closed_place(server_, kLoopback);
    const Fd udp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const std::array<char, 6> like_a_syn = {0, 0, 0, 0, 0, 2};
    for (int i = 0; i < 5; ++i)
      sendto(udp.get(), like_a_syn.data(), like_a_syn.size(), 0, place.data(), place.size());
    expect_refused(place, 1);
  });
  EXPECT_EQ(refused(server_), 1u);
}

// As of connections, of which the CPU budget leaves out as many.
TEST_P(Refused, IsWatchedInTheSameShare) {
  constexpr int kConnects = 1600;
  const Netns own;
  kernel().maps().control().spare(0, 7);
  own.run([&] { expect_refused(closed_place(server_, kLoopback), kConnects); });
  kernel().maps().control().spare(0, 0);
  // 200 and six deviations.
  EXPECT_NEAR(static_cast<double>(refused(server_)), kConnects / 8.0, 80);
}

TEST_P(Refused, ByAListenerThatIsOlderThanThePrograms) {
  const Netns own;
  own.run([&] {
    Fd listener = listen_on(server_, Address(kLoopback, 0));
    const Address place = Address::of_socket(listener.get());
    const auto later = kernel_that_tells(GetParam());
    listener.reset();
    expect_refused(place, 6);
    EXPECT_EQ(counter(later->counts(server_.id()), SLOGATE_COUNTER_server_refused), 6u);
  });
}

TEST_P(Refused, AListenerThatComesBackClosesAGap) {
  const TestCgroup other;
  const Netns own;
  own.run([&] {
    const Address place = closed_place(server_, kLoopback);
    EXPECT_EQ(gaps(server_), 0u);
    closed_place(server_, kLoopback, place.port());
    EXPECT_EQ(gaps(server_), 1u);
    // Another port, another's turn, and back to the first: only who was there last comes back.
    closed_place(server_, kLoopback);
    closed_place(other, kLoopback, place.port());
    closed_place(server_, kLoopback, place.port());
    EXPECT_EQ(gaps(server_), 1u);
    EXPECT_EQ(gaps(other), 0u);

    // One socket in two places closes one gap.
    const uint16_t both = closed_place(server_, "::").port();
    closed_place(server_, "::", both);
    EXPECT_EQ(gaps(server_), 2u);
    closed_place(server_, "0.0.0.0", both);
    EXPECT_EQ(gaps(server_), 3u);
  });
}

TEST_P(Refused, APortThatTheKernelChoseTwiceIsNoGap) {
  const Netns own;
  own.run([&] {
    std::ofstream("/proc/sys/net/ipv4/ip_local_port_range") << "40000 40000";
    for (int i = 0; i < 3; ++i) {
      const Fd listener = listen_on(server_, Address(kLoopback, 0));
      EXPECT_EQ(Address::of_socket(listener.get()).port(), 40000);
    }
  });
  EXPECT_EQ(gaps(server_), 0u);
}

TEST_P(Refused, AHandOverIsNoGap) {
  const Netns own;
  own.run([&] {
    Fd old = share_port(server_, Address(kLoopback, 0));
    const Address place = Address::of_socket(old.get());
    for (int i = 0; i < 3; ++i) {
      Fd next = share_port(server_, place);
      old = std::move(next);
    }
    EXPECT_EQ(gaps(server_), 0u);
    // The same socket may go and come back, too.
    check(shutdown(old.get(), SHUT_RDWR), "shutdown");
    check(listen(old.get(), 8), "listen");
    EXPECT_EQ(gaps(server_), 1u);
  });
}

}  // namespace
}  // namespace slogate
