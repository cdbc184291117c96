// SPDX-License-Identifier: Apache-2.0
// Whether what an arm consists of goes away and comes back.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "agent/canary/tally.h"
#include "agent/measure/workload.h"

namespace slogate {

// What was away for longer begins anew, and has not restarted: longer than Kubernetes waits before
// it starts a container again, with a minute for which cgroups that are gone stay known.
inline constexpr std::chrono::minutes kRestartPatience{10};

// Follows the cgroups of an arm. One comes back where another one had its path or, in a pod, was
// another run of the same container. Restart counts of pods tell of containers, too, also of those
// that never opened a socket.
class Restarts {
 public:
  // A cgroup is new in the arm.
  void arrived(const Workload& workload);
  // It is known no more. Without effect for others.
  void left(uint64_t cgroup, std::chrono::nanoseconds now);
  // A cgroup's pod as it was and is. Only `container` counts, where that is given.
  void changed(const Pod& before, const Pod& now, const std::optional<std::string>& container);

  // Forgets who has been away for `patience` or longer.
  void forget(std::chrono::nanoseconds now, std::chrono::nanoseconds patience);
  // What came back since the last call.
  [[nodiscard]] std::optional<Gap> take() { return std::exchange(gap_, std::nullopt); }

 private:
  // A path, or a container of a pod.
  struct Place {
    std::map<std::string, size_t> runs;  // cgroups of each that are there
    std::string last;                    // the newest that was
    std::chrono::nanoseconds left{0};    // when `runs` became empty
  };
  // By the names of place and run.
  using Where = std::pair<std::string, std::string>;
  [[nodiscard]] static Where where_of(const Workload& workload);

  std::map<std::string, Place> places_;
  std::unordered_map<uint64_t, Where> cgroups_;
  std::optional<Gap> gap_;
};

}  // namespace slogate
