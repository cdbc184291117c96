// SPDX-License-Identifier: Apache-2.0
// Clients that mean no good; tests/e2e/hostile.sh runs it.
//
// hostile WHAT CONNECTIONS SOCKET|PORT   Keeps so many connections open until it is ended, each
// made
//   anew as soon as the server ends it. Prints "ready" once each has been open, and when it is
//   asked to end, how often it had to connect. WHAT they do:
//     idle   say nothing
//     slow   say a byte of a header every second
//     deaf   ask for everything, again and again, and read nothing
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "maps/fd.h"

namespace slogate {
namespace {

// Where to connect to.
struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;
};

Target to_target(const std::string& text) {
  Target target;
  if (text.starts_with('/')) {
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    text.copy(local.sun_path, sizeof local.sun_path - 1);
    std::memcpy(&target.address, &local, target.size = sizeof local);
  } else {
    sockaddr_in tcp{};
    tcp.sin_family = AF_INET;
    tcp.sin_port = htons(static_cast<uint16_t>(std::atoi(text.c_str())));
    tcp.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::memcpy(&target.address, &tcp, target.size = sizeof tcp);
  }
  return target;
}

// Not blocking: a full backlog of a Unix socket is EAGAIN, and tried again.
Fd connect_to(const Target& target) {
  Fd fd(::socket(target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fd;
  const bool done =
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&target.address), target.size) == 0 ||
      errno == EINPROGRESS;
  return done ? std::move(fd) : Fd();
}

// What is said each second.
std::string_view words(std::string_view what) {
  if (what == "slow") return "G";
  if (what == "deaf") return "GET /v1/probes HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n";
  return "";
}

int run(std::string_view what, size_t connections, const Target& target) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &ends, nullptr);
  const Fd signals(::signalfd(-1, &ends, SFD_CLOEXEC));
  const rlimit files{.rlim_cur = connections + 100, .rlim_max = connections + 100};
  if (::setrlimit(RLIMIT_NOFILE, &files) != 0) return 77;

  std::vector<Fd> clients(connections);
  std::vector<pollfd> polls(connections + 1, pollfd{-1, POLLRDHUP, 0});
  polls.back() = {signals.get(), POLLIN, 0};
  size_t made = 0;
  for (bool ready = false;;) {
    for (size_t i = 0; i < connections; ++i) {
      if (!clients[i] || (polls[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
        clients[i] = connect_to(target);
        polls[i].fd = clients[i].get();
        if (clients[i]) ++made;
      }
      const std::string_view said = words(what);
      if (clients[i] && !said.empty())
        (void)::send(clients[i].get(), said.data(), said.size(), MSG_NOSIGNAL);
    }
    if (!ready && made >= connections) {
      ready = true;
      fmt::print("ready\n");
      std::fflush(stdout);
    }
    ::poll(&polls.back(), 1, ready ? 1000 : 10);
    if (polls.back().revents != 0) break;
    ::poll(polls.data(), polls.size(), 0);
  }
  fmt::print("{}\n", made);
  return 0;
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  if (argc != 4) return 64;
  return slogate::run(argv[1], std::strtoul(argv[2], nullptr, 10), slogate::to_target(argv[3]));
}
