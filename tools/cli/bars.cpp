// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/bars.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace slogate::cli {
namespace {

// Bucket i is the one that ends at edge i, so a line of n buckets ends where i is a multiple of n.
std::vector<BarLine> merge(const Buckets& buckets, size_t n) {
  std::vector<BarLine> lines;
  double seen = 0;
  for (size_t first = 0, last = 0; first < buckets.size(); first = last + 1) {
    last = std::min((first + n - 1) / n * n, buckets.size() - 1);
    BarLine line{
        .first = first, .last = last, .above = buckets[first].above, .le = buckets[last].le};
    for (size_t i = first; i <= last; ++i) line.count += std::max(0.0, buckets[i].count);
    if (line.count == 0) continue;
    seen += line.count;
    line.upto = seen;
    line.gap = !lines.empty() && lines.back().last + 1 != first;
    lines.push_back(line);
  }
  return lines;
}

size_t height(const std::vector<BarLine>& lines) {
  const auto gaps =
      std::count_if(lines.begin(), lines.end(), [](const BarLine& line) { return line.gap; });
  return lines.size() + static_cast<size_t>(gaps);
}

}  // namespace

std::vector<BarLine> to_lines(const Buckets& buckets, size_t most) {
  std::vector<BarLine> lines;
  for (size_t n = 1; n == 1 || (height(lines) > most && n < buckets.size()); n *= 2)
    lines = merge(buckets, n);
  return lines;
}

std::string bar(double share, size_t width, const Style& style) {
  constexpr std::array<std::string_view, 8> parts = {"",       "\u258f", "\u258e", "\u258d",
                                                     "\u258c", "\u258b", "\u258a", "\u2589"};
  const double columns = std::clamp(share, 0.0, 1.0) * static_cast<double>(width);
  if (columns == 0) return "";
  if (!style.utf8) return std::string(std::max<size_t>(1, std::lround(columns)), '#');
  const auto eighths = std::max<size_t>(1, std::lround(columns * 8));
  std::string text;
  for (size_t i = 0; i < eighths / 8; ++i) text += "\u2588";
  return text + std::string(parts[eighths % 8]);
}

OverlaidMarks overlaid_marks(const Style& style) {
  if (style.utf8) return {"\u2588", "\u2591", "\u2592"};
  return {"#", "<", ">"};
}

// What is more than nothing shows, and so does any difference that takes half a column.
std::string overlaid_bar(double first, double second, size_t width, const Style& style) {
  const auto columns = [width](double share) {
    const double all = std::clamp(share, 0.0, 1.0) * static_cast<double>(width);
    return all > 0 ? std::max<long>(1, std::lround(all)) : 0;
  };
  const OverlaidMarks marks = overlaid_marks(style);
  const long one = columns(first), two = columns(second);
  std::string text;
  for (long i = 0; i < std::max(one, two); ++i)
    text += i < std::min(one, two) ? marks.both : i < one ? marks.first : marks.second;
  return text;
}

std::string_view ramp(size_t i, size_t count) {
  constexpr std::array<std::string_view, 11> colours = {
      "38;5;46",  "38;5;82",  "38;5;118", "38;5;154", "38;5;190", "38;5;226",
      "38;5;220", "38;5;214", "38;5;208", "38;5;202", "38;5;196"};
  return count < 2 ? colours[0] : colours[i * (colours.size() - 1) / (count - 1)];
}

}  // namespace slogate::cli
