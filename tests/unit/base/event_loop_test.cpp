// SPDX-License-Identifier: Apache-2.0
#include "agent/base/event_loop.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <csignal>

namespace slogate {
namespace {

using namespace std::chrono_literals;

TEST(EventLoop, TicksAndEndsWhileSignalsComeWithoutEnd) {
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  auto loop = EventLoop::make(1ms, {SIGHUP, SIGTERM});
  ASSERT_TRUE(loop) << loop.error().line();
  const auto send = [](int signal) { pthread_kill(pthread_self(), signal); };
  int ticks = 0;
  send(SIGHUP);
  const auto done = loop->run({.tick =
                                   [&] {
                                     if (++ticks == 3) send(SIGTERM);
                                   },
                               .signal =
                                   [&](int signal) {
                                     if (signal == SIGHUP) send(SIGHUP);
                                     return signal != SIGTERM;
                                   }});
  EXPECT_TRUE(done);
  EXPECT_EQ(ticks, 3);
  // The last one was never read.
  sigset_t left;
  sigemptyset(&left);
  sigaddset(&left, SIGHUP);
  const timespec at_once{};
  EXPECT_EQ(sigtimedwait(&left, nullptr, &at_once), SIGHUP);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST(EventLoop, TicksAtAnIntervalThatChanges) {
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  auto loop = EventLoop::make(1h, {SIGTERM});
  ASSERT_TRUE(loop) << loop.error().line();
  int ticks = 0;
  const auto began = std::chrono::steady_clock::now();
  const auto done = loop->run({.tick =
                                   [&] {
                                     // The first one comes at once, and the hour is never waited
                                     // for.
                                     EXPECT_TRUE(loop->set_interval(ticks < 3 ? 20ms : 1ms));
                                     if (++ticks == 5) pthread_kill(pthread_self(), SIGTERM);
                                   },
                               .signal = [](int) { return false; }});
  EXPECT_TRUE(done);
  EXPECT_EQ(ticks, 5);
  EXPECT_GE(std::chrono::steady_clock::now() - began, 60ms);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace slogate
