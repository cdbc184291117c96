// SPDX-License-Identifier: Apache-2.0
// The agent's API from the other side of its socket.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tools/cli/outcome.h"

namespace slogate::cli {

// Members stay in the order they came in.
using Json = nlohmann::ordered_json;

// Asks for a target such as "/v1/status" and gives its JSON.
using Fetch = std::function<Outcome<Json>(const std::string& target)>;

inline constexpr std::chrono::milliseconds kPatience{5000};

// Posts a body to a target and gives the JSON of the answer.
using Post = std::function<Outcome<Json>(const std::string& target, const Json& body)>;

// One GET over the Unix socket at `path`, connection included within `timeout`. Fails with
// kUnreachable when there is no answer, and with kFailed when the answer is an error or no JSON.
Outcome<Json> get(const std::string& path, const std::string& target,
                  std::chrono::milliseconds timeout = kPatience);

// Likewise one POST, which changes something.
Outcome<Json> post(const std::string& path, const std::string& target, const Json& body,
                   std::chrono::milliseconds timeout = kPatience);

// Likewise one GET of what is not one JSON value.
Outcome<std::string> get_text(const std::string& path, const std::string& target,
                              std::chrono::milliseconds timeout = kPatience);

// The JSON of an answer with this HTTP status. Refuses nesting that no answer of the API has.
[[nodiscard]] Outcome<Json> parse_answer(unsigned status, std::string_view body);

// As a part of a target: everything but letters, digits, "-", ".", "_", "~" and "/" is escaped.
[[nodiscard]] std::string percent_encode(std::string_view text);

}  // namespace slogate::cli
