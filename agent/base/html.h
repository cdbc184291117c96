// SPDX-License-Identifier: Apache-2.0
// Text in HTML. Names of cgroups, and what is in messages, are whatever a workload chose.
#pragma once

#include <string>
#include <string_view>

namespace slogate {

// The text as content of an element or value of a quoted attribute: never an element, a reference
// or the end of either. What is not UTF-8, control characters and those that turn the direction of
// what follows become U+FFFD: a name must not pass for another one. One line.
[[nodiscard]] std::string escaped(std::string_view text);

}  // namespace slogate
