// SPDX-License-Identifier: Apache-2.0
#include "tests/support/load/command.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "tests/support/frame.h"

namespace slogate::support {
namespace {

constexpr const char* kEnded[] = {"done", "signal", "max_seconds"};

sigset_t to_set(std::initializer_list<int> signals) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : signals) ::sigaddset(&set, number);
  return set;
}

}  // namespace

Run::Run(std::chrono::seconds longest) : end_(begin_ + longest) {
  const sigset_t ours = to_set({SIGTERM, SIGINT, SIGUSR1});
  ::pthread_sigmask(SIG_BLOCK, &ours, nullptr);
  (void)::signal(SIGPIPE, SIG_IGN);
  signals_.reset(::signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
}

Ended Run::wait() {
  while (!stop.raised()) {
    if (Clock::now() >= end_) return stop.raise(), Ended::kMaxSeconds;
    if (wait_for(signals_.get(), POLLIN, end_, stop) == 0) continue;
    signalfd_siginfo signal{};
    if (::read(signals_.get(), &signal, sizeof signal) != sizeof signal) continue;
    if (signal.ssi_signo != SIGUSR1) return stop.raise(), Ended::kSignal;
    start.raise();
  }
  return Ended::kDone;
}

void Run::say(const std::string& line) {
  fmt::print("{}\n", line);
  (void)std::fflush(stdout);
}

void Run::report(const std::string& command, Ended ended,
                 const nlohmann::ordered_json& facts) const {
  nlohmann::ordered_json line{
      {"command", command},
      {"ended", kEnded[static_cast<int>(ended)]},
      {"seconds", std::chrono::duration<double>(Clock::now() - begin_).count()}};
  line.update(facts);
  say(line.dump());
}

bool ask_once(int fd, uint64_t id) {
  std::array<char, kDefaultSize> message{};
  put_header(message, id, message.size());
  const auto whole = static_cast<ssize_t>(message.size());
  return ::send(fd, message.data(), message.size(), MSG_NOSIGNAL) == whole &&
         ::recv(fd, message.data(), message.size(), MSG_WAITALL) == whole;
}

}  // namespace slogate::support
