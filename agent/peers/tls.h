// SPDX-License-Identifier: Apache-2.0
// TLS 1.3 between agents, as OpenSSL speaks it, apart from sockets: bytes in, bytes out.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "agent/config/peers_config.h"
#include "maps/error.h"

struct ssl_ctx_st;
struct ssl_st;

namespace slogate {

// The keys of this agent, read once: the files may be out of reach later.
class TlsKeys {
 public:
  // With `tokens` who asks shows a token instead of a certificate of its own.
  static Result<TlsKeys> read(const PeerSecurity& security, bool tokens = false);
  TlsKeys(TlsKeys&&) noexcept;
  TlsKeys& operator=(TlsKeys&&) noexcept;
  TlsKeys(const TlsKeys&) = delete;
  TlsKeys& operator=(const TlsKeys&) = delete;
  ~TlsKeys();

 private:
  friend class TlsStream;
  struct Impl;
  explicit TlsKeys(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// One connection. After an error it is good for nothing but take_output(), which says goodbye.
class TlsStream {
 public:
  enum class Side { Lender, Asker };  // who accepts, who connects
  // Its keys outlive it. Throws bad_alloc.
  TlsStream(const TlsKeys& keys, Side side);

  // What came from the other side.
  Result<void> feed(std::string_view bytes);
  // What it says is appended to `plain`, as far as it has come, at most about `most` bytes. Drives
  // the handshake.
  Result<void> read(std::string& plain, size_t most);
  // Only once is_open().
  Result<void> write(std::string_view plain);
  // What is to be sent.
  [[nodiscard]] std::string take_output();

  // The handshake is done: both sides have shown what their keys ask for.
  [[nodiscard]] bool is_open() const { return open_; }
  // The other side said goodbye.
  [[nodiscard]] bool is_over() const { return over_; }

 private:
  struct Free {
    void operator()(ssl_st* ssl) const;
  };
  Result<void> shake_hands();
  [[nodiscard]] Result<void> outcome(int returned, std::string_view what);

  std::unique_ptr<ssl_st, Free> ssl_;
  bool open_ = false, over_ = false;
};

// The key in a file: at least 32 bytes, as they are or as at least 64 hexadecimal digits.
[[nodiscard]] Result<std::string> parse_shared_key(std::string_view content);

}  // namespace slogate
