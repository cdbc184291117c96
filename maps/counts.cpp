// SPDX-License-Identifier: Apache-2.0
#include "maps/counts.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace slogate {
namespace {

// Geometric middles of the buckets in seconds; the last one has no upper edge and reads as its
// lower. A table: every scrape asks for all of them thousands of times.
double middle(size_t bucket) {
  static const auto middles = [] {
    std::array<double, SLOGATE_BUCKETS> all{};
    for (size_t i = 0; i < SLOGATE_EDGES; ++i)
      all[i] = std::exp2((static_cast<double>(i) + SLOGATE_EDGE_FIRST - 0.5) / 8);
    all.back() = bucket_edge(SLOGATE_EDGES - 1);
    return all;
  }();
  return middles[bucket];
}

}  // namespace

Counts& Counts::operator+=(const Counts& other) {
  for (size_t i = 0; i < histograms.size(); ++i) histograms[i] += other.histograms[i];
  for (size_t i = 0; i < counters.size(); ++i) counters[i] += other.counters[i];
  drops += other.drops;
  return *this;
}

Counts& Counts::operator-=(const Counts& before) {
  for (size_t i = 0; i < histograms.size(); ++i) histograms[i] -= before.histograms[i];
  for (size_t i = 0; i < counters.size(); ++i) counters[i] -= before.counters[i];
  drops -= before.drops;
  return *this;
}

bool continues(const Counts& now, const Counts& before) {
  for (size_t i = 0; i < now.counters.size(); ++i)
    if (now.counters[i] < before.counters[i]) return false;
  for (size_t i = 0; i < now.histograms.size(); ++i)
    if (!now.histograms[i].covers(before.histograms[i])) return false;
  return now.drops.covers(before.drops);
}

double bucket_edge(size_t bucket) {
  if (bucket >= SLOGATE_EDGES) return std::numeric_limits<double>::infinity();
  return std::exp2((static_cast<double>(bucket) + SLOGATE_EDGE_FIRST) / 8);
}

uint64_t count(const Histogram& histogram) {
  return histogram.total();
}

double sum(const Histogram& histogram) {
  double total = 0;
  for (size_t i = 0; const uint64_t n : histogram.kept())
    total += static_cast<double>(n) * middle(histogram.first() + i++);
  return total;
}

std::optional<double> quantile(const Histogram& histogram, double q) {
  const uint64_t n = count(histogram);
  if (n == 0) return std::nullopt;
  const auto rank = std::max<uint64_t>(
      1, static_cast<uint64_t>(std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(n))));
  uint64_t seen = 0;
  for (size_t i = 0; i < histogram.size(); ++i) {
    seen += histogram[i];
    if (seen >= rank) return middle(i);
  }
  return middle(histogram.size() - 1);
}

}  // namespace slogate
