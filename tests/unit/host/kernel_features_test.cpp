// SPDX-License-Identifier: Apache-2.0
// Which programs are attached to what, by what a kernel has and the configuration wants.
#include "agent/host/kernel_features.h"

#include <gtest/gtest.h>

namespace slogate {
namespace {

constexpr const ProbeInfo& kReader = kProbes[SLOGATE_PROBE_answer_arrived];

KernelFeatures with_tracepoint() {
  KernelFeatures features;
  features.tracepoints.emplace(kReader.tracepoint);
  return features;
}

TEST(Hooks, OfAReaderOfPacketsAreWhereItMayReadThem) {
  KernelFeatures features = with_tracepoint();
  ASSERT_EQ(hooks_of(kReader, features).size(), 1u);
  EXPECT_EQ(hooks_of(kReader, features)[0].target, "tp_btf/tcp_probe");
  features.no_packets = "refused";
  EXPECT_TRUE(hooks_of(kReader, features).empty());
  EXPECT_TRUE(is_wanted(kReader, features));
  EXPECT_EQ(why_no_hooks(kReader, features), "this kernel lets no program read packets: refused");
  features.tracepoints.clear();
  EXPECT_EQ(why_no_hooks(kReader, features), "this kernel has no tracepoint tcp_probe");
}

TEST(Hooks, OfAReaderOfPacketsAreWhereAnswersAreToBeRead) {
  KernelFeatures features = with_tracepoint();
  features.read_answers = false;
  EXPECT_TRUE(hooks_of(kReader, features).empty());
  EXPECT_FALSE(is_wanted(kReader, features));
  EXPECT_EQ(why_no_hooks(kReader, features),
            "not needed: the configuration lets no answers be read");
  // And nothing else goes with it.
  for (const ProbeInfo& probe : kProbes) {
    features.tracepoints.emplace(probe.tracepoint);
    if (probe.reads == Reads::nothing && stood_in_for(probe) == nullptr) {
      EXPECT_FALSE(hooks_of(probe, features).empty()) << probe.name;
    }
  }
}

TEST(Hooks, OfTheInventoryAreOverMapsOrElseOverTheRoll) {
  KernelFeatures features;
  const ProbeInfo &maps = kProbes[SLOGATE_PROBE_inventory],
                  &roll = kProbes[SLOGATE_PROBE_roll_call];
  EXPECT_EQ(hooks_of(maps, features).size(), 1u);
  EXPECT_TRUE(hooks_of(roll, features).empty());
  EXPECT_EQ(why_no_hooks(roll, features), "not needed: inventory does it better");
  features.no_map_iterators = "refused";
  EXPECT_TRUE(hooks_of(maps, features).empty());
  EXPECT_EQ(why_no_hooks(maps, features), "refused");
  EXPECT_EQ(hooks_of(roll, features).size(), 1u);
}

}  // namespace
}  // namespace slogate
