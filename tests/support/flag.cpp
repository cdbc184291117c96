// SPDX-License-Identifier: Apache-2.0
#include "tests/support/flag.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>

namespace slogate::support {
namespace {

constexpr Nanoseconds kSpin = std::chrono::microseconds(100);

timespec to_timespec(Nanoseconds left) {
  left = std::max(left, Nanoseconds(0));
  return {.tv_sec = left / std::chrono::seconds(1),
          .tv_nsec = (left % std::chrono::seconds(1)).count()};
}

}  // namespace

Flag::Flag() : event_(::eventfd(0, EFD_CLOEXEC)) {}

void Flag::raise() {
  if (raised_.exchange(true, std::memory_order_acq_rel)) return;
  (void)::eventfd_write(event_.get(), 1);
}

short wait_for(int fd, short events, Deadline deadline, const Flag& stop) {
  pollfd both[] = {{.fd = fd, .events = events, .revents = 0},
                   {.fd = stop.fd(), .events = POLLIN, .revents = 0}};
  const timespec left = to_timespec(deadline - Clock::now());
  return ::ppoll(both, 2, &left, nullptr) > 0 ? both[0].revents : short{0};
}

bool sleep_until(Deadline deadline, const Flag& stop) {
  while (!stop.raised() && Clock::now() < deadline) wait_for(-1, 0, deadline, stop);
  return !stop.raised();
}

bool sleep_until_exactly(Deadline deadline, const Flag& stop) {
  if (!sleep_until(deadline - kSpin, stop)) return false;
  while (Clock::now() < deadline && !stop.raised()) {
  }
  return !stop.raised();
}

}  // namespace slogate::support
