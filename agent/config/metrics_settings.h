// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/types.h>

#include <array>
#include <cstddef>
#include <vector>

#include "maps/abi.h"

namespace slogate {

// Upper edges of classic buckets as numbers of the histogram's buckets, ascending.
using ClassicEdges = std::vector<size_t>;

// One edge per octave from 2^-13 s (122 us) to 2^4 s (16 s). Each classic bucket is a series of its
// own, so all 209 edges are out of the question. With one per octave a quantile that Prometheus
// estimates is within a factor of two, enough to see that something moved; native histograms and
// the API have finer ones. Below the first edge lie round trips within a rack and above the last
// requests that nobody waits for: of those it matters how many, not how long. Whole powers of two
// have few decimals.
inline ClassicEdges octaves() {
  constexpr int first = -13, last = 4;
  static_assert(first * 8 >= SLOGATE_EDGE_FIRST && last * 8 <= SLOGATE_EDGE_LAST);
  ClassicEdges edges;
  for (int octave = first; octave <= last; ++octave)
    edges.push_back(static_cast<size_t>(octave * 8 - SLOGATE_EDGE_FIRST));
  return edges;
}

// How much of what was measured /metrics shows; can change while running.
struct MetricsSettings {
  // Of all workloads in one scrape; the agent's own come on top. 100,000 are 700 workloads that do
  // everything there is in text, and 2,400 with native histograms.
  size_t max_series = 100'000;
  std::array<ClassicEdges, SLOGATE_SIGNALS> buckets = [] {
    std::array<ClassicEdges, SLOGATE_SIGNALS> all;
    all.fill(octaves());
    return all;
  }();

  bool operator==(const MetricsSettings&) const = default;
};

}  // namespace slogate
