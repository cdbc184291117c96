// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace slogate {

// Foreign text for a log or a message: no control characters, and cut when it is long.
[[nodiscard]] std::string for_log(std::string_view text);

// As a part of a path or of a query: everything but letters, digits, "-", ".", "_" and "~" escaped.
[[nodiscard]] std::string url_escape(std::string_view text);

}  // namespace slogate
