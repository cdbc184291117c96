// SPDX-License-Identifier: Apache-2.0
// Snapshots for tests of the exporter, and what becomes of them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/families.h"
#include "tests/support/model.h"

namespace slogate::support {

// The kernel's drop reasons 3 and 5 have names, 4 does not count as a drop.
Snapshot snapshot_of(std::vector<Workload> workloads);
Workload workload(std::string path, const Counts& counts, uint64_t id = 0);
Counts with_counter(slogate_counter counter, uint64_t value);
// Every signal, counter and a few drops.
Counts busy();
// A snapshot from which every family but those of verdicts follows.
Snapshot full();

// Writes a snapshot as the first one that the exporter sees.
void write_first(const Snapshot& snapshot, Sink& sink, const MetricsSettings& settings = {},
                 Part part = Part::All);
std::string text_of(const Snapshot& snapshot, const MetricsSettings& settings = {},
                    Part part = Part::All);
std::vector<prometheus::MetricFamily> model_of(const Snapshot& snapshot);

// Series of a text by name and labels, comments left out.
using Series = std::map<std::string, double>;
// Throws when a series stands twice or has no number.
Series parse_text(const std::string& text);

}  // namespace slogate::support
