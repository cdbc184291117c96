// SPDX-License-Identifier: Apache-2.0
#include "tests/support/load/uring.h"

#include <sys/socket.h>

#include <cerrno>

namespace slogate::support {

#ifdef SLOGATE_HAVE_URING

Uring::Uring() : error_(-io_uring_queue_init(4, &ring_, 0)) {}

Uring::~Uring() {
  if (error_ == 0) io_uring_queue_exit(&ring_);
}

namespace {

// Waits for one completion; asks for the operation to be cancelled when `stop` comes first, so that
// the kernel has let go of its buffer in any case.
int wait_for_result(io_uring& ring, const Flag& stop) {
  __kernel_timespec a_while{.tv_sec = 0, .tv_nsec = 50'000'000};
  bool cancelled = false;
  for (;;) {
    io_uring_cqe* done = nullptr;
    const int error = io_uring_wait_cqe_timeout(&ring, &done, &a_while);
    if (error == 0) {
      const bool ours = io_uring_cqe_get_data64(done) == 1;
      const int result = done->res;
      io_uring_cqe_seen(&ring, done);
      if (ours) return result;
    } else if (error != -ETIME && error != -EINTR && error != -EAGAIN) {
      return error;
    } else if (stop.raised() && !cancelled) {
      io_uring_sqe* sqe = io_uring_get_sqe(&ring);
      io_uring_prep_cancel64(sqe, 1, 0);
      io_uring_sqe_set_data64(sqe, 2);
      io_uring_submit(&ring);
      cancelled = true;
    }
  }
}

}  // namespace

ssize_t Uring::send(int fd, std::span<const char> bytes, const Flag& stop) {
  int result = -error_;
  if (error_ == 0) {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    io_uring_prep_send(sqe, fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data64(sqe, 1);
    io_uring_submit(&ring_);
    result = wait_for_result(ring_, stop);
  }
  if (result >= 0) return result;
  errno = result == -ECANCELED ? EINTR : -result;
  return -1;
}

#else

Uring::Uring() : error_(ENOSYS) {}
Uring::~Uring() = default;

ssize_t Uring::send(int, std::span<const char>, const Flag&) {
  errno = error_;
  return -1;
}

#endif

}  // namespace slogate::support
