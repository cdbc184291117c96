// SPDX-License-Identifier: Apache-2.0
// From what is known of the cluster to SLOs: pure functions.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/canary/verdict.h"
#include "agent/kubernetes/annotations.h"
#include "agent/kubernetes/cluster.h"

namespace slogate {

// A veto by its SLO's name and its canary's text.
using VetoKey = std::pair<std::string, std::string>;
// All vetoes there are, and what they say.
using Vetoes = std::map<VetoKey, std::string>;

// "production.payment-api": a namespace has no dot, so no two workloads share a name.
[[nodiscard]] std::string pod_slo_name(std::string_view namespace_, std::string_view workload);

// "revision 7 (5d4f8c7b9) of production/payment-api". The number tells a second rollout of the same
// ReplicaSet from its first.
[[nodiscard]] std::string revision_text(const Deployment& deployment, const Revision& revision);

// The one with the highest number, null where there is none.
[[nodiscard]] const Revision* newest_revision(const Deployment& deployment);

// How many of its revisions have pods.
[[nodiscard]] size_t revisions_with_pods(const Deployment& deployment);

// What the annotations of this node's pods ask for.
struct PodSlos {
  std::vector<Slo> slos;             // by name
  std::vector<SloProblem> problems;  // likewise, at most one each
  // Which of the pods `problems` are about: their uid and what is wrong.
  std::vector<std::pair<std::string, std::string>> bad_pods;

  bool operator==(const PodSlos&) const = default;
};

// While a rollout is under way a Deployment's newest revision is the canary, and the other
// revisions are its baseline, without those that were vetoed. What the newest one's template says
// holds. Pods with a track are the arms of the workload they name. `taken`: names of SLOs that the
// configuration has, which goes first.
[[nodiscard]] PodSlos slos_of_pods(const Cluster& cluster, const Vetoes& vetoes,
                                   const std::set<std::string>& taken);

}  // namespace slogate
