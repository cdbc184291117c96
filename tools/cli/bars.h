// SPDX-License-Identifier: Apache-2.0
// A histogram as lines of bars.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "tools/cli/buckets.h"
#include "tools/cli/text.h"

namespace slogate::cli {

// Adjacent buckets that are drawn as one; at least one of them is not empty.
struct BarLine {
  size_t first = 0, last = 0;  // of the buckets
  double above = 0, le = 0, count = 0;
  double upto = 0;   // count of this line and all before it
  bool gap = false;  // empty buckets lie between the line before and this one
};

// As few buckets to a line, a power of two, as make no more than about `most` lines.
[[nodiscard]] std::vector<BarLine> to_lines(const Buckets& buckets, size_t most = 24);

// A share of 1 as a bar: in eighths of a column where the style has the characters for it. A share
// above 0 shows.
[[nodiscard]] std::string bar(double share, size_t width, const Style& style);

// Two shares of 1 drawn over each other: the part that both have, then the rest of the larger one,
// by whose it is.
struct OverlaidMarks {
  std::string_view both, first, second;
};
[[nodiscard]] OverlaidMarks overlaid_marks(const Style& style);
[[nodiscard]] std::string overlaid_bar(double first, double second, size_t width,
                                       const Style& style);

// Colour of line `i` of `count`, from green to red.
[[nodiscard]] std::string_view ramp(size_t i, size_t count);

}  // namespace slogate::cli
