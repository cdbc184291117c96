// SPDX-License-Identifier: Apache-2.0
// What a test makes in the world and takes away again: cgroups, processes in them, network
// namespaces. Everything here throws std::system_error when the world refuses, which fails the
// test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "maps/fd.h"

namespace slogate {

// The result of a system call, which was not an error.
template <typename T>
T check(T result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

// The result of a call that a signal may interrupt; io_uring sends some that nobody sees.
template <typename Call>
auto retry(Call call, const char* what) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return check(result, what);
}

// Polls until the condition holds; false when it did not within the time.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds within = std::chrono::seconds(3));

// A cgroup directly below the root of cgroup2, removed with the object.
class TestCgroup {
 public:
  TestCgroup();
  TestCgroup(const TestCgroup&) = delete;
  TestCgroup& operator=(const TestCgroup&) = delete;
  ~TestCgroup();

  [[nodiscard]] uint64_t id() const { return id_; }
  [[nodiscard]] const std::string& directory() const { return path_; }
  void enter() const;  // moves the calling process

 private:
  std::string path_;
  uint64_t id_ = 0;
};

// A forked process that enters a cgroup before it does its work. It never outlives the object, nor
// the test.
class Child {
 public:
  Child(const TestCgroup& cgroup, const std::function<void()>& work);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  [[nodiscard]] pid_t pid() const { return pid_; }
  void join();  // throws when the work threw

 private:
  pid_t pid_ = -1;
};

// A network namespace with its loopback up.
class Netns {
 public:
  Netns();

  // Runs `work` in it. Sockets and processes that it makes stay there.
  void run(const std::function<void()>& work) const;
  // Runs `ip` or `tc` in it.
  void command(const std::vector<std::string>& arguments) const;
  // A row of /proc/net/snmp or /proc/net/netstat, e.g. {"TcpExt", "ListenOverflows"}.
  [[nodiscard]] uint64_t statistic(const std::string& family, const std::string& name) const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Fd fd_;
};

// Two namespaces joined by a veth pair: 10.77.0.1 in `left` (device "left"), 10.77.0.2 in `right`.
struct Link {
  Netns left, right;
  Link();
};
inline constexpr const char* kLeftIp = "10.77.0.1";
inline constexpr const char* kRightIp = "10.77.0.2";

// The same two, on a path that holds every packet back. Routers here are TUN devices with a thread
// between them, for kernels without netem; throws where there is no /dev/net/tun.
class SlowLink {
 public:
  explicit SlowLink(std::chrono::microseconds one_way);

  Netns left, right;

 private:
  // A device of the namespace with this address, and its other end.
  static Fd open_end(const Netns& netns, const std::string& name, const char* ip);
  void forward(const std::stop_token& stop, std::chrono::microseconds one_way) const;

  Fd left_end_, right_end_;
  std::jthread forwarder_;
};

// Descriptors from one process to another, through a Unix socket.
struct Channel {
  Fd one, other;
  Channel();
};
void send_fd(int channel, int fd);
Fd receive_fd(int channel);

// One byte that says "go on", and waiting for it.
void send_token(int channel);
void wait_token(int channel);

}  // namespace slogate
