// SPDX-License-Identifier: Apache-2.0
// Which sockets the inventory visits: none that does nothing, and each that does, whenever that
// begins, so that nothing is lost of open requests, their ages, segments and round-trip times.
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "agent/host/host.h"
#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"
#include "tests/support/frames.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

constexpr const char* kStay = "no socket is taken off the roll, by which the inventory goes here";

bool is_by_roll(Kernel& kernel) {
  return kernel.probes().calls_roll();
}

// Whether the inventory visits a socket. Its state and the map must say the same.
bool is_visited(Kernel& kernel, const Fd& socket) {
  const int fd = socket.get();
  slogate_sock state{};
  uint32_t nothing = 0;
  const bool known = bpf_map_lookup_elem(kernel.maps().fd("slogate_sockets"), &fd, &state) == 0;
  const bool entered = bpf_map_lookup_elem(kernel.maps().fd("slogate_news"), &fd, &nothing) == 0;
  EXPECT_EQ(known && state.listed != 0, entered);
  return entered;
}

size_t visited(Kernel& kernel, const std::vector<Connection>& connections) {
  size_t sockets = 0;
  for (const Connection& one : connections)
    for (const Fd* socket : {&one.server, &one.client})
      if (socket->get() >= 0 && is_visited(kernel, *socket)) ++sockets;
  return sockets;
}

// That so many of these sockets are visited; each is where nobody is taken off.
void expect_visited(Kernel& kernel, const std::vector<Connection>& connections, size_t sockets) {
  if (!is_by_roll(kernel)) {
    EXPECT_EQ(visited(kernel, connections), sockets);
  }
}

// As many walks as it takes until what is quiet is left alone.
void settle(Kernel& kernel) {
  for (int i = 0; i < SLOGATE_QUIET_VISITS + 1; ++i) kernel.take_inventory();
  kernel.take_inventory(SLOGATE_WALK_quiet);
}

// Until the last acknowledgement has come, which may be put off for 40 ms.
bool come_to_rest(Kernel& kernel, const std::vector<Connection>& connections) {
  if (is_by_roll(kernel)) {
    std::this_thread::sleep_for(100ms);
    settle(kernel);
    return true;
  }
  return eventually([&] {
    settle(kernel);
    return visited(kernel, connections) == 0;
  });
}

class News : public AllModes {
 protected:
  [[nodiscard]] std::vector<Connection> connect(size_t n) const {
    std::vector<Connection> all;
    while (all.size() < n) all.push_back(connect_both(server_, client_));
    return all;
  }
  void answer(const Connection& connection) const {
    read_exactly(connection.server.get(), 4);
    send_text(connection.server.get(), "pong");
    read_exactly(connection.client.get(), 4);
  }
};
SLOGATE_IN_ALL_MODES(News);

TEST_P(News, SocketsThatDoNothingAreNotVisited) {
  if (is_by_roll(kernel())) GTEST_SKIP() << kStay;
  const auto idle = connect(50);
  for (const Connection& one : idle) exchange(one);
  expect_visited(kernel(), idle, 100u);
  EXPECT_TRUE(come_to_rest(kernel(), idle));
  // Their next event brings them back.
  exchange(idle[7]);
  expect_visited(kernel(), idle, 2u);
  expect_requests(51);
  EXPECT_TRUE(come_to_rest(kernel(), idle));
}

TEST_P(News, OneQuietVisitTakesNobodyOff) {
  if (is_by_roll(kernel())) GTEST_SKIP() << kStay;
  const auto one = connect(1);
  exchange(one[0]);
  EXPECT_TRUE(come_to_rest(kernel(), one));
  exchange(one[0]);
  for (int i = 0; i < SLOGATE_QUIET_VISITS; ++i) {
    kernel().take_inventory();  // the first of them finds segments
    kernel().take_inventory(SLOGATE_WALK_quiet);
    expect_visited(kernel(), one, 2u);
  }
}

TEST_P(News, WhatIsOpenStaysAndIsFoundWithItsAge) {
  const auto all = connect(10);
  for (const Connection& one : all) exchange(one);
  EXPECT_TRUE(come_to_rest(kernel(), all));
  const auto before = std::chrono::steady_clock::now().time_since_epoch();
  send_text(all[3].client.get(), "ping");
  const auto after = std::chrono::steady_clock::now().time_since_epoch();
  // Until all but the request is over: the acknowledgement of its bytes as well.
  std::this_thread::sleep_for(100ms);
  for (int i = 0; i < 3; ++i) settle(kernel());
  expect_visited(kernel(), all, 2u);
  for (const TestCgroup* cgroup : {&server_, &client_}) {
    const auto waiting = kernel().inflight(*cgroup);
    ASSERT_EQ(waiting.size(), 1u);
    EXPECT_GE(std::chrono::nanoseconds(waiting[0].opened), before);
    EXPECT_LE(std::chrono::nanoseconds(waiting[0].opened), after);
  }
  answer(all[3]);
  EXPECT_TRUE(kernel().inflight(server_).empty());
  EXPECT_TRUE(kernel().inflight(client_).empty());
  EXPECT_TRUE(come_to_rest(kernel(), all));
}

TEST_P(News, SegmentsAndRoundTripsAreThoseOfTcpWheneverOneLooks) {
  const auto all = connect(20);
  for (int round = 0; round < 5; ++round) {
    for (const Connection& one : all) exchange(one);
    settle(kernel());
  }
  EXPECT_TRUE(come_to_rest(kernel(), all));
  uint64_t in = 0, out = 0;
  for (const Connection& one : all)
    for (const Fd* socket : {&one.server, &one.client}) {
      const tcp_info info = info_of(socket->get());
      in += info.tcpi_segs_in;
      out += info.tcpi_segs_out;
    }
  Counts both = server_counts();
  both += client_counts();
  EXPECT_EQ(counter(both, SLOGATE_COUNTER_segments_in), in);
  EXPECT_EQ(counter(both, SLOGATE_COUNTER_segments_out), out);
  for (const Counts& counts : {server_counts(), client_counts()}) {
    EXPECT_GE(samples(counts, SLOGATE_SIGNAL_rtt), 5 * all.size());
  }
}

// No program sees a keepalive.
TEST_P(News, WhatComesWithoutAnEventIsBookedByAWalkOverAll) {
  if (is_by_roll(kernel())) GTEST_SKIP() << kStay;
  const auto one = connect(1);
  exchange(one[0]);
  set_option(one[0].client.get(), IPPROTO_TCP, TCP_KEEPIDLE, 1);
  set_option(one[0].client.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  EXPECT_TRUE(come_to_rest(kernel(), one));
  const auto of_tcp = [&] { return info_of(one[0].client.get()).tcpi_segs_out; };
  const auto booked = [&] { return counter(client_counts(), SLOGATE_COUNTER_segments_out); };
  const uint64_t before = booked();
  const uint64_t round_trips = samples(client_counts(), SLOGATE_SIGNAL_rtt);
  ASSERT_TRUE(eventually([&] { return of_tcp() > before; }));
  kernel().take_inventory();
  EXPECT_EQ(booked(), before);
  expect_visited(kernel(), one, 0u);
  kernel().take_inventory(SLOGATE_WALK_all);
  EXPECT_EQ(booked(), of_tcp());
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_rtt), round_trips + 1);
  // Nor does that enter them: each keepalive would be worth several visits.
  expect_visited(kernel(), one, 0u);
}

// It has what it could not send for as long as somebody holds it.
TEST_P(News, WhatHasEndedIsNotVisitedAlthoughItIsHeld) {
  if (is_by_roll(kernel())) GTEST_SKIP() << kStay;
  auto one = connect(1);
  fill(one[0].server.get());
  abort_connection(std::move(one[0].client));
  EXPECT_TRUE(eventually([&] { return info_of(one[0].server.get()).tcpi_state == BPF_TCP_CLOSE; }));
  EXPECT_TRUE(come_to_rest(kernel(), one));
}

// What is sent waits for room at the other end, which opens without an event at this one.
TEST_P(News, WhatWaitsToBeSentIsVisited) {
  if (is_by_roll(kernel())) GTEST_SKIP() << kStay;
  auto one = connect(1);
  fill(one[0].server.get());
  std::this_thread::sleep_for(100ms);
  for (int i = 0; i < 3; ++i) settle(kernel());
  EXPECT_TRUE(is_visited(kernel(), one[0].server));
}

TEST_P(News, ListenersAreVisitedForWhatTheyTurnAway) {
  if (is_by_roll(kernel())) GTEST_SKIP() << kStay;
  const Fd listener = listen_on(server_, Address(kLoopback, 0));
  for (int i = 0; i < 3; ++i) settle(kernel());
  EXPECT_TRUE(is_visited(kernel(), listener));
  check(shutdown(listener.get(), SHUT_RDWR), "shutdown");
  EXPECT_TRUE(eventually([&] {
    settle(kernel());
    return !is_visited(kernel(), listener);
  }));
}

// The list is changed by events, under each socket's lock, and by the inventory, which has none:
// here sockets are taken off about as often as they have news.
TEST_P(News, NoEventIsLostWhileQuietSocketsAreTakenOff) {
  constexpr size_t kConnections = 64, kThreads = 2;
  const auto all = connect(kConnections);
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> exchanges = 0, walks = 0;
  std::jthread walker([&] {
    for (; !stop; ++walks) settle(kernel());
  });
  {
    std::vector<std::jthread> users;
    for (size_t thread = 0; thread < kThreads; ++thread)
      users.emplace_back([&, thread] {
        std::minstd_rand random(static_cast<unsigned>(thread + 1));
        const auto end = std::chrono::steady_clock::now() + 2s;
        while (std::chrono::steady_clock::now() < end) {
          exchange(all[thread + kThreads * (random() % (kConnections / kThreads))]);
          exchanges++;
          if (random() % 4 == 0)
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 300));
        }
        // The last word of each, which nobody answers.
        for (size_t i = thread; i < kConnections; i += kThreads) {
          send_text(all[i].client.get(), "ping");
          if (random() % 2 == 0)
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 100));
        }
      });
  }
  stop = true;
  walker.join();
  EXPECT_GT(walks, 100u);
  settle(kernel());
  expect_visited(kernel(), all, 2 * kConnections);
  EXPECT_EQ(kernel().inflight(server_).size(), kConnections);
  EXPECT_EQ(kernel().inflight(client_).size(), kConnections);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), exchanges);
}

// More of them than one read of the iterator gives.
TEST_P(News, ManyOpenRequestsAreReportedOnceEach) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const auto all = connect(700);
  for (const Connection& one : all) send_text(one.client.get(), "ping");
  EXPECT_TRUE(eventually([&] { return kernel().inflight(server_).size() == all.size(); }));
  settle(kernel());
  EXPECT_EQ(kernel().inflight(server_).size(), all.size());
  EXPECT_EQ(kernel().inflight(client_).size(), all.size());
  // Nor twice, while others come to stand before them.
  const TestCgroup others;
  std::vector<Connection> busy;
  while (busy.size() < 50) busy.push_back(connect_both(others, others));
  std::atomic<bool> stop = false;
  std::jthread user([&] {
    while (!stop)
      for (const Connection& one : busy) exchange(one);
  });
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(kernel().inflight(server_).size(), all.size()) << i;
    settle(kernel());
  }
  stop = true;
}

TEST_P(News, ConnectionsThatWereLeftOutHaveNoNewsOfThatTime) {
  Kernel own(features_of(GetParam()));
  const auto all = connect(8);
  for (const Connection& one : all) exchange(one);
  EXPECT_TRUE(come_to_rest(own, all));
  const Counts before = own.counts(server_.id());
  own.maps().control().spare(0, ~0u);
  for (const Connection& one : all) exchange(one);
  for (const Connection& one : all) send_text(one.client.get(), "ping");
  own.take_inventory();
  expect_visited(own, all, 0u);
  for (const Connection& one : all) answer(one);
  std::this_thread::sleep_for(100ms);  // the last acknowledgement
  // As the agent does before it watches them again.
  own.take_inventory(SLOGATE_WALK_all);
  own.maps().control().spare(0, 0);
  own.take_inventory(SLOGATE_WALK_all);
  const Counts after = own.counts(server_.id());
  EXPECT_EQ(counter(after, SLOGATE_COUNTER_segments_in),
            counter(before, SLOGATE_COUNTER_segments_in));
  EXPECT_EQ(samples(after, SLOGATE_SIGNAL_request), 8u);
  EXPECT_TRUE(own.inflight(server_).empty());
  for (const Connection& one : all) exchange(one);
  EXPECT_EQ(samples(own.counts(server_.id()), SLOGATE_SIGNAL_request), 16u);
}

// One that was open and is left out then is passed over once more, and no longer open.
TEST_P(News, WhatIsOpenWhenItIsLeftOutIsTakenOff) {
  Kernel own(features_of(GetParam()));
  const auto one = connect(1);
  send_text(one[0].client.get(), "ping");
  EXPECT_TRUE(eventually([&] { return own.inflight(server_).size() == 1; }));
  own.maps().control().spare(0, ~0u);
  settle(own);
  expect_visited(own, one, 0u);
  EXPECT_TRUE(own.inflight(server_).empty());
}

TEST_P(News, ConnectionsOlderThanTheProgramsAreVisitedFromTheirFirstEvent) {
  const auto all = connect(4);
  for (const Connection& one : all) exchange(one);
  Kernel later(features_of(GetParam()));
  expect_visited(later, all, 0u);
  send_text(all[2].client.get(), "ping");
  EXPECT_TRUE(eventually([&] { return later.inflight(server_).size() == 1; }));
  expect_visited(later, all, 2u);
}

// ---- HTTP/2 ----

class NewsOfHttp2 : public KernelTest {
 protected:
  void SetUp() override {
    const KernelFeatures features = features_of(Mode::Locked);
    if (const std::string why = why_no_http2(features); !why.empty())
      GTEST_SKIP() << "HTTP/2 is not followed here: " << why;
    start(Mode::Locked);
  }
};

TEST_F(NewsOfHttp2, ConnectionsAreVisitedWhileAStreamWaits) {
  using namespace frames;
  std::vector<Connection> all;
  all.push_back(connect_both(server_, client_));
  const auto say = [](const Fd& from, const Fd& to, const std::string& bytes) {
    send_text(from.get(), bytes);
    read_exactly(to.get(), bytes.size());
  };
  const Fd &client = all[0].client, &server = all[0].server;
  say(client, server, kPreface + settings());
  say(server, client, settings());
  EXPECT_TRUE(come_to_rest(kernel(), all));
  say(client, server, get(1));
  std::this_thread::sleep_for(100ms);
  for (int i = 0; i < 3; ++i) settle(kernel());
  EXPECT_EQ(kernel().inflight(server_).size(), 1u);
  EXPECT_EQ(kernel().inflight(client_).size(), 1u);
  // A stream that is answered and goes on waits for nothing, as those of a watch.
  say(server, client, frame(Headers, EndHeaders, 1, indexed(kStatus200)));
  EXPECT_TRUE(kernel().inflight(server_).empty());
  EXPECT_TRUE(come_to_rest(kernel(), all));
  kernel().take_inventory(SLOGATE_WALK_all);
  EXPECT_EQ(kernel().maps().control().http2_streams(), 2u);
  say(server, client, frame(Data, EndStream, 1, "the end"));
  expect_visited(kernel(), all, 2u);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_answer), 1u);
  EXPECT_TRUE(come_to_rest(kernel(), all));
  kernel().take_inventory(SLOGATE_WALK_all);
  EXPECT_EQ(kernel().maps().control().http2_streams(), 0u);
}

// ---- no memory for an entry ----

constexpr const char* kLimit = "/proc/sys/net/core/optmem_max";

// What the sockets of the network namespace may take beside their buffers.
bool limit_storage(size_t bytes) {
  std::ofstream file(kLimit);
  file << bytes << std::flush;
  return file.good();
}

TEST(NewsStorage, SocketsThatFoundNoMemoryAreSaidToBeMissingAndFoundByAWalkOverAll) {
  Kernel kernel(features_of(Mode::Locked));
  if (is_by_roll(kernel)) GTEST_SKIP() << kStay;
  const Control& control = kernel.maps().control();
  const TestCgroup server, client;
  const Netns limited;
  Connection connection;
  bool can_limit = true;
  // The least at which there is memory for what is remembered, but not for the entry as well.
  limited.run([&] {
    for (size_t bytes = 0; bytes < 4096 && control.unlisted() == 0; bytes += 16) {
      can_limit = limit_storage(bytes);
      if (!can_limit) return;
      connection = connect_both(server, client);
    }
  });
  if (!can_limit) GTEST_SKIP() << "this kernel has no " << kLimit << " for a network namespace";
  ASSERT_GT(control.unlisted(), 0u);
  EXPECT_FALSE(is_visited(kernel, connection.server));
  const uint64_t lost = control.lost(SLOGATE_SITE_no_storage);
  send_text(connection.client.get(), "ping");
  EXPECT_TRUE(kernel.inflight(server).empty());
  const auto open = kernel.probes().take_inventory(SLOGATE_WALK_all);
  ASSERT_TRUE(open);
  EXPECT_EQ(std::ranges::count_if(*open,
                                  [&](const slogate_inflight& one) {
                                    const uint64_t of =
                                        kernel.maps().slab().owner(one.ref.slot).cgroup;
                                    return of == server.id() || of == client.id();
                                  }),
            2);
  // That asked for memory, too. Once there is some, it enters them.
  const uint32_t before = control.unlisted();
  kernel.take_inventory(SLOGATE_WALK_all);
  EXPECT_EQ(control.unlisted(), before + 2);
  limited.run([] { limit_storage(20480); });
  kernel.take_inventory(SLOGATE_WALK_all);
  EXPECT_EQ(control.unlisted(), before + 2);
  EXPECT_EQ(kernel.inflight(server).size(), 1u);
  EXPECT_EQ(kernel.inflight(client).size(), 1u);
  // Nothing of what is measured was lost.
  read_exactly(connection.server.get(), 4);
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  EXPECT_EQ(samples(kernel.counts(server.id()), SLOGATE_SIGNAL_request), 1u);
  EXPECT_EQ(control.lost(SLOGATE_SITE_no_storage), lost);
}

// ---- the agent ----

class NewsOfAnAgent : public testing::Test {
 protected:
  void SetUp() override { pins_ = fmt::format("/sys/fs/bpf/slogate-news-{}", getpid()); }
  void TearDown() override {
    agent_.reset();
    EXPECT_TRUE(unpin_all(pins_));
    std::error_code error;
    std::filesystem::remove(pins_, error);
  }
  void start() {
    agent_.reset();
    auto agent = Agent::start({.cgroup_root = find_cgroup2({}).value(),
                               .pin_dir = pins_,
                               .about = {},
                               .features = features_of(Mode::Locked),
                               .config = test_config(),
                               .ceiling = [](double) { return 1000; }});
    ASSERT_TRUE(agent) << agent.error().line();
    agent_ = std::move(*agent);
  }
  // So much later than the last one, and no earlier than now.
  void tick(std::chrono::nanoseconds later = 1s) {
    if (const TickTime present = now(); present.monotonic > time_.monotonic) time_ = present;
    time_.system += std::chrono::duration_cast<std::chrono::system_clock::duration>(later);
    time_.monotonic += later;
    agent_->tick(time_);
  }
  [[nodiscard]] uint64_t entries(std::string_view map) const {
    const auto snapshot = agent_->snapshot();
    return std::ranges::find(snapshot->maps, map, &MapStatus::name)->entries;
  }
  [[nodiscard]] Inflight inflight() const {
    const auto snapshot = agent_->snapshot();
    const auto found = std::ranges::find(*snapshot->workloads, server_.id(), &Workload::id);
    return found == snapshot->workloads->end() ? Inflight{} : found->server;
  }

  std::string pins_;
  const TestCgroup server_, client_;
  std::unique_ptr<Agent> agent_;
  TickTime time_ = now();
};

TEST_F(NewsOfAnAgent, LeavesIdleConnectionsAloneAndKnowsTheirNumber) {
  const bool by_roll = !features_of(Mode::Locked).no_map_iterators.empty();
  start();
  std::vector<Connection> all;
  while (all.size() < 200) {
    all.push_back(connect_both(server_, client_));
    exchange(all.back());
  }
  tick();
  EXPECT_GE(entries("slogate_sockets"), 400u);
  tick();
  EXPECT_GE(entries(by_roll ? "slogate_roll" : "slogate_news"), 400u);
  std::this_thread::sleep_for(100ms);
  for (int i = 0; i < 2 * SLOGATE_QUIET_VISITS + 2; ++i) tick();
  // There are others on this machine.
  EXPECT_LT(entries("slogate_news"), 200u);
  if (by_roll) {
    EXPECT_GE(entries("slogate_roll"), 400u) << "nobody is taken off";
  }
  EXPECT_GE(entries("slogate_sockets"), 400u);
  send_text(all[9].client.get(), "ping");
  tick();
  EXPECT_EQ(inflight().requests, 1u);
  for (int i = 0; i < 10; ++i) tick();
  EXPECT_EQ(inflight().requests, 1u);
  EXPECT_GE(inflight().oldest, 10s);
  EXPECT_EQ(inflight().overdue.size(), 1u);
  all.clear();
  tick(60s);
  tick();
  EXPECT_LT(entries("slogate_sockets"), 400u);
  EXPECT_LT(entries("slogate_roll"), 400u);
}

// What had news while nobody was here, and what was quiet before.
TEST_F(NewsOfAnAgent, IsTakenUpByTheNextAgent) {
  start();
  const Connection early = connect_both(server_, client_), late = connect_both(server_, client_),
                   idle = connect_both(server_, client_);
  for (const Connection* one : {&early, &late, &idle}) exchange(*one);
  send_text(early.client.get(), "ping");
  std::this_thread::sleep_for(100ms);
  for (int i = 0; i < 2 * SLOGATE_QUIET_VISITS + 2; ++i) tick();
  EXPECT_EQ(inflight().requests, 1u);
  agent_.reset();
  send_text(late.client.get(), "ping");
  start();
  for (int i = 0; i < 2 * SLOGATE_QUIET_VISITS + 2; ++i) {
    tick();
    EXPECT_EQ(inflight().requests, 2u) << i;
  }
  send_text(idle.client.get(), "ping");
  tick();
  EXPECT_EQ(inflight().requests, 3u);
}

}  // namespace
}  // namespace slogate
