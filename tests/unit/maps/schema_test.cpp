// SPDX-License-Identifier: Apache-2.0
#include "maps/schema.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace slogate {
namespace {

TEST(Schema, OursIsSoundAndCompatible) {
  const slogate_schema schema = own_schema(42);
  EXPECT_TRUE(check_schema(schema).has_value());
  EXPECT_TRUE(is_compatible(schema));
  EXPECT_STREQ(schema.signal_names[SLOGATE_SIGNAL_rtt], "rtt");
}

TEST(Schema, AnyChangeOfLayoutIsIncompatible) {
  slogate_schema schema = own_schema(42);
  schema.abi += 1;
  EXPECT_FALSE(is_compatible(schema));
  schema = own_schema(42);
  std::strcpy(schema.counter_names[3], "renamed");
  EXPECT_FALSE(is_compatible(schema));
  // A probe or a site more or less, or in another order: runs and losses would be another's.
  schema = own_schema(42);
  schema.tables += 1;
  EXPECT_FALSE(is_compatible(schema));
}

TEST(Schema, RefusesWhatPointsOutsideASlot) {
  const auto refused = [](auto change) {
    slogate_schema schema = own_schema(1);
    change(schema);
    return !check_schema(schema).has_value();
  };
  EXPECT_TRUE(refused([](slogate_schema& s) { s.magic = 0; }));
  EXPECT_TRUE(refused([](slogate_schema& s) { s.counters_offset = 4; }));
  EXPECT_TRUE(refused([](slogate_schema& s) { s.counters_offset = s.slot_bytes; }));
  EXPECT_TRUE(refused([](slogate_schema& s) { s.histograms_offset = UINT32_MAX - 7; }));
  EXPECT_TRUE(refused([](slogate_schema& s) { s.signals = 1000; }));
  EXPECT_TRUE(refused([](slogate_schema& s) { s.buckets = 1; }));
  EXPECT_TRUE(refused([](slogate_schema& s) { s.slot_bytes = 12; }));
  EXPECT_TRUE(refused([](slogate_schema& s) { s.chunk_slots = 0; }));
}

// A layout with another order, fewer buckets and a signal we do not have.
TEST(Schema, ReadsAnotherLayoutByName) {
  slogate_schema schema = own_schema(1);
  std::memset(schema.counter_names, 0, sizeof(schema.counter_names));
  std::memset(schema.signal_names, 0, sizeof(schema.signal_names));
  schema.counters = 2;
  schema.counters_offset = 0;
  std::strcpy(schema.counter_names[0], "resets_in");
  std::strcpy(schema.counter_names[1], "of_the_future");
  schema.drops = 3;
  schema.drops_offset = 2 * 8;
  schema.signals = 2;
  schema.buckets = 4;
  schema.histograms_offset = 5 * 8;
  schema.edge_first = SLOGATE_EDGE_FIRST + 10;
  std::strcpy(schema.signal_names[0], "of_the_future");
  std::strcpy(schema.signal_names[1], "queue");
  schema.slot_bytes = (5 + 2 * 4) * 8;
  ASSERT_TRUE(check_schema(schema).has_value());

  const std::vector<__u64> words = {7,
                                    9,
                                    /*drops*/ 0,
                                    1,
                                    2,
                                    /*future*/ 1,
                                    1,
                                    1,
                                    1,
                                    /*queue*/ 10,
                                    20,
                                    30,
                                    40};
  Counts counts;
  add_foreign(schema, words, counts);
  Counts wanted;
  wanted.counters[SLOGATE_COUNTER_resets_in] = 7;
  wanted.drops[1] = 1;
  wanted.drops[2] = 2;
  Histogram& queue = wanted.histograms[SLOGATE_SIGNAL_queue];
  queue[10] = 10;
  queue[11] = 20;
  queue[12] = 30;
  queue[SLOGATE_BUCKETS - 1] = 40;  // the last one has no upper edge in any layout
  EXPECT_EQ(counts, wanted);
}

}  // namespace
}  // namespace slogate
