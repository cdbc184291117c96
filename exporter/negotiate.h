// SPDX-License-Identifier: Apache-2.0
// The format that a scraper takes, by the headers of its request.
#pragma once

#include <array>
#include <string_view>

namespace slogate {

enum class Format { Text, Native };
inline constexpr std::array<std::string_view, 2> kFormats = {"text", "native"};

// Native where the header names it and prefers nothing else of ours; text otherwise, also where the
// header rules it out: a reader that takes neither is a person's.
[[nodiscard]] Format choose_format(std::string_view accept);

[[nodiscard]] bool accepts_gzip(std::string_view accept_encoding);

}  // namespace slogate
