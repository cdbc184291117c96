// SPDX-License-Identifier: Apache-2.0
// slogate maps: the agent's BPF maps and how full they are.
#pragma once

#include <string>

#include "tools/cli/run.h"

namespace slogate::cli {

Outcome<Report> show_maps(const Fetch& fetch, const Output& output);

// One row for each map of /v1/maps.
[[nodiscard]] std::string render_maps(const Json& maps, const Style& style);

}  // namespace slogate::cli
