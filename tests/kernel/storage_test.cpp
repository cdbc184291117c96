// SPDX-License-Identifier: Apache-2.0
// A kernel that has no memory for what is remembered of a socket.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

// What a socket may take beside its buffers, of one network namespace; since Linux 6.8.
constexpr const char* kLimit = "/proc/sys/net/core/optmem_max";

bool limit_storage() {
  std::ofstream file(kLimit);
  file << 0 << std::flush;
  return file.good();
}

TEST(Storage, WithoutMemoryTrafficGoesOnAndEachLossIsCounted) {
  Kernel kernel(features_of(Mode::Locked));
  const TestCgroup server, client;
  const Netns limited;
  bool can_limit = true;
  Connection connection;
  limited.run([&] {
    can_limit = limit_storage();
    if (can_limit) connection = connect_both(server, client);
  });
  if (!can_limit) GTEST_SKIP() << "this kernel has no " << kLimit << " for a network namespace";
  for (int i = 0; i < 10; ++i) exchange(connection);
  EXPECT_EQ(samples(kernel.counts(server.id()), SLOGATE_SIGNAL_request), 0u);
  EXPECT_EQ(samples(kernel.counts(client.id()), SLOGATE_SIGNAL_client_request), 0u);
  // Each of these asked for memory on both sides, and so did opening.
  EXPECT_GE(kernel.maps().control().lost(SLOGATE_SITE_no_storage), 20u);

  // Those of other sockets are not concerned.
  const Connection other = connect_both(server, client);
  const uint64_t lost = kernel.maps().control().lost(SLOGATE_SITE_no_storage);
  for (int i = 0; i < 10; ++i) exchange(other);
  EXPECT_EQ(samples(kernel.counts(server.id()), SLOGATE_SIGNAL_request), 10u);
  EXPECT_EQ(kernel.maps().control().lost(SLOGATE_SITE_no_storage), lost);
}

}  // namespace
}  // namespace slogate
