// SPDX-License-Identifier: Apache-2.0
#include "agent/host/addresses.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace slogate {
namespace {

constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::array<uint8_t, 16> kLoopback6 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

}  // namespace

std::optional<slogate_address> to_address(const sockaddr* from) {
  slogate_address address{};
  if (from == nullptr) return std::nullopt;
  if (from->sa_family == AF_INET6) {
    std::memcpy(address.bytes, &reinterpret_cast<const sockaddr_in6*>(from)->sin6_addr, 16);
    return address;
  }
  if (from->sa_family != AF_INET) return std::nullopt;
  std::ranges::copy(kMapped, address.bytes);
  std::memcpy(address.bytes + 12, &reinterpret_cast<const sockaddr_in*>(from)->sin_addr, 4);
  return address;
}

bool is_loopback(const slogate_address& address) {
  if (std::ranges::equal(address.bytes, kLoopback6)) return true;
  return std::equal(kMapped.begin(), kMapped.end(), address.bytes) && address.bytes[12] == 127;
}

bool is_same(const slogate_address& a, const slogate_address& b) {
  return std::ranges::equal(a.bytes, b.bytes);
}

std::vector<slogate_address> read_node_addresses(std::string_view except) {
  std::vector<slogate_address> addresses;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return addresses;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next)
    if (const auto address = to_address(at->ifa_addr); address && except != at->ifa_name)
      addresses.push_back(*address);
  freeifaddrs(list);
  return addresses;
}

}  // namespace slogate
