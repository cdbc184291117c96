// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/kubernetes/cluster.h"
#include "maps/error.h"

namespace slogate {

// How to reach the API server, and as whom.
struct KubernetesAccess {
  std::string server;      // https://HOST:PORT; http:// only without a token and a CA, for tests
  std::string token_file;  // read anew as it is rotated; "" for none
  std::string ca_file;     // "" for those of the system
  std::string node;        // spec.nodeName of the pods that are ours
  // The token that agents show each other, for the audience "slogate"; "" where they have none.
  std::string peer_token_file = {};
};

// From the environment and the files that every pod has: KUBERNETES_SERVICE_HOST and _PORT,
// /var/run/secrets/kubernetes.io/serviceaccount, and NODE_NAME, which the manifest sets. Nothing
// where this is not a pod; an error where it is one and something is missing.
[[nodiscard]] Result<std::optional<KubernetesAccess>> access_of_pod();

// Which pods to look for on other nodes for one SLO: selectors of labels, "" for none.
struct PeerSearch {
  std::string slo, namespace_;
  std::string lenders, witnesses;  // its baseline, its canaries

  bool operator==(const PeerSearch&) const = default;
};

// Our condition of one pod as it should be.
struct PodCondition {
  std::string uid, namespace_, name;
  bool status = true;
  std::string reason, message;  // CamelCase; a sentence

  bool operator==(const PodCondition&) const = default;
};

// Something that `kubectl describe pod` shows.
struct PodEvent {
  std::string uid, namespace_, name;
  bool warning = false;
  std::string reason, message;
};

// Follows this node's pods and their ReplicaSets on a thread of its own, and writes conditions and
// events. No call waits for the API server.
class KubernetesClient {
 public:
  // `on_change` is called on the client's thread after cluster() has changed.
  static Result<std::unique_ptr<KubernetesClient>> start(const KubernetesAccess& access,
                                                         std::function<void()> on_change);
  KubernetesClient(const KubernetesClient&) = delete;
  KubernetesClient& operator=(const KubernetesClient&) = delete;
  ~KubernetesClient();

  // From any thread; never null.
  [[nodiscard]] std::shared_ptr<const Cluster> cluster() const;
  // From any thread: of which revisions, by the uids of their ReplicaSets, Cluster::revision_pods
  // and Cluster::capacities are wanted. Those of Deployments that are not known yet come later.
  void follow(std::set<std::string> replica_sets);
  // From any thread: of which SLOs Cluster::peers is wanted; each once at most.
  void search(std::vector<PeerSearch> searches);
  // From any thread: the token that this agent shows others, read anew as it is rotated.
  [[nodiscard]] Result<std::string> own_peer_token() const;
  // From any thread: whether a token that was shown is one of an agent's. `verdict` is called once,
  // from any thread, unless the client ends before.
  void check_peer_token(std::string token, std::function<void(Result<void>)> verdict);
  // From any thread: all conditions that should be written; replaces what was said before and was
  // not written yet. A write that fails is tried again, until another set is given.
  void set_conditions(std::vector<PodCondition> conditions);
  // From any thread. One that cannot be written within a minute, or finds 100 in the queue, is
  // dropped and logged.
  void post(PodEvent event);

 private:
  class Impl;
  explicit KubernetesClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace slogate
