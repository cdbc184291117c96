// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/pod_names.h"

#include "agent/measure/pod_path.h"

namespace slogate {

void PodNames::set_pods(const std::vector<std::shared_ptr<const Pod>>& pods) {
  ++sets_;
  by_container_.clear();
  by_uid_.clear();
  for (const auto& pod : pods) {
    by_uid_[pod->uid] = pod;
    for (const auto& [id, name] : pod->containers) by_container_[id] = pod;
  }
}

PodContainer PodNames::of(uint64_t cgroup, const std::string& path, std::chrono::nanoseconds now) {
  Known& known = cgroups_[cgroup];
  known.asked = rounds_;
  if (known.path != path) {
    known = {
        .path = path, .containers = {}, .name = {}, .looked = 0, .asked = rounds_, .since = now};
    for (PodPath& part : parse_pod_path(path))
      if (!part.container_id.empty()) known.containers.push_back(std::move(part.container_id));
  }
  if (known.looked != sets_) look_up(known);
  PodContainer name = known.name;
  name.pending =
      expected_ && !name.pod && !known.containers.empty() && now - known.since < kNamePatience;
  return name;
}

void PodNames::look_up(Known& known) const {
  known.looked = sets_;
  if (known.name.pod) {
    // The same pod, as it is now; what has been deleted stays as it was.
    if (const auto now = by_uid_.find(known.name.pod->uid); now != by_uid_.end())
      known.name.pod = now->second;
    return;
  }
  for (const std::string& id : known.containers)
    if (const auto pod = by_container_.find(id); pod != by_container_.end()) {
      known.name = {pod->second, pod->second->containers.at(id)};
      return;
    }
}

void PodNames::forget_others() {
  std::erase_if(cgroups_, [this](const auto& entry) { return entry.second.asked != rounds_; });
  ++rounds_;
}

}  // namespace slogate
