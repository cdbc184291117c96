// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "agent/kubernetes/client.h"

namespace slogate {

// What access_of_pod() reads.
struct PodEnvironment {
  std::function<std::string(const char*)> variable;  // "" where it is not set
  std::string directory;                             // of the service account
  std::string peer_token = {};                       // the file, which need not be there
};

[[nodiscard]] Result<std::optional<KubernetesAccess>> access_of(const PodEnvironment& environment);

}  // namespace slogate
