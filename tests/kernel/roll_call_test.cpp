// SPDX-License-Identifier: Apache-2.0
// The inventory over the roll of sockets, as on kernels that refuse iterators over maps.
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class RollCall : public KernelTest {
 protected:
  static Kernel make_kernel() {
    KernelFeatures features = features_of(Mode::Locked);
    features.no_map_iterators = "not in this test";
    return Kernel(features);
  }
  void SetUp() override {
    start(own_);
    const ProbeStatus roll = kernel().probes().status(slogate_runs{})[SLOGATE_PROBE_roll_call];
    // Kernels before 6.2, which have the iterators.
    if (!roll.attached) GTEST_SKIP() << roll.reason;
  }

  Kernel own_ = make_kernel();
};

TEST_F(RollCall, FindsASocketOnceHoweverOftenItIsOpen) {
  const Connection both = connect_both(server_, client_);
  const Fd again(::dup(both.server.get()));
  const Channel channel;
  Child child(server_, [&] { wait_token(channel.other.get()); });
  send_text(both.client.get(), "ping");
  EXPECT_TRUE(eventually([&] { return kernel().inflight(server_).size() == 1; }));
  EXPECT_EQ(kernel().inflight(client_).size(), 1u);
  const auto all = kernel().probes().take_inventory(SLOGATE_WALK_list);
  ASSERT_TRUE(all.has_value()) << all.error().line();
  EXPECT_EQ(std::ranges::count(*all, SLOGATE_ROLE_server, &slogate_inflight::role), 1);
  EXPECT_EQ(read_exactly(both.server.get(), 4), "ping");
  send_text(both.server.get(), "pong");
  EXPECT_EQ(read_exactly(both.client.get(), 4), "pong");
  EXPECT_TRUE(kernel().inflight(server_).empty());
  send_token(channel.one.get());
  child.join();
  expect_requests(1);
}

TEST_F(RollCall, BooksSegmentsAndRoundTrips) {
  const Connection both = connect_both(server_, client_);
  exchange(both);
  kernel().take_inventory(SLOGATE_WALK_all);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_segments_in),
            info_of(both.server.get()).tcpi_segs_in);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_segments_out),
            info_of(both.client.get()).tcpi_segs_out);
  EXPECT_GE(samples(client_counts(), SLOGATE_SIGNAL_rtt), 1u);
}

TEST_F(RollCall, FindsWhatNobodyHasAccepted) {
  const Fd listener = listen_on(server_, Address(kLoopback, 0));
  const Fd client = connect_to(client_, Address::of_socket(listener.get()));
  send_text(client.get(), "ping");
  EXPECT_TRUE(eventually([&] { return kernel().inflight(server_).size() == 1; }));
}

TEST_F(RollCall, TakesAsManyPassesAsItNeeds) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  std::vector<Connection> all;
  while (2 * all.size() <= SLOGATE_OPEN_ROWS) {
    all.push_back(connect_both(server_, client_));
    send_text(all.back().client.get(), "ping");
  }
  EXPECT_TRUE(eventually([&] { return kernel().inflight(server_).size() == all.size(); }));
  EXPECT_EQ(kernel().inflight(client_).size(), all.size());
}

TEST_F(RollCall, ForgetsWhatHasClosed) {
  const auto on_roll = [this] {
    const int map = kernel().maps().fd("slogate_roll");
    size_t entries = 0;
    __u64 key = 0;
    for (const __u64* at = nullptr; bpf_map_get_next_key(map, at, &key) == 0; at = &key) ++entries;
    return entries;
  };
  const size_t before = on_roll();
  {
    std::vector<Connection> all;
    for (int i = 0; i < 100; ++i) {
      all.push_back(connect_both(server_, client_));
      exchange(all.back());
    }
    EXPECT_GE(on_roll(), before + 200);
  }
  kernel().take_inventory();
  EXPECT_LT(on_roll(), before + 100) << "there are others on this machine";
}

// Whoever finds no room is counted, measured as before, and enters with an event once there is.
TEST_F(RollCall, CountsWhatFindsNoRoom) {
  const int map = kernel().maps().fd("slogate_roll");
  const slogate_entry nobody{};
  int error = 0;
  for (__u64 key = 1; error == 0; ++key) error = bpf_map_update_elem(map, &key, &nobody, BPF_ANY);
  ASSERT_EQ(error, -E2BIG);
  const Connection both = connect_both(server_, client_);
  EXPECT_GE(kernel().maps().control().lost(SLOGATE_SITE_no_roll), 2u);
  exchange(both);
  expect_requests(1);
  // The inventory finds nobody at these addresses.
  kernel().take_inventory();
  const uint64_t lost = kernel().maps().control().lost(SLOGATE_SITE_no_roll);
  send_text(both.client.get(), "ping");
  EXPECT_TRUE(eventually([&] { return kernel().inflight(server_).size() == 1; }));
  EXPECT_EQ(kernel().maps().control().lost(SLOGATE_SITE_no_roll), lost);
}

TEST_F(RollCall, IsSaidToStandIn) {
  const auto status = kernel().probes().status(slogate_runs{});
  EXPECT_FALSE(status[SLOGATE_PROBE_inventory].attached);
  EXPECT_EQ(status[SLOGATE_PROBE_inventory].reason, "not in this test");
  EXPECT_TRUE(status[SLOGATE_PROBE_roll_call].attached);
  EXPECT_EQ(status[SLOGATE_PROBE_roll_call].attached_to, "run");
}

}  // namespace
}  // namespace slogate
