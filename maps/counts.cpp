// SPDX-License-Identifier: Apache-2.0
#include "maps/counts.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

namespace slogate {
namespace {

template <size_t N, typename Operation>
void combine(std::array<uint64_t, N>& to, const std::array<uint64_t, N>& from,
             Operation operation) {
  std::transform(to.begin(), to.end(), from.begin(), to.begin(), operation);
}

template <typename Operation>
void combine(Counts& to, const Counts& from, Operation operation) {
  for (size_t i = 0; i < to.histograms.size(); ++i)
    combine(to.histograms[i], from.histograms[i], operation);
  combine(to.counters, from.counters, operation);
  combine(to.drops, from.drops, operation);
}

// Without a branch for each word: this is done for everything that changed in a tick.
template <size_t N>
bool any_fell(const std::array<uint64_t, N>& now, const std::array<uint64_t, N>& before) {
  bool fell = false;
  for (size_t i = 0; i < N; ++i) fell |= now[i] < before[i];
  return fell;
}

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
  combine(*this, other, std::plus<>());
  return *this;
}

Counts& Counts::operator-=(const Counts& before) {
  combine(*this, before, std::minus<>());
  return *this;
}

bool continues(const Counts& now, const Counts& before) {
  if (any_fell(now.counters, before.counters) || any_fell(now.drops, before.drops)) return false;
  for (size_t i = 0; i < now.histograms.size(); ++i)
    if (any_fell(now.histograms[i], before.histograms[i])) return false;
  return true;
}

double bucket_edge(size_t bucket) {
  if (bucket >= SLOGATE_EDGES) return std::numeric_limits<double>::infinity();
  return std::exp2((static_cast<double>(bucket) + SLOGATE_EDGE_FIRST) / 8);
}

uint64_t count(const Histogram& histogram) {
  return std::accumulate(histogram.begin(), histogram.end(), uint64_t{0});
}

double sum(const Histogram& histogram) {
  double total = 0;
  for (size_t i = 0; i < histogram.size(); ++i)
    if (histogram[i] != 0) total += static_cast<double>(histogram[i]) * middle(i);
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
