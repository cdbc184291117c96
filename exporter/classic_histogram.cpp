// SPDX-License-Identifier: Apache-2.0
#include "exporter/classic_histogram.h"

#include <limits>

namespace slogate {
namespace {

// The classic buckets: one edge per octave from 2^-13 s (122 us) to 2^4 s (16 s). Each bucket is a
// series of its own, so all 209 edges are out of the question. With one per octave a quantile that
// Prometheus estimates is within a factor of two, enough to see that something moved; the API has
// finer ones. Below the first edge lie round trips within a rack and above the last requests that
// nobody waits for: of those it matters how many, not how long. Whole powers of two have few
// decimals and so read back as the same number; and as edges of ours, upper edge included, they
// make the cumulative counts exact.
constexpr int kFirstOctave = -13;
constexpr int kLastOctave = 4;
static_assert(kFirstOctave * 8 >= SLOGATE_EDGE_FIRST && kLastOctave * 8 <= SLOGATE_EDGE_LAST);

}  // namespace

prometheus::ClientMetric::Histogram to_classic(const Histogram& histogram) {
  prometheus::ClientMetric::Histogram classic;
  uint64_t seen = 0;
  size_t bucket = 0;
  for (int octave = kFirstOctave; octave <= kLastOctave; ++octave) {
    const auto edge = static_cast<size_t>(octave * 8 - SLOGATE_EDGE_FIRST);
    for (; bucket <= edge; ++bucket) seen += histogram[bucket];
    classic.bucket.push_back({seen, bucket_edge(edge)});
  }
  classic.sample_count = count(histogram);
  classic.sample_sum = sum(histogram);
  classic.bucket.push_back({classic.sample_count, std::numeric_limits<double>::infinity()});
  return classic;
}

}  // namespace slogate
