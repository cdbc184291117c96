// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/fixture.h"

#include <algorithm>
#include <stdexcept>

#include "agent/host/host.h"

namespace slogate {
namespace {

template <typename T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().line());
  return std::move(*result);
}

// Lists the free slots, and makes more when few are left.
void keep_slots_free(Maps& maps) {
  const size_t wanted = std::max<size_t>(maps.slab().slots(), maps.slab().used() + 64);
  const auto now = std::chrono::system_clock::now();
  if (auto done = maps.resizer().resize(wanted, "test", now); !done)
    throw std::runtime_error(done.error().line());
}

// By mode.
std::array<std::unique_ptr<Kernel>, 3> shared;

// Detaches before the process ends, so that leak checkers see an empty house.
class DetachAtEnd : public testing::Environment {
 public:
  void TearDown() override {
    for (auto& kernel : shared) kernel.reset();
  }
};
const auto* const kDetachAtEnd = testing::AddGlobalTestEnvironment(new DetachAtEnd);

}  // namespace

void PrintTo(Mode mode, std::ostream* out) {
  constexpr std::array<const char*, 3> names = {"Locked", "Length", "Entry"};
  *out << names.at(static_cast<size_t>(mode));
}

std::string name_of(const testing::TestParamInfo<Mode>& mode) {
  return testing::PrintToString(mode.param);
}

KernelFeatures features_of(Mode mode) {
  KernelFeatures features = value_of(read_kernel_features());
  if (mode == Mode::Locked) return features;
  features.tracepoints.erase("tcp_sendmsg_locked");
  if (mode == Mode::Length) features.functions.erase("tcp_sendmsg_locked");
  if (mode == Mode::Length) return features;
  features.tracepoints.erase("sk_data_ready");
  features.no_fentry = try_fentry(features);
  return features;
}

const std::vector<Mode>& modes() {
  static const std::vector<Mode> found = [] {
    std::vector<Mode> modes = {Mode::Locked};
    const KernelFeatures best = features_of(Mode::Locked);
    if (best.tracepoints.contains("sock_send_length")) modes.push_back(Mode::Length);
    const KernelFeatures entry = features_of(Mode::Entry);
    if (entry.no_fentry.empty() && entry.tracepoints != best.tracepoints)
      modes.push_back(Mode::Entry);
    return modes;
  }();
  return found;
}

bool take_away(const ProbeInfo& probe, KernelFeatures& features) {
  const bool was_there = !hooks_of(probe, features).empty();
  features.tracepoints.erase(std::string(probe.tracepoint));
  std::erase_if(features.functions,
                [&](const std::string& function) { return probe.functions.contains(function); });
  return was_there;
}

LiveConfig test_config() {
  return {.cpu_ratio = 1};
}

std::unique_ptr<Agent> start_agent(size_t ceiling) {
  return value_of(Agent::start({.cgroup_root = value_of(find_cgroup2({})),
                                .pin_dir = "",
                                .about = {},
                                .features = features_of(Mode::Locked),
                                .config = test_config(),
                                .ceiling = [ceiling](double) { return ceiling; }}));
}

Kernel::Kernel(const KernelFeatures& features)
    : maps_(value_of(Maps::open())), probes_(value_of(Probes::attach(maps_, features))) {
  keep_slots_free(maps_);
  maps_.control().read_answers(true);
}

Counts Kernel::counts(uint64_t cgroup, slogate_class class_, uint16_t port) const {
  Counts total, one;
  for (size_t i = SLOGATE_FIRST_SLOT; i < maps_.slab().slots(); ++i) {
    const Owner owner = maps_.slab().owner(i);
    if (owner.cgroup != cgroup || owner.class_ != class_ || owner.port != port) continue;
    maps_.slab().copy(i, one);
    total += one;
  }
  return total;
}

std::vector<slogate_inflight> Kernel::inflight(const TestCgroup& cgroup) const {
  std::vector<slogate_inflight> open = value_of(probes_.take_inventory(SLOGATE_WALK_news));
  std::erase_if(open, [&](const slogate_inflight& one) {
    return maps_.slab().owner(one.ref.slot).cgroup != cgroup.id();
  });
  return open;
}

void Kernel::take_inventory(slogate_walk walk) const {
  value_of(probes_.take_inventory(walk));
}

Kernel& shared_kernel(Mode mode) {
  auto& kernel = shared.at(static_cast<size_t>(mode));
  if (!kernel) kernel = std::make_unique<Kernel>(features_of(mode));
  return *kernel;
}

uint64_t counter(const Counts& counts, slogate_counter which) {
  return counts.counters[which];
}

uint64_t samples(const Counts& counts, slogate_signal signal) {
  return count(counts.histograms[signal]);
}

uint64_t samples_from(const Counts& counts, slogate_signal signal, double seconds) {
  uint64_t n = 0;
  for (size_t i = 0; i < SLOGATE_BUCKETS; ++i)
    if (bucket_edge(i) >= seconds) n += counts.histograms[signal][i];
  return n;
}

uint64_t errors(const Counts& counts) {
  uint64_t n = 0;
  for (size_t i = 0; i < kCounters.size(); ++i)
    if (kCounters[i].family == "connection_errors") n += counts.counters[i];
  return n;
}

void KernelTest::start(Kernel& kernel) {
  kernel_ = &kernel;
  keep_slots_free(kernel_->maps());
  without_memory_ = kernel_->maps().control().lost(SLOGATE_SITE_no_storage);
}

void KernelTest::TearDown() {
  if (kernel_ == nullptr) return;
  EXPECT_EQ(kernel_->maps().control().lost(SLOGATE_SITE_no_storage), without_memory_);
  // Other cgroups of this machine may come by the hundred, and nobody makes room for them here.
  for (const auto& [cgroup, lost] : kernel_->maps().left_out()) {
    EXPECT_NE(cgroup, server_.id()) << lost << " samples of the server found no slot";
    EXPECT_NE(cgroup, client_.id()) << lost << " samples of the client found no slot";
  }
}

void KernelTest::expect_requests(uint64_t n) const {
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), n) << "request";
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_queue), n) << "queue";
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), n) << "client_request";
}

void KernelTest::await(const TestCgroup& cgroup, slogate_counter which, uint64_t n) const {
  eventually([&] { return counter(counts_of(cgroup), which) >= n; });
  EXPECT_EQ(counter(counts_of(cgroup), which), n) << kCounters[which].name;
}

}  // namespace slogate
