// SPDX-License-Identifier: Apache-2.0
// Whose it is: the cgroup that made the socket, and for an accepted one its listener's, whoever
// accepts, reads and answers.
#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class Ownership : public AllModes {
 protected:
  // The listener's cgroup has got the request, the worker's nothing.
  void expect_booked_to_server_alone() const {
    expect_requests(1);
    const Counts worker = counts_of(worker_);
    EXPECT_EQ(samples(worker, SLOGATE_SIGNAL_request), 0u);
    EXPECT_EQ(samples(worker, SLOGATE_SIGNAL_queue), 0u);
    EXPECT_EQ(counter(worker, SLOGATE_COUNTER_connections_server), 0u);
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 1u);
  }

  static void serve_one(int fd) {
    read_exactly(fd, 4);
    send_text(fd, "pong");
  }

  TestCgroup worker_;
};
SLOGATE_IN_ALL_MODES(Ownership);

TEST_P(Ownership, OfAListenerWhoseWorkerIsInAnotherCgroup) {
  const Fd listener = listen_on(server_, Address(kLoopback, 0));
  Child worker(worker_, [&] { serve_one(accept_from(listener.get()).get()); });
  const Fd client = connect_to(client_, Address::of_socket(listener.get()));
  send_text(client.get(), "ping");
  read_exactly(client.get(), 4);
  worker.join();
  expect_booked_to_server_alone();
}

TEST_P(Ownership, OfAnAcceptedSocketThatIsHandedOver) {
  const Connection connection = connect_both(server_, client_);
  const Channel channel;
  Child worker(worker_, [&] {
    const Fd handed_over = receive_fd(channel.other.get());
    serve_one(handed_over.get());
  });
  send_fd(channel.one.get(), connection.server.get());
  send_text(connection.client.get(), "ping");
  read_exactly(connection.client.get(), 4);
  worker.join();
  expect_booked_to_server_alone();
}

// Socket activation: a manager listens, the service gets the listener.
TEST_P(Ownership, OfAListenerThatIsHandedOver) {
  const Channel channel;
  Child worker(worker_, [&] {
    const Fd listener = receive_fd(channel.other.get());
    serve_one(accept_from(listener.get()).get());
  });
  Fd listener = listen_on(server_, Address(kLoopback, 0));
  const Address address = Address::of_socket(listener.get());
  send_fd(channel.one.get(), listener.get());
  listener.reset();
  const Fd client = connect_to(client_, address);
  send_text(client.get(), "ping");
  read_exactly(client.get(), 4);
  worker.join();
  expect_booked_to_server_alone();
}

TEST_P(Ownership, OfAProcessThatMovesAfterItListened) {
  const Channel channel;
  Child server(server_, [&] {
    const Fd listener(check(socket(AF_INET, SOCK_STREAM, 0), "socket"));
    check(listen(listener.get(), 8), "listen");
    worker_.enter();
    send_fd(channel.other.get(), listener.get());
    serve_one(accept_from(listener.get()).get());
  });
  const Fd listener = receive_fd(channel.one.get());
  const Fd client =
      connect_to(client_, Address(kLoopback, Address::of_socket(listener.get()).port()));
  send_text(client.get(), "ping");
  read_exactly(client.get(), 4);
  server.join();
  expect_booked_to_server_alone();
}

TEST_P(Ownership, OfListenersThatShareAPort) {
  Fd ours = open_socket(server_), theirs = open_socket(worker_);
  for (const Fd* fd : {&ours, &theirs}) set_option(fd->get(), SOL_SOCKET, SO_REUSEPORT, 1);
  const Address any(kLoopback, 0);
  check(bind(ours.get(), any.data(), any.size()), "bind");
  const Address address = Address::of_socket(ours.get());
  check(bind(theirs.get(), address.data(), address.size()), "bind");
  check(listen(ours.get(), 64), "listen");
  check(listen(theirs.get(), 64), "listen");

  std::vector<Fd> clients;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(connect_to(client_, address));
    send_text(clients.back().get(), "ping");
  }
  // Each listener has in its queue what the kernel gave it.
  const auto serve_all = [](const Fd& listener) {
    uint64_t n = 0;
    for (; info_of(listener.get()).tcpi_unacked > 0; ++n)
      serve_one(accept_from(listener.get()).get());
    return n;
  };
  const uint64_t by_us = serve_all(ours), by_them = serve_all(theirs);
  EXPECT_EQ(by_us + by_them, 40u);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), by_us);
  EXPECT_EQ(samples(counts_of(worker_), SLOGATE_SIGNAL_request), by_them);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), by_us);
  EXPECT_EQ(counter(counts_of(worker_), SLOGATE_COUNTER_connections_server), by_them);
}

TEST_P(Ownership, OfOneCgroupThatIsServerAndClient) {
  const Connection connection = connect_both(server_, server_);
  for (int i = 0; i < 10; ++i) exchange(connection);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 10u);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_client_request), 10u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 1u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_client), 1u);
}

TEST_P(Ownership, OfACgroupThatIsGone) {
  Connection connection;
  uint64_t gone = 0;
  {
    const TestCgroup temporary;
    gone = temporary.id();
    connection = connect_both(temporary, client_);
    exchange(connection);
  }
  for (int i = 0; i < 5; ++i) exchange(connection);
  EXPECT_EQ(samples(kernel().counts(gone), SLOGATE_SIGNAL_request), 6u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 6u);
}

}  // namespace
}  // namespace slogate
