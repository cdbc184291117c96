// SPDX-License-Identifier: Apache-2.0
// The values that leave the maps, and what can be computed from them without touching the world.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "maps/count_row.h"
#include "maps/tables.h"

namespace slogate {

using Histogram = CountRow<SLOGATE_BUCKETS>;

// One owner's measurements since it was first seen: a copy of a slot, or the sum of several.
// Everything in it is cumulative.
struct Counts {
  std::array<Histogram, SLOGATE_SIGNALS> histograms;
  std::array<uint64_t, SLOGATE_COUNTERS> counters{};
  CountRow<SLOGATE_DROP_REASONS> drops;

  Counts& operator+=(const Counts& other);
  Counts& operator-=(const Counts& before);
  bool operator==(const Counts&) const = default;
};

// Whether the one can have become the other by counting on: no word fell. False where an owner lost
// its slot in between and began anew in another.
[[nodiscard]] bool continues(const Counts& now, const Counts& before);

// Upper edge of a bucket in seconds, 2^(k/8); +infinity for the last one.
[[nodiscard]] double bucket_edge(size_t bucket);

// How many values the histogram holds: the sum of its buckets, never a counter of its own.
[[nodiscard]] uint64_t count(const Histogram& histogram);

// Estimate of the sum of all values, in seconds: each counted at the geometric middle of its
// bucket, so within 4.5 % for values between 1 us and 64 s. It never falls.
[[nodiscard]] double sum(const Histogram& histogram);

// The smallest value that at least a share `q` (0 < q <= 1) of all values do not exceed, in
// seconds, as the geometric middle of its bucket: within 4.5 % between 1 us and 64 s. What is
// slower than the last edge reads as that edge. Nothing when the histogram is empty.
[[nodiscard]] std::optional<double> quantile(const Histogram& histogram, double q);

}  // namespace slogate
