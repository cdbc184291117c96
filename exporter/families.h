// SPDX-License-Identifier: Apache-2.0
// The Prometheus view of a snapshot.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "agent/config/metrics_settings.h"
#include "agent/snapshot.h"
#include "exporter/ledger.h"
#include "exporter/negotiate.h"
#include "exporter/sink.h"

namespace slogate {

// The scrapes of one format.
struct ScrapeStats {
  uint64_t scrapes = 0;
  std::chrono::nanoseconds total{0};       // to make the answers
  size_t last_bytes = 0, last_series = 0;  // bytes as they are sent
};
using AllScrapeStats = std::array<ScrapeStats, kFormats.size()>;

// The part that a scraper asks for. SLOs and the workloads in their arms are few and wanted every
// few seconds, all else is much and wanted now and then: docs/scale.md has what either costs.
enum class Part { All, Slos, Others };
inline constexpr std::array<std::string_view, 3> kParts = {"all", "slos", "others"};

// Writes every metric family of a part; a pure function of its arguments. Families without a series
// are left out; the series of a family are sorted by their labels.
//
// Only the sockets of class `service` are in the families of workloads: no label tells the classes
// apart, and summed up, probes and scrapes would drown or flatter the service.
//
// No label set comes twice: workloads that share one (cgroups whose path is not known, or that were
// removed and made again) are one row of the sheet; of the ages of their open requests the highest
// counts.
//
// Which series a workload has. rate() does not see the first value of a series, so a counter that
// came with its first error would hide that error; but a series for everything that might happen
// would be several times as many. Therefore:
// - A histogram has a series from its first value on.
// - A counter with a label `role` has all its series of a role, zeroes included, as soon as the
//   workload did anything in that role: a connection, an error, a request answered or open.
// - Every other counter has all its series as soon as the workload did anything at all.
// - Drops have a series for each reason that occurred: a kernel knows more than a hundred.
// - The gauges of open requests follow the rule of counters with a role and are 0 when there are
//   none.
void write_families(const Snapshot& snapshot, const Sheet& sheet, const MetricsSettings& settings,
                    const AllScrapeStats& scrapes, Part part, Sink& sink);

}  // namespace slogate
