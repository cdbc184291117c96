// SPDX-License-Identifier: Apache-2.0
// The maps' life: what must not lose or double a count while requests are answered.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <filesystem>
#include <map>
#include <set>

#include "agent/measure/probes.h"
#include "maps/bpf_map.h"
#include "maps/maps.h"
#include "maps/schema.h"
#include "maps/shared_maps.h"
#include "tests/kernel/tcp.h"
#include "tests/kernel/traffic.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// Unwraps what a test cannot go on without.
template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().line());
  return std::move(*result);
}
void must(const Result<void>& result) {
  if (!result) throw std::runtime_error(result.error().line());
}

const KernelFeatures& features() {
  static const KernelFeatures features = must(read_kernel_features());
  return features;
}

std::chrono::system_clock::time_point now() {
  return std::chrono::system_clock::now();
}

uint64_t requests(const Counts& counts) {
  return count(counts.histograms[SLOGATE_SIGNAL_request]);
}

// Everything a cgroup's slots hold at the moment.
Counts counts_of(const Maps& maps, uint64_t cgroup) {
  Counts sum, counts;
  for (size_t i = SLOGATE_FIRST_SLOT; i < maps.slab().slots(); ++i) {
    if (maps.slab().owner(i).cgroup != cgroup) continue;
    maps.slab().copy(i, counts);
    sum += counts;
  }
  return sum;
}

// And what was taken away from it, if it is the only one whose slots were.
uint64_t all_requests(const Maps& maps, uint64_t cgroup) {
  return requests(counts_of(maps, cgroup)) + requests(maps.slab().totals()) +
         requests(maps.slab().unattributed());
}

std::vector<Leaver> slots_of(const Maps& maps, uint64_t cgroup) {
  std::vector<Leaver> slots;
  for (size_t i = SLOGATE_FIRST_SLOT; i < maps.slab().slots(); ++i)
    if (maps.slab().owner(i).cgroup == cgroup) slots.push_back({i});
  return slots;
}

// Programs by their pins, held so that one can ask in the end what the kernel left out of them.
class HeldPrograms {
 public:
  void take(const PinDir& pins) {
    for (const std::string& name : pins.names())
      if (name.starts_with("program_")) programs_[name] = must(pins.get(name));
  }
  [[nodiscard]] uint64_t missed() const {
    uint64_t sum = 0;
    for (const auto& [name, program] : programs_) sum += missed_runs(program.get()).value();
    return sum;
  }

 private:
  std::map<std::string, Fd> programs_;
};

// A pin directory of the test's own, gone afterwards.
class Pins : public testing::Test {
 protected:
  void SetUp() override { path_ = fmt::format("/sys/fs/bpf/slogate-test-{}", getpid()); }
  void TearDown() override {
    std::error_code error;
    if (!std::filesystem::exists(path_, error)) return;
    must(must(PinDir::open(path_)).remove_all());
  }
  std::string path_;
};

// A map that bpf/maps.h declares is shared with every program; none is left out of what is shown.
TEST(MapsStatus, HasEverySharedMap) {
  const Maps maps = must(Maps::open());
  std::set<std::string> shown, shared;
  for (const MapStatus& row : maps.status({})) shown.insert(row.name);
  for (const std::string& name : must(shared_map_names())) {
    shared.insert(name);
    EXPECT_GE(maps.fd(name), 0) << name;
  }
  EXPECT_EQ(shown, shared);
}

TEST(Release, CountsEveryRequestOnceWhileItsOwnerKeepsLosingTheSlot) {
  Maps maps = must(Maps::open());
  const Probes probes = must(Probes::attach(maps, features()));
  const TestCgroup cgroup;
  Traffic traffic(cgroup);
  for (int i = 0; i < 50; ++i) {
    must(maps.slab().release(slots_of(maps, cgroup.id())));
    usleep(1000);
  }
  const uint64_t answered = traffic.stop();
  expect_all_counted(all_requests(maps, cgroup.id()), answered, all_missed(probes.missed()));
  EXPECT_EQ(requests(maps.slab().unattributed()), 0u);
  EXPECT_EQ(maps.control().lost(SLOGATE_SITE_no_slot), 0u);
  EXPECT_GT(requests(maps.slab().totals()), 0u);
}

// `tools/bench maps` does it a hundred times: on a busy machine the kernel takes a tenth of a
// second to wait for running programs.
TEST(Resize, UnderLoadLosesNothing) {
  Maps maps = must(Maps::open());
  const Probes probes = must(Probes::attach(maps, features()));
  const TestCgroup cgroup;
  Traffic traffic(cgroup);
  for (int i = 0; i < 8; ++i) {
    must(maps.resizer().resize(SLOGATE_CHUNK_SLOTS * 4, "test", now()));
    must(maps.resizer().resize(SLOGATE_CHUNK_SLOTS, "test", now()));
    must(maps.resizer().resize_index(i % 2 == 0 ? 4096 : 256, "test", now()));
  }
  const uint64_t answered = traffic.stop();
  expect_all_counted(requests(counts_of(maps, cgroup.id())), answered, all_missed(probes.missed()));
  EXPECT_EQ(maps.slab().slots(), static_cast<size_t>(SLOGATE_CHUNK_SLOTS));
}

// As the agent does it: nothing waits, and what is under way when the next change comes goes on.
TEST(Resize, AndReleaseOnThreadsUnderLoadLoseNothing) {
  Maps maps = must(Maps::open());
  const Probes probes = must(Probes::attach(maps, features()));
  maps.resizer().wait_on_threads();
  const TestCgroup cgroup;
  Traffic traffic(cgroup);
  for (int i = 0; i < 100; ++i) {
    must(maps.resizer().resize(SLOGATE_CHUNK_SLOTS * (i % 2 == 0 ? 9 : 2), "test", now()));
    must(maps.resizer().resize_index(i % 3 == 0 ? 4096 : 2048, "test", now()));
    must(maps.slab().release(slots_of(maps, cgroup.id())));
    usleep(5'000);
  }
  EXPECT_TRUE(eventually(
      [&] {
        must(maps.resizer().go_on(now()));
        return maps.resizer().is_settled();
      },
      30s));
  const uint64_t answered = traffic.stop();
  expect_all_counted(all_requests(maps, cgroup.id()), answered, all_missed(probes.missed()));
  EXPECT_EQ(maps.control().lost(SLOGATE_SITE_no_slot), 0u);
  EXPECT_GT(maps.resizer().resizes().size(), 4u);
}

TEST(Resize, NewOwnersWhileTheSizeChangesAllFindASlot) {
  Maps maps = must(Maps::open());
  const Probes probes = must(Probes::attach(maps, features()));
  must(maps.resizer().resize(SLOGATE_CHUNK_SLOTS * 4, "test", now()));
  std::vector<std::unique_ptr<TestCgroup>> cgroups;
  for (int i = 0; i < 200; ++i) {
    if (i % 10 == 0)
      must(maps.resizer().resize(SLOGATE_CHUNK_SLOTS * (i % 20 == 0 ? 7 : 11), "test", now()));
    if (i % 15 == 0) must(maps.resizer().resize_index(i % 30 == 0 ? 64 : 4096, "test", now()));
    cgroups.push_back(std::make_unique<TestCgroup>());
    exchange(connect_both(*cgroups.back(), *cgroups.back()));
    must(maps.resizer().resize(maps.slab().slots(), "", now()));
  }
  for (const auto& cgroup : cgroups) EXPECT_EQ(requests(counts_of(maps, cgroup->id())), 1u);
  EXPECT_EQ(requests(maps.slab().unattributed()), 0u);
  for (const slogate_site site : {SLOGATE_SITE_no_slot, SLOGATE_SITE_index_full})
    EXPECT_EQ(maps.control().lost(site), 0u);
}

TEST(Ceiling, WhatFindsNoSlotIsCountedAndNamed) {
  Maps maps = must(Maps::open());
  const Probes probes = must(Probes::attach(maps, features()));
  std::vector<std::unique_ptr<TestCgroup>> cgroups;
  for (unsigned i = 0; i < SLOGATE_CHUNK_SLOTS; ++i) {
    cgroups.push_back(std::make_unique<TestCgroup>());
    exchange(connect_both(*cgroups.back(), *cgroups.back()));
  }
  // The last few had none, and the requests of the others are where they belong.
  const TestCgroup& last = *cgroups.back();
  uint64_t kept = 0;
  for (const auto& cgroup : cgroups) kept += requests(counts_of(maps, cgroup->id()));
  EXPECT_EQ(requests(counts_of(maps, last.id())), 0u);
  EXPECT_EQ(kept + requests(maps.slab().unattributed()), cgroups.size());
  EXPECT_GT(maps.control().lost(SLOGATE_SITE_no_slot), 0u);
  const auto left_out = maps.left_out();
  EXPECT_TRUE(std::any_of(left_out.begin(), left_out.end(),
                          [&last](const auto& row) { return row.first == last.id(); }));
  // With room again, the next request finds it.
  must(maps.resizer().resize(SLOGATE_CHUNK_SLOTS * 2, "test", now()));
  exchange(connect_both(last, last));
  EXPECT_EQ(requests(counts_of(maps, last.id())), 1u);
}

TEST_F(Pins, CountingGoesOnWithoutAnAgentAndIsTakenUp) {
  const TestCgroup cgroup;
  HeldPrograms programs;
  std::unique_ptr<Traffic> traffic;
  for (int life = 0; life < 5; ++life) {
    const PinDir pins = must(PinDir::open(path_));
    Maps maps = must(Maps::open(&pins));
    EXPECT_EQ(maps.origin(), life == 0 ? Origin::made : Origin::adopted);
    const Probes probes = must(Probes::attach(maps, features(), &pins));
    programs.take(pins);
    for (const auto& runs : probes.missed()) EXPECT_TRUE(runs.has_value());
    if (life == 0) traffic = std::make_unique<Traffic>(cgroup);
    must(maps.slab().release(slots_of(maps, cgroup.id())));
    usleep(20'000);
  }
  usleep(100'000);  // nobody is there
  ASSERT_NE(traffic, nullptr);
  const uint64_t answered = traffic->stop();
  const PinDir pins = must(PinDir::open(path_));
  const Maps maps = must(Maps::open(&pins));
  expect_all_counted(all_requests(maps, cgroup.id()), answered, programs.missed());
}

TEST_F(Pins, OtherProgramsTakeOverInOneMoment) {
  // What differs between the two must not be what is counted, so the change is of names only.
  KernelFeatures renamed = features();
  renamed.drop_reasons.back() += "_RENAMED";

  const TestCgroup cgroup;
  HeldPrograms programs;
  std::unique_ptr<Traffic> traffic;
  for (int life = 0; life < 10; ++life) {
    const PinDir pins = must(PinDir::open(path_));
    Maps maps = must(Maps::open(&pins));
    const Probes probes = must(Probes::attach(maps, life % 2 == 0 ? features() : renamed, &pins));
    EXPECT_EQ(maps.control().programs_epoch(), static_cast<uint32_t>(life + 1));
    programs.take(pins);
    if (life == 0) traffic = std::make_unique<Traffic>(cgroup);
    usleep(20'000);
  }
  ASSERT_NE(traffic, nullptr);
  const uint64_t answered = traffic->stop();
  const PinDir pins = must(PinDir::open(path_));
  const Maps maps = must(Maps::open(&pins));
  expect_all_counted(all_requests(maps, cgroup.id()), answered, programs.missed());
}

TEST_F(Pins, ASecondAgentIsRefused) {
  const PinDir pins = must(PinDir::open(path_));
  const auto second = PinDir::open(path_);
  ASSERT_FALSE(second.has_value());
  EXPECT_NE(second.error().message.find("in use by another agent"), std::string::npos);
}

TEST_F(Pins, OnlyOnABpfFileSystem) {
  const std::string path = fmt::format("/tmp/slogate-test-{}", getpid());
  const auto pins = PinDir::open(path);
  ASSERT_FALSE(pins.has_value());
  EXPECT_NE(pins.error().line().find("mount -t bpf"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Pins, AnUnfinishedSetIsMadeAnew) {
  {
    const PinDir pins = must(PinDir::open(path_));
    const Maps maps = must(Maps::open(&pins));
    pins.unpin("slogate_schema");
  }
  const PinDir pins = must(PinDir::open(path_));
  const Maps maps = must(Maps::open(&pins));
  EXPECT_EQ(maps.origin(), Origin::made);
}

// Maps with one owner's counts in them, and what an agent that died may have left behind.
class Crash : public Pins {
 protected:
  void SetUp() override {
    Pins::SetUp();
    const PinDir pins = must(PinDir::open(path_));
    Maps maps = must(Maps::open(&pins));
    {
      const Probes probes = must(Probes::attach(maps, features(), nullptr));
      const Connection connection = connect_both(cgroup_, cgroup_);
      for (int i = 0; i < 10; ++i) exchange(connection);
      must(maps.activate(0, 0));
    }
    slot_ = slots_of(maps, cgroup_.id()).at(0).slot;
    ASSERT_EQ(all_requests(maps, cgroup_.id()), 10u);
  }

  // What an agent sees that comes after: all requests, wherever they are.
  uint64_t recovered() {
    const PinDir pins = must(PinDir::open(path_));
    const Maps maps = must(Maps::open(&pins));
    EXPECT_EQ(slots_of(maps, cgroup_.id()).size(), 0u);
    return all_requests(maps, cgroup_.id());
  }

  // Changes the pinned memory as an agent would have.
  template <typename Change>
  void change(Change&& change) {
    const PinDir pins = must(PinDir::open(path_));
    const Fd chunk = must(pins.get("chunk_0000"));
    const Fd control = must(pins.get("slogate_control"));
    const SharedMemory slots =
        must(SharedMemory::map(chunk.get(), sizeof(slogate_slot) * SLOGATE_CHUNK_SLOTS, "chunk"));
    const SharedMemory memory =
        must(SharedMemory::map(control.get(), sizeof(slogate_control), "control"));
    change(slots.as<slogate_slot>(), *memory.as<slogate_control>());
  }

  // Step 3 of a release, without the store that commits it.
  void fold(slogate_slot* slots) const {
    auto* to = reinterpret_cast<__u64*>(&slots[SLOGATE_TOTALS + 1]);
    const auto* from = reinterpret_cast<__u64*>(&slots[slot_]);
    constexpr size_t kFirst = offsetof(slogate_slot, counters) / 8;
    for (size_t i = kFirst; i < sizeof(slogate_slot) / 8; ++i) to[i] += from[i];
  }

  TestCgroup cgroup_;
  size_t slot_ = 0;
};

TEST_F(Crash, BeforeTheFold) {
  change([this](slogate_slot* slots, slogate_control&) {
    slots[slot_].state = SLOGATE_SLOT_leaving;
    ++slots[slot_].generation;
  });
  EXPECT_EQ(recovered(), 10u);
  EXPECT_EQ(recovered(), 10u);
}

TEST_F(Crash, InTheMiddleOfTheFold) {
  change([this](slogate_slot* slots, slogate_control&) {
    slots[slot_].state = SLOGATE_SLOT_leaving;
    ++slots[slot_].generation;
    fold(slots);
  });
  EXPECT_EQ(recovered(), 10u);
}

TEST_F(Crash, AfterTheFoldWasCommitted) {
  change([this](slogate_slot* slots, slogate_control& control) {
    slots[slot_].state = SLOGATE_SLOT_leaving;
    ++slots[slot_].generation;
    fold(slots);
    control.fold = uint64_t{1} << 63 | uint64_t{slot_} << 32 | slots[slot_].generation;
  });
  EXPECT_EQ(recovered(), 10u);
  EXPECT_EQ(recovered(), 10u);
}

TEST_F(Crash, HalfwayThroughEmptying) {
  change([this](slogate_slot* slots, slogate_control& control) {
    slots[slot_].state = SLOGATE_SLOT_leaving;
    ++slots[slot_].generation;
    fold(slots);
    control.fold = uint64_t{1} << 63 | uint64_t{slot_} << 32 | slots[slot_].generation;
    slots[slot_].histograms[SLOGATE_SIGNAL_request][0] = 0;
    slots[slot_].counters[0] = 0;
  });
  EXPECT_EQ(recovered(), 10u);
}

TEST_F(Crash, WhileAChunkWasGivenBack) {
  {
    const PinDir pins = must(PinDir::open(path_));
    Maps maps = must(Maps::open(&pins));
    must(maps.resizer().resize(SLOGATE_CHUNK_SLOTS * 3, "test", now()));
    // Retired, and out of the slab, but still pinned.
    const __u32 last = 2;
    ASSERT_EQ(bpf_map_delete_elem(maps.fd("slogate_slab"), &last), 0);
  }
  const PinDir pins = must(PinDir::open(path_));
  Maps maps = must(Maps::open(&pins));
  EXPECT_EQ(maps.slab().slots(), static_cast<size_t>(SLOGATE_CHUNK_SLOTS * 3));
  EXPECT_EQ(all_requests(maps, cgroup_.id()), 10u);
  must(maps.resizer().resize(SLOGATE_CHUNK_SLOTS, "test", now()));
  EXPECT_EQ(maps.slab().slots(), static_cast<size_t>(SLOGATE_CHUNK_SLOTS));
}

TEST_F(Crash, AnotherLayoutsCountsAreFoldedIn) {
  uint64_t counted = 0;  // whoever used TCP on this machine meanwhile included
  {
    const PinDir pins = must(PinDir::open(path_));
    for (const std::string& name : pins.names())
      if (name.starts_with("link_")) pins.unpin(name);
    const Maps maps = must(Maps::open(&pins));
    counted = requests(maps.slab().totals()) + requests(maps.slab().unattributed());
    Counts counts;
    for (size_t i = SLOGATE_FIRST_SLOT; i < maps.slab().slots(); ++i) {
      maps.slab().copy(i, counts);
      counted += requests(counts);
    }
    const Fd schema_map = must(pins.get("slogate_schema"));
    slogate_schema schema = own_schema(0);
    schema.abi += 1;
    const __u32 zero = 0;
    ASSERT_EQ(bpf_map_update_elem(schema_map.get(), &zero, &schema, BPF_ANY), 0);
  }
  const PinDir pins = must(PinDir::open(path_));
  const Maps maps = must(Maps::open(&pins));
  EXPECT_EQ(maps.origin(), Origin::folded);
  EXPECT_GE(counted, 10u);
  EXPECT_EQ(requests(maps.slab().totals()), counted);
  EXPECT_EQ(maps.slab().used(), 0u);
}

TEST_F(Crash, DamagedPinsAreRefusedWithARemedy) {
  {
    const PinDir pins = must(PinDir::open(path_));
    const Fd schema_map = must(pins.get("slogate_schema"));
    const slogate_schema schema{};
    const __u32 zero = 0;
    ASSERT_EQ(bpf_map_update_elem(schema_map.get(), &zero, &schema, BPF_ANY), 0);
  }
  const PinDir pins = must(PinDir::open(path_));
  const auto maps = Maps::open(&pins);
  ASSERT_FALSE(maps.has_value());
  EXPECT_NE(maps.error().line().find("--unpin"), std::string::npos);
}

}  // namespace
}  // namespace slogate
