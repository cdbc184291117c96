// SPDX-License-Identifier: Apache-2.0
// TCP in small steps. Every socket gives up after ten seconds, so no test can hang on one. The
// sockets of all cgroups are in the hands of the test process: ownership is fixed when a socket is
// made, whoever uses it, and one process that plays both sides has no races.
#pragma once

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <string_view>

#include "maps/fd.h"
#include "tests/kernel/world.h"

namespace slogate {

// An IPv4 or IPv6 address with a port.
class Address {
 public:
  Address() = default;
  Address(const std::string& ip, uint16_t port);
  static Address of_socket(int fd);

  [[nodiscard]] int family() const { return storage_.ss_family; }
  [[nodiscard]] uint16_t port() const;
  [[nodiscard]] const sockaddr* data() const {
    return reinterpret_cast<const sockaddr*>(&storage_);
  }
  [[nodiscard]] socklen_t size() const;

 private:
  sockaddr_storage storage_{};
};

inline const std::string kLoopback = "127.0.0.1";

// A TCP socket that belongs to the cgroup, made in the calling thread's network namespace.
// `protocol`: IPPROTO_TCP or IPPROTO_MPTCP.
Fd open_socket(const TestCgroup& owner, int family = AF_INET, int protocol = IPPROTO_TCP);
void set_option(int fd, int level, int option, int value);

// Port 0: any that is free; Address::of_socket tells which.
Fd listen_on(const TestCgroup& owner, const Address& address, int backlog = 128,
             int protocol = IPPROTO_TCP);
// Connects; throws when refused.
Fd connect_to(const TestCgroup& owner, const Address& address, int protocol = IPPROTO_TCP);
// The errno of an attempt to connect, 0 when it worked.
int try_connect(int fd, const Address& address);
Fd accept_from(int listener);

void send_text(int fd, std::string_view text, int flags = 0);
// Writes until the kernel takes no more: a part of it cannot arrive while the peer reads nothing.
void fill(int fd);
std::string read_exactly(int fd, size_t bytes);
bool at_end(int fd);  // waits for the peer's FIN
// Closes with a reset.
void abort_connection(Fd fd);
tcp_info info_of(int fd);

// Both ends of a connection.
struct Connection {
  Fd server, client;
};
Connection connect_both(const TestCgroup& server, const TestCgroup& client,
                        const std::string& ip = kLoopback);
// One request and its answer.
void exchange(const Connection& connection);

}  // namespace slogate
