// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace slogate {

// Keys stay in the order in which they are written, so that answers read like the document.
using Json = nlohmann::ordered_json;

// One line of text. Bytes that are not UTF-8 (a cgroup may be named so) become U+FFFD.
[[nodiscard]] std::string dump(const Json& json);

// JSON has no NaN and no infinity: null for them.
[[nodiscard]] Json number(double value);
// Likewise for what is not known.
[[nodiscard]] Json number(std::optional<double> value);

}  // namespace slogate
