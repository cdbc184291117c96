// SPDX-License-Identifier: Apache-2.0
// What the API server says of this node's pods and of the workloads they belong to: an immutable
// value, made anew when something of it changes. Nothing here knows of HTTP, JSON or time limits.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/measure/pod.h"

namespace slogate {

// All our annotations and the type of our condition begin with it.
inline constexpr std::string_view kAnnotationPrefix = "slogate.io/";
// The readiness gate and the condition of pods.
inline constexpr std::string_view kConditionType = "slogate.io/slo";

// Whether the pod's Deployment is looked for, and so may be waited for.
[[nodiscard]] inline bool needs_deployment(const Pod& pod) {
  return !pod.gone && pod.annotations.contains("slo") && pod.owner.kind == "ReplicaSet" &&
         !pod.owner.uid.empty() && !pod.owner.name.empty();
}

// One ReplicaSet.
struct Revision {
  std::string uid, name;
  // The value of pod-template-hash (rollouts-pod-template-hash of Argo) in its pods' labels.
  std::string hash;
  // deployment.kubernetes.io/revision (rollout.argoproj.io/revision of Argo): the highest is the
  // newest, whatever is older: undo reuses ReplicaSets. 0 where it has none.
  int64_t number = 0;
  uint64_t pods = 0, ready = 0;                    // in the whole cluster, as its status says
  std::map<std::string, std::string> annotations;  // ours, of its template, without the prefix

  bool operator==(const Revision&) const = default;
};

// What owns ReplicaSets: a Deployment or a Rollout of Argo.
struct Deployment {
  std::string uid, kind, namespace_, name;
  std::vector<Revision> revisions;  // by number

  bool operator==(const Deployment&) const = default;
};

struct Cluster {
  // Whether the pods of this node were ever listed. Until then nothing can be concluded from a pod
  // that is missing.
  bool synced = false;
  // Why what stands here may be out of date, "" while it is not: "the API server is away since …".
  std::string trouble;
  // Why conditions or events are not written, "" while they are.
  std::string write_trouble;
  std::vector<std::shared_ptr<const Pod>> pods;  // by uid
  // Deployments of this node's pods that have an annotation slogate.io/slo, by uid. One whose
  // ReplicaSets were not listed yet is not here.
  std::map<std::string, std::shared_ptr<const Deployment>> deployments;
  // The uid of the Deployment of each ReplicaSet of these, by the ReplicaSet's uid.
  std::map<std::string, std::string> deployment_of;
};

}  // namespace slogate
