// SPDX-License-Identifier: Apache-2.0
// Kernels that lack a tracepoint: what is optional is reported and the rest goes on, what is needed
// is refused with a reason.
#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

TEST(Modes, AreAllThere) {
  const KernelFeatures features = features_of(Mode::Entry);
  if (!features.no_fentry.empty())
    GTEST_SKIP() << "no test of programs at the entry of functions: " << features.no_fentry;
  if (!features.tracepoints.contains("sock_send_length"))
    GTEST_SKIP() << "no test of requests that end at sock_send_length: this kernel has none";
}

TEST(MissingProbe, IsReportedAndTheRestGoesOn) {
  const KernelFeatures whole = features_of(Mode::Locked);
  const bool has_spare = whole.tracepoints.contains("sock_send_length");
  for (const ProbeInfo& missing : kProbes) {
    // One that stands by for another is not attached beside it.
    if (missing.need == Need::needed || missing.is_iterator() || stood_in_for(missing)) continue;
    if (hooks_of(missing, whole).empty()) continue;  // here anyway
    SCOPED_TRACE(missing.name);
    KernelFeatures features = whole;
    ASSERT_TRUE(take_away(missing, features));
    Kernel kernel(features);
    const bool needs_spare = &missing == &kProbes[SLOGATE_PROBE_send_locked];
    for (const ProbeStatus& status : kernel.probes().status(kernel.maps().runs())) {
      const ProbeInfo& info = kProbes[status.probe];
      const bool lacking =
          hooks_of(info, whole).empty() && stood_in_for(info) == nullptr && !info.is_iterator();
      const bool stands_in = stood_in_for(info) != nullptr && !info.is_iterator();
      const bool there = stands_in            ? needs_spare && has_spare
                         : info.is_iterator() ? !hooks_of(info, whole).empty()
                                              : &info != &missing && !lacking;
      EXPECT_EQ(status.attached, there) << info.name;
      EXPECT_EQ(status.attached_to.empty(), !there) << info.name;
      EXPECT_EQ(status.degraded, &info == &missing || lacking) << info.name;
      if (&info != &missing) continue;
      EXPECT_EQ(status.reason, fmt::format("this kernel has no tracepoint {}", info.tracepoint));
    }
    const TestCgroup server, client;
    exchange(connect_both(server, client));
    const Counts counts = kernel.counts(server.id());
    EXPECT_EQ(samples(counts, SLOGATE_SIGNAL_request), needs_spare && !has_spare ? 0u : 1u);
    EXPECT_EQ(samples(counts, SLOGATE_SIGNAL_queue),
              &missing == &kProbes[SLOGATE_PROBE_first_read] ? 0u : 1u);
    EXPECT_EQ(counter(counts, SLOGATE_COUNTER_connections_server), 1u);
    EXPECT_EQ(samples(kernel.counts(client.id()), SLOGATE_SIGNAL_client_request), 1u);
  }
}

ProbeStatus status_of(const Kernel& kernel, slogate_probe probe) {
  return kernel.probes().status(slogate_runs{}).at(probe);
}

// Before 6.12.
TEST(MissingProbe, ThatMayNotReadPacketsIsReported) {
  KernelFeatures features = features_of(Mode::Locked);
  features.no_packets = "refused";
  const ProbeStatus status = status_of(Kernel(features), SLOGATE_PROBE_answer_arrived);
  EXPECT_FALSE(status.attached);
  EXPECT_TRUE(status.degraded);
  EXPECT_EQ(status.reason, "this kernel lets no program read packets: refused");
}

TEST(MissingProbe, ThatTheConfigurationDoesNotWantIsNoLoss) {
  KernelFeatures features = features_of(Mode::Locked);
  features.read_answers = false;
  const ProbeStatus status = status_of(Kernel(features), SLOGATE_PROBE_answer_arrived);
  EXPECT_FALSE(status.attached);
  EXPECT_FALSE(status.degraded);
  EXPECT_EQ(status.reason, "not needed: the configuration lets no answers be read");
}

TEST(MissingProbe, ThatIsNeededIsRefusedWithAReason) {
  for (const ProbeInfo& missing : kProbes) {
    if (missing.need != Need::needed) continue;
    SCOPED_TRACE(missing.name);
    auto maps = Maps::open();
    ASSERT_TRUE(maps.has_value()) << maps.error().line();
    KernelFeatures features = features_of(Mode::Locked);
    ASSERT_TRUE(take_away(missing, features));
    const auto probes = Probes::attach(*maps, features);
    ASSERT_FALSE(probes.has_value());
    EXPECT_EQ(probes.error().message,
              fmt::format("cannot attach {} ({}): this kernel has no tracepoint {}", missing.name,
                          missing.tracepoint, missing.tracepoint));
    EXPECT_EQ(probes.error().remedy, "run `slogate doctor`");
    // And nothing counts.
    const TestCgroup cgroup;
    exchange(connect_both(cgroup, cgroup));
    for (size_t i = SLOGATE_FIRST_SLOT; i < maps->slab().slots(); ++i)
      EXPECT_EQ(maps->slab().owner(i).cgroup, 0u);
  }
}

}  // namespace
}  // namespace slogate
