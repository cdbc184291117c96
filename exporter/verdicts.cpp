// SPDX-License-Identifier: Apache-2.0
#include "exporter/verdicts.h"

#include <utility>

#include "exporter/labels.h"

namespace slogate {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

void add(MetricFamily& family, Labels labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
}

MetricFamily gauge(const char* name, const char* help) {
  return {name, help, MetricType::Gauge, {}};
}

}  // namespace

std::vector<MetricFamily> to_verdict_families(const Verdicts& verdicts) {
  MetricFamily decision = gauge("slogate_verdict", "1 for what is said of the SLO's canary.");
  MetricFamily log_e = gauge("slogate_evidence_log_e",
                             "Evidence against a canary by one objective, as the log of its odds.");
  MetricFamily samples = gauge("slogate_evidence_samples", "Samples that were judged.");
  MetricFamily component =
      gauge("slogate_evidence_component",
            "Sums of evidence since the rollout began, uncombined: these add up over nodes.");
  MetricFamily weight =
      gauge("slogate_evidence_weight", "Weight of a component of the evidence in the mixture.");
  for (const auto& verdict : verdicts.list) {
    for (size_t i = 0; i < kDecisions.size(); ++i)
      add(decision, {{"slo", verdict->slo}, {"verdict", std::string(kDecisions[i])}},
          verdict->decision == static_cast<Decision>(i) ? 1 : 0);
    add(samples, {{"arm", "canary"}, {"slo", verdict->slo}},
        static_cast<double>(verdict->samples.canary));
    add(samples, {{"arm", "baseline"}, {"slo", verdict->slo}},
        static_cast<double>(verdict->samples.baseline));
    for (const ObjectiveVerdict& objective : verdict->objectives) {
      add(log_e, {{"objective", objective.objective}, {"slo", verdict->slo}}, objective.log_e);
      for (const EvidenceComponent& part : objective.components) {
        const Labels labels = {{"component", part.name},
                               {"objective", objective.objective},
                               {"revision", verdict->rollout},
                               {"slo", verdict->slo}};
        add(component, labels, part.sum);
        add(weight, labels, part.weight);
      }
    }
  }
  return {std::move(decision), std::move(log_e), std::move(samples), std::move(component),
          std::move(weight)};
}

}  // namespace slogate
