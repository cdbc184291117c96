// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <prometheus/client_metric.h>

#include "maps/counts.h"

namespace slogate {

// The histogram in cumulative buckets with upper edges 2^-13 s, 2^-12 s .. 2^4 s and infinity.
// Counts are exact, the sum is the estimate of slogate::sum().
[[nodiscard]] prometheus::ClientMetric::Histogram to_classic(const Histogram& histogram);

}  // namespace slogate
