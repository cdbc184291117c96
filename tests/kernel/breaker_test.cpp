// SPDX-License-Identifier: Apache-2.0
// The breaker refuses new connections, and nothing else: on links between network namespaces of the
// test's own.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "agent/enforce/breaker.h"
#include "agent/host/addresses.h"
#include "agent/host/privileges.h"
#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kNumber = 1;  // whatever the namespace is called
constexpr std::chrono::nanoseconds kForever = std::chrono::nanoseconds::max();
const std::string kLeft6 = "fd77::1", kRight6 = "fd77::2";

AddressRange range_of(const std::string& ip, unsigned bits = 128) {
  AddressRange range{.bits = bits};
  if (ip.contains(':')) {
    inet_pton(AF_INET6, ip.c_str(), range.address.data());
  } else {
    range.address[10] = range.address[11] = 0xff;
    inet_pton(AF_INET, ip.c_str(), range.address.data() + 12);
  }
  return range;
}

// A server in `right`, for IPv4 and IPv6, and clients in `left`.
class Breaks : public testing::Test {
 protected:
  void SetUp() override {
    link_.left.command({"ip", "addr", "add", kLeft6 + "/64", "dev", "left", "nodad"});
    link_.right.command({"ip", "addr", "add", kRight6 + "/64", "dev", "right", "nodad"});
    listen();
    auto gates = Gates::load(2);
    ASSERT_TRUE(gates) << gates.error().line();
    gates_.emplace(std::move(*gates));
    // Both ways have been gone once: neighbours are known.
    ASSERT_EQ(attempt(kRightIp), 0);
    ASSERT_EQ(attempt(kRight6), 0);
  }
  void listen(uint16_t port = 0) {
    link_.right.run([&] { listener_ = listen_on(server_, Address("::", port), 1024); });
    port_ = Address::of_socket(listener_.get()).port();
  }
  void refuse(const GateRule& rule = {}, const std::string& slo = "demo") {
    const auto done = gates_->refuse(kNumber, link_.right.fd(), slo, rule, kForever);
    ASSERT_TRUE(done) << done.error().line();
  }
  // Of a connection from `left`, or from where the server is.
  int attempt(const std::string& ip, bool from_right = false, uint16_t port = 0) {
    int error = 0;
    (from_right ? link_.right : link_.left).run([&] {
      const Address address(ip, port == 0 ? port_ : port);
      error = try_connect(open_socket(client_, address.family()).get(), address);
    });
    return error;
  }
  BreakerCounts counts(const std::string& slo = "demo") const {
    return gates_->counts(kNumber, slo);
  }

  TestCgroup server_, client_;
  Link link_;
  Fd listener_;
  uint16_t port_ = 0;
  std::optional<Gates> gates_;
};

// Not in emulated guests, whose time is none.
class BreaksAccuracy : public Breaks {};

TEST_F(BreaksAccuracy, WithinAMillisecond) {
  constexpr size_t kTimes = 100;
  std::vector<double> took;
  link_.left.run([&] {
    const Address address(kRightIp, port_);
    std::vector<Fd> sockets;  // made before
    for (size_t i = 0; i < kTimes; ++i) {
      for (int s = 0; s < 4; ++s) sockets.push_back(open_socket(client_));
      const auto begin = std::chrono::steady_clock::now();
      ASSERT_TRUE(gates_->refuse(kNumber, link_.right.fd(), "demo", {}, kForever));
      size_t tries = 0;
      while (try_connect(sockets.at(tries).get(), address) == 0) ++tries;
      took.push_back(
          1e6 * std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
      gates_->stop(kNumber, "demo");
      ASSERT_EQ(try_connect(open_socket(client_).get(), address), 0);
      sockets.clear();
    }
  });
  std::ranges::sort(took);
  std::printf("from the decision to the first refusal: median %.0f us, most of %zu %.0f us\n",
              took[kTimes / 2], kTimes, took.back());
  EXPECT_LT(took[kTimes / 2], 1000);
}

TEST_F(Breaks, ClientsAreToldAtOnceInBothFamilies) {
  refuse();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
    EXPECT_EQ(attempt(kRight6), ECONNREFUSED);
  }
  EXPECT_EQ(counts(), (BreakerCounts{.refused = 20}));
  EXPECT_EQ(gates_->stop(kNumber, "demo"), (BreakerCounts{.refused = 20}));
  EXPECT_EQ(attempt(kRightIp), 0);
  EXPECT_EQ(attempt(kRight6), 0);
}

TEST_F(Breaks, ConnectionsThatAreThereGoOn) {
  Connection connection;
  link_.left.run([&] { connection.client = connect_to(client_, Address(kRightIp, port_)); });
  for (;;) {  // those of before
    connection.server = accept_from(listener_.get());
    const Address local = Address::of_socket(connection.client.get());
    sockaddr_in6 peer{};
    socklen_t size = sizeof(peer);
    getpeername(connection.server.get(), reinterpret_cast<sockaddr*>(&peer), &size);
    if (ntohs(peer.sin6_port) == local.port()) break;
  }
  refuse();
  ASSERT_EQ(attempt(kRightIp), ECONNREFUSED);
  for (int i = 0; i < 10'000; ++i) ASSERT_NO_THROW(exchange(connection)) << i;
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
  EXPECT_EQ(counts().refused, 2u);
}

TEST_F(Breaks, OnlyThePortsThatAreNamed) {
  Fd other;
  link_.right.run([&] { other = listen_on(server_, Address("::", 0)); });
  const uint16_t second = Address::of_socket(other.get()).port();
  refuse({.ports = {port_}});
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
  EXPECT_EQ(attempt(kRightIp, false, second), 0);
  refuse({.ports = {1, 2, 3, 4, 5, 6, second, port_}});
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
  EXPECT_EQ(attempt(kRight6, false, second), ECONNREFUSED);
  refuse({.ports = {}});
  EXPECT_EQ(attempt(kRightIp, false, second), ECONNREFUSED);
  EXPECT_EQ(counts().refused, 4u);
}

TEST_F(Breaks, WhoIsExemptIsAccepted) {
  const auto expect = [&](const std::set<Exempt>& exempt, int v4, int v6, uint32_t list = 0) {
    ASSERT_TRUE(gates_->set_exempt(exempt));
    refuse({.list = list});
    EXPECT_EQ(attempt(kRightIp), v4);
    EXPECT_EQ(attempt(kRight6), v6);
  };
  expect({}, ECONNREFUSED, ECONNREFUSED);
  expect({{0, range_of(kLeftIp)}}, 0, ECONNREFUSED);
  expect({{0, range_of("10.77.0.0", 96 + 24)}, {0, range_of(kLeft6)}}, 0, 0);
  expect({{0, range_of("fd77::", 64)}}, ECONNREFUSED, 0);
  expect({{0, range_of("10.77.1.0", 96 + 24)}, {0, range_of("fd78::", 64)}}, ECONNREFUSED,
         ECONNREFUSED);
  EXPECT_EQ(counts().exempt, 4u);
  // Lists of SLOs are theirs alone.
  expect({{7, range_of(kLeftIp)}}, ECONNREFUSED, ECONNREFUSED);
  expect({{7, range_of(kLeftIp)}}, 0, ECONNREFUSED, 7);
  expect({{7, range_of(kLeftIp)}}, ECONNREFUSED, ECONNREFUSED, 8);
}

// A proxy beside the container comes from within, under whatever address.
TEST_F(Breaks, WhatComesFromWithinIsAccepted) {
  refuse();
  for (const char* ip : {"127.0.0.1", "127.0.0.6", kRightIp, "::1", "fd77::2"})
    EXPECT_EQ(attempt(ip, true), 0) << ip;
  EXPECT_EQ(counts(), (BreakerCounts{.exempt = 5}));
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
}

// kube-proxy's device has the address of every Service: what comes from one is no probe of the
// node's.
TEST(NodeAddresses, AreNotThoseOfServices) {
  const Netns node;
  node.command({"ip", "link", "add", "kube-ipvs0", "type", "veth", "peer", "name", "eth0"});
  node.command({"ip", "addr", "add", "10.96.0.1/32", "dev", "kube-ipvs0"});
  node.command({"ip", "addr", "add", "10.78.0.2/24", "dev", "eth0"});
  node.command({"ip", "link", "set", "kube-ipvs0", "up"});
  node.command({"ip", "link", "set", "eth0", "up"});
  node.run([] {
    const auto has = [](const std::vector<slogate_address>& all, const char* ip) {
      const AddressRange one = range_of(ip);
      return std::ranges::any_of(all, [&one](const auto& address) {
        return std::ranges::equal(address.bytes, one.address);
      });
    };
    EXPECT_TRUE(has(read_node_addresses(), "10.96.0.1"));
    EXPECT_FALSE(has(read_node_addresses("kube-ipvs0"), "10.96.0.1"));
    EXPECT_TRUE(has(read_node_addresses("kube-ipvs0"), "10.78.0.2"));
  });
}

TEST_F(Breaks, ADryRunCountsAndRefusesNothing) {
  refuse({.dry_run = true});
  EXPECT_EQ(attempt(kRightIp), 0);
  EXPECT_EQ(attempt(kRight6), 0);
  EXPECT_EQ(counts(), (BreakerCounts{.would_refuse = 2}));
}

// An agent that hangs, or is stopped, refuses nobody for long.
TEST_F(Breaks, ARuleThatIsNotRenewedEnds) {
  const auto soon = [] { return now().monotonic + 300ms; };
  ASSERT_TRUE(gates_->refuse(kNumber, link_.right.fd(), "demo", {}, soon()));
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
  ASSERT_TRUE(eventually([&] { return attempt(kRightIp) == 0; }, 2s));
  gates_->renew(kNumber, "demo", soon());
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
}

TEST_F(Breaks, TwoSlosOfOnePodEachByItsOwnRule) {
  refuse({.ports = {port_}, .dry_run = true}, "one");
  refuse({.ports = {port_}}, "two");
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
  EXPECT_EQ(counts("one").would_refuse, 1u);
  EXPECT_EQ(counts("two").refused, 1u);
  gates_->stop(kNumber, "two");
  EXPECT_EQ(attempt(kRightIp), 0);
  EXPECT_EQ(counts("one").would_refuse, 2u);
  // What one counted is not the next one's.
  refuse({}, "three");
  EXPECT_EQ(counts("three"), BreakerCounts{});
  refuse({}, "four");
  refuse({}, "five");
  EXPECT_FALSE(gates_->refuse(kNumber, link_.right.fd(), "six", {}, kForever));
}

TEST_F(Breaks, NoMoreNamespacesThanThereArePrograms) {
  const Netns second, third;
  refuse();
  ASSERT_TRUE(gates_->refuse(2, second.fd(), "demo", {}, kForever));
  const auto full = gates_->refuse(3, third.fd(), "demo", {}, kForever);
  ASSERT_FALSE(full);
  EXPECT_TRUE(full.error().message.contains("2 network namespaces")) << full.error().line();
  gates_->stop(kNumber, "demo");
  ASSERT_TRUE(gates_->refuse(3, third.fd(), "demo", {}, kForever));
  EXPECT_EQ(attempt(kRightIp), 0);
}

TEST_F(Breaks, APortThatIsUsedAgainIsAccepted) {
  refuse();
  listener_.reset();
  listen(port_);
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
  gates_->stop(kNumber, "demo");
  EXPECT_EQ(attempt(kRightIp), 0);
}

// The kernel lets go of a namespace although a gate is open in it.
TEST_F(Breaks, ANamespaceMayEndMeanwhile) {
  {
    const Netns gone;
    ASSERT_TRUE(gates_->refuse(2, gone.fd(), "demo", {}, kForever));
  }
  EXPECT_EQ(gates_->stop(2, "demo"), BreakerCounts{});
  const Netns next;
  ASSERT_TRUE(gates_->refuse(2, next.fd(), "demo", {}, kForever));
}

// ---- programs of others ----

class OtherProgram {
 public:
  // Passes everything on, or to the socket in `sockets`.
  explicit OtherProgram(int netns, int sockets = -1) {
    std::vector<bpf_insn> code;
    const auto add = [&](uint8_t op, uint8_t to, uint8_t from, int16_t offset, int32_t value) {
      bpf_insn one{.code = op, .off = offset, .imm = value};
      one.dst_reg = to & 0xf;
      one.src_reg = from & 0xf;
      code.push_back(one);
    };
    if (sockets >= 0) {
      add(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
      add(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0);
      add(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, sockets);
      add(0, 0, 0, 0, 0);
      add(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
      add(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4);
      add(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
      add(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 7, 0);
      add(BPF_ALU64 | BPF_MOV | BPF_X, 7, 0, 0, 0);
      add(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0);
      add(BPF_ALU64 | BPF_MOV | BPF_X, 2, 7, 0, 0);
      add(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0);
      add(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_sk_assign);
      add(BPF_ALU64 | BPF_MOV | BPF_X, 1, 7, 0, 0);
      add(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_sk_release);
    }
    add(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, SK_PASS);
    add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_SK_LOOKUP);
    program_ = Fd(
        bpf_prog_load(BPF_PROG_TYPE_SK_LOOKUP, "other", "GPL", code.data(), code.size(), &options));
    check(program_.get(), "load another sk_lookup program");
    link_ = Fd(bpf_link_create(program_.get(), netns, BPF_SK_LOOKUP, nullptr));
    check(link_.get(), "attach another sk_lookup program");
  }

 private:
  Fd program_, link_;
};

TEST_F(Breaks, BesideAProgramOfOthersThatPasses) {
  const OtherProgram before(link_.right.fd());
  refuse();
  const OtherProgram after(link_.right.fd());
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
  EXPECT_EQ(attempt(kRight6), ECONNREFUSED);
}

// The kernel's rule: who selects a socket wins, and docs/enforcement.md says so.
TEST_F(Breaks, NotWhereAProgramOfOthersSelectsTheSocket) {
  const Fd sockets(bpf_map_create(BPF_MAP_TYPE_SOCKMAP, "others", 4, 8, 1, nullptr));
  const uint32_t key = 0;
  const uint64_t socket = static_cast<uint64_t>(listener_.get());
  ASSERT_EQ(bpf_map_update_elem(sockets.get(), &key, &socket, BPF_ANY), 0);
  const OtherProgram other(link_.right.fd(), sockets.get());
  refuse();
  EXPECT_EQ(attempt(kRight6), 0);
  EXPECT_EQ(counts().refused, 1u);
}

// ---- an agent that ends ----

TEST_F(Breaks, WhenItsProcessIsKilledConnectionsAreAcceptedAgain) {
  std::vector<double> took;
  for (int i = 0; i < 10; ++i) {
    const Channel channel;
    Child child(server_, [&] {
      auto gates = Gates::load(1);
      check(gates && gates->refuse(kNumber, link_.right.fd(), "demo", {}, kForever) ? 0 : -1,
            "refuse");
      send_token(channel.other.get());
      pause();
    });
    wait_token(channel.one.get());
    ASSERT_EQ(attempt(kRightIp), ECONNREFUSED);
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_EQ(kill(child.pid(), SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return attempt(kRightIp) == 0; }, 1s));
    took.push_back(1e3 *
                   std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::ranges::sort(took);
  std::printf("from kill -9 to the first connection: median %.1f ms, most of %zu %.1f ms\n",
              took[took.size() / 2], took.size(), took.back());
}

// Attaching takes what the agent keeps; it has loaded before.
TEST_F(Breaks, TakesNoMoreThanTheAgentKeeps) {
  const Channel channel;
  Child child(server_, [&] {
    auto gates = Gates::load(1);
    if (!gates) throw std::runtime_error(gates.error().line());
    check(drop_privileges() ? 0 : -1, "drop privileges");
    const auto done = gates->refuse(kNumber, link_.right.fd(), "demo", {}, kForever);
    if (!done) throw std::runtime_error(done.error().line());
    send_token(channel.other.get());
    wait_token(channel.other.get());
  });
  wait_token(channel.one.get());
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
  send_token(channel.one.get());
  child.join();
  EXPECT_EQ(attempt(kRightIp), 0);
}

// ---- the breaker ----

class BreakerTest : public Breaks {
 protected:
  void SetUp() override {
    Breaks::SetUp();
    make();
    wish_ = {.slo = "demo",
             .said = {.rollout = "one", .since = std::chrono::system_clock::now(), .max = 10min},
             .canary = {{.cgroup = server_.id(), .name = "canary", .path = server_.directory()}}};
  }
  void make() {
    Kernel& kernel = shared_kernel(Mode::Locked);
    auto made = Breaker::make({.exempt = {},
                               .sockets = kernel.maps().fd("slogate_sockets"),
                               .directories = {"/proc/self/fd"}});
    ASSERT_TRUE(made) << made.error().line();
    breaker_ = std::move(*made);
    breaker_->set_node_addresses({{.bytes = {0x20, 0x01}}});
    began_ = now();  // loading may have taken longer than a rule lives
  }
  // At so much time after the beginning.
  const BreakerStatus& look(std::chrono::nanoseconds at = 0s) {
    const TickTime moment{
        began_.system + std::chrono::duration_cast<std::chrono::system_clock::duration>(at),
        began_.monotonic + at};
    breaker_->learn({wish_}, moment);
    breaker_->look({wish_}, moment);
    status_ = *breaker_->status()->find("demo");
    return status_;
  }

  std::unique_ptr<Breaker> breaker_;
  BreakerWish wish_;
  BreakerStatus status_;
  TickTime began_ = now();
};

TEST_F(BreakerTest, OpensWithAVetoAndClosesWithoutOne) {
  EXPECT_FALSE(look().open);
  EXPECT_EQ(status_.note, "");
  ASSERT_EQ(attempt(kRightIp), 0);  // tells where the canary is
  wish_.said.vetoed = true;
  EXPECT_TRUE(look().open) << status_.note;
  EXPECT_EQ(status_.targets, std::vector<std::string>{"canary"});
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
  EXPECT_EQ(look(1s).counts.refused, 1u);
  wish_.said = {.rollout = "two", .max = 10min};
  EXPECT_FALSE(look(2s).open);
  EXPECT_EQ(attempt(kRightIp), 0);
  EXPECT_EQ(status_.counts.refused, 1u);
  const auto changes = breaker_->take_changes();
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_TRUE(changes[0].open);
  EXPECT_EQ(changes[0].rollout, "one");
  EXPECT_FALSE(changes[1].open);
}

// Nothing new has come since anyone asked: what is there tells.
TEST_F(BreakerTest, FindsACanaryByTheConnectionsThatItHas) {
  Fd client, server;
  link_.left.run([&] { client = connect_to(client_, Address(kRightIp, port_)); });
  wish_.said.vetoed = true;
  EXPECT_TRUE(look().open) << status_.note;
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
}

// A pass over all sockets takes time, so it is not made in each tick.
TEST(Namespaces, GoesOverAllSocketsEverMoreSeldom) {
  auto made = Namespaces::attach(shared_kernel(Mode::Locked).maps().fd("slogate_sockets"));
  ASSERT_TRUE(made) << made.error().line();
  const auto passes_until = [&](std::chrono::seconds from, std::chrono::seconds to) {
    const uint64_t before = made->passes();
    for (auto at = from; at < to; ++at) EXPECT_TRUE(made->look(1h + at));
    return made->passes() - before;
  };
  EXPECT_EQ(passes_until(0s, 10s), 0u) << "nobody is asked for";
  ASSERT_TRUE(made->ask({UINT64_MAX}));
  EXPECT_EQ(passes_until(10s, 20s), 1u);
  EXPECT_EQ(passes_until(20s, 141s), 4u) << "after 10, 30, 70 and 130 s";
  EXPECT_EQ(passes_until(141s, 321s), 3u) << "once a minute";
  ASSERT_TRUE(made->ask({UINT64_MAX, UINT64_MAX - 1}));
  EXPECT_EQ(passes_until(321s, 322s), 1u);
}

// More than there is room for are an error, and are asked for as soon as there is.
TEST(Namespaces, OfMoreThanThereIsRoomForSomeStayUnknown) {
  auto made = Namespaces::attach(shared_kernel(Mode::Locked).maps().fd("slogate_sockets"));
  ASSERT_TRUE(made) << made.error().line();
  std::set<uint64_t> many;
  for (uint64_t i = 0; i <= 1024; ++i) many.insert(UINT64_MAX - i);
  EXPECT_FALSE(made->ask(many));
  EXPECT_FALSE(made->ask(many)) << "still";
  many.erase(UINT64_MAX);
  EXPECT_TRUE(made->ask(many));
}

TEST_F(BreakerTest, AtMostForItsTime) {
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  wish_.said.vetoed = true;
  EXPECT_TRUE(look(1s).open);
  EXPECT_TRUE(look(9min).open);
  EXPECT_FALSE(look(11min).open);
  EXPECT_EQ(attempt(kRightIp), 0);
  EXPECT_FALSE(look(12min).open) << "not again in this rollout";
  EXPECT_TRUE(status_.note.contains("its time is over")) << status_.note;
  wish_.said.rollout = "two";
  wish_.said.since += 13min;
  EXPECT_TRUE(look(13min).open);
}

TEST_F(BreakerTest, NeverWhereTheNodeOrTheBaselineIs) {
  const TestCgroup on_node;
  const Fd listener = listen_on(on_node, Address(kLoopback, 0));
  wish_.canary = {{.cgroup = UINT64_MAX, .name = "canary"}};
  wish_.said.vetoed = true;
  EXPECT_FALSE(look().open);
  EXPECT_TRUE(status_.note.contains("no connection")) << status_.note;
  wish_.canary = {{.cgroup = on_node.id(), .name = "canary"}};
  connect_to(client_, Address::of_socket(listener.get()));
  EXPECT_FALSE(look().open);
  EXPECT_TRUE(status_.note.contains("namespace of the node")) << status_.note;

  const TestCgroup baseline;
  Fd beside;
  link_.right.run([&] { beside = listen_on(baseline, Address("::", 0)); });
  wish_.canary = {{.cgroup = server_.id(), .name = "canary", .path = server_.directory()}};
  wish_.others = {baseline.id()};
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  ASSERT_EQ(attempt(kRightIp, false, Address::of_socket(beside.get()).port()), 0);
  EXPECT_FALSE(look().open);
  EXPECT_TRUE(status_.note.contains("with the baseline")) << status_.note;
  EXPECT_EQ(attempt(kRightIp), 0);
}

TEST_F(BreakerTest, OnlyWhoIsChosen) {
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  wish_.said.vetoed = true;
  wish_.canary[0].chosen = false;
  wish_.spared = "it is needed";
  EXPECT_FALSE(look().open);
  EXPECT_EQ(status_.note, "it is needed");
  EXPECT_EQ(attempt(kRightIp), 0);
}

TEST_F(BreakerTest, ByHand) {
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  EXPECT_FALSE(breaker_->open("nothing", began_));
  ASSERT_TRUE(breaker_->open("demo", began_));
  EXPECT_TRUE(look().open);
  EXPECT_TRUE(status_.by_hand);
  EXPECT_EQ(attempt(kRightIp), ECONNREFUSED);
  EXPECT_FALSE(look(11min).open);
  wish_.said.vetoed = true;
  ASSERT_TRUE(breaker_->close("demo"));
  EXPECT_FALSE(look(11min).open);
  EXPECT_TRUE(status_.note.contains("by hand")) << status_.note;
  EXPECT_EQ(attempt(kRightIp), 0);
}

TEST_F(BreakerTest, AnOpeningByHandThatFailsIsTakenBack) {
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  wish_.said.must_close = "nobody is left";
  ASSERT_TRUE(breaker_->open("demo", began_));
  EXPECT_FALSE(look().open);
  EXPECT_EQ(status_.note, "nobody is left");
  breaker_->undo_open("demo");
  wish_.said.must_close = "";
  EXPECT_FALSE(look(1s).open);
  EXPECT_FALSE(status_.by_hand);
}

TEST_F(BreakerTest, ClosesWhereAddressesCannotBeExempt) {
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  wish_.said.vetoed = true;
  breaker_->set_node_addresses({});
  EXPECT_TRUE(look().open) << "none at all are not believed: " << status_.note;
  for (unsigned i = 0; i < 8192; ++i)
    wish_.exempt.push_back(range_of(fmt::format("10.9.{}.{}", i / 256, i % 256)));
  EXPECT_FALSE(look(1s).open);
  EXPECT_TRUE(status_.note.contains("cannot be exempt")) << status_.note;
  EXPECT_EQ(attempt(kRightIp), 0);
  wish_.exempt.clear();
  EXPECT_TRUE(look(2s).open) << status_.note;
}

TEST_F(BreakerTest, NeverForACgroupThatIsGoneOrIsNew) {
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  wish_.canary[0].path += "-gone";
  wish_.said.vetoed = true;
  EXPECT_FALSE(look().open);
  wish_.canary[0].path = server_.directory();
  EXPECT_TRUE(look(1s).open) << status_.note;
  // Another one is there at the veto of the next rollout, and this one follows.
  wish_.spares_newcomers = true;
  wish_.said.rollout = "two";
  const auto canary = std::exchange(wish_.canary, {});
  EXPECT_FALSE(look(2s).open);
  wish_.canary = canary;
  EXPECT_FALSE(look(3s).open);
  EXPECT_TRUE(status_.note.contains("came after the veto")) << status_.note;
  EXPECT_EQ(attempt(kRightIp), 0);
}

TEST_F(BreakerTest, NotWhileNobodyKnowsWhereTheBaselineIs) {
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  wish_.said.vetoed = true;
  wish_.others = {UINT64_MAX};
  EXPECT_FALSE(look().open);
  EXPECT_TRUE(status_.note.contains("not known yet")) << status_.note;
  wish_.apart = true;
  EXPECT_TRUE(look(1s).open) << status_.note;
}

// An SLO that is away for one look has had its time.
TEST_F(BreakerTest, ClosedByHandStaysSoThoughItsSloWasAway) {
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  wish_.said.vetoed = true;
  EXPECT_TRUE(look().open);
  ASSERT_TRUE(breaker_->close("demo"));
  breaker_->look({}, began_);
  EXPECT_FALSE(look(1s).open);
  EXPECT_TRUE(status_.note.contains("by hand")) << status_.note;
  // And though its agent was started again.
  const auto closed = breaker_->closed_by_hand();
  EXPECT_EQ(closed, (std::vector<ClosedByHand>{{"demo", "one"}}));
  make();
  breaker_->restore(closed);
  look(2s);
  ASSERT_EQ(attempt(kRightIp), 0);
  EXPECT_FALSE(look(3s).open);
  EXPECT_TRUE(status_.note.contains("by hand")) << status_.note;
}

TEST_F(BreakerTest, SaysAgainWhatChangesWhileItIsOpen) {
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  wish_.said.vetoed = wish_.dry_run = true;
  look();
  wish_.dry_run = false;
  look(1s);
  look(2s);
  const auto changes = breaker_->take_changes();
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_TRUE(changes[0].message.contains("would be refused"));
  EXPECT_TRUE(changes[1].message.contains("are refused"));
}

TEST_F(BreakerTest, TheNodeItselfIsAccepted) {
  look();
  ASSERT_EQ(attempt(kRightIp), 0);
  slogate_address left{};
  const AddressRange range = range_of(kLeftIp);
  std::ranges::copy(range.address, left.bytes);
  breaker_->set_node_addresses({left});
  wish_.said.vetoed = true;
  EXPECT_TRUE(look().open);
  EXPECT_EQ(attempt(kRightIp), 0);
  EXPECT_EQ(attempt(kRight6), ECONNREFUSED);
  EXPECT_EQ(look().counts.exempt, 1u);
  // An SLO that is gone refuses nothing.
  breaker_->look({}, began_);
  EXPECT_EQ(attempt(kRight6), 0);
  EXPECT_TRUE(breaker_->status()->list.empty());
}

}  // namespace
}  // namespace slogate
