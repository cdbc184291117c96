// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <span>

#include "tests/support/flag.h"

#ifdef SLOGATE_HAVE_URING
#include <liburing.h>
#endif

namespace slogate::support {

// Sends through io_uring, one operation at a time. Without liburing at configure time every send
// fails with ENOSYS.
class Uring {
 public:
#ifdef SLOGATE_HAVE_URING
  static constexpr bool kBuilt = true;
#else
  static constexpr bool kBuilt = false;
#endif

  Uring();
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;
  ~Uring();

  // As send(2) with MSG_WAITALL: bytes, or -1 and errno; EINTR when `stop` is raised first.
  ssize_t send(int fd, std::span<const char> bytes, const Flag& stop);

 private:
#ifdef SLOGATE_HAVE_URING
  io_uring ring_{};
#endif
  int error_;  // why there is no ring; after it, because making the ring gives it
};

}  // namespace slogate::support
