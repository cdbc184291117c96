// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace slogate {

// What one container runtime's part of a cgroup's path says. Either may be "": a pod's own cgroup
// has no container, and not every runtime is asked to put containers below their pod.
struct PodPath {
  std::string pod_uid;       // as the kubelet writes it, "-" for "_"
  std::string container_id;  // 64 hexadecimal digits

  bool operator==(const PodPath&) const = default;
};

// The pods and containers that a cgroup is in, outermost first: there is more than one where a
// container has containers of its own. Knows the paths of the cgroupfs and systemd drivers, of
// containerd, CRI-O and Docker:
//   /kubepods/burstable/pod<uid>/<id>
//   /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope
[[nodiscard]] std::vector<PodPath> parse_pod_path(std::string_view path);

}  // namespace slogate
