// SPDX-License-Identifier: Apache-2.0
// Clocks that are set, and machines that slept: CLOCK_REALTIME steps while CLOCK_MONOTONIC, which
// the kernel's programs use, goes on.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

TEST(Clock, StepsOfTheRealTimeLoseNothingAndMakeNobodyOlder) {
  const auto agent = start_agent(4096);
  const TestCgroup cgroup;
  const Connection both = connect_both(cgroup, cgroup);
  TickTime time = now();
  uint64_t asked = 0;
  for (const auto step : {0h, -24h, 48h, -1h, 8h}) {
    time.system += step;
    time.monotonic += 1s;
    for (int i = 0; i < 10; ++i, ++asked) exchange(both);
    agent->tick(time);
    const auto snapshot = agent->snapshot();
    const auto found = std::ranges::find(snapshot->workloads, cgroup.id(), &Workload::id);
    ASSERT_NE(found, snapshot->workloads.end());
    EXPECT_EQ(samples(*found->service, SLOGATE_SIGNAL_request), asked);
    EXPECT_FALSE(found->gone);
    EXPECT_EQ(found->server.requests, 0u);
    EXPECT_EQ(snapshot->agent.ticked, time.monotonic);
    for (const uint64_t lost : snapshot->agent.lost) EXPECT_EQ(lost, 0u);
  }
}

}  // namespace
}  // namespace slogate
