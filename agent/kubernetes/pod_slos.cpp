// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/pod_slos.h"

#include <algorithm>
#include <map>

namespace slogate {
namespace {

// What one name stands for: an SLO, or why there is none.
using Found = std::map<std::string, Result<Slo>>;

RevisionSelector others_than(const Deployment& deployment, const Revision& newest,
                             const std::string& slo, const Vetoes& vetoes) {
  RevisionSelector others{
      fmt::format("the other revisions of {}/{}", deployment.namespace_, deployment.name), {}};
  for (const Revision& revision : deployment.revisions)
    if (revision.uid != newest.uid && !vetoes.contains({slo, revision_text(deployment, revision)}))
      others.replica_sets.push_back(revision.uid);
  return others;
}

// Between two rollouts there is no canary, and what serves shows how it varies by itself: what the
// next canary is compared with.
void set_arms(Slo& slo, const Deployment& deployment, const Revision& newest,
              const Vetoes& vetoes) {
  RevisionSelector others = others_than(deployment, newest, slo.name, vetoes);
  if (revisions_with_pods(deployment) >= 2) {
    slo.canary = RevisionSelector{revision_text(deployment, newest), {newest.uid}};
    slo.rollout = fmt::format("{}-{}", newest.hash, newest.number);
  } else {
    slo.canary = RevisionSelector{
        fmt::format("the next revision of {}/{}", deployment.namespace_, deployment.name), {}};
    others.replica_sets.push_back(newest.uid);
    slo.rollout = "none";
  }
  slo.baseline = std::move(others);
}

void add_deployment(const Deployment& deployment, const Vetoes& vetoes, Found& found) {
  const Revision* newest = newest_revision(deployment);
  if (!newest) return;
  auto annotations = parse_annotations(newest->annotations);
  const std::string name = pod_slo_name(deployment.namespace_, deployment.name);
  if (!annotations) {
    found.emplace(name, fail(annotations.error()));
    return;
  }
  if (!*annotations || !(*annotations)->track.empty()) return;
  Slo slo = std::move((*annotations)->slo);
  slo.name = name;
  set_arms(slo, deployment, *newest, vetoes);
  found.emplace(name, std::move(slo));
}

// Whether the ReplicaSets of a pod say what there is to know, or are going to.
bool has_revisions(const Pod& pod) {
  return pod.owner.kind == "ReplicaSet";
}

// The arms of a track are whole SLOs; which pod of the canary says so does not matter, as long as
// it is always the same one. Where a node has none of the canary, a pod of the other arm says so:
// its baseline is asked for by nodes that have.
void add_track(const Pod& pod, PodAnnotations annotations, Found& found) {
  Slo slo = std::move(annotations.slo);
  slo.name = pod_slo_name(pod.namespace_, annotations.workload);
  slo.canary = TrackSelector{pod.namespace_, annotations.workload, "canary"};
  slo.baseline = TrackSelector{pod.namespace_, annotations.workload, "stable"};
  found.emplace(slo.name, std::move(slo));
}

std::vector<std::shared_ptr<const Pod>> canaries_first(
    std::vector<std::shared_ptr<const Pod>> pods) {
  std::ranges::stable_partition(pods, [](const auto& pod) {
    const auto track = pod->annotations.find("track");
    return track != pod->annotations.end() && track->second == "canary";
  });
  return pods;
}

Result<void> add_pod(const Pod& pod, Found& found) {
  auto annotations = parse_annotations(pod.annotations);
  if (!annotations) return fail(annotations.error());
  if (!*annotations) return {};
  if (!(*annotations)->track.empty()) {
    add_track(pod, std::move(**annotations), found);
    return {};
  }
  if (has_revisions(pod)) return {};
  return fail(fmt::format("{} is not part of a Deployment, whose revisions tell canary from stable",
                          pod.owner.kind.empty() ? "the pod" : "its " + pod.owner.kind),
              fmt::format("add {0}track and {0}workload", kAnnotationPrefix));
}

}  // namespace

std::string pod_slo_name(std::string_view namespace_, std::string_view workload) {
  return fmt::format("{}.{}", namespace_, workload);
}

std::string revision_text(const Deployment& deployment, const Revision& revision) {
  return fmt::format("revision {} ({}) of {}/{}", revision.number, revision.hash,
                     deployment.namespace_, deployment.name);
}

const Revision* newest_revision(const Deployment& deployment) {
  const auto newest = std::ranges::max_element(deployment.revisions, {}, &Revision::number);
  return newest == deployment.revisions.end() ? nullptr : &*newest;
}

size_t revisions_with_pods(const Deployment& deployment) {
  return static_cast<size_t>(std::ranges::count_if(
      deployment.revisions, [](const Revision& one) { return one.pods > 0; }));
}

PodSlos slos_of_pods(const Cluster& cluster, const Vetoes& vetoes,
                     const std::set<std::string>& taken) {
  Found found;
  PodSlos result;
  for (const auto& [uid, deployment] : cluster.deployments)
    add_deployment(*deployment, vetoes, found);
  for (const auto& pod : canaries_first(cluster.pods)) {
    if (pod->gone) continue;
    const auto done = add_pod(*pod, found);
    if (done) continue;
    result.bad_pods.emplace_back(pod->uid, done.error().line());
    if (!cluster.deployment_of.contains(pod->owner.uid))
      found.emplace(pod_slo_name(pod->namespace_, pod->name), fail(done.error()));
  }
  for (auto& [name, slo] : found) {
    if (!slo)
      result.problems.push_back({name, slo.error().line()});
    else if (taken.contains(name))
      result.problems.push_back(
          {name, "the configuration has an SLO of this name, which goes first"});
    else
      result.slos.push_back(std::move(*slo));
  }
  return result;
}

}  // namespace slogate
