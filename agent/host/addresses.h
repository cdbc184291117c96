// SPDX-License-Identifier: Apache-2.0
// This node's network addresses, in the form in which the kernel programs know them.
#pragma once

#include <linux/types.h>
#include <sys/socket.h>

#include <optional>
#include <string_view>
#include <vector>

#include "maps/abi.h"

namespace slogate {

// Nothing for what is neither IPv4 nor IPv6.
[[nodiscard]] std::optional<slogate_address> to_address(const sockaddr* from);

// Of 127.0.0.0/8, or ::1.
[[nodiscard]] bool is_loopback(const slogate_address& address);
[[nodiscard]] bool is_same(const slogate_address& a, const slogate_address& b);

// Those of all interfaces but one of this name; none where the kernel does not say.
[[nodiscard]] std::vector<slogate_address> read_node_addresses(std::string_view except = {});

}  // namespace slogate
