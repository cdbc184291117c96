// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/connection.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>

namespace slogate {
namespace {

using boost::system::error_code;
using Descriptor = boost::asio::posix::descriptor_base;

constexpr size_t kReadBytes = 16 << 10;
// Reads before the others get their turn again.
constexpr int kReadBatch = 4;
// What a stranger may send in all: a handshake with a chain of certificates, and a Hello.
constexpr uint64_t kStrangerBytes = 64 << 10;
// Frames a second that are taken of one peer: four times a second for each of 64 SLOs, and as much
// again; the rest waits in its socket.
constexpr double kFramesPerSecond = 512;
// Beyond this what waits to be sent has to go before another question is answered.
constexpr size_t kUnreadBytes = 64 << 10;

std::string errno_text(int error) {
  return system_error("", error).message.substr(2);
}

}  // namespace

Connection::Connection(boost::asio::io_context& io, Fd socket, const TlsKeys& keys,
                       TlsStream::Side side, Handlers handlers, Time now)
    : io_(io),
      socket_(io),
      keys_(keys),
      side_(side),
      handlers_(std::move(handlers)),
      frames_left_(kFramesPerSecond),
      began_(now),
      looked_(now),
      last_frame_(now) {
  socket_.assign(socket.get());
  (void)socket.release();
}

void Connection::start() {
  if (side_ == TlsStream::Side::Lender) return await_input();
  socket_.async_wait(Descriptor::wait_write, [self = shared_from_this()](error_code error) {
    if (!error && self->is_open()) self->connected();
  });
}

void Connection::connected() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_ERROR, &error, &size) != 0)
    error = errno;
  if (error != 0) return end(errno_text(error));
  tls_.emplace(keys_, side_);
  work();  // the handshake is ours to begin
}

void Connection::trust(size_t frame_bytes) {
  trusted_ = true;
  frame_bytes_ = frame_bytes;
}

// A lender whose answers are not read, or who is asked too often, reads no more for now.
bool Connection::must_wait() const {
  return side_ == TlsStream::Side::Lender && (held_ || !out_.empty() || frames_left_ < 1);
}

// Peers who know each other are read by look(): ten askers at four times a second would wake the
// thread forty times.
void Connection::await_input() {
  if (!is_open() || trusted_ || must_wait() || std::exchange(reads_, true)) return;
  socket_.async_wait(Descriptor::wait_read, [self = shared_from_this()](error_code error) {
    self->reads_ = false;
    if (!error && self->is_open()) self->on_input();
  });
}

void Connection::await_room() {
  if (!is_open() || std::exchange(writes_, true)) return;
  socket_.async_wait(Descriptor::wait_write, [self = shared_from_this()](error_code error) {
    self->writes_ = false;
    if (error || !self->is_open()) return;
    self->flush();
    if (self->out_.empty()) self->work();
  });
}

void Connection::on_input() {
  if (!tls_) {
    char first = 0;  // who only hangs up costs no handshake
    if (::recv(socket_.native_handle(), &first, 1, MSG_DONTWAIT | MSG_PEEK) == 0)
      return end("it closed the connection");
    held_ = !handlers_.admits();
    if (held_) return;  // look() tries again
    tls_.emplace(keys_, side_);
  }
  std::array<char, kReadBytes> buffer;
  for (int i = 0; i < kReadBatch && is_open(); ++i) {
    const ssize_t got = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (got < 0) return end(errno_text(errno));
    if (got == 0) return end("it closed the connection");
    bytes_in_ += static_cast<uint64_t>(got);
    if (!trusted_ && bytes_in_ > kStrangerBytes)
      return end("it sent too much before it said who it is");
    if (auto fed = tls_->feed({buffer.data(), static_cast<size_t>(got)}); !fed)
      return end(fed.error().message);
    work();
    if (static_cast<size_t>(got) < buffer.size()) break;
  }
  await_input();
}

// Whatever can be done with what has come.
void Connection::work() {
  if (!tls_) return await_input();
  for (bool more = true; more && is_open();) {
    auto read = tls_->read(in_, frame_bytes_ + kReadBytes);
    if (!open_ && tls_->is_open()) {
      open_ = true;
      handlers_.opened();
    }
    const auto taken = take_frames();
    flush();
    if (!is_open()) return;
    if (!taken) return end(taken.error().message);
    if (!read) return end(read.error().message);
    if (tls_->is_over()) return end("it closed the connection");
    more = *taken;
  }
  await_input();
}

// Whether there were any, so that more may be behind them.
Result<bool> Connection::take_frames() {
  size_t used = 0;
  bool any = false;
  while (is_open() && frames_left_ >= 1 && out_.size() < kUnreadBytes) {
    const auto frame = next_frame(std::string_view(in_).substr(used), frame_bytes_);
    if (!frame) return fail(frame.error());
    if (!*frame) break;
    frames_left_ -= 1;
    last_frame_ = looked_;
    any = true;
    if (auto done = handlers_.frame(**frame); !done) return fail(done.error());
    used += (*frame)->bytes;
  }
  in_.erase(0, used);
  return any;
}

void Connection::send(std::string_view frame) {
  if (!is_open() || !tls_) return;
  if (auto done = tls_->write(frame); !done) return end(done.error().message);
  out_ += tls_->take_output();
}

void Connection::flush() {
  if (!is_open() || !tls_) return;
  out_ += tls_->take_output();
  while (!out_.empty()) {
    const ssize_t put =
        ::send(socket_.native_handle(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno != EAGAIN) return end(errno_text(errno));
    if (put < 0) break;
    bytes_out_ += static_cast<uint64_t>(put);
    out_.erase(0, static_cast<size_t>(put));
  }
  if (out_.empty()) {
    unread_since_ = Time{0};
    return;
  }
  if (unread_since_ == Time{0}) unread_since_ = looked_;
  await_room();
}

void Connection::close() {
  if (!is_open()) return;
  flush();
  ended_ = true;  // the handlers stay: one of them may be running
  error_code ignored;
  socket_.close(ignored);
}

// The handler may let go of us, so it is called when nothing of ours is on the stack.
void Connection::end(std::string why) {
  if (!is_open()) return;
  ended_ = true;
  error_code ignored;
  socket_.close(ignored);
  boost::asio::post(
      io_, [self = shared_from_this(), why = std::move(why)] { self->handlers_.closed(why); });
}

std::string Connection::lateness(Time now) const {
  if (!trusted_ && now - began_ > kStrangerTime)
    return open_ ? "it did not say who it is" : "it did not answer";
  if (unread_since_ != Time{0} && now - unread_since_ > kUnreadTime)
    return "it does not read what it is sent";
  if (side_ == TlsStream::Side::Lender && now - last_frame_ > kIdleTime) return "it asks nothing";
  return "";
}

void Connection::look(Time now) {
  if (!is_open()) return;
  if (std::string late = lateness(now); !late.empty()) return end(std::move(late));
  const bool waited = std::exchange(held_, false) || trusted_;
  frames_left_ = std::min(
      kFramesPerSecond,
      frames_left_ + kFramesPerSecond * std::chrono::duration<double>(now - looked_).count());
  looked_ = now;
  if (!waited || must_wait()) return;
  work();  // what was left for want of room or frames
  on_input();
}

}  // namespace slogate
