// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace slogate {

// The path in the text of /proc/self/cgroup: in cgroup2, or in the v1 tree of a controller. "" when
// there is none.
[[nodiscard]] std::string parse_own_cgroup(std::string_view text, std::string_view controller = "");

// Memory in bytes that the agent's own cgroup and those above it leave it: the smallest limit at or
// above `path` in the tree at `root`, which `file` has (memory.limit_in_bytes in v1). Nothing where
// none is set. BPF maps are charged there, so this bounds them as much as the node's memory does.
[[nodiscard]] std::optional<uint64_t> read_memory_limit(const std::string& root, std::string path,
                                                        std::string_view file = "memory.max");

// What of a limit the maps may take: what is left after the agent's own memory, but at least half.
[[nodiscard]] uint64_t memory_for_maps(uint64_t limit);

}  // namespace slogate
