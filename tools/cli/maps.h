// SPDX-License-Identifier: Apache-2.0
// slogate maps: the agent's BPF maps, how full they are, and what lies in them.
#pragma once

#include <string>

#include "tools/cli/run.h"

namespace slogate::cli {

Outcome<Report> show_maps(const Fetch& fetch, const Output& output);

// The entries of one map, decoded.
Outcome<Report> show_map(const Fetch& fetch, const std::string& name, const Output& output);

// Changes a map's size by hand.
Outcome<Report> resize_map(const Post& post, const std::string& name, uint64_t entries,
                           const Output& output);

// One row for each map of /v1/maps, and their latest changes of size.
[[nodiscard]] std::string render_maps(const Json& maps, const Style& style);

// One row for each entry of /v1/maps/{name}, under the columns that it names.
[[nodiscard]] std::string render_map(const Json& map, const Style& style);

}  // namespace slogate::cli
