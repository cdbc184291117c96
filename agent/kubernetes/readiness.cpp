// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/readiness.h"

#include <algorithm>
#include <array>

#include "agent/base/figures.h"
#include "agent/kubernetes/capacity.h"

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

// Whether the pod's new connections would be refused if its revision were vetoed: a rollout of it
// is under way, and its annotations allow it.
bool may_come_to_be_refused(const Cluster& cluster, const Pod& pod) {
  const auto enforce = pod.annotations.find("enforce");
  if (enforce == pod.annotations.end() || !enforce->second.starts_with("refuse")) return false;
  const auto uid = cluster.deployment_of.find(pod.owner.uid);
  if (uid == cluster.deployment_of.end()) return false;
  const Deployment& deployment = *cluster.deployments.at(uid->second);
  const Revision* newest = newest_revision(deployment);
  return newest && newest->uid == pod.owner.uid && revisions_with_pods(deployment) >= 2;
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

uint64_t available_elsewhere(const Deployment& deployment, const Revision& revision) {
  uint64_t available = 0;
  for (const Revision& other : deployment.revisions)
    if (other.uid != revision.uid) available += other.available;
  return available;
}

// All there are of one revision. What is known of this node's own is the latest, and one that came
// this moment may not be in the list of all yet.
RevisionPods pods_of(const Cluster& cluster, const Revision& revision, const RevisionPods& listed) {
  std::map<std::string, RevisionPod> pods;
  for (const RevisionPod& pod : listed) pods.emplace(pod.uid, pod);
  for (const auto& pod : cluster.pods) {
    if (pod->owner.uid != revision.uid) continue;
    pods.erase(pod->uid);
    if (!pod->leaving)
      pods.emplace(pod->uid, RevisionPod{pod->uid, pod->name, pod->created, pod->able});
  }
  RevisionPods all;
  for (auto& [uid, pod] : pods) all.push_back(std::move(pod));
  return all;
}

// "web-5d4f8-x2x7k, web-5d4f8-z9zqq and 3 more".
std::string names_of(const RevisionPods& pods, const std::set<std::string>& uids) {
  constexpr size_t most = 3;
  std::set<std::string> names;
  for (const RevisionPod& pod : pods)
    if (uids.contains(pod.uid)) names.insert(pod.name);
  if (names.empty()) return "none";
  const size_t shown = std::min(names.size(), most);
  std::string text = fmt::format(
      "{}", fmt::join(names.begin(), std::next(names.begin(), static_cast<long>(shown)), ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

}  // namespace

Readiness::Sentence Readiness::sentence_on(const Cluster& cluster, const Deployment& deployment,
                                           const Revision& revision) {
  const auto listed = cluster.revision_pods.find(revision.uid);
  const auto capacity = cluster.capacities.find(deployment.uid);
  if (listed == cluster.revision_pods.end() || capacity == cluster.capacities.end()) return {};
  const RevisionPods pods = pods_of(cluster, revision, *listed->second);
  Sentence sentence{
      .known = true,
      .has_capacity = capacity->second.has_value(),
      .capacity = capacity->second.value_or(Capacity{}),
      .away = turned_away(pods, available_elsewhere(deployment, revision), capacity->second)};
  sentence.names = names_of(pods, sentence.away);
  return sentence;
}

Readiness::Standing Readiness::standing_of(const Cluster& cluster, const Pod& pod,
                                           const Vetoes& vetoes, Sentences& sentences) {
  const auto uid = cluster.deployment_of.find(pod.owner.uid);
  if (uid == cluster.deployment_of.end()) return {.known = !needs_deployment(pod)};
  const Deployment& deployment = *cluster.deployments.at(uid->second);
  const Revision* revision = revision_of(deployment, pod);
  if (!revision) return {};
  const std::string* veto = said_of(cluster, pod, vetoes);
  if (!veto) return {.known = true};
  Standing standing{.known = true, .vetoed = true, .why = *veto};
  if (revisions_with_pods(deployment) < 2 || !another_is_ready(deployment, *revision)) {
    standing.spared = "no other revision has Ready pods to serve instead";
    return standing;
  }
  auto [found, is_new] = sentences.try_emplace(revision->uid);
  if (is_new) found->second = sentence_on(cluster, deployment, *revision);
  const Sentence& sentence = found->second;
  standing.known = sentence.known;
  if (!sentence.known)
    standing.spared = "its revision's other pods are not known yet";
  else if (sentence.away.contains(pod.uid))
    standing.spared = "";
  else if (sentence.has_capacity)
    standing.spared =
        fmt::format("{}/{} wants {} of {} pods available; turned away: {}", deployment.namespace_,
                    deployment.name, sentence.capacity.replicas - sentence.capacity.max_unavailable,
                    sentence.capacity.replicas, sentence.names);
  else
    standing.spared = fmt::format(
        "how many pods {}/{} can do without cannot be read, so only the newest is "
        "turned away: {}",
        deployment.namespace_, deployment.name, sentence.names);
  return standing;
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
                              const std::optional<double>* hold, const std::string* refused,
                              PodWrites& writes, TickTime now) {
  if (!standing.known) {
    const auto since = waiting_since_.try_emplace(pod.uid, now.monotonic).first->second;
    const bool patient = cluster.trouble.empty() && now.monotonic - since < kRevisionPatience;
    // What it was told before holds on.
    if (patient || pod.condition) return;
  }
  if (standing.vetoed && standing.spared.empty())
    writes.conditions.push_back(
        condition_of(pod, false, "Vetoed",
                     refused ? fmt::format("{}; {}", *refused, standing.why) : standing.why));
  else if (standing.vetoed)
    writes.conditions.push_back(condition_of(
        pod, true, "Spared", fmt::format("vetoed, but {}: {}", standing.spared, standing.why)));
  else
    writes.conditions.push_back(
        condition_of(pod, true, "NoVeto", text_without_veto(pod, hold, now)));
}

void Readiness::add_event(const Pod& pod, std::string reason, const std::string& message,
                          PodWrites& writes, TickTime now) {
  auto [said, is_new] = said_[pod.uid].try_emplace(reason + message, now.monotonic);
  if (!is_new && now.monotonic - said->second < kEventInterval) return;
  said->second = now.monotonic;
  writes.events.push_back({.uid = pod.uid,
                           .namespace_ = pod.namespace_,
                           .name = pod.name,
                           .warning = true,
                           .reason = std::move(reason),
                           .message = message});
}

std::set<std::string> Readiness::away(const Cluster& cluster, const Vetoes& vetoes) {
  std::set<std::string> uids;
  Sentences sentences;
  for (const auto& pod : cluster.pods) {
    if (pod->gone || pod->leaving) continue;
    const Standing standing = standing_of(cluster, *pod, vetoes, sentences);
    if (standing.known && standing.vetoed && standing.spared.empty()) uids.insert(pod->uid);
  }
  return uids;
}

PodWrites Readiness::look(const Cluster& cluster, const PodSlos& slos, const Vetoes& vetoes,
                          const Vetoes& blind, const Holds& holds, TickTime now,
                          const std::map<std::string, std::string>& refused) {
  PodWrites writes;
  if (!cluster.synced) return writes;
  std::set<std::string> there;
  Sentences sentences;
  std::map<std::string, std::string> bad(slos.bad_pods.begin(), slos.bad_pods.end());
  for (const auto& pod : cluster.pods) {
    if (pod->gone || pod->leaving) continue;
    there.insert(pod->uid);
    const Standing standing = standing_of(cluster, *pod, vetoes, sentences);
    const auto refusal = refused.find(pod->uid);
    const std::string* how = refusal == refused.end() ? nullptr : &refusal->second;
    if (pod->gated)
      add_condition(cluster, *pod, standing, said_of(cluster, *pod, holds), how, writes, now);
    if ((standing.vetoed && pod->gated) || (enforces_ && may_come_to_be_refused(cluster, *pod)))
      writes.vetoed.insert(pod->owner.uid);
    if (how) add_event(*pod, "ConnectionsRefused", *how, writes, now);
    if (standing.vetoed) add_event(*pod, "SLOVeto", standing.why, writes, now);
    if (const std::string* why = said_of(cluster, *pod, blind))
      add_event(*pod, "OutcomesUnknown", *why, writes, now);
    if (const auto problem = bad.find(pod->uid); problem != bad.end())
      add_event(*pod, "InvalidSLO", problem->second, writes, now);
  }
  const auto left = [&](const auto& entry) { return !there.contains(entry.first); };
  std::erase_if(waiting_since_, left);
  std::erase_if(said_, left);
  std::erase_if(told_, left);
  return writes;
}

}  // namespace slogate
