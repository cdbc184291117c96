// SPDX-License-Identifier: Apache-2.0
// Traffic classes: the rules of the configuration, on the kernel's side of them.
#include <algorithm>

#include "agent/config/class_rules.h"
#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

slogate_address mapped(std::array<uint8_t, 4> v4) {
  slogate_address address{};
  address.bytes[10] = address.bytes[11] = 0xff;
  std::copy(v4.begin(), v4.end(), address.bytes + 12);
  return address;
}

// Of the test's own network namespace.
uint64_t netns_cookie() {
  const Fd any(check(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"));
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  check(getsockopt(any.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size), "SO_NETNS_COOKIE");
  return cookie;
}

class Class : public BestMode {
 protected:
  void SetUp() override {
    BestMode::SetUp();
    slogate_address v6{};
    v6.bytes[15] = 1;
    set_addresses({mapped({127, 0, 0, 1}), v6});
    kernel().maps().control().set_node_netns(netns_cookie());
  }
  void TearDown() override {
    set_rules({});
    set_addresses({});
    kernel().maps().control().set_node_netns(0);
    BestMode::TearDown();
  }

  void set_rules(const ClassRules& rules) {
    ASSERT_TRUE(kernel().maps().set_class_rules(rules).has_value());
  }
  void set_addresses(const std::vector<slogate_address>& addresses) {
    ASSERT_TRUE(kernel().maps().set_node_addresses(addresses).has_value());
  }

  // A listener with a connection to it, on a port that only the test knows.
  struct Service {
    Fd listener;
    Address address;
  };
  Service serve(const std::string& ip = kLoopback) {
    Service service{listen_on(server_, Address(ip, 0)), {}};
    service.address = Address::of_socket(service.listener.get());
    return service;
  }
  void use(const Service& service, int requests) {
    Connection connection;
    connection.client = connect_to(client_, service.address);
    connection.server = accept_from(service.listener.get());
    for (int i = 0; i < requests; ++i) exchange(connection);
  }

  [[nodiscard]] uint64_t requests(slogate_class class_, uint16_t port = 0) {
    return samples(kernel().counts(server_.id(), class_, port), SLOGATE_SIGNAL_request);
  }
  [[nodiscard]] uint64_t connections(slogate_class class_) {
    return counter(kernel().counts(server_.id(), class_), SLOGATE_COUNTER_connections_server);
  }
};

TEST_F(Class, IsThatOfTheServersPort) {
  const Service probed = serve(), scraped = serve(), service = serve();
  set_rules({{{.port = probed.address.port(), .peer = 0}, {SLOGATE_CLASS_probe, 0}},
             {{.port = scraped.address.port(), .peer = 0}, {SLOGATE_CLASS_scrape, 0}}});
  use(probed, 3);
  use(scraped, 5);
  use(service, 7);
  EXPECT_EQ(requests(SLOGATE_CLASS_probe), 3u);
  EXPECT_EQ(requests(SLOGATE_CLASS_scrape), 5u);
  EXPECT_EQ(requests(SLOGATE_CLASS_service), 7u);
  EXPECT_EQ(requests(SLOGATE_CLASS_proxy), 0u);
  for (const slogate_class one : {SLOGATE_CLASS_probe, SLOGATE_CLASS_scrape, SLOGATE_CLASS_service})
    EXPECT_EQ(connections(one), 1u);
  // A client's port says nothing about it.
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 15u);
}

TEST_F(Class, TheMostParticularRuleWins) {
  const Service by_both = serve(), by_port = serve(), by_peer = serve();
  set_rules({{{.port = by_both.address.port(), .peer = 1}, {SLOGATE_CLASS_probe, 0}},
             {{.port = by_both.address.port(), .peer = 0}, {SLOGATE_CLASS_proxy, 0}},
             {{.port = by_port.address.port(), .peer = 0}, {SLOGATE_CLASS_scrape, 0}},
             {{.port = 0, .peer = 1}, {SLOGATE_CLASS_proxy, 0}}});
  use(by_both, 2);
  use(by_port, 3);
  use(by_peer, 4);
  EXPECT_EQ(requests(SLOGATE_CLASS_probe), 2u);
  EXPECT_EQ(requests(SLOGATE_CLASS_scrape), 3u);
  EXPECT_EQ(requests(SLOGATE_CLASS_proxy), 4u);
  EXPECT_EQ(requests(SLOGATE_CLASS_service), 0u);
}

TEST_F(Class, IsThatOfPeersOnThisNodeAlone) {
  set_rules({{{.port = 0, .peer = 1}, {SLOGATE_CLASS_probe, 0}}});
  for (const char* ip : {"127.0.0.1", "::1", "::ffff:127.0.0.1"}) use(serve(ip), 2);
  EXPECT_EQ(requests(SLOGATE_CLASS_probe), 6u);

  const Link link;
  Service service;
  link.right.run([&] { service = serve(kRightIp); });
  link.left.run([&] { use(service, 4); });
  EXPECT_EQ(requests(SLOGATE_CLASS_service), 4u);
  set_addresses({mapped({10, 77, 0, 1})});
  link.left.run([&] { use(service, 5); });
  EXPECT_EQ(requests(SLOGATE_CLASS_probe), 11u);
  EXPECT_EQ(requests(SLOGATE_CLASS_service), 4u);
}

// What a pod does over its own loopback is not the node's doing.
TEST_F(Class, LoopbackOfAnotherNamespaceIsNotTheNode) {
  set_rules({{{.port = 0, .peer = 1}, {SLOGATE_CLASS_probe, 0}}});
  set_addresses({mapped({127, 0, 0, 1}), mapped({10, 77, 0, 1})});
  const Link link;
  Service service;
  link.right.run([&] {
    service = serve(kRightIp);
    use(serve("127.0.0.1"), 9);
  });
  link.left.run([&] { use(service, 12); });
  EXPECT_EQ(requests(SLOGATE_CLASS_service), 9u);
  EXPECT_EQ(requests(SLOGATE_CLASS_probe), 12u);
}

TEST_F(Class, AllOfLoopbackIsTheNamespacesOwn) {
  set_rules({{{.port = 0, .peer = 1}, {SLOGATE_CLASS_probe, 0}}});
  const std::array ips = {"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::ffff:127.0.0.9"};
  // A client that connects to any of 127.0.0.0/8 comes from that address itself.
  for (const char* ip : ips) use(serve(ip), 1);
  EXPECT_EQ(requests(SLOGATE_CLASS_probe), ips.size());
  EXPECT_EQ(requests(SLOGATE_CLASS_service), 0u);
  const Netns pod;
  pod.run([&] {
    for (const char* ip : ips) use(serve(ip), 1);
  });
  EXPECT_EQ(requests(SLOGATE_CLASS_probe), ips.size());
  EXPECT_EQ(requests(SLOGATE_CLASS_service), ips.size());
}

// Such as the address of a bridge that both the node and a pod have, each its own.
TEST_F(Class, AnAddressThatTheNodeHasTooIsTheNamespacesOwnToItself) {
  set_rules({{{.port = 0, .peer = 1}, {SLOGATE_CLASS_probe, 0}}});
  set_addresses({mapped({10, 77, 0, 1}), mapped({10, 77, 0, 2})});
  const Link link;
  Service service;
  link.right.run([&] {
    service = serve(kRightIp);
    use(service, 3);
  });
  link.left.run([&] { use(service, 5); });
  EXPECT_EQ(requests(SLOGATE_CLASS_service), 3u);
  EXPECT_EQ(requests(SLOGATE_CLASS_probe), 5u);
}

TEST_F(Class, APortMayBeCountedApart) {
  const Service judged = serve(), other = serve();
  const uint16_t port = judged.address.port();
  set_rules({{{.port = port, .peer = 0}, {SLOGATE_CLASS_service, port}}});
  use(judged, 3);
  use(other, 5);
  EXPECT_EQ(requests(SLOGATE_CLASS_service, port), 3u);
  EXPECT_EQ(requests(SLOGATE_CLASS_service), 5u);
}

TEST_F(Class, ThePortOfAnSloIsPartOfTheService) {
  const Service judged = serve(), other = serve();
  Slo slo;
  slo.name = "one-port";
  slo.port = judged.address.port();
  slo.canary = std::vector{*Glob::parse("/**")};
  const auto agent = start_agent(100);
  LiveConfig config = test_config();
  config.slos = {slo};
  ASSERT_TRUE(agent->apply(config));
  use(judged, 3);
  use(other, 5);
  Connection waiting;
  waiting.client = connect_to(client_, judged.address);
  waiting.server = accept_from(judged.listener.get());
  send_text(waiting.client.get(), "ping");
  agent->tick(now());
  const auto& rows = agent->snapshot()->workloads;
  const auto row = std::ranges::find(rows, server_.id(), &Workload::id);
  ASSERT_NE(row, rows.end());
  EXPECT_EQ(samples(*row->service, SLOGATE_SIGNAL_request), 8u);
  ASSERT_EQ(row->ports.size(), 1u);
  EXPECT_EQ(row->ports[0].port, *slo.port);
  EXPECT_EQ(samples(*row->ports[0].counts, SLOGATE_SIGNAL_request), 3u);
  EXPECT_EQ(row->ports[0].server.requests, 1u);
  EXPECT_EQ(row->server.requests, 1u);
}

// A socket has the class it was made with.
TEST_F(Class, OfOpenConnectionsStays) {
  const Service service = serve();
  Connection connection;
  connection.client = connect_to(client_, service.address);
  connection.server = accept_from(service.listener.get());
  exchange(connection);
  set_rules({{{.port = service.address.port(), .peer = 0}, {SLOGATE_CLASS_probe, 0}}});
  exchange(connection);
  EXPECT_EQ(requests(SLOGATE_CLASS_service), 2u);
  use(service, 1);
  EXPECT_EQ(requests(SLOGATE_CLASS_probe), 1u);
}

}  // namespace
}  // namespace slogate
