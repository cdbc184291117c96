// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "agent/verdict.h"
#include "exporter/sink.h"

namespace slogate {

// What is said of the SLOs: the verdict as one series for each there could be, its reason as one
// alone, evidence and samples as what the mixture has by now, and its components for adding over
// nodes. The fleet's evidence is
//   ln(sum(weight * exp(clamp_max(sum by (slo, objective, component) (component), 600))))
// which holds for sums, not for mixtures.
void write_verdict_families(const Verdicts& verdicts, Sink& sink);

}  // namespace slogate
