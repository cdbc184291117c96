// SPDX-License-Identifier: Apache-2.0
// One connection between two agents; internal to agent/peers.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/peers/tls.h"
#include "agent/peers/wire.h"
#include "maps/fd.h"

namespace slogate {

// Frames over TLS over a socket, of either side. What the other side can take is bounded: before it
// has shown who it is by kMaxHelloBytes and kStrangerTime, then by the size of a frame, by frames a
// second, and by what it leaves unread. All of it is of one thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Time = std::chrono::nanoseconds;  // of CLOCK_MONOTONIC
  struct Handlers {
    // Of a lender: whether a handshake with somebody unknown may be paid for now; else it is asked
    // again.
    std::function<bool()> admits;
    std::function<void()> opened;  // the handshake is done
    // An error ends the connection.
    std::function<Result<void>(const Frame&)> frame;
    // It ended, and not by close(); called once, when nothing else of it runs.
    std::function<void(const std::string& why)> closed;
  };
  // Until it is known who is there; while it leaves an answer unread; while it asks nothing.
  static constexpr auto kStrangerTime = std::chrono::seconds{5};
  static constexpr auto kUnreadTime = std::chrono::seconds{5};
  static constexpr auto kIdleTime = std::chrono::seconds{30};
  static constexpr auto kLookInterval = std::chrono::milliseconds{125};

  Connection(boost::asio::io_context& io, Fd socket, const TlsKeys& keys, TlsStream::Side side,
             Handlers handlers, Time now);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() = default;

  // Begins; one that connects waits until it is connected.
  void start();
  // From now on it is one of us, whose frames have at most so many bytes.
  void trust(size_t frame_bytes);
  // Goes out with the next flush().
  void send(std::string_view frame);
  void flush();
  // Ends it, after what can be sent at once.
  void close();
  // Reads what a peer that is trusted has sent, lets others go on that had to wait, and ends those
  // that are late; every kLookInterval.
  void look(Time now);

  [[nodiscard]] bool is_trusted() const { return trusted_; }
  // Whether anything was read of it.
  [[nodiscard]] bool has_spoken() const { return bytes_in_ > 0; }
  [[nodiscard]] uint64_t bytes_in() const { return bytes_in_; }
  [[nodiscard]] uint64_t bytes_out() const { return bytes_out_; }

 private:
  void connected();
  void await_input();
  void await_room();
  void on_input();
  void work();
  Result<bool> take_frames();
  void end(std::string why);
  [[nodiscard]] bool is_open() const { return !ended_; }
  [[nodiscard]] bool must_wait() const;
  [[nodiscard]] std::string lateness(Time now) const;

  boost::asio::io_context& io_;
  boost::asio::posix::stream_descriptor socket_;
  const TlsKeys& keys_;
  TlsStream::Side side_;
  std::optional<TlsStream> tls_;  // from its first byte on: who says nothing costs little
  Handlers handlers_;
  std::string in_, out_;  // in_: in the clear; out_: encrypted
  size_t frame_bytes_ = kMaxHelloBytes;
  double frames_left_;  // that may be taken before it has to wait
  bool ended_ = false, held_ = false, open_ = false, trusted_ = false, reads_ = false,
       writes_ = false;
  Time began_, looked_, last_frame_, unread_since_{0};
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
};

}  // namespace slogate
