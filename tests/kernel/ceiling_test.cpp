// SPDX-License-Identifier: Apache-2.0
// Ten times as many active cgroups as the maps may hold.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

constexpr size_t kSlots = 4 * SLOGATE_CHUNK_SLOTS;  // room for a little more than 100
constexpr size_t kCgroups = 1000;
constexpr size_t kBusyEvery = 16;  // one cgroup in so many sends 20 times as many requests
constexpr int kBusyRequests = 20, kSeconds = 10;

struct Member {
  TestCgroup cgroup;
  Connection both = connect_both(cgroup, cgroup);
};

bool is_busy(size_t member) {
  return member % kBusyEvery == 0;
}

uint64_t requests(const Counts& counts) {
  return samples(counts, SLOGATE_SIGNAL_request);
}

const Workload* find(const Snapshot& snapshot, const TestCgroup& cgroup) {
  const auto found = std::ranges::find(snapshot.workloads, cgroup.id(), &Workload::id);
  return found == snapshot.workloads.end() ? nullptr : &*found;
}

TEST(Ceiling, OfAHundredKeepsTheBusiestOfAThousandAndCountsTheRest) {
  const auto started = start_agent(kSlots);
  Agent& agent = *started;

  std::vector<std::unique_ptr<Member>> members;
  for (size_t i = 0; i < kCgroups; ++i) members.push_back(std::make_unique<Member>());
  uint64_t sent = 0;
  TickTime time = now();
  std::shared_ptr<const Snapshot> before;
  for (int second = 0; second < kSeconds; ++second) {
    for (size_t i = 0; i < kCgroups; ++i)
      for (int n = 0; n < (is_busy(i) ? kBusyRequests : 1); ++n, ++sent) exchange(members[i]->both);
    before = agent.snapshot();
    agent.tick(time);
    time.monotonic += 1s;
  }
  const auto snapshot = agent.snapshot();
  EXPECT_LE(snapshot->maps.front().capacity, kSlots);

  // Each busy one has a slot, and everything it did in the last second is there.
  for (size_t i = 0; i < kCgroups; i += kBusyEvery) {
    const Workload* then = find(*before, members[i]->cgroup);
    const Workload* latest = find(*snapshot, members[i]->cgroup);
    ASSERT_TRUE(then != nullptr && latest != nullptr) << i;
    EXPECT_EQ(requests(*latest->service) - requests(*then->service),
              static_cast<uint64_t>(kBusyRequests))
        << i;
  }
  // And what is not in its place is in another one, known as lost. Whoever else uses TCP on this
  // machine may be among those.
  uint64_t counted = requests(*snapshot->removed) + requests(*snapshot->unattributed);
  for (const auto& member : members)
    if (const Workload* workload = find(*snapshot, member->cgroup))
      counted += requests(*workload->service);
  EXPECT_GE(counted, sent);
  EXPECT_LE(counted, sent + sent / 10);
  EXPECT_GE(snapshot->agent.lost[SLOGATE_SITE_no_slot], requests(*snapshot->unattributed));
  EXPECT_TRUE(
      std::ranges::any_of(snapshot->workloads, [](const Workload& w) { return w.lost > 0; }));
}

}  // namespace
}  // namespace slogate
