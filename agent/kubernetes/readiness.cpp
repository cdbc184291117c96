// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/readiness.h"

#include <algorithm>

namespace slogate {
namespace {

const Revision* revision_of(const Deployment& deployment, const Pod& pod) {
  const auto found = std::ranges::find(deployment.revisions, pod.owner.uid, &Revision::uid);
  return found == deployment.revisions.end() ? nullptr : &*found;
}

// What is said of the pod's revision, null for nothing.
const std::string* said_of(const Cluster& cluster, const Pod& pod, const Vetoes& all) {
  const auto uid = cluster.deployment_of.find(pod.owner.uid);
  if (uid == cluster.deployment_of.end()) return nullptr;
  const Deployment& deployment = *cluster.deployments.at(uid->second);
  const Revision* revision = revision_of(deployment, pod);
  if (!revision) return nullptr;
  const auto found = all.find(
      {pod_slo_name(deployment.namespace_, deployment.name), revision_text(deployment, *revision)});
  return found == all.end() ? nullptr : &found->second;
}

bool another_is_ready(const Deployment& deployment, const Revision& revision) {
  return std::ranges::any_of(deployment.revisions, [&](const Revision& other) {
    return other.uid != revision.uid && other.ready > 0;
  });
}

PodCondition condition_of(const Pod& pod, bool status, std::string reason, std::string message) {
  return {.uid = pod.uid,
          .namespace_ = pod.namespace_,
          .name = pod.name,
          .status = status,
          .reason = std::move(reason),
          .message = std::move(message)};
}

}  // namespace

Readiness::Standing Readiness::standing_of(const Cluster& cluster, const Pod& pod,
                                           const Vetoes& vetoes) {
  const auto uid = cluster.deployment_of.find(pod.owner.uid);
  if (uid == cluster.deployment_of.end()) return {.known = !needs_deployment(pod)};
  const Deployment& deployment = *cluster.deployments.at(uid->second);
  const Revision* revision = revision_of(deployment, pod);
  if (!revision) return {};
  const std::string* veto = said_of(cluster, pod, vetoes);
  if (!veto) return {.known = true};
  const bool held = revisions_with_pods(deployment) >= 2 && another_is_ready(deployment, *revision);
  return {.known = true, .vetoed = true, .spared = !held, .why = *veto};
}

void Readiness::add_condition(const Cluster& cluster, const Pod& pod, const Standing& standing,
                              PodWrites& writes, TickTime now) {
  if (!standing.known) {
    const auto since = waiting_since_.try_emplace(pod.uid, now.monotonic).first->second;
    const bool patient = cluster.trouble.empty() && now.monotonic - since < kRevisionPatience;
    // What it was told before holds on.
    if (patient || pod.condition) return;
  }
  if (standing.vetoed && !standing.spared)
    writes.conditions.push_back(condition_of(pod, false, "Vetoed", standing.why));
  else if (standing.vetoed)
    writes.conditions.push_back(condition_of(
        pod, true, "Spared",
        "vetoed, but no other revision has Ready pods to serve instead: " + standing.why));
  else
    writes.conditions.push_back(condition_of(pod, true, "NoVeto", "nothing speaks against it"));
}

void Readiness::add_event(const Pod& pod, std::string reason, const std::string& message,
                          PodWrites& writes) {
  if (!said_[pod.uid].insert(reason + message).second) return;
  writes.events.push_back({.uid = pod.uid,
                           .namespace_ = pod.namespace_,
                           .name = pod.name,
                           .warning = true,
                           .reason = std::move(reason),
                           .message = message});
}

PodWrites Readiness::look(const Cluster& cluster, const PodSlos& slos, const Vetoes& vetoes,
                          const Vetoes& blind, TickTime now) {
  PodWrites writes;
  if (!cluster.synced) return writes;
  std::set<std::string> there;
  std::map<std::string, std::string> bad(slos.bad_pods.begin(), slos.bad_pods.end());
  for (const auto& pod : cluster.pods) {
    if (pod->gone || pod->leaving) continue;
    there.insert(pod->uid);
    const Standing standing = standing_of(cluster, *pod, vetoes);
    if (pod->gated) add_condition(cluster, *pod, standing, writes, now);
    if (standing.vetoed) add_event(*pod, "SLOVeto", standing.why, writes);
    if (const std::string* why = said_of(cluster, *pod, blind))
      add_event(*pod, "OutcomesUnknown", *why, writes);
    if (const auto problem = bad.find(pod->uid); problem != bad.end())
      add_event(*pod, "InvalidSLO", problem->second, writes);
  }
  const auto left = [&](const auto& entry) { return !there.contains(entry.first); };
  std::erase_if(waiting_since_, left);
  std::erase_if(said_, left);
  return writes;
}

}  // namespace slogate
