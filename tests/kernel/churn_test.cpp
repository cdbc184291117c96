// SPDX-License-Identifier: Apache-2.0
// The whole measuring half of the agent, while cgroups come and go by the thousand.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "agent/agent.h"
#include "agent/host.h"
#include "tests/kernel/traffic.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// SLOGATE_CHURN: how many cgroups (default 300).
int churn() {
  const char* wish = getenv("SLOGATE_CHURN");
  return wish != nullptr ? atoi(wish) : 300;
}

// One connection with one request, from a process that is born in the cgroup: moving one there
// takes the kernel a hundred times as long.
void use_cgroup(const std::string& directory, sockaddr_in server) {
  const Fd cgroup(check(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), "cgroup"));
  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<__u64>(cgroup.get());
  const auto pid =
      static_cast<pid_t>(check(syscall(SYS_clone3, &arguments, sizeof(arguments)), "clone3"));
  if (pid == 0) {
    char byte = 'x';
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const bool done = connect(fd, reinterpret_cast<sockaddr*>(&server), sizeof(server)) == 0 &&
                      send(fd, &byte, 1, 0) == 1 && recv(fd, &byte, 1, 0) == 1;
    _exit(done ? 0 : 1);
  }
  int status = 0;
  check(waitpid(pid, &status, 0), "waitpid");
  if (status != 0) throw std::runtime_error("a client failed");
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
      const Fd fd(accept(listener_.get(), nullptr, nullptr));
      if (!fd) return;
      char byte = 0;
      if (recv(fd.get(), &byte, 1, 0) == 1) send(fd.get(), &byte, 1, MSG_NOSIGNAL);
    }
  }
  Fd listener_;
  sockaddr_in address_{};
  std::jthread thread_;
};

// What the agent's thread does, at the agent's pace.
void drive(const std::stop_token& stop, Agent& agent) {
  auto next_tick = std::chrono::steady_clock::now();
  while (!stop.stop_requested()) {
    pollfd events{agent.owner_events_fd(), POLLIN, 0};
    if (poll(&events, 1, 50) > 0) agent.on_owner_events(now());
    if (std::chrono::steady_clock::now() < next_tick) continue;
    agent.tick(now());
    next_tick += 1s;
  }
}

uint64_t client_requests(const Counts& counts) {
  return count(counts.histograms[SLOGATE_SIGNAL_client_request]);
}

uint64_t slab_capacity(const Snapshot& snapshot) {
  return snapshot.maps.front().capacity;
}

TEST(Churn, CgroupsByTheThousandLoseNothingAndLeaveNoMemoryBehind) {
  if (getenv("SLOGATE_CHURN") == nullptr) GTEST_SKIP() << "long: set SLOGATE_CHURN to a number";
  const std::string root = find_cgroup2({}).value();
  auto started =
      Agent::start({.cgroup_root = root,
                    .pin_dir = "",
                    .about = {},
                    .features = read_kernel_features().value(),
                    .settings = {.filter = {.include = {Glob::parse("/**").value()}, .exclude = {}},
                                 .size = {.ceiling = 32'000},
                                 .classes = {}}});
  ASSERT_TRUE(started.has_value()) << started.error().line();
  Agent& agent = **started;
  const TestCgroup steady;
  Traffic traffic(steady, 2);
  const int cgroups = churn();
  {
    const Server server;
    const std::jthread driver([&agent](const std::stop_token& stop) { drive(stop, agent); });
    for (int i = 0; i < cgroups; ++i) {
      const std::string directory = fmt::format("{}/slogate-test-{}-churn-{}", root, getpid(), i);
      check(mkdir(directory.c_str(), 0755), "mkdir");
      use_cgroup(directory, server.address());
      check(rmdir(directory.c_str()), "rmdir");
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
    EXPECT_EQ(workload.path.find("-churn-"), std::string::npos) << workload.path;
  }
  EXPECT_EQ(of_steady, answered);
  EXPECT_EQ(seen, static_cast<uint64_t>(cgroups));
  for (size_t site = 0; site < SLOGATE_SITES; ++site)
    EXPECT_EQ(snapshot->agent.lost[site], 0u) << kSites[site].name;
  EXPECT_LT(slab_capacity(*snapshot), 300u);
  RecordProperty("largest_capacity", static_cast<int>(largest));
}

}  // namespace
}  // namespace slogate
