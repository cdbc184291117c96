// SPDX-License-Identifier: Apache-2.0
// Streams of HTTP/2 over real sockets: each a request, whatever else shares its connection.
#include <bpf/bpf.h>
#include <sys/uio.h>

#include <map>
#include <thread>
#include <tuple>

#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"
#include "tests/support/frames.h"

namespace slogate {
namespace {

using namespace frames;
using namespace std::chrono_literals;

// Counters of a family that are not 0, by name.
using Rows = std::map<std::string, uint64_t>;

Rows rows_of(const Counts& counts, std::string_view family) {
  Rows rows;
  for (size_t i = 0; i < kCounters.size(); ++i)
    if (kCounters[i].family == family && counts.counters[i] != 0)
      rows[std::string(kCounters[i].name)] = counts.counters[i];
  return rows;
}

std::string say(uint32_t stream, const std::string& block, unsigned flags = EndHeaders) {
  return frame(Headers, flags, stream, block);
}
std::string whole(uint32_t stream, const std::string& block) {
  return say(stream, block, EndHeaders | EndStream);
}
// An answer of gRPC with a message and trailers.
std::string grpc(uint32_t stream, int status) {
  return say(stream, indexed(kStatus200) + literal(kContentType, "application/grpc")) +
         frame(Data, None, stream, std::string("\0\0\0\0\0", 5)) +
         whole(stream, literal("grpc-status", std::to_string(status)));
}

class Http2Test : public KernelTest {
 protected:
  void SetUp() override {
    const KernelFeatures features = features_of(Mode::Locked);
    if (const std::string why = why_no_http2(features); !why.empty())
      GTEST_SKIP() << "HTTP/2 is not followed here: " << why;
    start(Mode::Locked);
  }

  // A connection on which both sides have said who they are.
  [[nodiscard]] Connection open() const {
    Connection connection = connect_both(server_, client_);
    set_option(connection.client.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(connection.server.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    ask(connection, kPreface + settings());
    answer(connection, settings());
    return connection;
  }
  static void ask(const Connection& connection, std::string_view bytes) {
    send_text(connection.client.get(), bytes);
    read_exactly(connection.server.get(), bytes.size());
  }
  static void answer(const Connection& connection, std::string_view bytes) {
    send_text(connection.server.get(), bytes);
    read_exactly(connection.client.get(), bytes.size());
  }

  // Rows of both sides: they see the same.
  void expect_answers(const Rows& rows) const {
    Rows server, client;
    for (const auto& [name, n] : rows) {
      server["server_" + name] = n;
      client["client_" + name] = n;
    }
    EXPECT_EQ(rows_of(server_counts(), "answers"), server);
    EXPECT_EQ(rows_of(client_counts(), "answers"), client);
  }
  [[nodiscard]] uint64_t in_server(slogate_counter which) const {
    return counter(server_counts(), which);
  }
  [[nodiscard]] uint64_t in_client(slogate_counter which) const {
    return counter(client_counts(), which);
  }
};

TEST_F(Http2Test, PrefaceAndSettingsAreNoRequest) {
  const Connection connection = open();
  answer(connection, frame(Settings, 1, 0, "") + frame(Ping, None, 0, "12345678"));
  ask(connection, frame(Ping, 1, 0, "12345678"));
  expect_requests(0);
  expect_answers({});
  EXPECT_TRUE(kernel().inflight(server_).empty());
}

TEST_F(Http2Test, EachStreamIsARequestWithItsStatus) {
  const Connection connection = open();
  ask(connection, get(1));
  answer(connection, whole(1, indexed(kStatus200)));
  ask(connection, get(3) + get(5) + get(7));
  answer(connection, whole(7, entered(kStatus, "503")) + whole(3, indexed(kStatus404)));
  answer(connection, say(5, indexed(kLatest)) + frame(Data, EndStream, 5, "sorry"));
  expect_requests(4);
  expect_answers({{"http2_success", 1}, {"http2_client_error", 1}, {"http2_server_error", 2}});
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_failed_request), 2u);
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_answer), 4u);
  EXPECT_EQ(in_server(SLOGATE_COUNTER_overlapped), 0u);
}

TEST_F(Http2Test, GrpcByItsStatus) {
  const Connection connection = open();
  uint32_t stream = 1;
  for (int status = 0; status <= 16; ++status, stream += 2) {
    ask(connection, get(stream));
    answer(connection, grpc(stream, status));
  }
  ask(connection, get(stream));  // trailers only
  answer(connection, whole(stream, indexed(kStatus200) + literal("grpc-status", "14")));
  expect_requests(18);
  expect_answers({{"grpc_success", 1}, {"grpc_client_error", 10}, {"grpc_server_error", 7}});
}

TEST_F(Http2Test, CutAnywhere) {
  const Connection connection = open();
  for (const size_t n : {1, 2, 5, 8, 9, 10}) {
    const auto stream = static_cast<uint32_t>(100 * n + 1);
    const std::string question = get(stream),
                      reply = frame(Headers, None, stream, entered(kStatus, "50").substr(0, 3)) +
                              frame(Continuation, EndHeaders, stream, "0" + literal("x", "y")) +
                              frame(Data, EndStream | Padded, stream, std::string("\2ab\0\0", 5));
    for (size_t at = 0; at < question.size(); at += n) ask(connection, question.substr(at, n));
    for (size_t at = 0; at < reply.size(); at += n) answer(connection, reply.substr(at, n));
  }
  expect_requests(6);
  // "50" is no status of anything; its value was cut out of "500".
  expect_answers({{"http2_unknown", 6}});
}

TEST_F(Http2Test, PiecesOfAWritev) {
  const Connection connection = open();
  ask(connection, get(1));
  std::string reply = say(1, entered(kStatus, "404")) + frame(Data, EndStream, 1, "none");
  std::vector<iovec> pieces;
  for (char& byte : reply) pieces.push_back({&byte, 1});
  ASSERT_EQ(writev(connection.server.get(), pieces.data(), static_cast<int>(pieces.size())),
            static_cast<ssize_t>(reply.size()));
  read_exactly(connection.client.get(), reply.size());
  expect_requests(1);
  expect_answers({{"http2_client_error", 1}});
}

TEST_F(Http2Test, InterimAnswersEndNothing) {
  const Connection connection = open();
  ask(connection, get(1));
  answer(connection, say(1, literal(kStatus, "103")));
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 0u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 0u);
  std::this_thread::sleep_for(20ms);
  answer(connection, whole(1, indexed(kStatus200)));
  expect_requests(1);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.018), 1u);
  expect_answers({{"http2_success", 1}});
}

TEST_F(Http2Test, LatencyIsOfEachStream) {
  const Connection connection = open();
  ask(connection, get(1));
  std::this_thread::sleep_for(50ms);
  ask(connection, get(3));
  answer(connection, whole(3, indexed(kStatus200)));
  answer(connection, whole(1, indexed(kStatus200)));
  expect_requests(2);
  for (const auto& [counts, signal] : {std::pair{server_counts(), SLOGATE_SIGNAL_request},
                                       std::pair{client_counts(), SLOGATE_SIGNAL_client_request}}) {
    EXPECT_EQ(samples_from(counts, signal, 0.045), 1u);
    EXPECT_EQ(samples_from(counts, signal, 0.07), 0u);
  }
}

TEST_F(Http2Test, UploadsEndWithTheirAnswer) {
  const Connection connection = open();
  ask(connection, frame(Headers, EndHeaders, 1, indexed(kPost)));
  for (int i = 0; i < 25; ++i) ask(connection, frame(Data, None, 1, std::string(16384, 'u')));
  ask(connection, frame(Data, EndStream, 1, ""));
  answer(connection, whole(1, indexed(kStatus200)));
  // Answered early, as with 413.
  ask(connection, frame(Headers, EndHeaders, 3, indexed(kPost)) + frame(Data, None, 3, "some"));
  answer(connection, whole(3, entered(kStatus, "413")));
  ask(connection, frame(Data, EndStream, 3, "the rest"));
  expect_requests(2);
  expect_answers({{"http2_success", 1}, {"http2_client_error", 1}});
  EXPECT_TRUE(kernel().inflight(server_).empty());
}

TEST_F(Http2Test, LargeAnswers) {
  const Connection connection = open();
  for (uint32_t stream = 1; stream < 20; stream += 2) {
    ask(connection, get(stream));
    std::string reply = say(stream, indexed(kStatus200));
    for (int i = 0; i < 20; ++i) reply += frame(Data, None, stream, std::string(16384, 'a'));
    reply += frame(Data, EndStream, stream, "");
    std::thread reader([&] { read_exactly(connection.client.get(), reply.size()); });
    send_text(connection.server.get(), reply);
    reader.join();
  }
  expect_requests(10);
  expect_answers({{"http2_success", 10}});
}

TEST_F(Http2Test, CancelledByTheClient) {
  const Connection connection = open();
  ask(connection, get(1) + get(3));
  answer(connection, say(3, indexed(kStatus200)));
  ask(connection, reset(1, 8) + reset(3, 8));
  // What the server says before it hears of it is no answer any more.
  answer(connection, whole(1, indexed(kStatus500)));
  EXPECT_EQ(in_server(SLOGATE_COUNTER_client_gone), 1u);
  EXPECT_EQ(in_client(SLOGATE_COUNTER_unanswered_client), 1u);
  EXPECT_EQ(rows_of(server_counts(), "streams_reset"), (Rows{{"server_reset_cancel", 2}}));
  EXPECT_EQ(rows_of(client_counts(), "streams_reset"), (Rows{{"client_reset_cancel", 2}}));
  expect_answers({{"http2_success", 1}});
  EXPECT_TRUE(kernel().inflight(server_).empty());
}

TEST_F(Http2Test, ResetByTheServer) {
  const Connection connection = open();
  ask(connection, get(1) + get(3) + get(5));
  answer(connection, say(3, indexed(kStatus200)));
  answer(connection, reset(1, 7) + reset(3, 2));
  answer(connection, whole(5, indexed(kStatus200)) + reset(5, 0));
  EXPECT_EQ(in_server(SLOGATE_COUNTER_unanswered_server), 1u);
  EXPECT_EQ(in_server(SLOGATE_COUNTER_client_gone), 0u);
  // The last one had ended before it was reset, as grpc-go does with each.
  EXPECT_EQ(rows_of(server_counts(), "streams_reset"),
            (Rows{{"server_reset_refused_stream", 1}, {"server_reset_internal_error", 1}}));
  expect_answers({{"http2_success", 1}, {"http2_server_error", 1}});
}

TEST_F(Http2Test, GoawayRefusesWhatCameLater) {
  const Connection connection = open();
  ask(connection, get(1) + get(3) + get(5));
  answer(connection, goaway(1, 0));
  ask(connection, get(7));
  answer(connection, whole(1, indexed(kStatus200)));
  EXPECT_EQ(in_server(SLOGATE_COUNTER_goaways_server), 1u);
  EXPECT_EQ(in_client(SLOGATE_COUNTER_goaways_client), 1u);
  EXPECT_EQ(rows_of(server_counts(), "streams_reset"), (Rows{{"server_reset_refused_stream", 3}}));
  EXPECT_EQ(rows_of(client_counts(), "streams_reset"), (Rows{{"client_reset_refused_stream", 3}}));
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 1u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 1u);
  EXPECT_EQ(in_server(SLOGATE_COUNTER_unanswered_server), 0u);
  EXPECT_TRUE(kernel().inflight(server_).empty());
}

TEST_F(Http2Test, WhatIsOpenWhenTheConnectionEnds) {
  {
    Connection connection = open();
    ask(connection, get(1) + get(3) + get(5));
    answer(connection, say(5, indexed(kStatus200)));
    connection.server.reset();  // the server ends it
    EXPECT_TRUE(at_end(connection.client.get()));
    connection.client.reset();
  }
  await(server_, SLOGATE_COUNTER_unanswered_server, 2);
  await(client_, SLOGATE_COUNTER_unanswered_client, 2);
  EXPECT_EQ(in_server(SLOGATE_COUNTER_client_gone), 0u);
  expect_answers({{"http2_success", 1}});
  {
    Connection connection = open();
    ask(connection, get(1));
    connection.client.reset();  // the client does
    EXPECT_TRUE(at_end(connection.server.get()));
    connection.server.reset();
  }
  await(server_, SLOGATE_COUNTER_client_gone, 1);
  EXPECT_EQ(in_server(SLOGATE_COUNTER_unanswered_server), 2u);
}

TEST_F(Http2Test, WhatWaitsIsInFlight) {
  const Connection connection = open();
  ask(connection, get(1) + frame(Headers, EndHeaders, 3, indexed(kPost)) + get(5));
  answer(connection, say(5, indexed(kStatus200)));  // streams its answer: no longer waited for
  EXPECT_EQ(kernel().inflight(server_).size(), 2u);
  EXPECT_EQ(kernel().inflight(client_).size(), 2u);
  std::this_thread::sleep_for(50ms);
  ask(connection, frame(Data, None, 3, "more"));
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const auto ns =
      static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  size_t old = 0;
  for (const slogate_inflight& one : kernel().inflight(server_))
    old += ns - one.opened > 45'000'000;
  EXPECT_EQ(old, 1u) << "since its latest frame";
}

TEST_F(Http2Test, QueueIsOfEachStream) {
  const Connection connection = open();
  const std::string burst = get(1) + get(3);
  send_text(connection.client.get(), burst);
  std::this_thread::sleep_for(20ms);
  read_exactly(connection.server.get(), burst.size());
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_queue, 0.018), 2u);
}

TEST_F(Http2Test, AHundredAtATime) {
  const Connection connection = open();
  constexpr uint32_t kRounds = 20, kAtOnce = 100;
  uint32_t stream = 1;
  for (uint32_t round = 0; round < kRounds; ++round) {
    std::string questions, replies;
    for (uint32_t i = 0; i < kAtOnce; ++i, stream += 2) {
      questions += get(stream);
      replies = (i % 10 == 0 ? whole(stream, indexed(kStatus500)) : grpc(stream, 0)) + replies;
    }
    ask(connection, questions);
    EXPECT_EQ(kernel().inflight(server_).size(), kAtOnce);
    answer(connection, replies);
  }
  expect_requests(kRounds * kAtOnce);
  expect_answers({{"http2_server_error", kRounds * 10}, {"grpc_success", kRounds * 90}});
}

TEST_F(Http2Test, TenThousandOneAfterTheOther) {
  const Connection connection = open();
  for (uint32_t i = 0; i < 10000; ++i) {
    ask(connection, get(2 * i + 1));
    answer(connection, i == 0 ? whole(1, entered(kStatus, "429"))
                              : whole(2 * i + 1, indexed(i % 2 == 0 ? kStatus200 : kLatest)));
  }
  expect_requests(10000);
  expect_answers({{"http2_success", 4999}, {"http2_client_error", 5001}});
}

TEST_F(Http2Test, WhatFindsNoRoomIsCounted) {
  const Connection connection = open();
  const uint64_t before = kernel().maps().control().lost(SLOGATE_SITE_no_stream);
  constexpr uint32_t kMore = 50, kAll = SLOGATE_STREAMS + kMore;
  std::string questions, replies;
  for (uint32_t i = 0; i < kAll; ++i) questions += get(2 * i + 1);
  ask(connection, questions);
  EXPECT_EQ(in_server(SLOGATE_COUNTER_streams_missed), kMore);
  EXPECT_EQ(in_client(SLOGATE_COUNTER_streams_missed), kMore);
  EXPECT_EQ(kernel().maps().control().lost(SLOGATE_SITE_no_stream) - before, 2 * kMore);
  for (uint32_t i = kAll; i-- > 0;)
    replies += i % 2 == 0 ? whole(2 * i + 1, indexed(kStatus200))
                          : say(2 * i + 1, indexed(kStatus404)) +
                                frame(Data, EndStream, 2 * i + 1, "none");
  answer(connection, replies);
  // Their statuses are known all the same.
  expect_requests(SLOGATE_STREAMS);
  expect_answers({{"http2_success", kAll / 2}, {"http2_client_error", kAll / 2}});
  ask(connection, get(2 * kAll + 1));
  answer(connection, whole(2 * kAll + 1, indexed(kStatus200)));
  expect_requests(SLOGATE_STREAMS + 1);
}

TEST_F(Http2Test, AServerThatSpeaksFirst) {
  const Connection connection = connect_both(server_, client_);
  answer(connection, settings());
  ask(connection, kPreface + settings() + get(1));
  answer(connection, frame(Settings, 1, 0, "") + whole(1, indexed(kStatus404)));
  expect_requests(1);
  expect_answers({{"http2_client_error", 1}});
}

TEST_F(Http2Test, AfterAnUpgrade) {
  const Connection connection = connect_both(server_, client_);
  ask(connection, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
  answer(connection, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + settings());
  ask(connection, kPreface + settings());
  // The request that was upgraded is the first stream.
  EXPECT_EQ(kernel().inflight(server_).size(), 1u);
  answer(connection, whole(1, entered(kStatus, "404")));
  ask(connection, get(3));
  answer(connection, whole(3, indexed(kStatus500)));
  ask(connection, get(5));
  answer(connection, whole(5, indexed(kLatest)));
  expect_requests(3);
  expect_answers({{"http2_client_error", 2}, {"http2_server_error", 1}});
}

// The preface comes with the handshake's last ACK, where nothing shows it.
TEST_F(Http2Test, DeferredAccept) {
  const Fd listener = listen_on(server_, {kLoopback, 0});
  set_option(listener.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, 5);
  const Fd client = connect_to(client_, Address::of_socket(listener.get()));
  const std::string first = kPreface + settings() + get(1);
  send_text(client.get(), first);
  const Fd server = accept_from(listener.get());
  read_exactly(server.get(), first.size());
  const std::string reply = settings() + whole(1, entered(kStatus, "404"));
  send_text(server.get(), reply);
  read_exactly(client.get(), reply.size());
  for (uint32_t stream = 3; stream < 13; stream += 2) {
    send_text(client.get(), get(stream));
    read_exactly(server.get(), get(stream).size());
    const std::string again = whole(stream, indexed(kStatus500));
    send_text(server.get(), again);
    read_exactly(client.get(), again.size());
  }
  expect_requests(6);
  expect_answers({{"http2_server_error", 5}, {"http2_client_error", 1}});
}

TEST_F(Http2Test, NothingOfHeadersStaysInTheMap) {
  const Connection connection = open();
  const std::string mark = "slogate-secret";
  ask(connection,
      frame(Headers, EndStream | EndHeaders, 1, indexed(kGet) + literal("authorization", mark)));
  answer(connection, whole(1, indexed(kStatus200) + entered("set-cookie", mark)) +
                         frame(Data, EndStream, 1, mark));
  for (const int fd : {connection.server.get(), connection.client.get()}) {
    std::string state(sizeof(slogate_http2), '\0');
    ASSERT_EQ(bpf_map_lookup_elem(kernel().maps().fd("slogate_http2"), &fd, state.data()), 0);
    EXPECT_FALSE(state.contains(mark));
    EXPECT_FALSE(state.contains("set-cookie"));
    EXPECT_FALSE(state.contains("authorization"));
  }
  expect_requests(1);
}

TEST_F(Http2Test, MapsShowConnectionsAndStreams) {
  const Connection one = open(), other = open();
  ask(one, get(1) + get(3));
  Maps& maps = kernel().maps();
  kernel().take_inventory(SLOGATE_WALK_all);
  EXPECT_GE(maps.control().http2_connections(), 4u);  // both ends of both
  EXPECT_EQ(maps.control().http2_streams(), 4u);
}

// ---- connections that are not followed from their beginning, or at all ----

TEST(Http2, ConnectionsOlderThanTheProgramsAreFollowedFromTheirNextStream) {
  const KernelFeatures features = features_of(Mode::Locked);
  if (!why_no_http2(features).empty()) GTEST_SKIP() << "HTTP/2 is not followed here";
  const TestCgroup server, client;
  const Connection connection = connect_both(server, client);
  const auto ask = [&](const std::string& bytes) {
    send_text(connection.client.get(), bytes);
    read_exactly(connection.server.get(), bytes.size());
  };
  const auto answer = [&](const std::string& bytes) {
    send_text(connection.server.get(), bytes);
    read_exactly(connection.client.get(), bytes.size());
  };
  ask(kPreface + settings() + get(1));
  answer(settings() + whole(1, entered(kStatus, "503")));
  ask(get(3));  // is under way
  const Kernel kernel(features);
  answer(whole(3, indexed(kLatest)));
  for (uint32_t stream = 5; stream < 15; stream += 2) {
    ask(get(stream));
    answer(whole(stream, stream == 5 ? indexed(kLatest) : indexed(kStatus404)));
  }
  for (const auto& [cgroup, role, signal] :
       {std::tuple{&server, "server", SLOGATE_SIGNAL_request},
        std::tuple{&client, "client", SLOGATE_SIGNAL_client_request}}) {
    const Counts counts = kernel.counts(cgroup->id());
    EXPECT_EQ(samples(counts, signal), 5u) << role;
    EXPECT_EQ(rows_of(counts, "answers"), (Rows{{std::string(role) + "_http2_unknown", 1},
                                                {std::string(role) + "_http2_client_error", 4}}));
    EXPECT_EQ(counter(counts, SLOGATE_COUNTER_streams_missed), 0u);
  }
}

TEST(Http2, IsOneRequestAtATimeWhereItIsNotFollowed) {
  KernelFeatures features = features_of(Mode::Locked);
  features.no_http2 = "refused";
  const Kernel kernel(features);
  const TestCgroup server, client;
  const Connection connection = connect_both(server, client);
  send_text(connection.client.get(), kPreface + settings() + get(1));
  read_exactly(connection.server.get(), (kPreface + settings() + get(1)).size());
  send_text(connection.server.get(), settings() + whole(1, indexed(kStatus500)));
  const Counts counts = kernel.counts(server.id());
  EXPECT_EQ(samples(counts, SLOGATE_SIGNAL_request), 1u);
  EXPECT_EQ(rows_of(counts, "answers"), (Rows{{"server_unknown_unknown", 1}}));
}

}  // namespace
}  // namespace slogate
