// SPDX-License-Identifier: Apache-2.0
// Figures as people read them: in sentences, in tables, in the configuration.
#pragma once

#include <string>
#include <string_view>

namespace slogate {

// How a duration is written.
struct DurationForm {
  int digits;            // that count; whole units are never cut to fewer than they need
  bool keeps_zeros;      // "1.0 ms", so that columns line up
  std::string_view gap;  // between figure and unit
  bool has_outer_units;  // ns, min and h besides us, ms and s
};
inline constexpr DurationForm kInSentence{2, false, " ", false};   // "950 us", "15 ms", "1.5 s"
inline constexpr DurationForm kInTable{2, true, " ", true};        // "953 ns", "1.0 ms", "3.0 min"
inline constexpr DurationForm kAsConfigured{3, false, "", false};  // as parse_duration() reads it

[[nodiscard]] std::string duration_text(double seconds, const DurationForm& form = kInSentence);
// A time to wait, as well as it can be told: "less than 10 s", "about 40 s", "about 4 min",
// "about 3 h", "about 2 days".
[[nodiscard]] std::string about_text(double seconds);
// Events a second with two digits: "1,200", "18", "0.25".
[[nodiscard]] std::string rate_text(double per_second);
// A share of one: "1 %", "0.1 %".
[[nodiscard]] std::string share_text(double share);
// "p99", "p99.9".
[[nodiscard]] std::string quantile_text(double quantile);
// What exp(log_e) says in words: "odds 1 : 4,100 against chance"; "" for less than 1 : 2.
[[nodiscard]] std::string odds_text(double log_e);
// "1,234,567".
[[nodiscard]] std::string count_text(double count);

}  // namespace slogate
