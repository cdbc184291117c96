// SPDX-License-Identifier: Apache-2.0
// The inventory over open files, as on kernels that refuse iterators over maps.
#include <netinet/in.h>
#include <unistd.h>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class FileInventory : public KernelTest {
 protected:
  static Kernel make_kernel() {
    KernelFeatures features = features_of(Mode::Locked);
    features.no_map_iterators = "not in this test";
    return Kernel(features);
  }
  void SetUp() override { start(own_); }

  Kernel own_ = make_kernel();
};

TEST_F(FileInventory, FindsASocketOnceHoweverOftenItIsOpen) {
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

TEST_F(FileInventory, BooksSegmentsAndRoundTrips) {
  const Connection both = connect_both(server_, client_);
  exchange(both);
  kernel().take_inventory(SLOGATE_WALK_all);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_segments_in),
            info_of(both.server.get()).tcpi_segs_in);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_segments_out),
            info_of(both.client.get()).tcpi_segs_out);
  EXPECT_GE(samples(client_counts(), SLOGATE_SIGNAL_rtt), 1u);
}

TEST_F(FileInventory, IsSaidToStandIn) {
  const auto status = kernel().probes().status(slogate_runs{});
  EXPECT_FALSE(status[SLOGATE_PROBE_inventory].attached);
  EXPECT_EQ(status[SLOGATE_PROBE_inventory].reason, "not in this test");
  EXPECT_TRUE(status[SLOGATE_PROBE_file_inventory].attached);
  EXPECT_EQ(status[SLOGATE_PROBE_file_inventory].attached_to, "iter");
}

}  // namespace
}  // namespace slogate
