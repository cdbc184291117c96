// SPDX-License-Identifier: Apache-2.0
// What of the page is a file of its own here, and their hashes for its Content-Security-Policy.
#pragma once

#include <string_view>

namespace slogate {

extern const std::string_view kPageStyle, kPageStyleHash;
extern const std::string_view kPageScript, kPageScriptHash;

}  // namespace slogate
