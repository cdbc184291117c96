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
  // In the whole cluster, as its status says; `available` are Ready for minReadySeconds.
  uint64_t pods = 0, ready = 0, available = 0;
  std::map<std::string, std::string> annotations;  // ours, of its template, without the prefix

  bool operator==(const Revision&) const = default;
};

// What owns ReplicaSets: a Deployment or a Rollout of Argo.
struct Deployment {
  std::string uid, kind, namespace_, name;
  std::vector<Revision> revisions;  // by number

  bool operator==(const Deployment&) const = default;
};

// The label of its pods, and of its ReplicaSets, whose value is Revision::hash.
[[nodiscard]] inline std::string_view hash_label(const Deployment& deployment) {
  return deployment.kind == "Rollout" ? "rollouts-pod-template-hash" : "pod-template-hash";
}

// How many pods a Deployment or Rollout wants, and how many of them it can do without.
struct Capacity {
  uint64_t replicas = 1, max_unavailable = 0;

  bool operator==(const Capacity&) const = default;
};

// One pod of a revision, on whatever node.
struct RevisionPod {
  std::string uid, name;
  std::string created;  // as Pod::created
  bool able = false;    // as Pod::able

  bool operator==(const RevisionPod&) const = default;
};
using RevisionPods = std::vector<RevisionPod>;

// A node and the address at which its agent is reached, which is the node's own: the agent is in
// its network. Its port is a matter of the configuration.
struct PeerNode {
  std::string node, address;

  auto operator<=>(const PeerNode&) const = default;
};

// Other nodes that have to do with one SLO, by name.
struct PeerNodes {
  std::vector<PeerNode> lenders;    // with pods of its baseline that serve
  std::vector<PeerNode> witnesses;  // with its canaries

  bool operator==(const PeerNodes&) const = default;
};

struct Cluster {
  // Whether the pods of this node were ever listed. Until then nothing can be concluded from a pod
  // that is missing.
  bool synced = false;
  // Why what stands here may be out of date, "" while it is not: "the API server is away since …".
  std::string trouble;
  // Why what stands here of the pods of vetoed revisions and of capacities may be, likewise.
  std::string stale = {};
  // Why conditions or events are not written, "" while they are.
  std::string write_trouble;
  std::vector<std::shared_ptr<const Pod>> pods;  // by uid
  // Deployments of this node's pods that have an annotation slogate.io/slo, by uid. One whose
  // ReplicaSets were not listed yet is not here.
  std::map<std::string, std::shared_ptr<const Deployment>> deployments;
  // The uid of the Deployment of each ReplicaSet of these, by the ReplicaSet's uid.
  std::map<std::string, std::string> deployment_of;
  // The pods of those revisions that KubernetesClient::follow() names, without those that are
  // leaving, by the ReplicaSet's uid. One whose pods were not listed yet is not here.
  std::map<std::string, std::shared_ptr<const RevisionPods>> revision_pods;
  // Of the Deployments of these, by uid: nothing where it cannot be read, and no entry while
  // nobody knows yet.
  std::map<std::string, std::optional<Capacity>> capacities;
  // Of the SLOs that KubernetesClient::search() names, by these names; not before they were listed.
  std::map<std::string, std::shared_ptr<const PeerNodes>> peers;
};

}  // namespace slogate
