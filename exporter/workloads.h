// SPDX-License-Identifier: Apache-2.0
// The families of workloads; exporter/families.h says what is in them.
#pragma once

#include <prometheus/metric_family.h>

#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "agent/snapshot.h"
#include "exporter/labels.h"

namespace slogate {

// All workloads of one label set as one.
struct WorkloadSum {
  std::shared_ptr<const Counts> counts;
  Inflight server, client;
};
using WorkloadSums = std::map<Labels, WorkloadSum>;

[[nodiscard]] WorkloadSums sum_by_labels(const std::vector<Workload>& workloads);

// Latency histograms, counters, drops and open requests.
[[nodiscard]] std::vector<prometheus::MetricFamily> to_workload_families(
    const WorkloadSums& sums, const std::vector<std::string>& drop_reasons);

}  // namespace slogate
