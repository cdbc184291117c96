// SPDX-License-Identifier: Apache-2.0
#include "agent/base/work_queue.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <thread>

namespace slogate {
namespace {

using namespace std::chrono_literals;

TEST(WorkQueue, AreDoneByTheOtherThreadWhileTheCallerWaits) {
  auto commands = WorkQueue::make();
  ASSERT_TRUE(commands.has_value());
  const std::thread::id here = std::this_thread::get_id();
  std::thread::id done_by;
  std::jthread caller([&commands, &done_by, here] {
    const auto outcome = commands->run(
        [&done_by]() -> WorkQueue::Outcome {
          done_by = std::this_thread::get_id();
          return "done";
        },
        10s);
    EXPECT_EQ(outcome.value_or(""), "done");
    EXPECT_EQ(done_by, here);
  });
  pollfd ready{commands->poll_fd(), POLLIN, 0};
  ASSERT_EQ(poll(&ready, 1, 10'000), 1);
  commands->work();
}

TEST(WorkQueue, GivenUpWorkIsNotDoneLater) {
  auto commands = WorkQueue::make();
  ASSERT_TRUE(commands.has_value());
  bool done = false;
  const auto outcome = commands->run(
      [&done]() -> WorkQueue::Outcome {
        done = true;
        return "";
      },
      1ms);
  EXPECT_FALSE(outcome.has_value());
  commands->work();
  EXPECT_FALSE(done);
}

}  // namespace
}  // namespace slogate
