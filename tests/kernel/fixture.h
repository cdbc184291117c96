// SPDX-License-Identifier: Apache-2.0
// The programs on the real kernel, and the counts of one cgroup. The only place here that knows how
// maps and probes are made.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <ostream>
#include <vector>

#include "agent/agent.h"
#include "agent/measure/probes.h"
#include "maps/maps.h"
#include "tests/kernel/world.h"

namespace slogate {

// How requests begin and end.
enum class Mode {
  Locked,  // as well as this kernel allows, at tcp_sendmsg_locked
  Length,  // at sock_send_length, as on kernels that have no tracepoint there and no fentry
  Entry,   // at the entry of functions, as on kernels without these tracepoints
};
void PrintTo(Mode mode, std::ostream* out);
std::string name_of(const testing::TestParamInfo<Mode>& mode);

KernelFeatures features_of(Mode mode);
// Those that this kernel has, without one that is the same as another.
const std::vector<Mode>& modes();
// Whether a probe can be attached in no way after this; false when it could not before.
bool take_away(const ProbeInfo& probe, KernelFeatures& features);

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
  // For the counts that it brings up to date.
  void take_inventory(slogate_walk walk = SLOGATE_WALK_news) const;

  [[nodiscard]] Maps& maps() { return maps_; }
  [[nodiscard]] const Probes& probes() const { return probes_; }

 private:
  Maps maps_;
  Probes probes_;
};

// Every cgroup is watched, and nothing left out for the CPUs' sake.
[[nodiscard]] LiveConfig test_config();
// The measuring half of an agent with this configuration, a ceiling in slots whatever the memory,
// and without pins. It ticks when it is told to.
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
  void start(Mode mode) { start(shared_kernel(mode)); }
  void start(Kernel& kernel);
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

// A test of what must hold in every mode.
class AllModes : public KernelTest, public testing::WithParamInterface<Mode> {
 protected:
  void SetUp() override { start(GetParam()); }
};

// A test of what does not depend on the mode.
class BestMode : public KernelTest {
 protected:
  void SetUp() override { start(Mode::Locked); }
};

#define SLOGATE_IN_ALL_MODES(suite) \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(modes()), name_of)

}  // namespace slogate
