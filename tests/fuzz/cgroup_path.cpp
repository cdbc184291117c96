// SPDX-License-Identifier: Apache-2.0
// Paths of cgroups: of pods, of ourselves, and as the kernel announces them.
#include <cstring>

#include "agent/host/memory_limit.h"
#include "agent/measure/pod_path.h"
#include "maps/owner_events.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using slogate::fuzz::require;
  const std::string_view text = slogate::fuzz::text(data, size);
  for (const slogate::PodPath& path : slogate::parse_pod_path(text)) {
    require(!path.pod_uid.empty() || !path.container_id.empty(), "it says something");
    require(path.pod_uid.empty() || path.pod_uid.size() == 32 || path.pod_uid.size() == 36, "uid");
    require(path.container_id.empty() || path.container_id.size() == 64, "container");
  }
  const std::string own = slogate::parse_own_cgroup(text);
  require(own.empty() || own.starts_with('/'), "our cgroup's path starts with a slash");

  slogate_owner_event event;
  std::memset(&event, 0, sizeof event);
  std::memcpy(&event, data, std::min(size, sizeof event));
  if (const auto path = slogate::owner_path(event))
    require(path->starts_with('/'), "a cgroup's path starts with a slash");
  return 0;
}
