// SPDX-License-Identifier: Apache-2.0
#include "agent/breaker_wishes.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/kubernetes/cluster.h"
#include "agent/measure/pod_path.h"

namespace slogate {
namespace {

bool is_against(const ObjectiveVerdict& objective) {
  return objective.state == ObjectiveState::Against;
}

// What the veto is about: all that is against the canary by itself or, where it is the sum of much,
// what is most so.
std::vector<size_t> accused(const Verdict& veto) {
  std::vector<size_t> signals;
  const auto add = [&](const ObjectiveVerdict& objective) {
    if (const auto signal = find_judged_in(objective.objective)) signals.push_back(*signal);
  };
  for (const ObjectiveVerdict& objective : veto.objectives)
    if (is_against(objective)) add(objective);
  if (signals.empty() && !veto.objectives.empty())
    add(*std::ranges::max_element(veto.objectives, {}, &ObjectiveVerdict::log_e));
  return signals;
}

template <typename Add>
void for_each_workload(const std::vector<Workload>& workloads,
                       const std::vector<std::string>& paths, const Add& add) {
  for (const std::string& path : paths)
    for (const Workload& workload : std::ranges::equal_range(workloads, path, {}, &Workload::path))
      if (!workload.gone) add(workload);
}

bool is_of_revision(const Slo& slo) {
  return std::holds_alternative<RevisionSelector>(slo.canary);
}

// A pod's, by its path alone: its name may not have come yet.
bool is_of_pod(const Workload& workload) {
  return workload.path.contains("kubepods") || !parse_pod_path(workload.path).empty();
}

// Where pods are chosen by a Deployment's revisions, nothing else chooses any: no pattern of
// cgroups may go around what a Deployment can do without.
BreakerTarget to_target(const BreakerView& view, const Slo& slo, const Workload& workload) {
  const Pod* pod = workload.pod.pod.get();
  BreakerTarget target{.cgroup = workload.id, .name = workload.path, .path = workload.path};
  if (pod != nullptr) {
    target.name = fmt::format("{}/{}", pod->namespace_, pod->name);
    target.chosen = is_of_revision(slo) && may_be_refused(*pod) && view.away.contains(pod->uid);
  } else if (view.on_kubernetes) {
    target.chosen = !is_of_revision(slo) && !workload.pod.pending && !is_of_pod(workload);
  }
  return target;
}

// Why nobody opens it.
std::string barrier_of(const BreakerView& view) {
  if (!view.on_kubernetes) return "";
  if (!view.heard) return "the API server has not been heard yet";
  return view.trouble;
}

// Why what is open closes. A Deployment's revisions have their baseline on any node, and who is
// turned away of them is chosen by what else serves.
std::string must_close(const BreakerView& view, const SloStatus& status) {
  const Slo& slo = status.slo;
  if (view.on_kubernetes && !view.trouble.empty() && view.trouble_for >= kClusterTrust)
    return view.trouble;
  if (is_of_revision(slo)) return "";
  if (!slo.baseline) return "there is no baseline to serve instead";
  if (status.baseline.empty()) return "nothing of the baseline is here to serve instead";
  if (view.silent.contains(slo.name)) return "the baseline has had no traffic for 10 s";
  return "";
}

std::string obstacle_of(const BreakerView& view, const SloStatus& status, const Verdict& verdict) {
  const Slo& slo = status.slo;
  if (!view.on_kubernetes && view.restored.contains({verdict.slo, verdict.rollout}))
    return fmt::format("the veto is of an agent before this one: slogate breaker open {}",
                       verdict.slo);
  return why_not_opened_by(verdict, slo.enforce);
}

BreakerWish wish_of(const BreakerView& view, const SloStatus& status, const Verdict& verdict) {
  const Slo& slo = status.slo;
  const EnforceTerms& terms = slo.enforce;
  BreakerWish wish{.slo = slo.name,
                   .said = {.rollout = verdict.rollout,
                            .vetoed = verdict.decision == Decision::Veto,
                            .since = verdict.since,
                            .max = terms.max.value_or(view.config.max)},
                   .ports = terms.ports,
                   .dry_run = terms.dry_run.value_or(view.config.dry_run),
                   .exempt = terms.exempt};
  if (wish.ports.empty() && slo.port) wish.ports.push_back(*slo.port);
  wish.spares_newcomers = !is_of_revision(slo);
  wish.apart = view.on_kubernetes && is_of_revision(slo);
  wish.said.barrier = barrier_of(view);
  wish.said.must_close = must_close(view, status);
  if (wish.said.vetoed) wish.said.obstacle = obstacle_of(view, status, verdict);
  for_each_workload(view.workloads, status.canary, [&](const Workload& workload) {
    wish.canary.push_back(to_target(view, slo, workload));
    if (const Pod* pod = workload.pod.pod.get();
        pod != nullptr && wish.canary.back().chosen && !pod->gated && wish.hint.empty())
      wish.hint = fmt::format("{} has no readiness gate {}: it stays in its Service",
                              wish.canary.back().name, kConditionType);
    if (!wish.canary.back().chosen && wish.spared.empty())
      wish.spared = fmt::format(
          "{} is spared: its Deployment needs it, or its annotations do not "
          "say {}enforce: refuse",
          wish.canary.back().name, kAnnotationPrefix);
  });
  for_each_workload(view.workloads, status.baseline,
                    [&](const Workload& workload) { wish.others.insert(workload.id); });
  return wish;
}

}  // namespace

bool may_be_refused(const Pod& pod) {
  const auto found = pod.annotations.find("enforce");
  return found != pod.annotations.end() && found->second.starts_with(kEnforceModes[1]);
}

std::string why_not_opened_by(const Verdict& veto, const EnforceTerms& terms) {
  const std::vector<size_t> signals = accused(veto);
  const auto opens = [&](size_t signal) {
    return kJudged[signal].failure || (terms.latency && is_latency(signal));
  };
  if (std::ranges::any_of(signals, opens)) return "";
  const std::string_view about = signals.empty() ? "something else" : kJudged[signals[0]].name;
  return fmt::format("it opens for failures{}, and the veto is of {}",
                     terms.latency ? " and latency" : "", about);
}

std::vector<BreakerWish> breaker_wishes(const BreakerView& view) {
  std::vector<BreakerWish> wishes;
  for (size_t i = 0; i < view.verdicts.list.size(); ++i) {
    const SloStatus& status = *view.verdicts.slos[i];
    if (status.slo.enforce.mode == EnforceMode::Refuse)
      wishes.push_back(wish_of(view, status, *view.verdicts.list[i]));
  }
  return wishes;
}

std::string enforce_note(const Slo& slo, const EnforceConfig& config, bool on_kubernetes,
                         std::string_view problem) {
  if (slo.enforce.mode == EnforceMode::Off) return "";
  if (config.mode == EnforceMode::Off)
    return fmt::format("{}enforce has no effect: the agent's configuration says nothing of enforce",
                       kAnnotationPrefix);
  if (!problem.empty()) return fmt::format("no connection is refused: {}", problem);
  const bool chooses_pods = std::holds_alternative<PodSelector>(slo.canary) ||
                            std::holds_alternative<TrackSelector>(slo.canary);
  if (on_kubernetes && chooses_pods)
    return "no connection is refused: that takes a Deployment's revisions, which say what it can "
           "do without";
  return "";
}

}  // namespace slogate
