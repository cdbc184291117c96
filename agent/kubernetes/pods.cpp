// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/pods.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace slogate {
namespace {

// The kubelet's own default is 110, and nobody runs more than some hundred.
constexpr size_t kMostPods = 5'000;
// Of those that are gone: a node that runs jobs of seconds has so many in ten minutes.
constexpr size_t kMostGone = 1'000;
constexpr std::chrono::minutes kGoneFor{10};
// A container that fails at once is started again each five minutes: those of five hours.
constexpr size_t kMostContainers = 64;

// Adds the containers that were known before, the latest first, as far as there is room.
void keep_containers(Pod& pod, const Pod& before, std::deque<std::string>& order) {
  std::deque<std::string> kept;
  for (auto id = order.rbegin(); id != order.rend(); ++id) {
    const auto known = before.containers.find(*id);
    if (known == before.containers.end()) continue;
    if (!pod.containers.contains(*id) && pod.containers.size() >= kMostContainers) continue;
    pod.containers.emplace(known->first, known->second);
    kept.push_front(*id);
  }
  order = std::move(kept);
}

void append_new(const Pod& pod, std::deque<std::string>& order) {
  const std::set<std::string> known(order.begin(), order.end());
  for (const auto& [id, name] : pod.containers)
    if (!known.contains(id)) order.push_back(id);
}

}  // namespace

void Pods::begin() {
  staged_.clear();
}

Result<void> Pods::stage(const ApiJson& object) {
  auto pod = to_pod(object);
  if (!pod) return fail("a pod without uid, namespace or name");
  if (staged_.size() >= kMostPods)
    return fail(fmt::format("more than {} pods on one node", kMostPods));
  std::string uid = pod->uid;
  staged_.insert_or_assign(std::move(uid), std::move(*pod));
  return {};
}

void Pods::commit() {
  std::vector<std::string> missing;
  for (const auto& [uid, entry] : entries_)
    if (!staged_.contains(uid)) missing.push_back(uid);
  for (const std::string& uid : missing) mark_gone(uid);
  for (auto& [uid, pod] : std::exchange(staged_, {})) put(std::move(pod));
  if (!std::exchange(synced_, true)) ++version_;
}

void Pods::change(const ApiJson& object) {
  if (auto pod = to_pod(object)) put(std::move(*pod));
}

// The last state comes with the event: a container may have ended since the event before.
void Pods::remove(const ApiJson& object) {
  change(object);
  mark_gone(uid_of(object));
}

bool Pods::is_live(const std::string& uid) const {
  const auto found = entries_.find(uid);
  return found != entries_.end() && !found->second.pod->gone;
}

void Pods::put(Pod pod) {
  const bool live = is_live(pod.uid);
  if (!live && live_ >= kMostPods) return;
  if (!live) ++live_;
  Entry& entry = entries_[pod.uid];
  if (entry.pod) keep_containers(pod, *entry.pod, entry.containers);
  append_new(pod, entry.containers);
  if (entry.pod && *entry.pod == pod) return;
  entry.pod = std::make_shared<const Pod>(std::move(pod));
  ++version_;
}

void Pods::mark_gone(const std::string& uid) {
  if (!is_live(uid)) return;
  Entry& entry = entries_.at(uid);
  Pod pod = *entry.pod;
  pod.gone = true;
  pod.leaving = true;
  pod.ready = false;
  entry.pod = std::make_shared<const Pod>(std::move(pod));
  gone_.push_back({clock_().steady, uid});
  --live_;
  ++version_;
}

SteadyTime Pods::expire() {
  const SteadyTime now = clock_().steady;
  while (!gone_.empty() && (gone_.size() > kMostGone || now - gone_.front().since >= kGoneFor)) {
    const std::string uid = std::move(gone_.front().uid);
    gone_.pop_front();
    if (is_live(uid) || entries_.erase(uid) == 0) continue;
    ++version_;
  }
  return gone_.empty() ? kNever : gone_.front().since + kGoneFor;
}

std::shared_ptr<const Pod> Pods::find(const std::string& uid) const {
  const auto found = entries_.find(uid);
  return found == entries_.end() ? nullptr : found->second.pod;
}

std::vector<std::shared_ptr<const Pod>> Pods::all() const {
  std::vector<std::shared_ptr<const Pod>> pods;
  pods.reserve(entries_.size());
  for (const auto& [uid, entry] : entries_) pods.push_back(entry.pod);
  return pods;
}

}  // namespace slogate
