// SPDX-License-Identifier: Apache-2.0
// An answer is the application's first byte, whichever call hands it over.
#include <fcntl.h>
#include <liburing.h>
#include <linux/tls.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <stdexcept>
#include <thread>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

class Answer : public AllModes {};
SLOGATE_IN_ALL_MODES(Answer);

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

// ---- io_uring ----

class Ring {
 public:
  Ring() {
    if (const int error = io_uring_queue_init(8, &ring_, 0); error < 0)
      throw std::system_error(-error, std::generic_category(), "io_uring_queue_init");
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() { io_uring_queue_exit(&ring_); }

  io_uring_sqe* next() { return io_uring_get_sqe(&ring_); }
  // Submits what was prepared and returns the result of its first completion.
  int submit() {
    io_uring_submit_and_wait(&ring_, 1);
    io_uring_cqe* done = nullptr;
    if (io_uring_wait_cqe(&ring_, &done) < 0) throw std::runtime_error("io_uring_wait_cqe");
    const int result = done->res;
    io_uring_cqe_seen(&ring_, done);
    return result;
  }

 private:
  io_uring ring_{};
};

const std::string kAnswerText(kAnswer, 'a');

void answer_with_ring(int fd) {
  Ring ring;
  io_uring_prep_send(ring.next(), fd, kAnswerText.data(), kAnswer, MSG_WAITALL);
  ASSERT_EQ(ring.submit(), static_cast<int>(kAnswer));
}

void answer_with_ring_zerocopy(int fd) {
  Ring ring;
  io_uring_prep_send_zc(ring.next(), fd, kAnswerText.data(), kAnswer, MSG_WAITALL, 0);
  ASSERT_EQ(ring.submit(), static_cast<int>(kAnswer));
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
    {"io_uring send", answer_with_ring},
    {"io_uring send_zc", answer_with_ring_zerocopy},
};

TEST_P(Answer, OfAnyKindCountsOnce) {
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

// The first byte is what counts, and tcp_sendmsg_locked sees it; sock_send_length runs when the
// last one has found room in the socket's buffer.
TEST_P(Answer, OfOneMegabyteToASlowReaderCountsOnce) {
  const Connection connection = connect_both(server_, client_);
  set_option(connection.server.get(), SOL_SOCKET, SO_SNDBUF, 64 << 10);
  const std::string large(8 << 20, 'x');
  send_text(connection.client.get(), "ping");
  read_exactly(connection.server.get(), 4);
  std::jthread writer([&] { send_text(connection.server.get(), large); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  read_exactly(connection.client.get(), large.size());
  writer.join();
  expect_requests(1);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.1),
            GetParam() == Mode::Length ? 1u : 0u);
}

TEST_P(Answer, ByANonBlockingWriterThatIsTurnedAwayCountsOnce) {
  const Connection connection = connect_both(server_, client_);
  const std::string large(8 << 20, 'x');
  send_text(connection.client.get(), "ping");
  read_exactly(connection.server.get(), 4);
  std::jthread reader([&] { read_exactly(connection.client.get(), large.size()); });
  for (size_t sent = 0; sent < large.size();) {
    const ssize_t taken = send(connection.server.get(), large.data() + sent, large.size() - sent,
                               MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0 && errno != EAGAIN) check(taken, "send");
    if (taken > 0) sent += static_cast<size_t>(taken);
  }
  reader.join();
  expect_requests(1);
}

// With the keys all zero: nobody decrypts, the client only waits for the bytes of the records.
TEST_P(Answer, ThroughKernelTlsCountsOnce) {
  const Connection connection = connect_both(server_, client_);
  const int server = connection.server.get();
  if (setsockopt(server, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) != 0)
    GTEST_SKIP() << "this kernel has no TLS (CONFIG_TLS): TCP_ULP says " << strerrordesc_np(errno);
  tls12_crypto_info_aes_gcm_128 keys{};
  keys.info.version = TLS_1_2_VERSION;
  keys.info.cipher_type = TLS_CIPHER_AES_GCM_128;
  check(setsockopt(server, SOL_TLS, TLS_TX, &keys, sizeof(keys)), "TLS_TX");
  constexpr size_t kRecordOverhead = 5 + 8 + 16;  // header, nonce, tag
  for (int i = 0; i < 3; ++i) {
    send_text(connection.client.get(), "ping");
    read_exactly(server, 4);
    send_text(server, "pong");
    read_exactly(connection.client.get(), 4 + kRecordOverhead);
  }
  expect_requests(3);
}

}  // namespace
}  // namespace slogate
