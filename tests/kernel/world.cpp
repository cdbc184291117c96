// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/world.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace slogate {
namespace {

std::string find_cgroup_root() {
  std::ifstream mounts("/proc/self/mounts");
  std::string device, directory, type, rest;
  while (mounts >> device >> directory >> type && std::getline(mounts, rest))
    if (type == "cgroup2") return directory;
  throw std::runtime_error("no cgroup2 is mounted");
}

void write_file(const std::string& path, const std::string& text) {
  const Fd file(check(open(path.c_str(), O_WRONLY | O_CLOEXEC), path.c_str()));
  check(write(file.get(), text.data(), text.size()), path.c_str());
}

[[noreturn]] void run_child(const TestCgroup& cgroup, const std::function<void()>& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int status = 0;
  try {
    cgroup.enter();
    work();
  } catch (const std::exception& error) {
    fmt::print(stderr, "child {}: {}\n", getpid(), error.what());
    status = 1;
  }
  // Not exit(): what the parent prepared is the parent's to clean up.
  std::_Exit(status);
}

void run_program(const std::vector<std::string>& arguments) {
  const pid_t pid = check(fork(), "fork");
  if (pid == 0) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    std::_Exit(127);
  }
  int status = 0;
  retry([&] { return waitpid(pid, &status, 0); }, "waitpid");
  if (status != 0) throw std::runtime_error(fmt::format("failed: {}", fmt::join(arguments, " ")));
}

}  // namespace

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds within) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// ---- TestCgroup ----

TestCgroup::TestCgroup() {
  static const std::string root = find_cgroup_root();
  static int number = 0;
  int made = 0;
  // One that is there already was left behind by a test that was killed and had the same pid.
  do {
    path_ = fmt::format("{}/slogate-test-{}-{}", root, getpid(), ++number);
    made = mkdir(path_.c_str(), 0755);
  } while (made != 0 && errno == EEXIST);
  check(made, path_.c_str());
  struct stat status {};
  check(stat(path_.c_str(), &status), path_.c_str());
  id_ = status.st_ino;
}

TestCgroup::~TestCgroup() {
  // A process that has just ended may still be on its way out.
  if (!eventually([&] { return rmdir(path_.c_str()) == 0; }))
    fmt::print(stderr, "cannot remove {}: {}\n", path_, strerrordesc_np(errno));
}

void TestCgroup::enter() const {
  write_file(path_ + "/cgroup.procs", "0");
}

// ---- Child ----

Child::Child(const TestCgroup& cgroup, const std::function<void()>& work) {
  pid_ = check(fork(), "fork");
  if (pid_ == 0) run_child(cgroup, work);
}

Child::~Child() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Child::join() {
  int status = 0;
  const pid_t pid = std::exchange(pid_, -1);
  retry([&] { return waitpid(pid, &status, 0); }, "waitpid");
  if (status != 0) throw std::runtime_error(fmt::format("a child ended with status {}", status));
}

// ---- Netns ----

namespace {

Fd own_netns() {
  return Fd(check(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "own namespace"));
}

// Leaves a namespace however the work ends.
class Return {
 public:
  Return() : home_(own_netns()) {}
  Return(const Return&) = delete;
  Return& operator=(const Return&) = delete;
  ~Return() {
    if (setns(home_.get(), CLONE_NEWNET) != 0) std::abort();
  }

 private:
  Fd home_;
};

std::string thread_fd_path(int fd) {
  return fmt::format("/proc/{}/fd/{}", getpid(), fd);
}

}  // namespace

Netns::Netns() {
  const Return home;
  check(unshare(CLONE_NEWNET), "unshare");
  fd_ = own_netns();
  run_program({"ip", "link", "set", "lo", "up"});
}

void Netns::run(const std::function<void()>& work) const {
  const Return home;
  check(setns(fd_.get(), CLONE_NEWNET), "setns");
  work();
}

void Netns::command(const std::vector<std::string>& arguments) const {
  run([&] { run_program(arguments); });
}

uint64_t Netns::statistic(const std::string& family, const std::string& name) const {
  uint64_t found = 0;
  bool known = false;
  run([&] {
    for (const char* file : {"/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat"}) {
      std::ifstream in(file);
      std::string names, values;
      while (std::getline(in, names) && std::getline(in, values)) {
        std::istringstream name_words(names), value_words(values);
        std::string word, value;
        name_words >> word;
        value_words >> value;
        if (word != family + ":") continue;
        while (name_words >> word && value_words >> value)
          if (word == name) found = std::stoull(value), known = true;
      }
    }
  });
  if (!known) throw std::runtime_error("no statistic " + family + name);
  return found;
}

Link::Link() {
  left.command({"ip", "link", "add", "left", "type", "veth", "peer", "name", "right", "netns",
                thread_fd_path(right.fd())});
  left.command({"ip", "addr", "add", fmt::format("{}/24", kLeftIp), "dev", "left"});
  right.command({"ip", "addr", "add", fmt::format("{}/24", kRightIp), "dev", "right"});
  left.command({"ip", "link", "set", "left", "up"});
  right.command({"ip", "link", "set", "right", "up"});
}

// ---- SlowLink ----

Fd SlowLink::open_end(const Netns& netns, const std::string& name, const char* ip) {
  Fd end;
  netns.run([&] {
    end.reset(check(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), "/dev/net/tun"));
    ifreq device{};
    device.ifr_flags = IFF_TUN | IFF_NO_PI;
    name.copy(device.ifr_name, sizeof(device.ifr_name) - 1);
    check(ioctl(end.get(), TUNSETIFF, &device), "TUNSETIFF");
  });
  netns.command({"ip", "addr", "add", fmt::format("{}/24", ip), "dev", name});
  netns.command({"ip", "link", "set", name, "up"});
  return end;
}

SlowLink::SlowLink(std::chrono::microseconds one_way)
    : left_end_(open_end(left, "left", kLeftIp)),
      right_end_(open_end(right, "right", kRightIp)),
      forwarder_([this, one_way](const std::stop_token& stop) { forward(stop, one_way); }) {}

void SlowLink::forward(const std::stop_token& stop, std::chrono::microseconds one_way) const {
  using Clock = std::chrono::steady_clock;
  struct Packet {
    Clock::time_point due;
    int to;
    std::string bytes;
  };
  std::deque<Packet> held;  // in the order of their time: all are held back as long
  std::string buffer(1 << 16, '\0');
  while (!stop.stop_requested()) {
    std::array<pollfd, 2> ends = {{{.fd = left_end_.get(), .events = POLLIN, .revents = 0},
                                   {.fd = right_end_.get(), .events = POLLIN, .revents = 0}}};
    const std::chrono::nanoseconds wait =
        held.empty() ? std::chrono::milliseconds(10)
                     : std::max(held.front().due - Clock::now(), Clock::duration::zero());
    const timespec timeout{.tv_sec = 0, .tv_nsec = wait.count()};
    ppoll(ends.data(), ends.size(), &timeout, nullptr);
    for (size_t from = 0; from < ends.size(); ++from) {
      const ssize_t size = read(ends[from].fd, buffer.data(), buffer.size());
      if (size > 0)
        held.push_back({Clock::now() + one_way, ends[1 - from].fd,
                        buffer.substr(0, static_cast<size_t>(size))});
    }
    for (; !held.empty() && held.front().due <= Clock::now(); held.pop_front())
      // A device that takes no packet drops it, like any router.
      (void)!write(held.front().to, held.front().bytes.data(), held.front().bytes.size());
  }
}

// ---- Channel ----

Channel::Channel() {
  int ends[2];
  check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), "socketpair");
  one.reset(ends[0]);
  other.reset(ends[1]);
  // A test that waits for a child that died ends, too.
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  for (const int end : ends)
    check(setsockopt(end, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), "timeout");
}

void send_fd(int channel, int fd) {
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  check(sendmsg(channel, &message, MSG_NOSIGNAL), "send_fd");
}

Fd receive_fd(int channel) {
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  retry([&] { return recvmsg(channel, &message, MSG_CMSG_CLOEXEC); }, "receive_fd");
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr) throw std::runtime_error("receive_fd: the other end is gone");
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof(int));
  return Fd(fd);
}

void send_token(int channel) {
  check(send(channel, "", 1, MSG_NOSIGNAL), "send_token");
}

void wait_token(int channel) {
  char byte = 0;
  if (retry([&] { return recv(channel, &byte, 1, 0); }, "wait_token") != 1)
    throw std::runtime_error("wait_token: the other end is gone");
}

}  // namespace slogate
