// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/measure/pod.h"

namespace slogate {

// A container's cgroup is known at once, its pod only when the kubelet has told the API server,
// which it may do five times a second for all its pods together. What is counted meanwhile waits
// for the name, but no longer than this: there may be no API server, and a cgroup that is gone is
// kept for maps.grace, 60 s unless configured otherwise.
inline constexpr std::chrono::seconds kNamePatience{45};

// Which container each cgroup belongs to, by the ids in its path. A cgroup that has a name keeps
// it for as long as it is asked for, whatever the API server says later: its counts are never shown
// under another one.
class PodNames {
 public:
  // That there will be pods.
  void expect_pods() { expected_ = true; }
  // All that are known now; none of them null.
  void set_pods(const std::vector<std::shared_ptr<const Pod>>& pods);

  // `path` is "" while it is not known.
  [[nodiscard]] PodContainer of(uint64_t cgroup, const std::string& path,
                                std::chrono::nanoseconds now);
  // Forgets the cgroups that were not asked for since the last call.
  void forget_others();

 private:
  struct Known {
    std::string path;
    std::vector<std::string> containers;  // ids in the path, outermost first
    PodContainer name;
    uint64_t looked = 0;  // the set of pods it was looked for in
    uint64_t asked = 0;
    std::chrono::nanoseconds since{0};  // it was first asked for
  };
  void look_up(Known& known) const;

  std::unordered_map<std::string, std::shared_ptr<const Pod>> by_container_, by_uid_;
  std::unordered_map<uint64_t, Known> cgroups_;
  uint64_t sets_ = 0, rounds_ = 0;
  bool expected_ = false;
};

}  // namespace slogate
