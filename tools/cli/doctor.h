// SPDX-License-Identifier: Apache-2.0
// slogate doctor: what this host offers and lacks, agent or not.
#pragma once

#include <string>
#include <vector>

#include "agent/host/host.h"
#include "tools/cli/run.h"

namespace slogate::cli {

// `findings` of the host, and one more: whether an agent answers. The exit code says whether the
// host can run slogate; an agent that does not answer is no reason against it.
Outcome<Report> show_doctor(std::vector<Finding> findings, const Fetch& fetch,
                            const Output& output);

[[nodiscard]] std::string render_doctor(const std::vector<Finding>& findings, const Style& style);

}  // namespace slogate::cli
