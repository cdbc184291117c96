// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "maps/counts.h"

namespace slogate {
namespace {

// The definition, against which the fast version is held.
uint32_t slow_bucket(uint64_t ns) {
  uint32_t bucket = 0;
  while (bucket < SLOGATE_EDGES && ns > slogate_edge_ns[bucket]) ++bucket;
  return bucket;
}

TEST(Histogram, EdgesAreTheFloorOfPowersOfTwoInSeconds) {
  for (int i = 0; i < SLOGATE_EDGES; ++i) {
    const long double edge = std::exp2l((i + SLOGATE_EDGE_FIRST) / 8.0L) * 1e9L;
    // A long double is exact to 1e-8 ns here; no edge but the whole ones comes that near to an
    // integer from below.
    EXPECT_EQ(slogate_edge_ns[i], static_cast<uint64_t>(std::floor(edge + 1e-7L))) << i;
  }
}

TEST(Histogram, FastBucketAgreesWithTheDefinition) {
  for (uint64_t ns = 0; ns < 300'000; ++ns) ASSERT_EQ(slogate_bucket(ns), slow_bucket(ns)) << ns;
  for (const uint64_t edge : slogate_edge_ns)
    for (uint64_t ns = edge - 3; ns <= edge + 3; ++ns)
      ASSERT_EQ(slogate_bucket(ns), slow_bucket(ns)) << ns;
  for (int octave = 4; octave < 64; ++octave)
    for (uint64_t cell = 0; cell < 16; ++cell) {
      const uint64_t start = (uint64_t{1} << octave) + (cell << (octave - 4));
      for (uint64_t ns = start - 2; ns <= start + 2; ++ns)
        ASSERT_EQ(slogate_bucket(ns), slow_bucket(ns)) << ns;
    }
  EXPECT_EQ(slogate_bucket(UINT64_MAX), SLOGATE_BUCKETS - 1);
}

TEST(Histogram, QuantileIsWithinFourAndAHalfPercent) {
  Histogram histogram{};
  for (uint64_t us = 1; us <= 10'000; ++us) ++histogram[slogate_bucket(us * 1000)];
  EXPECT_EQ(count(histogram), 10'000u);
  for (const double q : {0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const double truth = q * 10'000 * 1e-6;
    EXPECT_NEAR(quantile(histogram, q).value(), truth, truth * 0.045) << q;
  }
  EXPECT_NEAR(sum(histogram), 50.005, 50.005 * 0.005);
}

TEST(Histogram, EmptyAndBeyondTheLastEdge) {
  Histogram histogram{};
  EXPECT_FALSE(quantile(histogram, 0.5).has_value());
  EXPECT_EQ(sum(histogram), 0);
  histogram[SLOGATE_BUCKETS - 1] = 1;
  EXPECT_EQ(quantile(histogram, 0.5).value(), 64.0);
  EXPECT_TRUE(std::isinf(bucket_edge(SLOGATE_BUCKETS - 1)));
  EXPECT_EQ(bucket_edge(SLOGATE_BUCKETS - 2), 64.0);
}

TEST(Abi, ASlotStaysWithinFourteenKiBWithItsIndexEntry) {
  // 8 (next, hash) + 16 (list) + 16 (key) + 8 (value) of a hash element, rounded up, one bucket
  // head, and its place in the queue of free slots.
  EXPECT_LE(sizeof(slogate_slot) + 64 + 16 + 8, 14 * 1024u);
}

TEST(Counts, AddUp) {
  Counts a, b;
  a.histograms[SLOGATE_SIGNAL_request][7] = 3;
  b.histograms[SLOGATE_SIGNAL_request][7] = 4;
  b.counters[SLOGATE_COUNTER_retransmits] = 5;
  b.drops[2] = 6;
  a += b;
  EXPECT_EQ(a.histograms[SLOGATE_SIGNAL_request][7], 7u);
  EXPECT_EQ(a.counters[SLOGATE_COUNTER_retransmits], 5u);
  EXPECT_EQ(a.drops[2], 6u);
}

}  // namespace
}  // namespace slogate
