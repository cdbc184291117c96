// SPDX-License-Identifier: Apache-2.0
// The programs on the real kernel, and the counts of one cgroup. The only place here that knows how
// maps and probes are made.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <ostream>
#include <vector>

#include "agent/agent.h"
#include "agent/probes.h"
#include "maps/maps.h"
#include "tests/kernel/world.h"

namespace slogate {

// What closes a request: tcp_sendmsg_locked, or sock_send_length as on kernels before 6.16.
enum class Mode { Locked, Length };
void PrintTo(Mode mode, std::ostream* out);

KernelFeatures features_of(Mode mode);

// Loaded and attached programs with maps of their own: several can be there side by side.
class Kernel {
 public:
  explicit Kernel(const KernelFeatures& features);

  // All that is booked to a cgroup, by its id, in one class: for one port that is counted apart, or
  // for all others.
  [[nodiscard]] Counts counts(uint64_t cgroup, slogate_class class_ = SLOGATE_CLASS_service,
                              uint16_t port = 0) const;
  // What the inventory says is open and belongs to the cgroup.
  [[nodiscard]] std::vector<slogate_inflight> inflight(const TestCgroup& cgroup) const;
  // One pass over all sockets, for the counts that it brings up to date.
  void take_inventory() const;

  [[nodiscard]] Maps& maps() { return maps_; }
  [[nodiscard]] const Probes& probes() const { return probes_; }

 private:
  Maps maps_;
  Probes probes_;
};

// Every cgroup is watched. `ceiling` is in slots.
[[nodiscard]] MeasureSettings test_settings(size_t ceiling);
// The measuring half of an agent with these settings and without pins. It ticks when it is told to.
std::unique_ptr<Agent> start_agent(size_t ceiling);

// The one that all tests of a mode share: loading takes seconds.
Kernel& shared_kernel(Mode mode);

[[nodiscard]] uint64_t counter(const Counts& counts, slogate_counter counter);
[[nodiscard]] uint64_t samples(const Counts& counts, slogate_signal signal);
// How many values are in buckets that lie at or above this many seconds.
[[nodiscard]] uint64_t samples_from(const Counts& counts, slogate_signal signal, double seconds);
// All connection errors of both roles.
[[nodiscard]] uint64_t errors(const Counts& counts);

// A test with a cgroup for a server and one for a client. Losing a sample of theirs fails it.
class KernelTest : public testing::Test {
 protected:
  void start(Mode mode);
  void TearDown() override;

  [[nodiscard]] Kernel& kernel() { return *kernel_; }
  [[nodiscard]] Counts counts_of(const TestCgroup& cgroup) const {
    return kernel_->counts(cgroup.id());
  }
  [[nodiscard]] Counts server_counts() const { return counts_of(server_); }
  [[nodiscard]] Counts client_counts() const { return counts_of(client_); }
  // One line each for request, queue and client_request.
  void expect_requests(uint64_t n) const;
  // A counter that reaches a value only after packets have come and gone.
  void await(const TestCgroup& cgroup, slogate_counter which, uint64_t n) const;

  TestCgroup server_, client_;

 private:
  Kernel* kernel_ = nullptr;
  uint64_t without_memory_ = 0;
};

// A test of what must hold in both modes.
class BothModes : public KernelTest, public testing::WithParamInterface<Mode> {
 protected:
  void SetUp() override { start(GetParam()); }
};

// A test of what does not depend on the mode.
class BestMode : public KernelTest {
 protected:
  void SetUp() override { start(Mode::Locked); }
};

#define SLOGATE_IN_BOTH_MODES(suite)                                           \
  INSTANTIATE_TEST_SUITE_P(Locked, suite, testing::Values(Mode::Locked),       \
                           [](const auto&) { return std::string("Locked"); }); \
  INSTANTIATE_TEST_SUITE_P(Length, suite, testing::Values(Mode::Length),       \
                           [](const auto&) { return std::string("Length"); })

}  // namespace slogate
