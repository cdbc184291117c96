// SPDX-License-Identifier: Apache-2.0
// Drawings of the page: SVG within the HTML, coloured by the style's classes, with a sentence for
// those who do not see them.
#pragma once

#include <span>
#include <string>

#include "agent/canary/verdict.h"
#include "agent/page/history.h"

namespace slogate {

// The last `steps` in the height of a line, now at the right: the rate as an area, with a mark
// where something failed.
[[nodiscard]] std::string rate_chart(std::span<const WorkloadPoint> points, size_t steps);
// p50 and p99 as lines on a logarithmic scale of time.
[[nodiscard]] std::string latency_chart(std::span<const WorkloadPoint> points, size_t steps);

// Both arms' shares by latency, drawn over each other, and above them for each quantile that is
// compared where the baseline's is, how far the canary's may be, and where it is.
[[nodiscard]] std::string comparison_chart(const ComparedArms& comparison);

// What speaks against the canary and for a pass, each as a share of what is enough, against time.
[[nodiscard]] std::string evidence_chart(std::span<const VerdictPoint> points);

// A share of one as a bar; `kind` is the class of its colour.
[[nodiscard]] std::string meter(double share, std::string_view kind);

}  // namespace slogate
