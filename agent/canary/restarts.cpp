// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/restarts.h"

#include <fmt/format.h>

#include "agent/measure/pod_path.h"

namespace slogate {

// All cgroups of one run have the container's id in their path: it may have cgroups of its own.
Restarts::Where Restarts::where_of(const Workload& workload) {
  const Pod* pod = workload.pod.pod.get();
  if (pod == nullptr) return {workload.path, fmt::format("{}", workload.id)};
  std::string run;
  for (PodPath& part : parse_pod_path(workload.path))
    if (pod->containers.contains(part.container_id)) run = std::move(part.container_id);
  return {fmt::format("{}/{}", pod->uid, workload.pod.container), std::move(run)};
}

void Restarts::arrived(const Workload& workload) {
  const Where& where = cgroups_[workload.id] = where_of(workload);
  const auto& [name, run] = where;
  const auto [place, is_new] = places_.try_emplace(name);
  if (!is_new && place->second.last != run && !place->second.runs.contains(run)) gap_ = Gap::Cgroup;
  ++place->second.runs[run];
  place->second.last = run;
}

void Restarts::left(uint64_t cgroup, std::chrono::nanoseconds now) {
  const auto known = cgroups_.find(cgroup);
  if (known == cgroups_.end()) return;
  const auto& [name, run] = known->second;
  Place& place = places_[name];
  if (--place.runs[run] == 0) place.runs.erase(run);
  if (place.runs.empty()) place.left = now;
  cgroups_.erase(known);
}

void Restarts::changed(const Pod& before, const Pod& now,
                       const std::optional<std::string>& container) {
  for (const auto& [name, restarts] : now.restarts) {
    if (container && name != *container) continue;
    const auto old = before.restarts.find(name);
    if (old != before.restarts.end() && restarts > old->second) gap_ = Gap::Container;
  }
}

void Restarts::forget(std::chrono::nanoseconds now, std::chrono::nanoseconds patience) {
  std::erase_if(places_, [&](const auto& entry) {
    return entry.second.runs.empty() && now - entry.second.left >= patience;
  });
}

}  // namespace slogate
