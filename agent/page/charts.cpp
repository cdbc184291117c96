// SPDX-License-Identifier: Apache-2.0
#include "agent/page/charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "agent/base/figures.h"
#include "agent/base/html.h"

namespace slogate {
namespace {

// ---- in the height of a line ----

// Three steps make a point: 60 of them are as many as a table shows, in a third of the bytes.
constexpr size_t kStepsOfPoint = 3;
constexpr int kLineHeight = 24, kPointWidth = 2;

int width_of(size_t steps) {
  return static_cast<int>((steps + kStepsOfPoint - 1) / kStepsOfPoint) * kPointWidth;
}

struct LinePoint {
  float rate = 0;
  bool failed = false;
  int p50 = -1, p99 = -1;  // buckets; the slowest of the steps
};

int to_bucket(uint8_t bucket) {
  return bucket == WorkloadPoint::kNone ? -1 : bucket;
}

// From the newest back, so that the last point is of as many steps as the others.
std::vector<LinePoint> to_line(std::span<const WorkloadPoint> points) {
  std::vector<LinePoint> line;
  for (size_t end = points.size(); end > 0; end -= std::min(end, kStepsOfPoint)) {
    LinePoint& one = line.emplace_back();
    for (size_t i = end - std::min(end, kStepsOfPoint); i < end; ++i) {
      one.rate = std::max(one.rate, points[i].rate);
      one.failed = one.failed || points[i].failed != 0;
      one.p50 = std::max(one.p50, to_bucket(points[i].p50));
      one.p99 = std::max(one.p99, to_bucket(points[i].p99));
    }
  }
  std::ranges::reverse(line);
  return line;
}

int left_of(const std::vector<LinePoint>& line, size_t steps) {
  return width_of(steps) - static_cast<int>(line.size()) * kPointWidth;
}

std::string open_line(size_t steps, std::string_view text) {
  return fmt::format(
      "<svg class=\"line\" viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\" role=\"img\" "
      "aria-label=\"{}\">",
      width_of(steps), kLineHeight, escaped(text));
}

// Relative moves of whole units: few bytes, as there are hundreds of points on a page. A new part
// begins where a value is missing, which is below 0.
class LinePath {
 public:
  void add(int x, int y) {
    const bool drawn = std::exchange(pen_, y >= 0);
    if (y < 0) return;
    // One that stands alone is a dash, or it would not be seen.
    path_ += drawn ? fmt::format("l{} {}", x - x_, y - y_) : fmt::format("M{} {}h1", x - 1, y);
    x_ = x;
    y_ = y;
  }
  [[nodiscard]] const std::string& text() const { return path_; }

 private:
  std::string path_;
  bool pen_ = false;
  int x_ = 0, y_ = 0;
};

std::string quantile_path(const std::vector<LinePoint>& line, int LinePoint::*which, int left,
                          int least, int most) {
  LinePath path;
  int x = left;
  for (const LinePoint& point : line) {
    const int bucket = point.*which;
    path.add(x += kPointWidth,
             bucket < 0 ? -1 : 22 - (bucket - least) * 20 / std::max(1, most - least));
  }
  return path.text();
}

// ---- large ----

constexpr double kWidth = 440;

std::string text_at(double x, double y, std::string_view anchor, std::string_view text,
                    std::string_view kind = "") {
  return fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" text-anchor=\"{}\"{}>{}</text>", x, y, anchor,
                     kind.empty() ? "" : fmt::format(" class=\"{}\"", kind), escaped(text));
}

std::string line_at(double x1, double y1, double x2, double y2, std::string_view kind) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>",
                     x1, y1, x2, y2, kind);
}

std::string open_chart(double height, std::string_view text) {
  return fmt::format("<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
                     kWidth, height, escaped(text));
}

// From 0 at the lower edge of bucket `first`, in buckets, which are equal ratios of time.
struct TimeScale {
  double left = 42, right = kWidth - 8;
  double first = 0, last = SLOGATE_BUCKETS;

  [[nodiscard]] double at_bucket(double bucket) const {
    return left + (right - left) * std::clamp((bucket - first) / (last - first), 0.0, 1.0);
  }
  // The edge of a bucket is where the next begins.
  [[nodiscard]] double at(double seconds) const {
    return at_bucket(8 * std::log2(seconds) - SLOGATE_EDGE_FIRST + 1);
  }
  [[nodiscard]] double seconds_at(double bucket) const {
    return std::exp2((bucket - 1 + SLOGATE_EDGE_FIRST) / 8);
  }
};

// Where all but so many of the values of an arm lie.
constexpr double kSeldom = 0.0005;

// What holds nearly all values of both arms and all edges, and at least two octaves.
TimeScale scale_of(const ComparedArms& comparison) {
  double first = SLOGATE_BUCKETS, last = 0;
  const auto take = [&](double seconds) {
    const double bucket = 8 * std::log2(seconds) - SLOGATE_EDGE_FIRST + 1;
    first = std::min(first, bucket);
    last = std::max(last, bucket);
  };
  for (const Histogram* arm : {&comparison.canary, &comparison.baseline})
    for (const double share : {kSeldom, 1 - kSeldom})
      if (const auto at = quantile(*arm, share)) take(*at);
  for (const ComparedEdge& edge : comparison.edges) {
    take(edge.baseline.value_or(edge.veto));
    take(edge.veto);
  }
  first = std::floor(std::max(0.0, first - 3));
  last = std::ceil(std::min<double>(SLOGATE_BUCKETS, last + 3));
  if (last - first < 16) last = first + 16;
  return {.first = first, .last = last};
}

struct Plot {
  double top, bottom;
};

// Areas of the square roots of shares: on a linear scale one percent, which is what is compared,
// would be a hair's breadth.
std::string arm_path(const Histogram& arm, double most, const TimeScale& scale, Plot plot) {
  const auto total = static_cast<double>(arm.total());
  std::string path = fmt::format("M{:.1f} {:.1f}", scale.left, plot.bottom);
  for (size_t i = 0; i < arm.size(); ++i) {
    const double x1 = scale.at_bucket(static_cast<double>(i));
    const double x2 = scale.at_bucket(static_cast<double>(i) + 1);
    if (x2 <= scale.left || x1 >= scale.right) continue;
    const double share = std::sqrt(static_cast<double>(arm[i]) / total / most);
    path += fmt::format("V{:.1f}H{:.1f}", plot.bottom - (plot.bottom - plot.top) * share, x2);
  }
  return path + fmt::format("V{:.1f}Z", plot.bottom);
}

double largest_share(const Histogram& arm) {
  uint64_t most = 0;
  for (const uint64_t n : arm.kept()) most = std::max(most, n);
  return arm.total() == 0 ? 0 : static_cast<double>(most) / static_cast<double>(arm.total());
}

// Powers of ten, and halves of them where there is room.
std::string time_axis(const TimeScale& scale, Plot plot) {
  std::string axis = line_at(scale.left, plot.bottom, scale.right, plot.bottom, "axis");
  const double from = scale.seconds_at(scale.first), to = scale.seconds_at(scale.last);
  const bool narrow = to / from < 200;
  for (double decade = 1e-6; decade <= 100; decade *= 10)
    for (const double step : {1.0, 2.0, 5.0}) {
      const double seconds = decade * step;
      if (seconds < from || seconds > to || (step != 1 && !narrow)) continue;
      const double x = scale.at(seconds);
      axis += line_at(x, plot.bottom, x, plot.bottom + 4, "axis");
      if (x > scale.left + 6 && x < scale.right - 10)
        axis += text_at(x, plot.bottom + 15, "middle", duration_text(seconds));
    }
  return axis;
}

// One row for each quantile: from the baseline's edge to the one beyond which a canary is worse,
// and where the canary's quantile is.
std::string edge_row(const ComparedEdge& edge, const ComparedArms& comparison,
                     const TimeScale& scale, double y) {
  const double veto = scale.at(edge.veto);
  std::string row = text_at(scale.left - 4, y + 4, "end", quantile_text(edge.quantile));
  row += line_at(scale.left, y, scale.right, y, "rail");
  if (edge.baseline) {
    const double at = scale.at(*edge.baseline);
    row += line_at(at, y, veto, y, "slack");
    row += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" class=\"baseline\"/>", at, y);
  }
  row += line_at(veto, y - 5, veto, y + 5, "limit");
  if (const auto canary = quantile(comparison.canary, edge.quantile)) {
    const double x = scale.at(*canary);
    row += fmt::format("<path d=\"M{:.1f} {:.1f}l4 4-4 4-4-4Z\" class=\"canary\"/>", x, y - 4);
  }
  return row;
}

std::string describe(const ComparedArms& comparison) {
  const auto p99 = [](const Histogram& arm) {
    const auto at = quantile(arm, 0.99);
    return at ? duration_text(*at) : std::string("nothing");
  };
  return fmt::format("Distribution of {} of late: p99 of the canary {}, of the baseline {}",
                     comparison.signal, p99(comparison.canary), p99(comparison.baseline));
}

// How the scale of time is written.
std::string length_text(size_t seconds) {
  return seconds < 120 ? fmt::format("{} s", seconds) : fmt::format("{} min", (seconds + 30) / 60);
}

struct EvidenceScale {
  static constexpr double left = 42, right = kWidth - 8, top = 10, bottom = 112;
  static constexpr double least = -0.5, most = 1.5;
  double seconds;

  [[nodiscard]] double y(double share) const {
    return bottom - (bottom - top) * (std::clamp(share, least, most) - least) / (most - least);
  }
  [[nodiscard]] double x(size_t ago) const {
    return right - (right - left) * static_cast<double>(ago) / seconds;
  }
};

std::string evidence_path(std::span<const VerdictPoint> points, int16_t VerdictPoint::*which,
                          const EvidenceScale& scale) {
  // Half a unit of the drawing: what is between is not seen.
  const size_t every = std::max<size_t>(1, points.size() / 300);
  std::string path;
  bool pen = false;
  for (size_t i = points.empty() ? 0 : (points.size() - 1) % every; i < points.size(); i += every) {
    const int16_t value = points[i].*which;
    if (value == VerdictPoint::kNone) {
      pen = false;
      continue;
    }
    path += fmt::format("{}{:.1f} {:.1f}", pen ? "L" : "M", scale.x(points.size() - 1 - i),
                        scale.y(value / 1024.0));
    pen = true;
  }
  return path;
}

std::string describe(std::span<const VerdictPoint> points) {
  const auto percent = [](int16_t value) {
    return value == VerdictPoint::kNone ? std::string("nothing yet")
                                        : fmt::format("{:.0f} %", std::max(0.0, value / 10.24));
  };
  const VerdictPoint last = points.empty() ? VerdictPoint{} : points.back();
  return fmt::format(
      "Evidence of the last {}: against the canary {} of a veto, for it {} of a pass",
      length_text(points.size()), percent(last.against), percent(last.proof));
}

}  // namespace

std::string rate_chart(std::span<const WorkloadPoint> points, size_t steps) {
  const std::vector<LinePoint> line = to_line(points);
  float most = 0;
  for (const LinePoint& point : line) most = std::max(most, point.rate);
  const bool failed = std::ranges::any_of(line, &LinePoint::failed);
  std::string svg = open_line(steps, fmt::format("at most {} requests a second{}", rate_text(most),
                                                 failed ? ", some failed" : ""));
  int x = left_of(line, steps), y = kLineHeight;
  std::string area = fmt::format("M{} {}", x, y), marks;
  for (const LinePoint& point : line) {
    const int top =
        kLineHeight - (most > 0 ? static_cast<int>(std::lround(20 * point.rate / most)) : 0);
    area += fmt::format("v{}h{}", top - std::exchange(y, top), kPointWidth);
    if (point.failed) marks += fmt::format("M{} {}v-5", x + 1, kLineHeight);
    x += kPointWidth;
  }
  svg += fmt::format("<path class=\"area\" d=\"{}V{}Z\"/>", area, kLineHeight);
  if (!marks.empty()) svg += fmt::format("<path class=\"failed\" d=\"{}\"/>", marks);
  return svg + "</svg>";
}

std::string latency_chart(std::span<const WorkloadPoint> points, size_t steps) {
  const std::vector<LinePoint> line = to_line(points);
  int least = SLOGATE_BUCKETS, most = 0;
  for (const LinePoint& point : line) {
    if (point.p50 >= 0) least = std::min(least, point.p50);
    most = std::max(most, point.p99);
  }
  // Two octaves at the least: what hardly moves must not look as if it did.
  const int spare = std::max(0, 16 - (most - least));
  least -= spare / 2;
  most += spare - spare / 2;
  const auto slowest = [&] {
    int found = -1;
    for (const LinePoint& point : line) found = std::max(found, point.p99);
    return found;
  }();
  std::string svg = open_line(
      steps, slowest < 0
                 ? "no requests"
                 : fmt::format("p99 at most {}",
                               duration_text(bucket_middle(static_cast<uint8_t>(slowest)))));
  const int left = left_of(line, steps);
  if (slowest >= 0)
    svg += fmt::format("<path class=\"p50\" d=\"{}\"/><path class=\"p99\" d=\"{}\"/>",
                       quantile_path(line, &LinePoint::p50, left, least, most),
                       quantile_path(line, &LinePoint::p99, left, least, most));
  return svg + "</svg>";
}

std::string comparison_chart(const ComparedArms& comparison) {
  constexpr double row = 16;
  const TimeScale scale = scale_of(comparison);
  std::vector<ComparedEdge> edges = comparison.edges;
  std::ranges::sort(edges, {}, &ComparedEdge::quantile);
  const double strip = 6 + row * static_cast<double>(edges.size());
  const Plot plot{strip + 8, strip + 96};
  std::string svg = open_chart(plot.bottom + 22, describe(comparison));
  const double most =
      std::max({1e-9, largest_share(comparison.canary), largest_share(comparison.baseline)});
  for (const ComparedEdge& edge : edges) {
    const double x = scale.at(edge.veto);
    svg += line_at(x, 2, x, plot.bottom, "guide");
  }
  if (comparison.baseline.total() != 0)
    svg += fmt::format("<path class=\"baseline arm\" d=\"{}\"/>",
                       arm_path(comparison.baseline, most, scale, plot));
  if (comparison.canary.total() != 0)
    svg += fmt::format("<path class=\"canary arm\" d=\"{}\"/>",
                       arm_path(comparison.canary, most, scale, plot));
  svg += time_axis(scale, plot);
  double y = 10;
  for (const ComparedEdge& edge : edges) {
    svg += edge_row(edge, comparison, scale, y);
    y += row;
  }
  return svg + "</svg>";
}

std::string evidence_chart(std::span<const VerdictPoint> points) {
  constexpr double shortest = 60;
  const EvidenceScale scale{std::max<double>(shortest, static_cast<double>(points.size()))};
  std::string svg = open_chart(EvidenceScale::bottom + 22, describe(points));
  svg += line_at(scale.left, scale.y(0), scale.right, scale.y(0), "axis");
  svg += line_at(scale.left, scale.y(1), scale.right, scale.y(1), "limit dashed");
  svg += text_at(scale.left - 4, scale.y(0) + 4, "end", "0");
  svg += text_at(scale.left + 2, scale.y(1) - 4, "start", "enough");
  svg += fmt::format("<path class=\"proof\" d=\"{}\"/><path class=\"against\" d=\"{}\"/>",
                     evidence_path(points, &VerdictPoint::proof, scale),
                     evidence_path(points, &VerdictPoint::against, scale));
  svg += text_at(scale.left, EvidenceScale::bottom + 15, "start",
                 length_text(static_cast<size_t>(scale.seconds)) + " ago");
  svg += text_at(scale.right, EvidenceScale::bottom + 15, "end", "now");
  return svg + "</svg>";
}

std::string meter(double share, std::string_view kind) {
  const double width = 60 * std::clamp(std::isfinite(share) ? share : 0, 0.0, 1.0);
  return fmt::format(
      "<svg class=\"meter\" viewBox=\"0 0 60 6\" aria-hidden=\"true\"><rect width=\"60\" "
      "height=\"6\" rx=\"2\" class=\"rail\"/><rect width=\"{:.1f}\" height=\"6\" rx=\"2\" "
      "class=\"{}\"/></svg>",
      width, kind);
}

}  // namespace slogate
