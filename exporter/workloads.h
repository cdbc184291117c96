// SPDX-License-Identifier: Apache-2.0
// The families of workloads; exporter/families.h says what is in them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "agent/config/metrics_settings.h"
#include "exporter/ledger.h"
#include "exporter/sink.h"

namespace slogate {

// Latency histograms, counters, drops and open requests. Returns how many workloads were left out
// because of the limit of series.
size_t write_workload_families(std::span<const SheetRow> rows,
                               const std::vector<std::string>& drop_reasons,
                               const MetricsSettings& settings, Sink& sink);

}  // namespace slogate
