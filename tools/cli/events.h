// SPDX-License-Identifier: Apache-2.0
// slogate events.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "tools/cli/run.h"

namespace slogate::cli {

// Asks for a target whose answer is text.
using FetchText = std::function<Outcome<std::string>(const std::string& target)>;

// One event as a line.
[[nodiscard]] std::string render_event(const Json& event, const Style& style);

// Prints the latest events, and with `follow` those to come until nobody reads any more; an agent
// that goes away is waited for. `sleep` waits; `print` says whether anyone still reads.
Outcome<Report> show_events(const FetchText& fetch, bool follow, const Output& output,
                            const std::function<void(std::chrono::milliseconds)>& sleep,
                            const std::function<bool(std::string_view)>& print);

}  // namespace slogate::cli
