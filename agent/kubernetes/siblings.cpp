// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/siblings.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/kubernetes/text.h"

namespace slogate {
namespace {

// Of one revision in the whole cluster.
constexpr size_t kMostPods = 5'000;
// Vetoed at the same time, with pods on this node.
constexpr size_t kMostFollowed = 32;

// The hash alone finds the revision's pods; those of a namesake are told apart by their owner.
Reflector::Settings pods_settings(const Deployment& deployment, const Revision& revision) {
  return {
      fmt::format("/api/v1/namespaces/{}/pods", url_escape(deployment.namespace_)),
      "labelSelector=" + url_escape(fmt::format("{}={}", hash_label(deployment), revision.hash)),
      fmt::format("pods of {} in namespace {}", for_log(revision.name),
                  for_log(deployment.namespace_))};
}

Reflector::Settings capacity_settings(const Deployment& deployment) {
  const bool argo = deployment.kind == "Rollout";
  return {fmt::format("/apis/{}/namespaces/{}/{}", argo ? "argoproj.io/v1alpha1" : "apps/v1",
                      url_escape(deployment.namespace_), argo ? "rollouts" : "deployments"),
          "fieldSelector=" + url_escape("metadata.name=" + deployment.name),
          fmt::format("{} in namespace {}", argo ? "rollouts" : "deployments",
                      for_log(deployment.namespace_))};
}

RevisionPod to_revision_pod(const Pod& pod) {
  return {pod.uid, pod.name, pod.created, pod.able};
}

}  // namespace

// ---- the pods of one revision ----

PodsOfRevision::PodsOfRevision(World world, const Deployment& deployment, const Revision& revision)
    : revision_(revision.uid),
      reflector_(std::move(world), pods_settings(deployment, revision), *this) {}

Result<void> PodsOfRevision::stage(const ApiJson& object) {
  const auto pod = to_pod(object);
  if (!pod) return fail("a pod without uid, namespace or name");
  if (pod->owner.uid != revision_ || pod->leaving) return {};
  if (staged_.size() >= kMostPods)
    return fail(fmt::format("more than {} pods of one revision", kMostPods));
  staged_.insert_or_assign(pod->uid, to_revision_pod(*pod));
  return {};
}

void PodsOfRevision::commit() {
  pods_ = std::exchange(staged_, {});
  publish();
}

void PodsOfRevision::change(const ApiJson& object) {
  const auto pod = to_pod(object);
  if (!pod || pod->owner.uid != revision_) return;
  if (pod->leaving) return remove(object);
  if (!pods_.contains(pod->uid) && pods_.size() >= kMostPods) return;
  pods_.insert_or_assign(pod->uid, to_revision_pod(*pod));
  publish();
}

void PodsOfRevision::remove(const ApiJson& object) {
  if (pods_.erase(uid_of(object)) > 0) publish();
}

void PodsOfRevision::publish() {
  RevisionPods pods;
  pods.reserve(pods_.size());
  for (const auto& [uid, pod] : pods_) pods.push_back(pod);
  if (published_ && *published_ == pods) return;
  published_ = std::make_shared<const RevisionPods>(std::move(pods));
}

// ---- what one Deployment can do without ----

CapacityOf::CapacityOf(World world, const Deployment& deployment)
    : owner_(deployment.uid), reflector_(std::move(world), capacity_settings(deployment), *this) {}

Result<void> CapacityOf::stage(const ApiJson& object) {
  if (uid_of(object) == owner_) staged_ = to_capacity(object);
  return {};
}

void CapacityOf::commit() {
  capacity_ = std::exchange(staged_, {});
  listed_ = true;
}

void CapacityOf::change(const ApiJson& object) {
  if (uid_of(object) == owner_) capacity_ = to_capacity(object);
}

void CapacityOf::remove(const ApiJson& object) {
  if (uid_of(object) == owner_) capacity_.reset();
}

// ---- all of them ----

void Siblings::follow(std::set<std::string> replica_sets) {
  wanted_ = std::move(replica_sets);
}

SteadyTime Siblings::step() {
  drop_unneeded();
  begin();
  SteadyTime next = kNever;
  for (auto& [uid, revision] : revisions_) next = std::min(next, revision.pods->step());
  for (auto& [uid, capacity] : capacities_) next = std::min(next, capacity->step());
  return next;
}

void Siblings::drop_unneeded() {
  std::erase_if(revisions_, [this](const auto& pair) { return !wanted_.contains(pair.first); });
  std::erase_if(capacities_, [this](const auto& pair) {
    return std::ranges::none_of(
        revisions_, [&](const auto& one) { return one.second.deployment == pair.first; });
  });
}

void Siblings::begin() {
  for (const std::string& uid : wanted_) {
    if (revisions_.contains(uid) || revisions_.size() >= kMostFollowed) continue;
    const auto deployment = workloads_.find(uid);
    if (!deployment) continue;
    const auto revision = std::ranges::find(deployment->revisions, uid, &Revision::uid);
    revisions_.emplace(uid, Followed{deployment->uid, std::make_unique<PodsOfRevision>(
                                                          world_, *deployment, *revision)});
    auto& capacity = capacities_[deployment->uid];
    if (!capacity) capacity = std::make_unique<CapacityOf>(world_, *deployment);
  }
}

void Siblings::add_to(Cluster& cluster) const {
  for (const auto& [uid, revision] : revisions_)
    if (revision.pods->pods()) cluster.revision_pods.emplace(uid, revision.pods->pods());
  for (const auto& [uid, capacity] : capacities_)
    if (capacity->known()) cluster.capacities.emplace(uid, capacity->capacity());
}

std::string Siblings::problem() const {
  for (const auto& [uid, revision] : revisions_)
    if (!revision.pods->problem().empty()) return revision.pods->problem();
  for (const auto& [uid, capacity] : capacities_)
    if (!capacity->problem().empty()) return capacity->problem();
  if (wanted_.size() > kMostFollowed)
    return fmt::format(
        "this node has pods of more than {} revisions that would have to be followed",
        kMostFollowed);
  return "";
}

std::string Siblings::stale() const {
  for (const auto& [uid, revision] : revisions_)
    if (revision.pods->pods() && !revision.pods->problem().empty()) return revision.pods->problem();
  for (const auto& [uid, capacity] : capacities_)
    if (capacity->listed() && !capacity->problem().empty()) return capacity->problem();
  return "";
}

}  // namespace slogate
