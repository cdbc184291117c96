// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "agent/snapshot.h"
#include "exporter/sink.h"

namespace slogate {

// What is said of the SLOs: the verdict as one series for each there could be, its reason as one
// alone, evidence and samples as what the mixture has by now, and its components for adding over
// nodes. The fleet's evidence is
//   ln(sum(weight * exp(clamp_max(sum by (slo, objective, component) (component), 600))))
// which holds for sums, not for mixtures. And which workloads are in the arms: whoever adds up
// the counts of an arm over nodes cannot know it otherwise where pods are told apart by what only
// the API server says of them.
void write_verdict_families(const Snapshot& snapshot, Sink& sink);

}  // namespace slogate
