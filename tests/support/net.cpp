// SPDX-License-Identifier: Apache-2.0
#include "tests/support/net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <cerrno>
#include <cstring>

namespace slogate::support {

Result<Address> parse_address(std::string_view host, uint16_t port) {
  const std::string text(host);
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.length = sizeof *v4;
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.length = sizeof *v6;
  } else {
    return fail(fmt::format("\"{}\" is not an IP address", host));
  }
  return address;
}

Result<Fd> listen_on(const Address& address, int backlog) {
  Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(system_error("socket", errno));
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.storage.ss_family == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (::bind(fd.get(), address.get(), address.length) != 0)
    return fail(system_error("bind", errno));
  if (::listen(fd.get(), backlog) != 0) return fail(system_error("listen", errno));
  return fd;
}

uint16_t read_port(int fd) {
  Address address;
  address.length = sizeof address.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.length) != 0)
    return 0;
  // The port is at the same place in both families.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
}

Connected connect_to(const Address& address, Nanoseconds timeout, int syn_retries,
                     const Flag& stop) {
  Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return {.fd = {}, .error = errno};
  if (syn_retries > 0) set_option(fd.get(), IPPROTO_TCP, TCP_SYNCNT, syn_retries);
  if (::connect(fd.get(), address.get(), address.length) != 0) {
    if (errno != EINPROGRESS) return {.fd = {}, .error = errno};
    if (wait_for(fd.get(), POLLOUT, within(timeout), stop) == 0)
      return {.fd = {}, .error = 0, .gave_up = true};
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return {.fd = {}, .error = error};
  }
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK);
  return {.fd = std::move(fd)};
}

void set_option(int fd, int level, int name, int value) {
  (void)::setsockopt(fd, level, name, &value, sizeof value);
}

void set_send_timeout(int fd) {
  const timeval timeout{.tv_sec = 0, .tv_usec = 50'000};
  (void)::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
}

void close_with_reset(Fd fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

std::string to_errno_name(int error) {
  const char* name = ::strerrorname_np(error);
  return name ? name : std::to_string(error);
}

}  // namespace slogate::support
