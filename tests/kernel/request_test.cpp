// SPDX-License-Identifier: Apache-2.0
// One request, one count: whatever its segments, its writes, and the way it is answered.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <thread>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class Request : public BothModes {
 protected:
  // Nothing that belongs to the other side shows up on this one.
  void expect_apart() const {
    const Counts server = server_counts(), client = client_counts();
    EXPECT_EQ(samples(server, SLOGATE_SIGNAL_client_request), 0u);
    EXPECT_EQ(samples(client, SLOGATE_SIGNAL_request), 0u);
    EXPECT_EQ(samples(client, SLOGATE_SIGNAL_queue), 0u);
    EXPECT_EQ(counter(server, SLOGATE_COUNTER_connections_client), 0u);
    EXPECT_EQ(counter(client, SLOGATE_COUNTER_connections_server), 0u);
  }
};
SLOGATE_IN_BOTH_MODES(Request);

TEST_P(Request, KeepAliveCountsEachOne) {
  const Connection connection = connect_both(server_, client_);
  for (int i = 0; i < 100; ++i) exchange(connection);
  expect_requests(100);
  expect_apart();
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 1u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 1u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_connect), 1u);
}

TEST_P(Request, ShortConnectionsCountEachOne) {
  const Fd listener = listen_on(server_, Address(kLoopback, 0));
  for (int i = 0; i < 20; ++i) {
    Connection connection;
    connection.client = connect_to(client_, Address::of_socket(listener.get()));
    connection.server = accept_from(listener.get());
    exchange(connection);
    connection.client.reset();
    EXPECT_TRUE(at_end(connection.server.get()));
  }
  expect_requests(20);
  expect_apart();
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), 20u);
  EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_connections_client), 20u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_connect), 20u);
  EXPECT_EQ(errors(server_counts()) + errors(client_counts()), 0u);
}

TEST_P(Request, OfManySegmentsCountsOnce) {
  const Connection connection = connect_both(server_, client_);
  for (int i = 0; i < 10; ++i) send_text(connection.client.get(), "part");
  read_exactly(connection.server.get(), 40);
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
}

TEST_P(Request, ReadPieceByPieceCountsOnce) {
  const Connection connection = connect_both(server_, client_);
  for (int i = 0; i < 10; ++i) {
    send_text(connection.client.get(), "part");
    read_exactly(connection.server.get(), 4);
  }
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
}

TEST_P(Request, OfOneMegabyteCountsOnce) {
  const Connection connection = connect_both(server_, client_);
  const std::string large(1 << 20, 'x');
  std::jthread writer([&] { send_text(connection.client.get(), large); });
  read_exactly(connection.server.get(), large.size());
  writer.join();
  send_text(connection.server.get(), "pong");
  read_exactly(connection.client.get(), 4);
  expect_requests(1);
}

// ---- ways to answer ----

constexpr size_t kAnswer = 32 << 10;

Fd file_of_answer() {
  Fd file(check(memfd_create("answer", MFD_CLOEXEC), "memfd_create"));
  check(ftruncate(file.get(), kAnswer), "ftruncate");
  return file;
}

void answer_in_pieces(int fd) {
  const std::string piece(kAnswer / 8, 'a');
  for (int i = 0; i < 8; ++i) send_text(fd, piece);
}

void answer_with_writev(int fd) {
  std::string half(kAnswer / 2, 'a');
  const iovec parts[] = {{half.data(), half.size()}, {half.data(), half.size()}};
  ASSERT_EQ(writev(fd, parts, 2), static_cast<ssize_t>(kAnswer));
}

void answer_with_sendfile(int fd) {
  const Fd file = file_of_answer();
  off_t offset = 0;
  while (offset < static_cast<off_t>(kAnswer))
    check(sendfile(fd, file.get(), &offset, kAnswer - static_cast<size_t>(offset)), "sendfile");
}

void answer_with_splice(int fd) {
  const Fd file = file_of_answer();
  int ends[2];
  check(pipe2(ends, O_CLOEXEC), "pipe2");
  const Fd out(ends[0]), in(ends[1]);
  for (size_t sent = 0; sent < kAnswer;) {
    const ssize_t filled = check(splice(file.get(), nullptr, in.get(), nullptr, 4096, 0), "splice");
    check(splice(out.get(), nullptr, fd, nullptr, static_cast<size_t>(filled), 0), "splice");
    sent += static_cast<size_t>(filled);
  }
}

void answer_with_zerocopy(int fd) {
  set_option(fd, SOL_SOCKET, SO_ZEROCOPY, 1);
  send_text(fd, std::string(kAnswer, 'a'), MSG_ZEROCOPY);
}

void answer_with_more(int fd) {
  send_text(fd, std::string(kAnswer / 2, 'a'), MSG_MORE);
  send_text(fd, std::string(kAnswer / 2, 'a'));
}

void answer_corked(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
  answer_in_pieces(fd);
  set_option(fd, IPPROTO_TCP, TCP_CORK, 0);
}

struct AnswerRow {
  const char* name;
  void (*answer)(int fd);
};
constexpr AnswerRow kAnswers[] = {
    {"in pieces", answer_in_pieces},
    {"writev", answer_with_writev},
    {"sendfile", answer_with_sendfile},
    {"splice", answer_with_splice},
    {"MSG_ZEROCOPY", answer_with_zerocopy},
    {"MSG_MORE", answer_with_more},
    {"TCP_CORK", answer_corked},
};

TEST_P(Request, AnsweredInAnyWayCountsOnce) {
  uint64_t n = 0;
  for (const AnswerRow& row : kAnswers) {
    SCOPED_TRACE(row.name);
    const Connection connection = connect_both(server_, client_);
    for (int i = 0; i < 3; ++i) {
      send_text(connection.client.get(), "ping");
      read_exactly(connection.server.get(), 4);
      row.answer(connection.server.get());
      read_exactly(connection.client.get(), kAnswer);
      expect_requests(++n);
    }
  }
}

}  // namespace
}  // namespace slogate
