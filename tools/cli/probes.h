// SPDX-License-Identifier: Apache-2.0
// slogate probes: the agent's BPF programs, which of them are attached and what they cost.
#pragma once

#include <string>

#include "tools/cli/run.h"

namespace slogate::cli {

Outcome<Report> show_probes(const Fetch& fetch, const Output& output);

// One row for each program of /v1/probes, then why some are not attached.
[[nodiscard]] std::string render_probes(const Json& probes, const Style& style);

}  // namespace slogate::cli
