// SPDX-License-Identifier: Apache-2.0
// slogate cgroups: what each cgroup has done since it was first seen.
#pragma once

#include <string>

#include "tools/cli/run.h"

namespace slogate::cli {

// `pattern` is a glob over paths, "" for all.
Outcome<Report> show_cgroups(const Fetch& fetch, const std::string& pattern, const Output& output);

// One row for each cgroup of /v1/cgroups.
[[nodiscard]] std::string render_cgroups(const Json& cgroups, const Style& style);

}  // namespace slogate::cli
