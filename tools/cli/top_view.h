// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "tools/cli/run.h"
#include "tools/cli/top.h"

namespace slogate::cli {

// Lines above the rows of the table, those of its own title included.
[[nodiscard]] size_t top_header(const TopFrame& frame);

// Two lines, one for each of the first SLOs that do not pass, and a table, or a line that says when
// figures come. `note` stands in place of the second line.
[[nodiscard]] std::string render_top(const TopFrame& frame, const std::string& note,
                                     const Style& style);

// One object on one line.
[[nodiscard]] std::string top_json(const TopFrame& frame);

}  // namespace slogate::cli
