// SPDX-License-Identifier: Apache-2.0
#include "exporter/ledger.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>

#include "tests/support/exposition.h"

namespace slogate {
namespace {

using namespace support;
using namespace std::chrono_literals;

constexpr auto kCounter = SLOGATE_COUNTER_segments_in;

// A ledger with a tick a second and a scraper that reads when it is told to.
class Node {
 public:
  const Sheet& tick(std::vector<Workload> workloads) {
    now_ += 1s;
    sheet_ = ledger_.tick(snapshot_of(std::move(workloads)), read_, now_);
    return *sheet_;
  }
  void scrape() { read_ = sheet_->number; }
  void wait(std::chrono::nanoseconds time) { now_ += time; }

  // What the last sheet has for a path; nothing when it is not in it.
  [[nodiscard]] std::optional<uint64_t> value(const std::string& path) const {
    for (const SheetRow& row : sheet_->rows)
      if (row.labels->front().value == path) return row.counts->counters[kCounter];
    return std::nullopt;
  }

 private:
  Ledger ledger_;
  std::shared_ptr<const Sheet> sheet_;
  uint64_t read_ = 0;
  std::chrono::nanoseconds now_{0};
};

Workload with(uint64_t id, std::string path, uint64_t value, bool gone = false) {
  Workload row = workload(std::move(path), with_counter(kCounter, value), id);
  row.gone = gone;
  return row;
}

TEST(Ledger, SumsWhatSharesALabelSet) {
  Node node;
  node.tick({with(1, "/a", 5), with(2, "/a", 7), with(3, "/b", 1)});
  EXPECT_EQ(node.value("/a"), 12u);
  EXPECT_EQ(node.value("/b"), 1u);
  node.tick({with(1, "/a", 6), with(2, "/a", 7), with(3, "/b", 1)});
  EXPECT_EQ(node.value("/a"), 13u);
}

TEST(Ledger, SharesTheCountsOfWhatIsAlone) {
  Ledger ledger;
  const Workload alone = with(1, "/a", 5);
  const auto sheet = ledger.tick(snapshot_of({alone}), 0, 1s);
  EXPECT_EQ(sheet->rows.front().counts, alone.service) << "10 KB were copied";
}

TEST(Ledger, ANameThatComesLateMovesNothing) {
  Node node;
  node.tick({with(1, "", 5), with(2, "", 7)});
  EXPECT_EQ(node.value("unknown"), 12u);
  node.tick({with(1, "/a", 9), with(2, "", 8)});
  EXPECT_EQ(node.value("unknown"), 13u);
  EXPECT_EQ(node.value("/a"), 4u);
  node.tick({with(1, "/a", 10), with(2, "", 8)});
  EXPECT_EQ(node.value("/a"), 5u);
}

TEST(Ledger, AnIdThatIsUsedAgainIsAnotherCgroup) {
  Node node;
  node.tick({with(1, "/old", 9)});
  node.scrape();
  node.tick({with(1, "/new", 4)});  // in a slot of its own, which begins at zero
  EXPECT_EQ(node.value("/new"), 4u);
  EXPECT_EQ(node.value("/old").value_or(9), 9u);
}

TEST(Ledger, OneOfSeveralThatLeavesTakesNothingAlong) {
  Node node;
  node.tick({with(1, "/a", 5), with(2, "/a", 7)});
  node.tick({with(2, "/a", 8)});
  EXPECT_EQ(node.value("/a"), 13u);
  for (int i = 0; i < 3; ++i) {
    node.scrape();
    node.tick({with(2, "/a", 9)});
    EXPECT_EQ(node.value("/a"), 14u);
  }
}

TEST(Ledger, ACgroupThatLosesItsSlotGoesOn) {
  Node node;
  node.tick({with(1, "/a", 5)});
  node.tick({with(1, "/a", 2)});  // in another slot
  EXPECT_EQ(node.value("/a"), 7u);
  node.tick({with(1, "/a", 0)});  // without one
  node.tick({with(1, "/a", 1)});
  EXPECT_EQ(node.value("/a"), 8u);
}

TEST(Ledger, WhatLivesBetweenTwoScrapesIsReadOnce) {
  Node node;
  node.tick({});
  node.scrape();
  node.tick({with(1, "/job", 5)});
  for (int i = 0; i < 20; ++i) node.tick({});
  EXPECT_EQ(node.value("/job"), 5u);
  node.scrape();
  node.tick({});
  EXPECT_EQ(node.value("/job"), std::nullopt);
}

TEST(Ledger, IsReadOnceMoreWhenItsCgroupIsGone) {
  Node node;
  node.tick({with(1, "/a", 5)});
  node.scrape();
  node.tick({with(1, "/a", 5, true)});
  EXPECT_EQ(node.value("/a"), 5u);
  node.scrape();
  node.tick({with(1, "/a", 5, true)});  // the agent keeps it for maps.grace
  EXPECT_EQ(node.value("/a"), std::nullopt);
}

TEST(Ledger, ComesBackWhereItWasWhileTheSlotIsKept) {
  Node node;
  node.tick({with(1, "/a", 5, true)});
  node.tick({with(1, "/a", 5, true)});
  node.scrape();
  node.tick({with(1, "/a", 5, true)});
  EXPECT_EQ(node.value("/a"), std::nullopt);
  node.tick({with(1, "/a", 6, true)});  // a socket that outlived it
  EXPECT_EQ(node.value("/a"), 6u);
  node.scrape();
  node.tick({with(1, "/a", 6, true)});
  node.scrape();
  node.tick({with(1, "/a", 6, true)});
  EXPECT_EQ(node.value("/a"), std::nullopt);
  node.tick({with(1, "/a", 6, true), with(2, "/a", 1)});  // a container that was started again
  EXPECT_EQ(node.value("/a"), 7u);
}

TEST(Ledger, BeginsAnewWhenForgotten) {
  Node node;
  node.tick({with(1, "/a", 5)});
  node.tick({});
  node.scrape();
  node.tick({});
  EXPECT_EQ(node.value("/a"), std::nullopt);
  node.tick({with(2, "/a", 2)});
  EXPECT_EQ(node.value("/a"), 2u);
}

TEST(Ledger, DoesNotWaitForAScrapeForever) {
  Node node;
  node.tick({with(1, "/a", 5)});
  node.wait(kLongestUnread - 2s);
  node.tick({});
  EXPECT_EQ(node.value("/a"), 5u);
  node.wait(2s);
  node.tick({});
  EXPECT_EQ(node.value("/a"), std::nullopt);
}

// Cgroups come, get their names, lose their slots and go at random; a scraper comes now and then.
// Whatever happens, no label set falls while it is shown, and nothing is booked twice or lost.
TEST(Ledger, NeverFallsAndLosesNothing) {
  std::minstd_rand random(7);
  const auto chance = [&random](unsigned one_in) { return random() % one_in == 0; };
  struct Cgroup {
    uint64_t id, value = 0;
    std::string path, name;
  };
  Node node;
  std::vector<Cgroup> cgroups;
  std::map<std::string, uint64_t> shown;
  uint64_t counted = 0, reported = 0, next_id = 1;
  for (int i = 0; i < 5000; ++i) {
    if (chance(4)) {
      const std::string name = fmt::format("/{}", random() % 6);
      cgroups.push_back({next_id++, 0, chance(2) ? "" : name, name});
    }
    for (Cgroup& cgroup : cgroups) {
      if (chance(5)) cgroup.path = cgroup.name;
      if (chance(50)) {  // its slot is taken away
        cgroup.value = 0;
        continue;
      }
      const uint64_t more = random() % 3;
      cgroup.value += more;
      counted += more;
    }
    std::vector<Workload> workloads;
    workloads.reserve(cgroups.size());
    for (const Cgroup& cgroup : cgroups)
      workloads.push_back(with(cgroup.id, cgroup.path, cgroup.value));
    const Sheet& sheet = node.tick(std::move(workloads));
    std::map<std::string, uint64_t> now;
    for (const SheetRow& row : sheet.rows)
      now[row.labels->front().value] = row.counts->counters[kCounter];
    for (const auto& [path, value] : now) {
      const uint64_t before = shown.contains(path) ? shown[path] : 0;
      ASSERT_GE(value, before) << path << " in tick " << i;
      reported += value - before;
    }
    ASSERT_EQ(reported, counted) << "in tick " << i;
    shown = std::move(now);
    if (chance(3)) node.scrape();
    std::erase_if(cgroups, [&](const Cgroup&) { return chance(30); });
  }
}

}  // namespace
}  // namespace slogate
