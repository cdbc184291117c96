// SPDX-License-Identifier: Apache-2.0
// Numbers as people read them. What is not finite, or not there, is "-".
#pragma once

#include <optional>
#include <string>

namespace slogate::cli {

// Seconds, to two digits or to the unit: "950 ns", "1.8 ms", "12 s", "3 min".
[[nodiscard]] std::string to_duration(std::optional<double> seconds);

// To five digits in full, then "123k", "1.2M".
[[nodiscard]] std::string to_count(std::optional<double> count);

// Events per second: one decimal below 10.
[[nodiscard]] std::string to_rate(std::optional<double> rate);

// "512 B", "640 KiB", "1.5 MiB".
[[nodiscard]] std::string to_bytes(std::optional<double> bytes);

// A share of 1: "4.7 %".
[[nodiscard]] std::string to_percent(std::optional<double> share);

}  // namespace slogate::cli
