// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "tests/support/flag.h"

namespace slogate::support {

// How an answer is handed to the kernel. A short count of a call is followed by another call.
enum class AnswerKind {
  kSend,      // one send()
  kWrites,    // `pieces` write()s
  kSendfile,  // one sendfile() from a file in memory
  kWritev,    // one writev() of the header and the body
  kSplice,    // splice() from a pipe, one per 64 KiB
  kZerocopy,  // one send(MSG_ZEROCOPY); its completions are taken off the error queue
  kUring,     // one IORING_OP_SEND with MSG_WAITALL
};

// An answer of `size` bytes, its header included.
struct AnswerPlan {
  AnswerKind kind = AnswerKind::kSend;
  size_t size = 64;
  unsigned pieces = 1;
};

// Reads "send", "writes:N", "sendfile:SIZE", "writev", "splice", "zerocopy" or "uring". All but
// sendfile take their size from `size`; refuses a size without room for a header and the pieces.
Result<AnswerPlan> parse_answer(std::string_view text, size_t size);

// What handing over one answer took.
struct Sent {
  size_t bytes = 0;
  unsigned calls = 0;  // system calls (or io_uring operations) that moved bytes
  int error = 0;       // errno that ended it early; EINTR when the flag did
};

// Sends answers on one connection in one way.
class Answer {
 public:
  virtual ~Answer() = default;
  // All that can be done before the time has come to answer.
  virtual void prepare(uint64_t id) = 0;
  virtual Sent transmit() = 0;
  // Takes what the socket's error queue holds.
  virtual void reap() {}
};

// `fd` is a blocking socket with a send timeout; both outlive the answer.
std::unique_ptr<Answer> make_answer(const AnswerPlan& plan, int fd, const Flag& stop);

}  // namespace slogate::support
