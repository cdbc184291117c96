// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "maps/error.h"

namespace slogate {

// Names of cgroups by id. Most are learned from the kernel at the moment a cgroup gets its first
// socket; the rest by walking the tree.
class CgroupNames {
 public:
  // `root`: where the host's cgroup2 is mounted.
  explicit CgroupNames(std::string root) : root_(std::move(root)) {}

  void learn(uint64_t id, std::string path) { paths_[id] = std::move(path); }
  // Forgets all others. One that comes back has a slot of its own, and is announced again.
  void keep_only(const std::unordered_set<uint64_t>& ids);

  // Relative to the root, starts with "/"; "" when it is not known.
  [[nodiscard]] std::string path(uint64_t id) const;

  // Learns every cgroup there is. What vanishes during the walk, or may not be read, is passed
  // over.
  Result<void> scan();
  // Whether the last walk saw every cgroup of the host: a container may have a private view.
  [[nodiscard]] bool saw_all() const { return saw_all_; }

  // Whether the root still shows the tree it showed at first: cgroup2 may be unmounted, and mounted
  // again.
  Result<void> check_root();

  // Whether the cgroup is still there under the name it is known by.
  [[nodiscard]] bool exists(uint64_t id) const;

 private:
  std::string root_;
  uint64_t root_id_ = 0;
  bool saw_all_ = false;
  std::unordered_map<uint64_t, std::string> paths_;
};

}  // namespace slogate
