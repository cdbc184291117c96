// SPDX-License-Identifier: Apache-2.0
// What tests trust to be right themselves: service times, exact quantiles, message framing, child
// processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tests/support/cgroup.h"
#include "tests/support/clock.h"
#include "tests/support/frame.h"
#include "tests/support/latencies.h"
#include "tests/support/process.h"
#include "tests/support/service.h"

namespace slogate::support {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

TEST(SupportDuration, ReadsUnits) {
  struct Row {
    const char* text;
    Nanoseconds value;
  };
  const Row rows[] = {{"2ms", 2ms},   {"1.5s", 1500ms}, {"100us", 100us},
                      {"20ns", 20ns}, {"1m", 1min},     {"0ms", 0ns}};
  for (const Row& row : rows) EXPECT_EQ(parse_duration(row.text).value(), row.value) << row.text;
}

TEST(SupportDuration, RefusesWhatIsNone) {
  for (const char* text : {"", "ms", "2", "-2ms", "2 ms", "2msec", "1.2.3s", "9999999s", "1e3ms"})
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
}

std::vector<int64_t> draw(ServiceTimes& times, int number, Nanoseconds since_start = 0ns) {
  std::vector<int64_t> drawn;
  for (int i = 0; i < number; ++i) drawn.push_back(times.next(since_start).count());
  return drawn;
}

Latencies to_latencies(const std::vector<int64_t>& values) {
  Latencies all;
  for (const int64_t value : values) all.add(Nanoseconds(value));
  return all;
}

TEST(SupportService, ConstantAndListAreWhatTheySay) {
  ServiceTimes constant(read_distribution("constant:2ms").value(), {}, 1);
  EXPECT_THAT(draw(constant, 2), ElementsAre(2'000'000, 2'000'000));
  ServiceTimes list(parse_list("# ms\n1ms\n\n3ms\n").value(), {}, 1);
  EXPECT_THAT(draw(list, 3), ElementsAre(1'000'000, 3'000'000, 1'000'000));
}

// Bounds are five standard errors of 100,000 draws.
TEST(SupportService, LognormalHasItsQuantiles) {
  ServiceTimes times(read_distribution("lognormal:2:0.5").value(), {}, 7);
  const Latencies all = to_latencies(draw(times, 100'000));
  EXPECT_NEAR(static_cast<double>(all.quantile(0.5).count()), 2e6, 0.02e6);
  // exp(ln 2 ms + 0.5 * 2.3263)
  EXPECT_NEAR(static_cast<double>(all.quantile(0.99).count()), 6.401e6, 0.19e6);
}

TEST(SupportService, StepsHaveTheirShares) {
  ServiceTimes times(read_distribution("steps:2ms*0.5,10ms*0.4,50ms*0.1").value(), {}, 7);
  std::map<int64_t, int> seen;
  for (const int64_t ns : draw(times, 100'000)) ++seen[ns];
  EXPECT_EQ(seen.size(), 3U);
  EXPECT_NEAR(seen[2'000'000], 50'000, 800);
  EXPECT_NEAR(seen[10'000'000], 40'000, 780);
  EXPECT_NEAR(seen[50'000'000], 10'000, 480);
}

TEST(SupportService, TheSeedDecidesAndChangesDoNotDisturbIt) {
  const Distribution distribution = read_distribution("lognormal:2ms:1").value();
  ServiceTimes plain(distribution, {}, 3), again(distribution, {}, 3), other(distribution, {}, 4);
  ServiceTimes slow(distribution, {parse_slow_after("20:2").value()}, 3);
  const std::vector<int64_t> first = draw(plain, 50);
  EXPECT_EQ(first, draw(again, 50));
  EXPECT_NE(first, draw(other, 50));
  EXPECT_EQ(first, draw(slow, 50, 19s));
  const std::vector<int64_t> next = draw(plain, 50), slowed = draw(slow, 50, 20s);
  for (size_t i = 0; i < next.size(); ++i)
    EXPECT_NEAR(static_cast<double>(slowed[i]), 2.0 * static_cast<double>(next[i]), 1.1);
}

TEST(SupportService, ATailIsAShare) {
  ServiceTimes times(Constant{1ms}, {parse_tail_after("5:0.1:10").value()}, 1);
  EXPECT_EQ(std::ranges::count(draw(times, 1'000, 4s), 10'000'000), 0);
  EXPECT_NEAR(static_cast<double>(std::ranges::count(draw(times, 10'000, 5s), 10'000'000)), 1'000,
              150);
}

TEST(SupportService, RefusesWhatCannotBeMeant) {
  for (const char* text : {"", "constant", "constant:2", "lognormal:0ms:1", "lognormal:2ms",
                           "steps:1ms*0.5", "steps:", "list:/does/not/exist", "uniform:2ms"})
    EXPECT_FALSE(read_distribution(text).has_value()) << text;
  EXPECT_FALSE(parse_list("# nothing\n").has_value());
  EXPECT_FALSE(parse_slow_after("20").has_value());
  EXPECT_EQ(parse_slow_at("1700000010:2", 1'700'000'000s).value().after, 10s);
  EXPECT_EQ(parse_slow_at("5:2", 7s).value().after, 0s);
  EXPECT_FALSE(parse_slow_at("5", 7s).has_value());
  EXPECT_FALSE(parse_tail_after("20:2:2").has_value());
}

TEST(SupportLatencies, QuantilesAreNearestRank) {
  Latencies all;
  for (int i = 1000; i >= 1; --i) all.add(Nanoseconds(i));
  const nlohmann::ordered_json json = all.to_json();
  EXPECT_EQ(json.dump(),
            R"({"count":1000,"sum_ns":500500,"min_ns":1,"p50_ns":500,"p90_ns":900,"p99_ns":990,)"
            R"("p999_ns":999,"max_ns":1000,"unrecorded":0})");
  EXPECT_EQ(Latencies().to_json()["max_ns"], 0);
}

// The same two messages, whatever the pieces they come in.
TEST(SupportFramer, FindsMessagesInAnyPieces) {
  std::vector<char> bytes(100 + kDefaultSize, 'x');
  put_header(bytes, 7, 100);
  put_header(std::span(bytes).subspan(100), 8, 0);
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    Framer framer;
    std::vector<Frame> done;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const size_t size = std::min(piece, bytes.size() - at);
      ASSERT_TRUE(framer.feed(std::span(bytes).subspan(at, size),
                              Deadline(Nanoseconds(static_cast<int64_t>(at))), done));
    }
    ASSERT_EQ(done.size(), 2U) << piece;
    EXPECT_EQ(done[0].id, 7U);
    EXPECT_EQ(done[1].id, 8U);
    EXPECT_EQ(done[0].first.time_since_epoch().count(), 0);
    EXPECT_EQ(static_cast<size_t>(done[0].last.time_since_epoch().count()), 99 / piece * piece);
    EXPECT_EQ(static_cast<size_t>(done[1].first.time_since_epoch().count()), 100 / piece * piece);
    EXPECT_TRUE(framer.idle());
  }
}

TEST(SupportFramer, RefusesASizeThatCannotBe) {
  std::vector<char> bytes(kHeaderSize);
  std::vector<Frame> done;
  for (const uint64_t size : {uint64_t{1}, uint64_t{15}, uint64_t{1} << 40}) {
    put_header(bytes, 1, size);
    EXPECT_FALSE(Framer().feed(bytes, {}, done)) << size;
  }
}

TEST(SupportCgroup, FindsTheMountOfVersion2) {
  EXPECT_EQ(parse_cgroup2_mount("tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
                                "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
                                "cgroup2 /sys/fs/my\\040cgroup cgroup2 rw 0 0\n")
                .value(),
            "/sys/fs/my cgroup");
  EXPECT_FALSE(parse_cgroup2_mount("proc /proc proc rw 0 0\n").has_value());
}

TEST(SupportProcess, ReadsLinesAndTheExitCode) {
  auto process = Process::spawn({"sh", "-c", "echo one; echo ready 17; echo two; exit 3"}).value();
  EXPECT_EQ(process.wait_for_line("ready", within(5s)).value(), "ready 17");
  EXPECT_FALSE(process.wait_for_line("ready", within(5s)).has_value());
  EXPECT_EQ(process.wait(within(5s)).value(), 3);
  EXPECT_EQ(process.output(), "one\nready 17\ntwo\n");
}

TEST(SupportProcess, SaysWhyItCannotStart) {
  EXPECT_FALSE(Process::spawn({"/does/not/exist"}).has_value());
  EXPECT_FALSE(Process::spawn({}).has_value());
}

TEST(SupportProcess, WaitingHasAnEnd) {
  auto process = Process::spawn({"sleep", "60"}).value();
  EXPECT_FALSE(process.wait_for_line("ready", within(20ms)).has_value());
  EXPECT_FALSE(process.wait(within(20ms)).has_value());
  EXPECT_EQ(process.terminate().value(), 128 + SIGTERM);
}

TEST(SupportProcess, NothingOutlivesTheObject) {
  pid_t pid = 0;
  {
    const auto process = Process::spawn({"sleep", "60"}).value();
    pid = process.pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(SupportProcess, RunsAFunction) {
  auto process = Process::run([](int out) {
                   ::dprintf(out, "ready\n");
                   return 4;
                 }).value();
  EXPECT_EQ(process.wait(within(5s)).value(), 4);
  EXPECT_EQ(process.output(), "ready\n");
}

}  // namespace
}  // namespace slogate::support
