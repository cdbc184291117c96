// SPDX-License-Identifier: Apache-2.0
#include "exporter/verdicts.h"

#include <algorithm>
#include <string>
#include <utility>

#include "exporter/samples.h"

namespace slogate {
namespace {

Samples gauge(const char* name, const char* help) {
  return {{name, help, MetricType::gauge}};
}

bool has_components(const Verdict& verdict) {
  return std::ranges::any_of(verdict.objectives, [](const ObjectiveVerdict& objective) {
    return !objective.components.empty();
  });
}

// Gives `take` the labels, the arm and the SLO of each workload that is in an arm. Several may be
// one workload: a container that was started again.
template <typename F>
void for_each_in_arms(const Snapshot& snapshot, const F& take) {
  const auto add = [&](const SloStatus& status, const char* arm,
                       const std::vector<std::string>& paths) {
    for (const std::string& path : paths)
      for (const Workload& workload :
           std::ranges::equal_range(*snapshot.workloads, path, {}, &Workload::path))
        take(workload_labels(workload), arm, status.slo.name);
  };
  for (const auto& status : snapshot.verdicts->slos) {
    add(*status, "canary", status->canary);
    add(*status, "baseline", status->baseline);
  }
}

void write_arms(const Snapshot& snapshot, Sink& sink) {
  Samples arms = gauge("slogate_slo_workload", "1 for each workload that is in an arm of an SLO.");
  for_each_in_arms(snapshot, [&](Labels labels, const char* arm, const std::string& slo) {
    labels.push_back({"arm", arm});
    labels.push_back({"slo", slo});
    std::ranges::sort(labels);
    arms.values.emplace_back(std::move(labels), 1.0);
  });
  write_samples(std::move(arms), sink);
}

void write_breakers(const Snapshot& snapshot, Sink& sink) {
  if (!snapshot.breakers) return;
  Samples open = gauge("slogate_breaker_open",
                       "1 while new connections to the SLO's canary are refused, else 0.");
  const auto counter = [](const char* name, const char* help) {
    return Samples{{name, help, MetricType::counter}};
  };
  Samples refused = counter("slogate_breaker_refused_total",
                            "New connections to the SLO's canary that were refused.");
  Samples would = counter("slogate_breaker_would_refuse_total",
                          "New connections that would have been refused but for dry_run.");
  Samples exempt = counter("slogate_breaker_exempt_total",
                           "New connections that were not refused for who made them.");
  for (const BreakerStatus& one : snapshot.breakers->list) {
    const auto add = [&](Samples& to, double value) {
      to.values.push_back({{{"slo", one.slo}}, value});
    };
    add(open, one.open && !one.dry_run ? 1 : 0);
    add(refused, static_cast<double>(one.counts.refused));
    add(would, static_cast<double>(one.counts.would_refuse));
    add(exempt, static_cast<double>(one.counts.exempt));
  }
  for (Samples* family : {&open, &refused, &would, &exempt})
    write_samples(std::move(*family), sink);
}

bool is_trusted(const Verdict& verdict) {
  return verdict.reason != Reason::SamplesLost && verdict.reason != Reason::Multiplexed &&
         verdict.reason != Reason::BaselineUnstable;
}

}  // namespace

std::set<Labels> workloads_in_arms(const Snapshot& snapshot) {
  std::set<Labels> all;
  for_each_in_arms(snapshot, [&](Labels labels, const char*, const std::string&) {
    all.insert(std::move(labels));
  });
  return all;
}

void write_verdict_families(const Snapshot& snapshot, Sink& sink) {
  const Verdicts& verdicts = *snapshot.verdicts;
  Samples decision = gauge("slogate_verdict", "1 for what is said of the SLO's canary.");
  Samples reason = gauge("slogate_verdict_reason",
                         "1 for the reason of what is said of the SLO's canary: one series each.");
  Samples log_e = gauge("slogate_evidence_log_e",
                        "Evidence against a canary by one objective, as the log of its odds.");
  Samples samples = gauge("slogate_evidence_samples", "Samples that were judged.");
  Samples known =
      gauge("slogate_evidence_outcomes_known_ratio",
            "Share of the canary's requests of late of which it is known how they were answered.");
  Samples expected =
      gauge("slogate_verdict_expected_pass_seconds",
            "How many more seconds a pass will take at the rate of late; none where not known.");
  Samples component =
      gauge("slogate_evidence_component",
            "Sums of evidence since the rollout began, uncombined: these add up over nodes.");
  // Rules that ask for the rollout alone need not read every component of every node.
  Samples rollout =
      gauge("slogate_evidence_rollout", "1 for the rollout whose evidence is exported.");
  Samples weight =
      gauge("slogate_evidence_weight", "Weight of a component of the evidence in the mixture.");
  Samples lenders = gauge("slogate_lenders",
                          "Nodes that are asked for a baseline because too little of one is here.");
  for (const auto& verdict : verdicts.list) {
    for (size_t i = 0; i < kLenderStates.size() && !verdict->lenders.empty(); ++i)
      lenders.values.push_back(
          {{{"slo", verdict->slo}, {"state", std::string(kLenderStates[i])}},
           static_cast<double>(std::ranges::count(verdict->lenders, static_cast<LenderState>(i),
                                                  &LenderStatus::state))});
    for (size_t i = 0; i < kDecisions.size(); ++i)
      decision.values.push_back({{{"slo", verdict->slo}, {"verdict", std::string(kDecisions[i])}},
                                 verdict->decision == static_cast<Decision>(i) ? 1.0 : 0.0});
    reason.values.push_back(
        {{{"reason", std::string(kReasons[static_cast<size_t>(verdict->reason)])},
          {"slo", verdict->slo}},
         1.0});
    samples.values.push_back(
        {{{"arm", "canary"}, {"slo", verdict->slo}}, static_cast<double>(verdict->samples.canary)});
    samples.values.push_back({{{"arm", "baseline"}, {"slo", verdict->slo}},
                              static_cast<double>(verdict->samples.baseline)});
    if (verdict->outcomes_known)
      known.values.push_back({{{"slo", verdict->slo}}, *verdict->outcomes_known});
    if (verdict->expected_seconds)
      expected.values.push_back({{{"slo", verdict->slo}}, *verdict->expected_seconds});
    if (has_components(*verdict))
      rollout.values.push_back({{{"revision", verdict->rollout}, {"slo", verdict->slo}}, 1.0});
    for (const ObjectiveVerdict& objective : verdict->objectives) {
      log_e.values.push_back(
          {{{"objective", objective.objective}, {"slo", verdict->slo}}, objective.log_e});
      for (const EvidenceComponent& part : objective.components) {
        const Labels labels = {{"component", part.name},
                               {"objective", objective.objective},
                               {"revision", verdict->rollout},
                               {"slo", verdict->slo}};
        component.values.emplace_back(labels,
                                      is_trusted(*verdict) ? part.sum : std::min(part.sum, 0.0));
        weight.values.emplace_back(labels, part.mixture_weight);
      }
    }
  }
  for (Samples* family : {&decision, &reason, &log_e, &samples, &known, &expected, &rollout,
                          &component, &weight, &lenders})
    write_samples(std::move(*family), sink);
  write_arms(snapshot, sink);
  write_breakers(snapshot, sink);
}

}  // namespace slogate
