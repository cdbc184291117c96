// SPDX-License-Identifier: Apache-2.0
// What the table of mounts says of cgroups.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slogate {

// One line of /proc/self/mounts.
struct Mount {
  std::string point, type;
  std::vector<std::string> options;
};

// Mounts in the order they were made. Lines that are none are passed over.
[[nodiscard]] std::vector<Mount> parse_mounts(std::string_view text);

// Whether this mount of cgroup2 shows only a part of the tree, as containers see it.
bool is_private_view(const std::string& cgroup2);

// Where cgroup2 is mounted: the whole tree where there is one, else the first mount of a part.
std::optional<std::string> find_cgroup2(const std::vector<Mount>& mounts);

// Where the tree of v1's memory controller is mounted.
[[nodiscard]] std::optional<std::string> find_v1_memory(const std::vector<Mount>& mounts);

// Whether containers are kept in v1 cgroups: they go where these controllers are.
[[nodiscard]] bool has_v1_controllers(const std::vector<Mount>& mounts);

}  // namespace slogate
