// SPDX-License-Identifier: Apache-2.0
// The parts of a snapshot as JSON; docs/api.md is the contract.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "agent/snapshot.h"
#include "maps/contents.h"

namespace slogate {

// Keys stay in the order in which they are written, so that answers read like the document.
using Json = nlohmann::ordered_json;

// One line of text. Bytes that are not UTF-8 (a cgroup may be named so) become U+FFFD.
[[nodiscard]] std::string dump(const Json& json);

// JSON has no NaN and no infinity: null for them.
[[nodiscard]] Json number(double value);

[[nodiscard]] Json status_json(const Snapshot& snapshot);

// `drop_reasons` as in Snapshot.
[[nodiscard]] Json cgroup_json(const Workload& workload,
                               const std::vector<std::string>& drop_reasons);

// Every bucket of every signal of class `service`.
[[nodiscard]] Json histograms_json(const Workload& workload);

[[nodiscard]] Json map_json(const MapStatus& map, const std::vector<Resize>& resizes);
[[nodiscard]] Json contents_json(const std::string& map, const MapContents& contents);
[[nodiscard]] Json probe_json(const ProbeStatus& probe);

}  // namespace slogate
