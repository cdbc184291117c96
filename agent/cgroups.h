// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "maps/error.h"

namespace slogate {

// Names of cgroups by id. Most are learned from the kernel at the moment a cgroup gets its first
// socket; the rest by walking the tree.
class CgroupNames {
 public:
  // `root`: where the host's cgroup2 is mounted.
  explicit CgroupNames(std::string root) : root_(std::move(root)) {}

  void learn(uint64_t id, std::string path) { paths_[id] = std::move(path); }
  void forget(uint64_t id) { paths_.erase(id); }

  // Relative to the root, starts with "/"; "" when it is not known.
  [[nodiscard]] std::string path(uint64_t id) const;

  // Learns every cgroup there is. What vanishes during the walk is passed over.
  Result<void> scan();

  // Whether the cgroup is still there under the name it is known by. A cgroup whose name is not
  // known counts as there.
  [[nodiscard]] bool exists(uint64_t id) const;

 private:
  std::string root_;
  std::unordered_map<uint64_t, std::string> paths_;
};

}  // namespace slogate
