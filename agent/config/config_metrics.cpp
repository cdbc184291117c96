// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "agent/base/figures.h"
#include "agent/base/tick_time.h"
#include "agent/config/config_fields.h"
#include "maps/counts.h"
#include "maps/integer.h"

namespace slogate {
namespace {

// Below, an ordinary node's workloads would be left out; above, Prometheus would drown first.
constexpr size_t kLeastSeries = 1000, kMostSeries = 10'000'000;

Result<size_t> parse_max_series(std::string_view text) {
  if (const auto series = parse_integer(text, kLeastSeries, kMostSeries)) return *series;
  return fail(fmt::format("{} is not a limit of series", in_quotes(text)),
              fmt::format("a number from {} to {}", kLeastSeries, kMostSeries));
}

// Three digits name an edge: its neighbours are 9 % away.
constexpr double kNearEnough = 0.005;

std::string edge_text(size_t edge) {
  return duration_text(bucket_edge(edge), kAsConfigured);
}

// Buckets of ours end where Prometheus's native ones do, at 2^(k/8) s; a classic bucket that ended
// elsewhere could only be estimated.
Result<size_t> parse_edge(std::string_view text) {
  const auto duration = parse_duration(text);
  if (!duration) return fail(duration.error());
  const double value = seconds(*duration);
  const double place = value > 0 ? 8 * std::log2(value) - SLOGATE_EDGE_FIRST : 0;
  const auto edge = static_cast<size_t>(std::clamp<double>(place, 0, SLOGATE_EDGES - 1));
  const size_t next = std::min<size_t>(edge + 1, SLOGATE_EDGES - 1);
  for (const size_t near : {edge, next})
    if (std::abs(value / bucket_edge(near) - 1) <= kNearEnough) return near;
  return fail(fmt::format("no bucket ends at {}", in_quotes(text)),
              edge == next ? fmt::format("the last edge is {}", edge_text(edge))
                           : fmt::format("the nearest edges are {} and {}", edge_text(edge),
                                         edge_text(next)));
}

void read_edges(const YamlNode& node, ConfigProblems& problems, ClassicEdges& to) {
  to.clear();
  read_list(node, problems, SLOGATE_EDGES, [&](const YamlNode& item) {
    size_t edge = 0;
    const size_t before = problems.size();
    read_value(item, problems, edge, parse_edge);
    if (problems.size() > before) return;
    if (!to.empty() && edge <= to.back())
      problems.add(item, fmt::format("{} is not above the edge before it", in_quotes(item.text)),
                   "write each edge once, in ascending order");
    else
      to.push_back(edge);
  });
}

}  // namespace

void read_metrics(const YamlNode& node, ConfigProblems& problems, MetricsSettings& to) {
  const auto read_buckets = [&](const YamlNode& buckets) {
    read_fields(buckets, "the classic buckets", problems,
                {
#define SLOGATE_SIGNAL(name, ...)                                    \
  {#name, [&](const YamlNode& edges) {                               \
     read_edges(edges, problems, to.buckets[SLOGATE_SIGNAL_##name]); \
   }},
#include "maps/signals.def"
                });
  };
  read_fields(
      node, "the metrics", problems,
      {{"max_series",
        [&](const YamlNode& v) { read_value(v, problems, to.max_series, parse_max_series); }},
       {"buckets", read_buckets}});
}

}  // namespace slogate
