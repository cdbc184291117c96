// SPDX-License-Identifier: Apache-2.0
// Runs slogate top until it is told to stop.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string_view>

#include "tools/cli/run.h"

namespace slogate::cli {

struct TopOptions {
  std::chrono::milliseconds interval{2000};
  std::optional<unsigned> frames;  // nothing: for ever
};

// Prints one interval after the other, each with figures. `sleep` waits; `print` says whether
// anyone still reads.
Outcome<Report> print_top(const Fetch& fetch, const TopOptions& options, const Output& output,
                          const std::function<void(std::chrono::milliseconds)>& sleep,
                          const std::function<bool(std::string_view)>& print);

// Shows them in place on the terminal. An agent that goes away is waited for.
Outcome<Report> watch_top(const Fetch& fetch, const TopOptions& options);

}  // namespace slogate::cli
