// SPDX-License-Identifier: Apache-2.0
#include "agent/base/event_loop.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>
#include <csignal>

namespace slogate {

using namespace std::chrono_literals;

Result<EventLoop> EventLoop::make(std::chrono::milliseconds interval, std::vector<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0)
    return fail(system_error("cannot block signals", error));
  Fd signal_fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signal_fd) return fail(system_error("cannot create a signalfd", errno));

  Fd timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return fail(system_error("cannot create a timer", errno));
  EventLoop loop(std::move(timer), std::move(signal_fd));
  // The first tick at once.
  if (auto done = loop.set_timer(1ns, interval); !done) return fail(done.error());
  return loop;
}

Result<void> EventLoop::set_timer(std::chrono::nanoseconds first,
                                  std::chrono::milliseconds interval) {
  const auto split = [](std::chrono::nanoseconds time) -> timespec {
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(time);
    return {.tv_sec = whole.count(), .tv_nsec = (time - whole).count()};
  };
  const itimerspec when{.it_interval = split(interval), .it_value = split(first)};
  if (timerfd_settime(timer_.get(), 0, &when, nullptr) != 0)
    return fail(system_error("cannot set a timer", errno));
  interval_ = interval;
  return {};
}

Result<void> EventLoop::set_interval(std::chrono::milliseconds interval) {
  return interval == interval_ ? Result<void>{} : set_timer(interval, interval);
}

void EventLoop::watch(int fd, std::function<void()> handler) {
  watched_.emplace_back(fd, std::move(handler));
}

Result<void> EventLoop::run(const Handlers& handlers) {
  std::vector<pollfd> fds = {{signals_.get(), POLLIN, 0}, {timer_.get(), POLLIN, 0}};
  for (const auto& [fd, handler] : watched_) fds.push_back({fd, POLLIN, 0});
  for (;;) {
    if (poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR)
      return fail(system_error("cannot wait for events", errno));
    // Those that are there, and then a tick: more may come for as long as somebody likes.
    std::array<signalfd_siginfo, 8> arrived{};
    const ssize_t got = read(signals_.get(), arrived.data(), sizeof(arrived));
    for (size_t i = 0; got > 0 && i < static_cast<size_t>(got) / sizeof(arrived[0]); ++i)
      if (!handlers.signal(static_cast<int>(arrived[i].ssi_signo))) return {};
    // A tick that was missed is not made up for: the next snapshot has it all.
    uint64_t expirations = 0;
    if (read(timer_.get(), &expirations, sizeof(expirations)) > 0) handlers.tick();
    for (size_t i = 0; i < watched_.size(); ++i)
      if (fds[i + 2].revents != 0) watched_[i].second();
  }
}

}  // namespace slogate
