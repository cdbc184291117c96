// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>

#include "agent/snapshot.h"
#include "exporter/labels.h"
#include "exporter/sink.h"

namespace slogate {

// The families of SLOs: the verdict as one series for each there could be, its reason as one alone,
// evidence and samples as the mixture has them by now, and its components, which add up over nodes.
// The fleet's evidence is
//   ln(sum(weight * exp(clamp_max(sum by (slo, objective, component) (component), 600))))
// which holds for sums, not for mixtures. And which workloads are in the arms: whoever adds up
// the counts of an arm over nodes cannot know it otherwise where pods are told apart by what only
// the API server says of them.
//
// If a verdict holds because its node's counts are not to be trusted, the components have only the
// part that speaks for the canary: to leave the node out altogether, and in again, could raise the
// evidence of all.
void write_verdict_families(const Snapshot& snapshot, Sink& sink);

// The label sets of the workloads that are in an arm of an SLO.
std::set<Labels> workloads_in_arms(const Snapshot& snapshot);

}  // namespace slogate
