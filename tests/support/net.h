// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "maps/fd.h"
#include "tests/support/flag.h"

namespace slogate::support {

// An IPv4 or IPv6 address and a port.
struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// Takes numbers only ("127.0.0.1", "::1"), no names.
Result<Address> parse_address(std::string_view host, uint16_t port);

// A non-blocking listener; port 0 lets the kernel pick one. "::" takes IPv4 too.
Result<Fd> listen_on(const Address& address, int backlog);

// The port a socket is bound to; 0 when it is none.
uint16_t read_port(int fd);

// How one attempt to connect ended.
struct Connected {
  Fd fd;                 // blocking; valid when there is a connection
  int error = 0;         // what the kernel said
  bool gave_up = false;  // it had said nothing when `timeout` was over or `stop` came
};

// Gives up after `timeout`. `syn_retries` 0 keeps the system's number; 1 makes the kernel itself
// time out after about 3 s.
Connected connect_to(const Address& address, Nanoseconds timeout, int syn_retries,
                     const Flag& stop);

// Sets an option of type int; errors are of no consequence where this is used.
void set_option(int fd, int level, int name, int value);

// Makes a blocked send return with EAGAIN now and then, so that its caller can look at its flag.
void set_send_timeout(int fd);

// Closes with a reset instead of a FIN.
void close_with_reset(Fd fd);

// "ECONNREFUSED"; the number when it has no name.
std::string to_errno_name(int error);

}  // namespace slogate::support
