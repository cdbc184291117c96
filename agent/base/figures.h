// SPDX-License-Identifier: Apache-2.0
// Figures in the sentences that explain a verdict.
#pragma once

#include <string>

namespace slogate {

// Seconds: "950 us", "15 ms", "1.5 s"; two digits, or as many as tell whole units apart.
[[nodiscard]] std::string duration_text(double seconds);
// A share of one: "1 %", "0.1 %".
[[nodiscard]] std::string share_text(double share);
// "p99", "p99.9".
[[nodiscard]] std::string quantile_text(double quantile);
// What exp(log_e) says in words: "odds 1 : 4,100 against chance"; "" for less than 1 : 2.
[[nodiscard]] std::string odds_text(double log_e);
// "1,234,567".
[[nodiscard]] std::string count_text(double count);

}  // namespace slogate
