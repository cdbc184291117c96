// SPDX-License-Identifier: Apache-2.0
// The whole measuring half of the agent, while cgroups come and go by the thousand.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <set>
#include <thread>

#include "tests/kernel/fixture.h"
#include "tests/kernel/traffic.h"
#include "tests/support/cgroup.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// SLOGATE_CHURN: how many cgroups. The default takes a few seconds; 10,000 take minutes.
int churn() {
  const char* wish = getenv("SLOGATE_CHURN");
  return wish != nullptr ? atoi(wish) : 600;
}

// The agent keeps kMinReserve slots free and makes more when fewer than half of them are left; it
// takes the kernel up to some tenths of a second to add them. So many new cgroups find a slot
// whatever else the machine does, if the agent gets a turn before there are more. What comes faster
// than that may be booked to nobody for a while, which Ceiling.WhatFindsNoSlotIsCountedAndNamed is
// about.
constexpr int kBetweenTurns = 16;

// Nobody waits longer than this for anything here.
constexpr timeval kPatience{.tv_sec = 10, .tv_usec = 0};

// One connection with one request, from a process of the cgroup.
void use_cgroup(const TestCgroup& cgroup, sockaddr_in server) {
  const pid_t pid = support::fork_into(cgroup.directory()).value();
  if (pid == 0) {
    char byte = 'x';
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&server), sizeof(server)) != 0) _exit(1);
    if (send(fd, &byte, 1, 0) != 1) _exit(2);
    _exit(recv(fd, &byte, 1, 0) == 1 ? 0 : 3);
  }
  int status = 0;
  retry([&] { return waitpid(pid, &status, 0); }, "waitpid");
  if (status != 0)
    throw std::runtime_error(fmt::format("a client could not {}", status == 1 << 8   ? "connect"
                                                                  : status == 2 << 8 ? "send"
                                                                                     : "receive"));
}

// Answers one byte with one byte, on a thread of this process.
class Server {
 public:
  Server() : listener_(check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address_);
    check(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address_), size), "bind");
    check(listen(listener_.get(), 128), "listen");
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address_), &size);
    thread_ = std::jthread([this] { serve(); });
  }
  ~Server() { shutdown(listener_.get(), SHUT_RDWR); }
  [[nodiscard]] sockaddr_in address() const { return address_; }

 private:
  void serve() const {
    for (;;) {
      const Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd && errno == EINVAL) return;  // shut down
      if (!fd) continue;
      setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
      char byte = 0;
      if (recv(fd.get(), &byte, 1, 0) == 1) send(fd.get(), &byte, 1, MSG_NOSIGNAL);
    }
  }
  Fd listener_;
  sockaddr_in address_{};
  std::jthread thread_;
};

// Does what the agent's thread does, at the agent's pace.
class Driver {
 public:
  explicit Driver(Agent& agent)
      : agent_(agent), thread_([this](const std::stop_token& stop) { drive(stop); }) {}

  // Until all that had happened before has been seen.
  void wait_for_turn() {
    const uint64_t before = turns_;
    // The turn that is going on may have begun too early.
    if (!eventually([&] { return turns_ >= before + 2; }, 30s))
      throw std::runtime_error("the agent has no turn");
  }

 private:
  void drive(const std::stop_token& stop) {
    auto next_tick = std::chrono::steady_clock::now();
    for (; !stop.stop_requested(); ++turns_) {
      pollfd events{agent_.owner_events_fd(), POLLIN, 0};
      if (poll(&events, 1, 5) > 0) agent_.on_owner_events(now());
      if (std::chrono::steady_clock::now() < next_tick) continue;
      agent_.tick(now());
      next_tick += 1s;
    }
  }
  Agent& agent_;
  std::atomic<uint64_t> turns_{0};
  std::jthread thread_;
};

uint64_t client_requests(const Counts& counts) {
  return samples(counts, SLOGATE_SIGNAL_client_request);
}

uint64_t slab_capacity(const Snapshot& snapshot) {
  return snapshot.maps.front().capacity;
}

TEST(Churn, CgroupsByTheThousandLoseNothingAndLeaveNoMemoryBehind) {
  const auto started = start_agent(32'000);
  Agent& agent = *started;
  const TestCgroup steady;
  Traffic traffic(steady, 2, 200us);
  const int cgroups = churn();
  std::set<uint64_t> gone;
  {
    const Server server;
    Driver driver(agent);
    for (int i = 0; i < cgroups; ++i) {
      if (i % kBetweenTurns == 0) driver.wait_for_turn();
      const TestCgroup cgroup;
      gone.insert(cgroup.id());
      use_cgroup(cgroup, server.address());
    }
  }
  const uint64_t answered = traffic.stop();

  // Ten ticks ask after all of them; then their grace is over; then the memory is not needed.
  TickTime time = now();
  agent.tick(time);
  const uint64_t largest = slab_capacity(*agent.snapshot());
  for (int i = 0; i < 200; ++i) {
    time.monotonic += 1s;
    agent.tick(time);
  }
  const auto snapshot = agent.snapshot();
  uint64_t seen = client_requests(*snapshot->removed) + client_requests(*snapshot->unattributed);
  uint64_t of_steady = 0;
  for (const Workload& workload : snapshot->workloads) {
    if (workload.id == steady.id()) of_steady = client_requests(*workload.service);
    EXPECT_FALSE(gone.contains(workload.id)) << workload.path;
  }
  uint64_t missed = 0;
  for (const ProbeStatus& probe : snapshot->probes) missed += probe.missed.value_or(0);
  expect_all_counted(of_steady, answered, missed);
  expect_all_counted(seen, static_cast<uint64_t>(cgroups), missed);
  for (size_t site = 0; site < SLOGATE_SITES; ++site)
    EXPECT_EQ(snapshot->agent.lost[site], 0u) << kSites[site].name;
  // Twice the reserve may stay free.
  EXPECT_LT(slab_capacity(*snapshot),
            snapshot->workloads.size() + 2 * kMinReserve + 3 * SLOGATE_CHUNK_SLOTS);
  RecordProperty("largest_capacity", static_cast<int>(largest));
}

}  // namespace
}  // namespace slogate
