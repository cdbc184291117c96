// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string_view>

#include "tools/cli/client.h"
#include "tools/cli/text.h"

namespace slogate::cli {

// How the reader wants it.
struct Output {
  bool json = false;  // the API's own JSON instead of a table
  Style style;
};

// The one place where exceptions end: an answer that is not shaped as docs/api.md says is a failure
// like any other, and so is a lack of memory.
Outcome<Report> guarded(const std::function<Outcome<Report>()>& command);

// One line, so that several of them can be told apart.
[[nodiscard]] std::string to_line(const Json& json);

// Asks for `target` and prints the answer as JSON or through `render`.
Outcome<Report> show(const Fetch& fetch, const std::string& target, const Output& output,
                     const std::function<std::string(const Json&, const Style&)>& render);

// To stderr. A line that cannot be written there is no reason to end.
void say_aside(std::string_view text);

// Prints a report or says why there is none, and gives the exit code of the program.
int finish(const Outcome<Report>& outcome);

}  // namespace slogate::cli
