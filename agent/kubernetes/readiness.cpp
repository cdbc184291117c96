// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/readiness.h"

#include <algorithm>
#include <array>

#include "agent/base/figures.h"

namespace slogate {
namespace {

const Revision* revision_of(const Deployment& deployment, const Pod& pod) {
  const auto found = std::ranges::find(deployment.revisions, pod.owner.uid, &Revision::uid);
  return found == deployment.revisions.end() ? nullptr : &*found;
}

// What is said of the pod's revision, null for nothing.
template <typename Said>
const Said* said_of(const Cluster& cluster, const Pod& pod, const std::map<VetoKey, Said>& all) {
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

// Times a condition may name. The step said before stays while it is true within half.
constexpr auto kSteps = std::to_array<double>(
    {1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 120, 180, 360, 720, 1440});  // minutes
constexpr double kStillTrue = 1.5;
// From here on it says what takes less.
constexpr double kLongWait = 15;  // minutes

double coarse_minutes(double seconds, std::optional<double> before) {
  const double minutes = std::max(seconds / 60, kSteps.front());
  if (before && minutes <= *before * kStillTrue && minutes >= *before / kStillTrue) return *before;
  const auto distance = [minutes](double step) { return std::max(step / minutes, minutes / step); };
  return *std::ranges::min_element(kSteps, {}, distance);
}

constexpr const char* kNothingAgainst = "nothing speaks against it";

std::string text_of(std::optional<double> minutes) {
  constexpr const char* sooner = "synthetic load or absolute objectives take less time";
  if (!minutes) return fmt::format("{}; nobody knows yet how long a pass takes", kNothingAgainst);
  const std::string text =
      fmt::format("{}; a pass takes {} more", kNothingAgainst, about_text(*minutes * 60));
  return *minutes > kLongWait ? fmt::format("{}: {}", text, sooner) : text;
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

std::string Readiness::text_without_veto(const Pod& pod, const std::optional<double>* hold,
                                         TickTime now) {
  Told& told = told_[pod.uid];
  if (!told.text.empty() && now.monotonic - told.since < kLeastBetweenTexts) return told.text;
  told.minutes = hold && *hold ? std::optional(coarse_minutes(**hold, told.minutes)) : std::nullopt;
  std::string text = hold ? text_of(told.minutes) : kNothingAgainst;
  if (text != told.text) told.since = now.monotonic;
  return told.text = std::move(text);
}

void Readiness::add_condition(const Cluster& cluster, const Pod& pod, const Standing& standing,
                              const std::optional<double>* hold, PodWrites& writes, TickTime now) {
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
    writes.conditions.push_back(
        condition_of(pod, true, "NoVeto", text_without_veto(pod, hold, now)));
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
                          const Vetoes& blind, const Holds& holds, TickTime now) {
  PodWrites writes;
  if (!cluster.synced) return writes;
  std::set<std::string> there;
  std::map<std::string, std::string> bad(slos.bad_pods.begin(), slos.bad_pods.end());
  for (const auto& pod : cluster.pods) {
    if (pod->gone || pod->leaving) continue;
    there.insert(pod->uid);
    const Standing standing = standing_of(cluster, *pod, vetoes);
    if (pod->gated)
      add_condition(cluster, *pod, standing, said_of(cluster, *pod, holds), writes, now);
    if (standing.vetoed) add_event(*pod, "SLOVeto", standing.why, writes);
    if (const std::string* why = said_of(cluster, *pod, blind))
      add_event(*pod, "OutcomesUnknown", *why, writes);
    if (const auto problem = bad.find(pod->uid); problem != bad.end())
      add_event(*pod, "InvalidSLO", problem->second, writes);
  }
  const auto left = [&](const auto& entry) { return !there.contains(entry.first); };
  std::erase_if(waiting_since_, left);
  std::erase_if(said_, left);
  std::erase_if(told_, left);
  return writes;
}

}  // namespace slogate
