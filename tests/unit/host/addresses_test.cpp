// SPDX-License-Identifier: Apache-2.0
#include "agent/host/addresses.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>

namespace slogate {
namespace {

slogate_address v4(const char* text) {
  sockaddr_in address{.sin_family = AF_INET};
  EXPECT_EQ(::inet_pton(AF_INET, text, &address.sin_addr), 1);
  return *to_address(reinterpret_cast<const sockaddr*>(&address));
}
slogate_address v6(const char* text) {
  sockaddr_in6 address{.sin6_family = AF_INET6};
  EXPECT_EQ(::inet_pton(AF_INET6, text, &address.sin6_addr), 1);
  return *to_address(reinterpret_cast<const sockaddr*>(&address));
}

TEST(Addresses, Ipv4IsMapped) {
  EXPECT_TRUE(is_same(v4("10.1.2.3"), v6("::ffff:10.1.2.3")));
  EXPECT_FALSE(is_same(v4("10.1.2.3"), v4("10.1.2.4")));
  sockaddr unix_socket{.sa_family = AF_UNIX, .sa_data = {}};
  EXPECT_FALSE(to_address(&unix_socket));
  EXPECT_FALSE(to_address(nullptr));
}

TEST(Addresses, LoopbackIsAllOf127AndOneOfIpv6) {
  for (const auto& own : {v4("127.0.0.1"), v4("127.255.1.2"), v6("::1"), v6("::ffff:127.0.0.1")})
    EXPECT_TRUE(is_loopback(own));
  // 127 where it is no IPv4 address, and what is near.
  for (const auto& other : {v4("128.0.0.1"), v4("126.0.0.1"), v6("::"), v6("::2"),
                            v6("::127.0.0.1"), v6("fe80::7f00:1"), v6("::fffe:127.0.0.1")})
    EXPECT_FALSE(is_loopback(other));
}

TEST(Addresses, ThisNodeHasLoopback) {
  EXPECT_TRUE(std::ranges::any_of(read_node_addresses(), is_loopback));
}

}  // namespace
}  // namespace slogate
