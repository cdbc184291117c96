// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/workloads.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/kubernetes/text.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// Each takes a watch; no node runs pods of so many.
constexpr size_t kMostDeployments = 256;
constexpr size_t kMostRevisions = 5'000;
constexpr size_t kMostLookups = 8;  // at once
// How long ReplicaSets are followed that no pod of this node needs any more: the next pod of a
// rollout is often only seconds away.
constexpr auto kUnneededFor = 1min;
// A ReplicaSet that no Deployment owns may be adopted by one.
constexpr auto kLookAgain = 5min;
// One that is not there: its pods are about to be collected.
constexpr auto kLookForMissing = 30s;
constexpr int kNotFound = 404;

std::string replica_sets_path(const std::string& namespace_) {
  return fmt::format("/apis/apps/v1/namespaces/{}/replicasets", url_escape(namespace_));
}

Reflector::Settings settings_for(const Deployment& owner, const std::string& selector) {
  return {replica_sets_path(owner.namespace_), "labelSelector=" + url_escape(selector),
          fmt::format("replicasets in namespace {}", for_log(owner.namespace_))};
}

bool owns_replica_sets(const OwnerReference& owner) {
  return !owner.uid.empty() && (owner.kind == "Deployment" || owner.kind == "Rollout");
}

}  // namespace

// ---- the ReplicaSets of one Deployment ----

Revisions::Revisions(World world, Deployment deployment, const std::string& selector)
    : owner_(std::move(deployment)),
      reflector_(std::move(world), settings_for(owner_, selector), *this) {}

Result<void> Revisions::stage(const ApiJson& object) {
  auto set = to_replica_set(object);
  if (!set) return fail("a ReplicaSet without uid, namespace or name");
  if (set->owner.uid != owner_.uid) return {};  // of another with the same labels
  if (staged_.size() >= kMostRevisions)
    return fail(fmt::format("more than {} ReplicaSets of one Deployment", kMostRevisions));
  std::string uid = set->revision.uid;
  staged_.insert_or_assign(std::move(uid), std::move(set->revision));
  return {};
}

void Revisions::commit() {
  revisions_ = std::exchange(staged_, {});
  publish();
}

void Revisions::change(const ApiJson& object) {
  auto set = to_replica_set(object);
  if (!set) return;
  if (set->owner.uid != owner_.uid) return remove(object);
  if (!contains(set->revision.uid) && revisions_.size() >= kMostRevisions) return;
  std::string uid = set->revision.uid;
  revisions_.insert_or_assign(std::move(uid), std::move(set->revision));
  publish();
}

void Revisions::remove(const ApiJson& object) {
  if (revisions_.erase(uid_of(object)) > 0) publish();
}

void Revisions::publish() {
  Deployment deployment = owner_;
  for (const auto& [uid, revision] : revisions_) deployment.revisions.push_back(revision);
  std::stable_sort(deployment.revisions.begin(), deployment.revisions.end(),
                   [](const Revision& a, const Revision& b) { return a.number < b.number; });
  if (deployment_ && *deployment_ == deployment) return;
  deployment_ = std::make_shared<const Deployment>(std::move(deployment));
}

// ---- all Deployments ----

Workloads::~Workloads() {
  for (const auto& [uid, lookup] : lookups_)
    if (lookup.call) world_.caller->cancel(*lookup.call);
}

SteadyTime Workloads::step() {
  if (seen_ != pods_.version()) find_needed();
  const SteadyTime lookups = step_lookups();
  return std::min(lookups, step_tracked());
}

// One look-up for each ReplicaSet that has pods with an SLO here.
void Workloads::find_needed() {
  seen_ = pods_.version();
  Lookups needed;
  for (const auto& pod : pods_.all()) {
    if (!needs_deployment(*pod) || needed.contains(pod->owner.uid)) continue;
    auto known = lookups_.extract(pod->owner.uid);
    if (known)
      needed.insert(std::move(known));
    else
      needed.emplace(pod->owner.uid,
                     Lookup{pod->namespace_, pod->owner.name, Backoff(world_.random)});
  }
  for (const auto& [uid, lookup] : lookups_)
    if (lookup.call) world_.caller->cancel(*lookup.call);
  lookups_ = std::move(needed);
  if (lookups_.empty()) trouble_.well();
}

Workloads::Tracked* Workloads::owner_of(const std::string& replica_set) {
  for (auto& [uid, tracked] : tracked_)
    if (tracked.revisions->contains(replica_set)) return &tracked;
  const auto found = tracked_.find(lookups_.at(replica_set).deployment);
  return found == tracked_.end() ? nullptr : &found->second;
}

// A ReplicaSet that is followed already needs no look-up.
SteadyTime Workloads::step_lookups() {
  const SteadyTime now = world_.clock().steady;
  auto under_way =
      static_cast<size_t>(std::count_if(lookups_.begin(), lookups_.end(), [](const auto& pair) {
        return pair.second.call.has_value();
      }));
  SteadyTime next = kNever;
  for (auto& [uid, lookup] : lookups_) {
    if (Tracked* owner = owner_of(uid)) {
      owner->needed = now;
    } else if (lookup.call) {
      continue;
    } else if (now < lookup.due) {
      next = std::min(next, lookup.due);
    } else if (under_way < kMostLookups) {
      ++under_way;
      start(uid, lookup);
    }
  }
  return next;
}

void Workloads::start(const std::string& uid, Lookup& lookup) {
  ApiCall call{.target = fmt::format("{}/{}", replica_sets_path(lookup.namespace_),
                                     url_escape(lookup.name))};
  lookup.call = world_.caller->start(
      std::move(call), {.done = [this, uid](const ApiAnswer& answer) { answered(uid, answer); }});
}

void Workloads::look_again(Lookup& lookup, std::chrono::milliseconds delay) {
  lookup.due = world_.clock().steady + delay;
}

void Workloads::answered(const std::string& uid, const ApiAnswer& answer) {
  const auto found = lookups_.find(uid);
  if (found == lookups_.end()) return;
  Lookup& lookup = found->second;
  lookup.call.reset();
  if (answer.status == kNotFound) return look_again(lookup, kLookForMissing);
  Failure failure;
  if (answer.good()) {
    if (const auto object = parse_object(answer.body)) return take(lookup, uid, *object);
    failure = garbage("get replicasets: no object");
  } else {
    failure = to_failure(answer, "get",
                         fmt::format("replicasets in namespace {}", for_log(lookup.namespace_)));
  }
  look_again(lookup, lookup.backoff.next(answer));
  trouble_.failed(failure, world_.clock().wall);
}

void Workloads::take(Lookup& lookup, const std::string& uid, const ApiJson& object) {
  lookup.backoff.reset();
  trouble_.well();
  look_again(lookup, kLookAgain);
  const auto set = to_replica_set(object);
  // Another one with the same name is not that of our pod, which is about to go.
  if (!set || set->revision.uid != uid || !owns_replica_sets(set->owner)) return;
  lookup.deployment = set->owner.uid;
  if (tracked_.contains(set->owner.uid)) return;
  if (tracked_.size() >= kMostDeployments) {
    too_many_ =
        fmt::format("this node has pods of more than {} Deployments with an SLO", kMostDeployments);
    return;
  }
  too_many_.clear();
  Deployment deployment{set->owner.uid, set->owner.kind, set->namespace_, set->owner.name};
  tracked_.emplace(set->owner.uid, Tracked{std::make_unique<Revisions>(
                                               world_, std::move(deployment), set->selector),
                                           world_.clock().steady});
}

SteadyTime Workloads::step_tracked() {
  const SteadyTime now = world_.clock().steady;
  SteadyTime next = kNever;
  std::erase_if(tracked_,
                [now](const auto& pair) { return now - pair.second.needed >= kUnneededFor; });
  for (auto& [uid, tracked] : tracked_)
    next = std::min({next, tracked.revisions->step(), tracked.needed + kUnneededFor});
  return next;
}

std::shared_ptr<const Deployment> Workloads::find(const std::string& replica_set) const {
  for (const auto& [uid, tracked] : tracked_)
    if (tracked.revisions->contains(replica_set)) return tracked.revisions->deployment();
  return nullptr;
}

void Workloads::add_to(Cluster& cluster) const {
  for (const auto& [uid, tracked] : tracked_) {
    const auto& deployment = tracked.revisions->deployment();
    if (!deployment) continue;
    cluster.deployments.emplace(uid, deployment);
    for (const Revision& revision : deployment->revisions)
      cluster.deployment_of.emplace(revision.uid, uid);
  }
}

std::string Workloads::problem() const {
  if (!trouble_.text().empty()) return trouble_.text();
  for (const auto& [uid, tracked] : tracked_)
    if (!tracked.revisions->problem().empty()) return tracked.revisions->problem();
  return too_many_;
}

}  // namespace slogate
