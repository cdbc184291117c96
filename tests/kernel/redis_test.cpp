// SPDX-License-Identifier: Apache-2.0
// redis-server under redis-benchmark.
#include "tests/kernel/real_server.h"

namespace slogate {
namespace {

class Redis : public RealServer {};

TEST_F(Redis, AnswersAMillionRequestsAndNoneIsLost) {
  if (!have({"redis-server", "redis-benchmark"})) GTEST_SKIP() << "redis is not installed";
  constexpr uint64_t kRequests = 1'000'000;
  const uint16_t port = free_port();
  Program redis(server_, {find_program("redis-server"), "--port", std::to_string(port), "--bind",
                          kLoopback, "--save", "", "--appendonly", "no", "--dir", files_.path()});
  redis.wait_until_listening(port);
  Program benchmark(
      client_, {find_program("redis-benchmark"), "-h", kLoopback, "-p", std::to_string(port), "-n",
                std::to_string(kRequests), "-c", "50", "-t", "get", "-q"});
  benchmark.finish(std::chrono::seconds(240));

  // Before its 50 connections it asks, on one of its own and in one go, for two settings to print:
  // one exchange for each of the million, and one for these two.
  constexpr uint64_t kSettings = 2;
  expect_everywhere(kRequests + 1);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 51u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 51u);
  EXPECT_EQ(unanswered(server_counts()) + unanswered(client_counts()), 0u);
  EXPECT_EQ(errors(server_counts()) + errors(client_counts()), 0u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_overlapped), 0u);
  // Nobody has set what it gets. The two settings are an array each, of which the first is told.
  if (!hooks_of(kProbes[SLOGATE_PROBE_send_locked], features_of(Mode::Locked)).empty()) {
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_server_redis_miss), kRequests);
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_server_redis_success), 1u);
  }
  const std::string calls = ask(port, "INFO commandstats\r\n", 100);
  EXPECT_EQ(number_after(calls, "cmdstat_get:calls="), kRequests);
  EXPECT_EQ(number_after(calls, "cmdstat_config|get:calls="), kSettings);
}

}  // namespace
}  // namespace slogate
