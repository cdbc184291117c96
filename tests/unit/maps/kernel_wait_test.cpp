// SPDX-License-Identifier: Apache-2.0
#include "maps/kernel_wait.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

namespace slogate {
namespace {

// Polls until nothing is under way.
Result<void> wait_for_all(KernelWait& waits) {
  Result<void> outcome;
  while (!waits.idle()) {
    if (auto done = waits.poll(); !done) outcome = done;
    std::this_thread::yield();
  }
  return outcome;
}

TEST(KernelWait, WithoutThreadsEverythingIsDoneAtOnce) {
  KernelWait waits;
  int step = 0;
  const auto done = waits.run(
      [&step]() -> Result<void> {
        EXPECT_EQ(step++, 0);
        return fail("no");
      },
      [&step](const Result<void>& outcome) {
        EXPECT_EQ(step++, 1);
        return outcome;
      });
  EXPECT_EQ(step, 2);
  EXPECT_FALSE(done);
  EXPECT_TRUE(waits.idle());
}

TEST(KernelWait, WithThreadsTheCallerGoesOnAndFinishesLater) {
  KernelWait waits;
  waits.use_threads();
  std::promise<void> kernel;
  const std::thread::id here = std::this_thread::get_id();
  bool finished = false;
  const auto begun = waits.run(
      [&kernel, here]() -> Result<void> {
        EXPECT_NE(std::this_thread::get_id(), here);
        kernel.get_future().wait();
        return {};
      },
      [&finished, here](const Result<void>& outcome) {
        EXPECT_EQ(std::this_thread::get_id(), here);
        finished = true;
        return outcome;
      });
  EXPECT_TRUE(begun);
  EXPECT_TRUE(waits.poll());
  EXPECT_FALSE(finished);
  EXPECT_FALSE(waits.idle());
  kernel.set_value();
  EXPECT_TRUE(wait_for_all(waits));
  EXPECT_TRUE(finished);
}

TEST(KernelWait, FinishingMayBeginSomethingNewAndErrorsAreTold) {
  KernelWait waits;
  waits.use_threads();
  bool second = false;
  const auto call = []() -> Result<void> { return {}; };
  const auto begun = waits.run(call, [&](const Result<void>&) -> Result<void> {
    return waits.run(call, [&second](const Result<void>&) -> Result<void> {
      second = true;
      return fail("in the end");
    });
  });
  EXPECT_TRUE(begun);
  const auto outcome = wait_for_all(waits);
  EXPECT_TRUE(second);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message, "in the end");
}

}  // namespace
}  // namespace slogate
