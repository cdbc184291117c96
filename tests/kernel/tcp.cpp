// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/tcp.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <stdexcept>

namespace slogate {

Address::Address(const std::string& ip, uint16_t port) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage_);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage_);
  if (inet_pton(AF_INET, ip.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
  } else if (inet_pton(AF_INET6, ip.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
  } else {
    throw std::invalid_argument("not an address: " + ip);
  }
}

Address Address::of_socket(int fd) {
  Address address;
  socklen_t size = sizeof(address.storage_);
  check(getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage_), &size), "getsockname");
  return address;
}

uint16_t Address::port() const {
  return ntohs(family() == AF_INET ? reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port
                                   : reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_port);
}

socklen_t Address::size() const {
  return family() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

void set_option(int fd, int level, int option, int value) {
  check(setsockopt(fd, level, option, &value, sizeof(value)), "setsockopt");
}

Fd open_socket(const TestCgroup& owner, int family, int protocol) {
  const Channel channel;
  Child maker(owner, [&] {
    const Fd made(check(socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol), "socket"));
    send_fd(channel.other.get(), made.get());
  });
  Fd fd = receive_fd(channel.one.get());
  maker.join();
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  check(setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), "timeout");
  check(setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), "timeout");
  set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  return fd;
}

Fd listen_on(const TestCgroup& owner, const Address& address, int backlog, int protocol) {
  Fd fd = open_socket(owner, address.family(), protocol);
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  check(bind(fd.get(), address.data(), address.size()), "bind");
  check(listen(fd.get(), backlog), "listen");
  return fd;
}

int try_connect(int fd, const Address& address) {
  return connect(fd, address.data(), address.size()) == 0 ? 0 : errno;
}

Fd connect_to(const TestCgroup& owner, const Address& address, int protocol) {
  Fd fd = open_socket(owner, address.family(), protocol);
  retry([&] { return connect(fd.get(), address.data(), address.size()); }, "connect");
  return fd;
}

Fd accept_from(int listener) {
  return Fd(retry([&] { return accept4(listener, nullptr, nullptr, SOCK_CLOEXEC); }, "accept"));
}

void send_text(int fd, std::string_view text, int flags) {
  while (!text.empty())
    text.remove_prefix(static_cast<size_t>(
        retry([&] { return send(fd, text.data(), text.size(), flags | MSG_NOSIGNAL); }, "send")));
}

void fill(int fd) {
  const std::string much(1 << 16, 'x');
  while (send(fd, much.data(), much.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
  if (errno != EAGAIN) throw std::system_error(errno, std::generic_category(), "send");
}

std::string read_exactly(int fd, size_t bytes) {
  std::string text(bytes, '\0');
  for (size_t got = 0; got < bytes;) {
    const ssize_t more = retry([&] { return recv(fd, text.data() + got, bytes - got, 0); }, "recv");
    if (more == 0) throw std::runtime_error("the connection ended early");
    got += static_cast<size_t>(more);
  }
  return text;
}

bool at_end(int fd) {
  char byte = 0;
  return retry([&] { return recv(fd, &byte, 1, 0); }, "recv") == 0;
}

void abort_connection(Fd fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  check(setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), "SO_LINGER");
}

tcp_info info_of(int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  check(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), "TCP_INFO");
  return info;
}

Connection connect_both(const TestCgroup& server, const TestCgroup& client, const std::string& ip) {
  const Fd listener = listen_on(server, Address(ip, 0));
  Connection connection;
  connection.client = connect_to(client, Address::of_socket(listener.get()));
  connection.server = accept_from(listener.get());
  return connection;
}

void exchange(const Connection& connection) {
  send_text(connection.client.get(), "ping");
  read_exactly(connection.server.get(), 4);
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
}

}  // namespace slogate
