// SPDX-License-Identifier: Apache-2.0
#include "tests/support/load/answer.h"

#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <vector>

#include "maps/fd.h"
#include "maps/integer.h"
#include "tests/support/frame.h"
#include "tests/support/load/uring.h"
#include "tests/support/net.h"

namespace slogate::support {
namespace {

// Calls `step(bytes so far)` until `size` bytes are gone. EAGAIN is the send timeout's.
template <typename Step>
Sent push(size_t size, const Flag& stop, Step step) {
  Sent sent;
  while (sent.bytes < size) {
    const ssize_t n = step(sent.bytes);
    if (n > 0) {
      sent.bytes += static_cast<size_t>(n);
      ++sent.calls;
    } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (stop.raised()) return sent.error = EINTR, sent;
    } else {
      return sent.error = n < 0 ? errno : EIO, sent;
    }
  }
  return sent;
}

// The common part of those that send from memory.
class MemoryAnswer : public Answer {
 public:
  MemoryAnswer(const AnswerPlan& plan, int fd, const Flag& stop)
      : plan_(plan), fd_(fd), stop_(stop), message_(plan.size, 'a') {}
  void prepare(uint64_t id) override { put_header(message_, id, message_.size()); }

 protected:
  AnswerPlan plan_;
  int fd_;
  const Flag& stop_;
  std::vector<char> message_;
};

class SendAnswer : public MemoryAnswer {
 public:
  using MemoryAnswer::MemoryAnswer;
  Sent transmit() override {
    return push(message_.size(), stop_, [this](size_t done) {
      return ::send(fd_, message_.data() + done, message_.size() - done, MSG_NOSIGNAL);
    });
  }
};

class WritesAnswer : public MemoryAnswer {
 public:
  using MemoryAnswer::MemoryAnswer;
  // Equal pieces; the last one takes the rest.
  Sent transmit() override {
    const size_t piece = message_.size() / plan_.pieces;
    return push(message_.size(), stop_, [this, piece](size_t done) {
      const size_t number = std::min<size_t>(done / piece, plan_.pieces - 1);
      const size_t end = number + 1 == plan_.pieces ? message_.size() : (number + 1) * piece;
      return ::write(fd_, message_.data() + done, end - done);
    });
  }
};

class WritevAnswer : public MemoryAnswer {
 public:
  using MemoryAnswer::MemoryAnswer;
  Sent transmit() override {
    return push(message_.size(), stop_, [this](size_t done) {
      const size_t middle = std::max(done, kHeaderSize);
      const iovec parts[] = {{message_.data() + done, middle - done},
                             {message_.data() + middle, message_.size() - middle}};
      return ::writev(fd_, parts, 2);
    });
  }
};

class SendfileAnswer : public Answer {
 public:
  SendfileAnswer(const AnswerPlan& plan, int fd, const Flag& stop)
      : size_(plan.size), fd_(fd), stop_(stop) {}

  // A new file for each answer: its pages are the packets, and may not have been read by the peer
  // when the next answer is written.
  void prepare(uint64_t id) override {
    std::array<char, kHeaderSize> header{};
    put_header(header, id, size_);
    file_.reset(::memfd_create("slogate-answer", MFD_CLOEXEC));
    (void)!::ftruncate(file_.get(), static_cast<off_t>(size_));
    (void)!::pwrite(file_.get(), header.data(), header.size(), 0);
  }
  Sent transmit() override {
    return push(size_, stop_, [this](size_t done) {
      auto offset = static_cast<off_t>(done);
      return ::sendfile(fd_, file_.get(), &offset, size_ - done);
    });
  }

 private:
  size_t size_;
  int fd_;
  const Flag& stop_;
  Fd file_;
};

class SpliceAnswer : public MemoryAnswer {
 public:
  SpliceAnswer(const AnswerPlan& plan, int fd, const Flag& stop) : MemoryAnswer(plan, fd, stop) {
    std::array<int, 2> ends{-1, -1};
    (void)!::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK);
    read_.reset(ends[0]);
    write_.reset(ends[1]);
  }
  void prepare(uint64_t id) override {
    MemoryAnswer::prepare(id);
    fill(0);
  }
  Sent transmit() override {
    return push(message_.size(), stop_, [this](size_t done) {
      if (held_ == 0) fill(done);
      const ssize_t n = ::splice(read_.get(), nullptr, fd_, nullptr, held_, 0);
      if (n > 0) held_ -= static_cast<size_t>(n);
      return n;
    });
  }

 private:
  void fill(size_t from) {
    const ssize_t n = ::write(write_.get(), message_.data() + from, message_.size() - from);
    held_ = n > 0 ? static_cast<size_t>(n) : 0;
  }

  Fd read_, write_;
  size_t held_ = 0;  // bytes in the pipe
};

class ZerocopyAnswer : public Answer {
 public:
  ZerocopyAnswer(const AnswerPlan& plan, int fd, const Flag& stop)
      : size_(plan.size), fd_(fd), stop_(stop) {
    set_option(fd, SOL_SOCKET, SO_ZEROCOPY, 1);
  }
  void prepare(uint64_t id) override {
    held_.push_back({.last = 0, .message = std::vector<char>(size_, 'a')});
    put_header(held_.back().message, id, size_);
  }
  Sent transmit() override {
    return push(size_, stop_, [this](size_t done) {
      std::vector<char>& message = held_.back().message;
      const ssize_t n =
          ::send(fd_, message.data() + done, size_ - done, MSG_ZEROCOPY | MSG_NOSIGNAL);
      if (n > 0) held_.back().last = next_++;
      return n < 0 && errno == ENOBUFS ? wait_for_room() : n;
    });
  }

  // Every call that sent has a number, and the kernel reports ranges of them, in order.
  void reap() override {
    std::array<char, 256> control{};
    msghdr message{};
    for (;;) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      if (::recvmsg(fd_, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return;
      for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part))
        complete(*part);
    }
  }

 private:
  // A message the kernel may still read, until its last call has completed.
  struct Held {
    uint32_t last;
    std::vector<char> message;
  };

  void complete(const cmsghdr& part) {
    const bool v4 = part.cmsg_level == SOL_IP && part.cmsg_type == IP_RECVERR;
    const bool v6 = part.cmsg_level == SOL_IPV6 && part.cmsg_type == IPV6_RECVERR;
    sock_extended_err report{};
    if (!v4 && !v6) return;
    std::memcpy(&report, CMSG_DATA(&part), sizeof report);
    if (report.ee_origin != SO_EE_ORIGIN_ZEROCOPY) return;
    while (!held_.empty() && static_cast<int32_t>(held_.front().last - report.ee_data) <= 0)
      held_.pop_front();
  }

  // Too much is in flight: the caller tries again as after a send timeout.
  ssize_t wait_for_room() {
    wait_for(fd_, 0, within(std::chrono::milliseconds(10)), stop_);
    reap();
    errno = EAGAIN;
    return -1;
  }

  size_t size_;
  int fd_;
  const Flag& stop_;
  uint32_t next_ = 0;
  std::deque<Held> held_;
};

class UringAnswer : public MemoryAnswer {
 public:
  using MemoryAnswer::MemoryAnswer;
  Sent transmit() override {
    return push(message_.size(), stop_, [this](size_t done) {
      return ring_.send(fd_, {message_.data() + done, message_.size() - done}, stop_);
    });
  }

 private:
  Uring ring_;
};

template <typename T>
std::unique_ptr<Answer> make(const AnswerPlan& plan, int fd, const Flag& stop) {
  return std::make_unique<T>(plan, fd, stop);
}

struct Way {
  std::string_view name;
  AnswerKind kind;
  bool numbered;  // has ":NUMBER" after its name
  std::unique_ptr<Answer> (*make)(const AnswerPlan&, int, const Flag&);
};
constexpr Way kWays[] = {{"send", AnswerKind::kSend, false, make<SendAnswer>},
                         {"writes", AnswerKind::kWrites, true, make<WritesAnswer>},
                         {"sendfile", AnswerKind::kSendfile, true, make<SendfileAnswer>},
                         {"writev", AnswerKind::kWritev, false, make<WritevAnswer>},
                         {"splice", AnswerKind::kSplice, false, make<SpliceAnswer>},
                         {"zerocopy", AnswerKind::kZerocopy, false, make<ZerocopyAnswer>},
                         {"uring", AnswerKind::kUring, false, make<UringAnswer>}};

}  // namespace

Result<AnswerPlan> parse_answer(std::string_view text, size_t size) {
  const size_t colon = std::min(text.find(':'), text.size());
  const auto* way = std::ranges::find(kWays, text.substr(0, colon), &Way::name);
  if (way == std::end(kWays) || way->numbered != (colon < text.size()))
    return fail(fmt::format("there is no way to answer called \"{}\"", text));
  if (way->kind == AnswerKind::kUring && !Uring::kBuilt)
    return fail("built without liburing", "install liburing-dev and configure again");

  AnswerPlan plan{.kind = way->kind, .size = size};
  if (way->numbered) {
    const auto number = parse_integer<size_t>(text.substr(colon + 1), 1, kLargestSize);
    if (!number) return fail(fmt::format("\"{}\" needs a number from 1 to {}", text, kLargestSize));
    if (way->kind == AnswerKind::kSendfile)
      plan.size = *number;
    else
      plan.pieces = static_cast<unsigned>(*number);
  }
  if (plan.size < std::max<size_t>(kHeaderSize, plan.pieces) || plan.size > kLargestSize)
    return fail(fmt::format("an answer has {} to {} bytes, and a byte for each piece", kHeaderSize,
                            kLargestSize));
  return plan;
}

std::unique_ptr<Answer> make_answer(const AnswerPlan& plan, int fd, const Flag& stop) {
  return std::ranges::find(kWays, plan.kind, &Way::kind)->make(plan, fd, stop);
}

}  // namespace slogate::support
