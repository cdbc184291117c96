// SPDX-License-Identifier: Apache-2.0
// The agent's log: lines on standard error, for the journal or the container's log.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace slogate {

void log_line(std::string_view message);

// Logs what is wrong with `subject` when that has changed, and once when it is over. An empty
// `problem` means nothing is. For conditions that are met every tick. From any thread.
void log_change(std::string_view subject, std::string_view problem);

// What is wrong now, by subject; "" where something was and is well again. From any thread.
using CurrentProblems = std::map<std::string, std::string, std::less<>>;
[[nodiscard]] CurrentProblems current_problems();

}  // namespace slogate
