// SPDX-License-Identifier: Apache-2.0
// Tokens of service accounts. What they say is never part of an error.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "maps/error.h"

namespace slogate {

// A token of Kubernetes has about 1 KB.
inline constexpr size_t kLongestToken = size_t{64} << 10;

// The token in a file, which may be rotated any time; fails where there is none, or nothing that
// can stand in a header.
[[nodiscard]] Result<std::string> read_token(const std::string& path);

// What a token claims to be. Nobody has checked its signature.
struct TokenClaims {
  std::string subject;  // "system:serviceaccount:slogate-system:slogate"
  std::vector<std::string> audiences;
  std::chrono::seconds expires{0};  // since 1970; 0 for never
};
// Nothing for what is no JSON Web Token.
[[nodiscard]] std::optional<TokenClaims> parse_token(std::string_view token);

}  // namespace slogate
