// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/capacity.h"

#include <algorithm>
#include <tuple>

namespace slogate {
namespace {

// How many of `able` pods have to go on serving.
uint64_t needed(uint64_t able, uint64_t others_available, const std::optional<Capacity>& capacity) {
  if (!capacity) return able - std::min<uint64_t>(able, 1);
  const uint64_t least =
      capacity->replicas - std::min(capacity->replicas, capacity->max_unavailable);
  return least - std::min(least, others_available);
}

}  // namespace

std::set<std::string> turned_away(RevisionPods pods, uint64_t others_available,
                                  const std::optional<Capacity>& capacity) {
  // Oldest first. The newest go first, as a rollout that goes backwards would take them.
  std::ranges::sort(pods, {},
                    [](const RevisionPod& pod) { return std::tie(pod.created, pod.uid); });
  const auto able = static_cast<uint64_t>(std::ranges::count_if(pods, &RevisionPod::able));
  uint64_t spared = needed(able, others_available, capacity);
  std::set<std::string> away;
  for (const RevisionPod& pod : pods) {
    if (pod.able && spared > 0)
      --spared;
    else
      away.insert(pod.uid);
  }
  return away;
}

}  // namespace slogate
