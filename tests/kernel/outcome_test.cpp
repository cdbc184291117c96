// SPDX-License-Identifier: Apache-2.0
// What answers say, as the programs read it where a server hands it over.
#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <algorithm>
#include <map>
#include <thread>

#include "maps/bpf_map.h"
#include "tests/kernel/fixture.h"
#include "tests/kernel/real_server.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

// Counters of a family that are not 0, by name.
using Rows = std::map<std::string, uint64_t>;

Rows rows_of(const Counts& counts, std::string_view family, std::string_view role) {
  Rows rows;
  for (size_t i = 0; i < kCounters.size(); ++i) {
    const CounterInfo& info = kCounters[i];
    if (info.family != family || !info.name.starts_with(role) || counts.counters[i] == 0) continue;
    rows[std::string(info.name.substr(role.size() + 1))] = counts.counters[i];
  }
  return rows;
}

const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const std::string kError = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
const std::string kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

class OutcomeTest : public KernelTest {
 protected:
  [[nodiscard]] Rows answers() const { return rows_of(server_counts(), "answers", "server"); }
  [[nodiscard]] Rows handshakes() const {
    return rows_of(server_counts(), "tls_handshakes", "server");
  }
  [[nodiscard]] uint64_t in(slogate_signal signal) const {
    return samples(server_counts(), signal);
  }

  static void ask(const Connection& connection, std::string_view question = "ping") {
    send_text(connection.client.get(), question);
    read_exactly(connection.server.get(), question.size());
  }
  static void answer(const Connection& connection, std::string_view text, int flags = 0) {
    send_text(connection.server.get(), text, flags);
    read_exactly(connection.client.get(), text.size());
  }
  // One request and its answer.
  static void serve(const Connection& connection, std::string_view text) {
    ask(connection);
    answer(connection, text);
  }
  [[nodiscard]] Connection connect() const { return connect_both(server_, client_); }
};

// Whether what arrives at clients is read, too.
bool arrivals_are_read() {
  return !hooks_of(kProbes[SLOGATE_PROBE_answer_arrived], features_of(Mode::Locked)).empty();
}

// Where the bytes of an answer can be seen.
class Outcome : public OutcomeTest, public testing::WithParamInterface<Mode> {
 protected:
  void SetUp() override { start(GetParam()); }
};
std::vector<Mode> reading_modes() {
  std::vector<Mode> found = modes();
  const KernelFeatures best = features_of(Mode::Locked);
  const bool reads = !hooks_of(kProbes[SLOGATE_PROBE_send_locked], best).empty();
  std::erase_if(found, [&](Mode mode) { return mode == Mode::Length || !reads; });
  return found;
}
INSTANTIATE_TEST_SUITE_P(, Outcome, testing::ValuesIn(reading_modes()), name_of);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Outcome);

TEST_P(Outcome, OfHttpIsItsStatus) {
  const Connection connection = connect();
  serve(connection, kOk);
  serve(connection, "HTTP/1.1 304 Not Modified\r\n\r\n");
  serve(connection, "HTTP/1.1 404 Not Found\r\n\r\n");
  serve(connection, kError);
  EXPECT_EQ(answers(),
            (Rows{{"http_success", 2}, {"http_client_error", 1}, {"http_server_error", 1}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 4u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_failed_request), 1u);
}

TEST_P(Outcome, IsToldOnceHoweverManySends) {
  const Connection connection = connect();
  for (int i = 0; i < 3; ++i) {
    ask(connection);
    answer(connection, kOk);
    answer(connection, "a body");
    answer(connection, std::string(100'000, 'x'));
  }
  EXPECT_EQ(answers(), (Rows{{"http_success", 3}}));
}

TEST_P(Outcome, IsToldByWhateverCallHandsItOver) {
  const Connection connection = connect();
  std::string head = kError, body = "a body";
  const auto receive = [&](size_t bytes) { read_exactly(connection.client.get(), bytes); };
  const int server = connection.server.get();

  ask(connection);
  const iovec parts[] = {{head.data(), head.size()}, {body.data(), body.size()}};
  check(writev(server, parts, 2), "writev");
  receive(head.size() + body.size());
  EXPECT_EQ(answers(), (Rows{{"http_server_error", 1}}));

  ask(connection);
  set_option(server, SOL_SOCKET, SO_ZEROCOPY, 1);
  const std::string large = head + std::string(32 << 10, 'x');
  answer(connection, large, MSG_ZEROCOPY);
  EXPECT_EQ(answers(), (Rows{{"http_server_error", 2}}));

  ask(connection);
  answer(connection, kError.substr(0, 20), MSG_MORE);
  answer(connection, kError.substr(20));
  EXPECT_EQ(answers(), (Rows{{"http_server_error", 3}}));
}

TEST_P(Outcome, ThatCannotBeReadIsUnknownAndChangesNothing) {
  const Connection connection = connect();
  const int server = connection.server.get();
  serve(connection, kOk);

  ask(connection);  // a status line in pieces
  std::string pieces[] = {"HT", "TP/1.1", " 500 No\r\n\r\n"};
  iovec parts[3];
  for (int i = 0; i < 3; ++i) parts[i] = {pieces[i].data(), pieces[i].size()};
  read_exactly(connection.client.get(),
               static_cast<size_t>(check(writev(server, parts, 3), "writev")));
  EXPECT_EQ(answers(), (Rows{{"http_success", 1}, {"http_unknown", 1}}));

  ask(connection);  // pages instead of memory
  const Fd file(check(memfd_create("answer", MFD_CLOEXEC), "memfd_create"));
  check(write(file.get(), kError.data(), kError.size()), "write");
  off_t offset = 0;
  check(sendfile(server, file.get(), &offset, kError.size()), "sendfile");
  read_exactly(connection.client.get(), kError.size());
  EXPECT_EQ(answers(), (Rows{{"http_success", 1}, {"http_unknown", 2}}));

  ask(connection);  // a page that nobody has touched
  void* page = mmap(nullptr, kError.size(), PROT_READ, MAP_SHARED, file.get(), 0);
  ASSERT_NE(page, MAP_FAILED);
  check(madvise(page, kError.size(), MADV_DONTNEED), "madvise");
  check(send(server, page, kError.size(), 0), "send");
  munmap(page, kError.size());
  read_exactly(connection.client.get(), kError.size());
  EXPECT_EQ(answers(), (Rows{{"http_success", 1}, {"http_unknown", 3}}));

  serve(connection, kError);
  EXPECT_EQ(answers(), (Rows{{"http_success", 1}, {"http_unknown", 3}, {"http_server_error", 1}}));
}

// ---- interim answers ----

TEST_P(Outcome, InterimAnswersEndNothing) {
  for (int i = 0; i < 3; ++i) {
    const Connection connection = connect();
    ask(connection, "POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n");
    answer(connection, kContinue);
    EXPECT_EQ(kernel().inflight(server_).size(), 1u);
    ask(connection, "the body");
    answer(connection, "HTTP/1.1 103 Early Hints\r\n\r\n");
    std::this_thread::sleep_for(110ms);
    answer(connection, kOk);
  }
  EXPECT_EQ(answers(), (Rows{{"http_success", 3}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 3u);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.1), 3u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_queue), 3u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_overlapped), 0u);
}

TEST_P(Outcome, AServerThatEndsAfterAnInterimAnswerHasNotAnswered) {
  Connection connection = connect();
  ask(connection);
  answer(connection, kContinue);
  connection.server.reset();
  EXPECT_TRUE(at_end(connection.client.get()));
  connection.client.reset();
  await(server_, SLOGATE_COUNTER_unanswered_server, 1);
  EXPECT_EQ(answers(), Rows{});
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 0u);
}

TEST_P(Outcome, AfterAnUpgradeNothingIsRead) {
  const Connection connection = connect();
  serve(connection, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
  for (int i = 0; i < 3; ++i) serve(connection, kError);
  EXPECT_EQ(answers(), (Rows{{"http_success", 1}, {"unknown_unknown", 3}}));
}

// ---- learning, giving up ----

TEST_P(Outcome, OfUnknownProtocolsIsUnknownAndTheyAreGivenUp) {
  const Connection connection = connect();
  for (int i = 0; i < 6; ++i) serve(connection, "pong");
  serve(connection, kOk);  // too late
  EXPECT_EQ(answers(), (Rows{{"unknown_unknown", 7}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_answer), 0u);
}

TEST_P(Outcome, OfAProtocolThatIsLearntLateIsKnownFromThenOn) {
  const Connection connection = connect();
  serve(connection, "pong");
  for (int i = 0; i < 3; ++i) serve(connection, "+OK\r\n");
  EXPECT_EQ(answers(), (Rows{{"unknown_unknown", 1}, {"redis_success", 3}}));
}

TEST_P(Outcome, IsReadOnlyWhereItIsWanted) {
  const Connection connection = connect();
  serve(connection, kOk);
  kernel().maps().control().read_answers(false);
  serve(connection, kError);
  kernel().maps().control().read_answers(true);
  EXPECT_EQ(answers(), (Rows{{"http_success", 1}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 2u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_failed_request), 0u);
}

// ---- the other protocols ----

TEST_P(Outcome, OfRedisPipelinesIsToldReplyByReply) {
  const Connection connection = connect();
  serve(connection, "+OK\r\n");
  serve(connection,
        "$5\r\nhello\r\n$-1\r\n-MOVED 1 127.0.0.1:1\r\n-ERR no\r\n-NOAUTH no\r\n:1\r\n");
  EXPECT_EQ(answers(), (Rows{{"redis_success", 3},
                             {"redis_miss", 1},
                             {"redis_redirect", 1},
                             {"redis_server_error", 1},
                             {"redis_client_error", 1}}));
  std::string many;
  for (int i = 0; i < 100; ++i) many += "$-1\r\n";
  serve(connection, many);
  EXPECT_EQ(answers().at("redis_miss"), 17u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 3u);
}

TEST_P(Outcome, OfPostgresqlMysqlAndMemcached) {
  serve(connect(), "E\0\0\0\x23SFATAL\0VFATAL\0C53300\0Mtoo many\0\0"s);
  serve(connect(), "STORED\r\n");
  serve(connect(), "END\r\n");
  serve(connect(), "\7\0\0\1\0\0\0\2\0\0\0"s);
  EXPECT_EQ(answers(), (Rows{{"postgresql_server_error", 1},
                             {"memcached_success", 1},
                             {"memcached_miss", 1},
                             {"mysql_success", 1}}));
}

TEST_P(Outcome, OfAnUnaskedErrorIsOneFailedAnswer) {
  const Connection redis = connect(), mysql = connect(), greeted = connect();
  answer(redis, "-ERR max number of clients reached\r\n");
  answer(mysql, "\x17\0\0\0\xff\x10\4Too many connections"s);
  answer(greeted, "\x4a\0\0\0\x0a"s + "8.0.36" + std::string(67, '\0'));
  serve(greeted, "\7\0\0\2\0\0\0\2\0\0\0"s);
  serve(greeted, "\x11\0\0\1\xff\x1a\4#23000Duplicate"s);
  EXPECT_EQ(answers(), (Rows{{"redis_server_error", 1},
                             {"mysql_server_error", 1},
                             {"mysql_success", 1},
                             {"mysql_client_error", 1}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 1u) << "the other one was the login";
  EXPECT_EQ(in(SLOGATE_SIGNAL_failed_request), 0u);
}

// Only the very first bytes count as such.
TEST_P(Outcome, OfALaterUnaskedErrorIsNone) {
  const Connection connection = connect();
  serve(connection, "pong");
  answer(connection, "-ERR max number of clients reached\r\n");
  EXPECT_EQ(answers(), (Rows{{"unknown_unknown", 1}}));
}

// ---- to the last byte ----

TEST_P(Outcome, AnswerLastsToItsLastByte) {
  const Connection connection = connect();
  for (int i = 0; i < 2; ++i) {
    ask(connection);
    answer(connection, kOk);
    std::this_thread::sleep_for(110ms);
    answer(connection, "a body");
    std::this_thread::sleep_for(300ms);  // of the client's, which is not the answer's
  }
  EXPECT_EQ(in(SLOGATE_SIGNAL_answer), 1u) << "the second one may go on";
  const Counts counts = server_counts();
  EXPECT_EQ(samples_from(counts, SLOGATE_SIGNAL_answer, 0.1), 1u);
  EXPECT_EQ(samples_from(counts, SLOGATE_SIGNAL_answer, 0.3), 0u);
  EXPECT_EQ(samples_from(counts, SLOGATE_SIGNAL_request, 0.1), 0u);
}

TEST_P(Outcome, AnswerIsOverWithItsConnection) {
  Connection connection = connect();
  ask(connection);
  answer(connection, kOk);
  std::this_thread::sleep_for(110ms);
  answer(connection, "a body");
  connection.server.reset();
  EXPECT_TRUE(at_end(connection.client.get()));
  connection.client.reset();
  EXPECT_TRUE(eventually([&] { return in(SLOGATE_SIGNAL_answer) == 1; }));
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_answer, 0.1), 1u);
}

TEST_P(Outcome, AnswerOfASubscriptionHasNoEnd) {
  const Connection connection = connect();
  serve(connection, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
  answer(connection, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n");
  ask(connection);
  EXPECT_EQ(in(SLOGATE_SIGNAL_answer), 0u);
}

// With RESP3 a client is told which keys it is to forget, whenever that may be.
TEST_P(Outcome, AnswerDoesNotLastUntilWhatIsPushed) {
  const Connection connection = connect();
  for (int i = 0; i < 2; ++i) {
    serve(connection, "$5\r\nhello\r\n");
    std::this_thread::sleep_for(110ms);
    answer(connection, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n");
  }
  EXPECT_EQ(in(SLOGATE_SIGNAL_answer), 1u) << "the second one may go on";
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_answer, 0.1), 0u);
}

// What arrives in the middle of a long send is no question to the rest of that, whose words may be
// anything.
TEST_P(Outcome, OfTheMiddleOfASendIsNone) {
  const Connection connection = connect();
  serve(connection, "+OK\r\n");
  std::string value;
  while (value.size() < 16 << 20) value += "-ERR no\r\n";
  const std::string reply = fmt::format("${}\r\n{}\r\n", value.size(), value);
  ask(connection);
  std::jthread writer([&] { send_text(connection.server.get(), reply); });
  read_exactly(connection.client.get(), reply.size() / 4);
  send_text(connection.client.get(), "more");
  read_exactly(connection.client.get(), reply.size() - reply.size() / 4);
  writer.join();
  EXPECT_EQ(answers(), (Rows{{"redis_success", 2}}));
  EXPECT_EQ(kernel().inflight(server_).size(), 1u);
  read_exactly(connection.server.get(), 4);
  answer(connection, "$-1\r\n");
  EXPECT_EQ(answers(), (Rows{{"redis_success", 2}, {"redis_miss", 1}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 3u);
}

// ---- logins ----

// It takes longer than what comes after it, as a server forks and loads what it needs: arms with
// connections of different lifetimes are no different.
TEST_P(Outcome, OfALoginIsCountedAndItsTimeIsNot) {
  const std::string ready = "C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"s;
  const auto slow = [&](const Connection& connection, const std::string& text) {
    send_text(connection.client.get(), "who I am");
    std::this_thread::sleep_for(20ms);
    read_exactly(connection.server.get(), 8);
    std::this_thread::sleep_for(20ms);
    answer(connection, text);
  };
  const Connection trusted = connect();
  slow(trusted, "R\0\0\0\x08\0\0\0\0Z\0\0\0\5I"s);
  serve(trusted, ready);
  const Connection proved = connect();
  slow(proved, "N");
  slow(proved, "R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"s);
  slow(proved, "R\0\0\0\x0c\0\0\0\x0bmore"s);
  slow(proved,
       "R\0\0\0\x0c\0\0\0\x0c"
       "done"
       "R\0\0\0\x08\0\0\0\0Z\0\0\0\5I"s);
  serve(proved, ready);
  EXPECT_EQ(answers(), (Rows{{"postgresql_success", 7}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 2u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_queue), 2u);

  const Connection mysql = connect();
  answer(mysql, "\x4a\0\0\0\x0a"s + "8.0.36" + std::string(67, '\0'));
  slow(mysql, "\x16\0\0\2\xfemysql_native_password"s);
  slow(mysql, "\7\0\0\4\0\0\0\2\0\0\0"s);
  serve(mysql, "\7\0\0\1\0\0\0\2\0\0\0"s);
  EXPECT_EQ(answers().at("mysql_success"), 3u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 3u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_queue), 3u);

  // A password that is wrong, a pool that is full: counted as before, but fast or slow is nothing.
  const std::string full = "E\0\0\0\x23SFATAL\0VFATAL\0C53300\0Mtoo many\0\0"s;
  slow(connect(), full);
  const Connection wrong = connect();
  slow(wrong, "R\0\0\0\x0c\0\0\0\5salt"s);
  slow(wrong, "E\0\0\0\x23SFATAL\0VFATAL\0C28P01\0Mno, never\0\0"s);
  serve(trusted, full);  // this one is a request's
  EXPECT_EQ(answers().at("postgresql_server_error"), 2u);
  EXPECT_EQ(answers().at("postgresql_client_error"), 1u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 4u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_failed_request), 1u);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.02), 0u);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_queue, 0.02), 0u);
}

// Whatever the protocol is, a first request was read, even if nobody answers it.
TEST_P(Outcome, AFirstRequestIsInQueueOnceItIsAnsweredOrOver) {
  const Connection first = connect();
  ask(first);
  EXPECT_EQ(in(SLOGATE_SIGNAL_queue), 0u);
  answer(first, kOk);
  EXPECT_EQ(in(SLOGATE_SIGNAL_queue), 1u);
  ask(first);
  EXPECT_EQ(in(SLOGATE_SIGNAL_queue), 2u) << "at once, where the protocol is known";
  Connection second = connect();
  ask(second);
  second = {};
  EXPECT_TRUE(eventually([&] { return in(SLOGATE_SIGNAL_queue) == 3; }));
}

// ---- farewells ----

// A proxy may hand over an interim answer together with the answer.
TEST_P(Outcome, AnInterimAnswerInOneSendWithTheAnswerEndsTheRequest) {
  Connection connection = connect();
  serve(connection,
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
        "2\r\n\r\nok");
  serve(connection, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
  serve(connection,
        "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 503 No\r\n\r\n");
  EXPECT_TRUE(kernel().inflight(server_).empty());
  serve(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 4u);
  EXPECT_EQ(answers(), (Rows{{"http_success", 3}, {"http_server_error", 1}}));
}

// COM_STMT_CLOSE of MySQL has no answer: it is no request that waits, and the next one's time does
// not begin with it.
TEST_P(Outcome, AStatementThatIsClosedAsksForNothing) {
  const std::string ok = "\7\0\0\1\0\0\0\2\0\0\0"s, closes = "\5\0\0\0\x19\1\0\0\0"s,
                    prepared = "\x0c\0\0\1\0\1\0\0\0\0\0\0\0\0\0\0"s;
  Connection connection = connect();
  serve(connection, ok);
  serve(connection, prepared);
  for (const int statements : {1, 3}) {
    for (int i = 0; i < statements; ++i) ask(connection, closes);
    std::this_thread::sleep_for(150ms);
    EXPECT_TRUE(kernel().inflight(server_).empty());
    serve(connection, ok);
  }
  EXPECT_EQ(samples(server_counts(), SLOGATE_SIGNAL_request), 4u);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.1), 0u);
  ask(connection, closes);
  connection = {};
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_unanswered_server), 0u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_client_gone), 0u);

  // Where none was prepared, what is as long is a query, and one that hangs is seen.
  for (const std::string& query : {"\5\0\0\0\3DO 1"s, "\x0a\0\0\0\3SELECT  1"s}) {
    Connection hangs = connect();
    serve(hangs, ok);
    ask(hangs, query);
    EXPECT_EQ(kernel().inflight(server_).size(), 1u);
    hangs.server.reset();
    EXPECT_TRUE(at_end(hangs.client.get()));
  }
  await(server_, SLOGATE_COUNTER_unanswered_server, 2);
}

// It is alone on its connection, and the server closes that without a word.
TEST_P(Outcome, PostgresqlIsToldToCancelWithoutAnAnswer) {
  const std::string cancel = "\0\0\0\x10\4\xd2\x16\x2e\0\0\0\1\0\0\0\2"s;
  const auto ends = [&](const std::string& request) {
    Connection connection = connect();
    ask(connection, request);
    connection.server.reset();
    EXPECT_TRUE(at_end(connection.client.get()));
  };
  ends(cancel);  // from nobody who speaks it
  await(server_, SLOGATE_COUNTER_unanswered_server, 1);
  const Connection connection = connect();
  serve(connection, "R\0\0\0\x08\0\0\0\0Z\0\0\0\5I"s);
  ends(cancel);
  ends(cancel + "more");
  await(server_, SLOGATE_COUNTER_unanswered_server, 2);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_client_gone), 0u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_queue), 2u);
}

// ---- uploads ----

// 413 is said before the body is there; who sends that reads no answer before it has sent it.
TEST_P(Outcome, TheRestOfAnUploadIsNoRequest) {
  const std::string head = "POST / HTTP/1.1\r\n\r\n", part(4000, 'x'),
                    no = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
  for (const bool kept : {false, true}) {
    SCOPED_TRACE(kept);
    Connection connection = connect();
    send_text(connection.client.get(), head + part);
    read_exactly(connection.server.get(), head.size());
    send_text(connection.server.get(), no);
    send_text(connection.client.get(), part);
    read_exactly(connection.server.get(), 2 * part.size());
    EXPECT_TRUE(kernel().inflight(server_).empty());
    if (kept) {
      read_exactly(connection.client.get(), no.size());
      std::this_thread::sleep_for(110ms);
      serve(connection, kOk);
      continue;
    }
    check(shutdown(connection.server.get(), SHUT_WR), "shutdown");
    send_text(connection.client.get(), part);
    read_exactly(connection.server.get(), part.size());
    connection.client.reset();
    connection.server.reset();
  }
  EXPECT_EQ(answers(), (Rows{{"http_client_error", 2}, {"http_success", 1}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 3u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_queue), 3u);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.1), 0u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_unanswered_server), 0u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_client_gone), 0u);

  // A request that comes behind the answer is one.
  Connection connection = connect();
  serve(connection, kOk);
  ask(connection);
  EXPECT_EQ(kernel().inflight(server_).size(), 1u);
  connection.server.reset();
  EXPECT_TRUE(at_end(connection.client.get()));
  await(server_, SLOGATE_COUNTER_unanswered_server, 1);
}

// The head of the answer in one send, its body in the next; the upload goes on all the while.
TEST_P(Outcome, TheBodyOfAnEarlyAnswerEndsNothing) {
  const std::string part(4000, 'x'), body = "too large",
                                     no = "HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\n";
  Connection connection = connect();
  for (int i = 0; i < 5; ++i) {  // more often than misfits are put up with
    send_text(connection.client.get(), part);
    read_exactly(connection.server.get(), 100);
    send_text(connection.server.get(), no);
    send_text(connection.client.get(), part);
    send_text(connection.server.get(), body);
    EXPECT_TRUE(kernel().inflight(server_).empty());
    read_exactly(connection.server.get(), 2 * part.size() - 100);
    read_exactly(connection.client.get(), no.size() + body.size());
    std::this_thread::sleep_for(110ms);  // what the client says next is a request
    serve(connection, kOk);
  }
  EXPECT_EQ(answers(), (Rows{{"http_client_error", 5}, {"http_success", 5}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 10u);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.1), 0u);
}

// So does a pipeline's second request, which is answered.
TEST_P(Outcome, APipelineIsStillOneRequestForEachThatFoundItOpen) {
  const Connection connection = connect();
  for (int i = 0; i < 3; ++i) {
    send_text(connection.client.get(), "onetwo");
    read_exactly(connection.server.get(), 3);
    send_text(connection.server.get(), kOk);
    send_text(connection.client.get(), "more");
    read_exactly(connection.server.get(), 7);
    send_text(connection.server.get(), kOk);
    read_exactly(connection.client.get(), 2 * kOk.size());
  }
  EXPECT_EQ(answers(), (Rows{{"http_success", 6}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 6u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_queue), 6u);
}

// The server ends on being told goodbye, before its client does.
TEST_P(Outcome, AFarewellIsNoUnansweredRequest) {
  const struct {
    std::string before, farewell;
  } rows[] = {
      {"R\0\0\0\x08\0\0\0\0"s, "X\0\0\0\4"s},
      {"\7\0\0\1\0\0\0\2\0\0\0"s, "\1\0\0\0\1"s},
      {"STORED\r\n", "quit\r\n"},
  };
  for (const auto& row : rows) {
    Connection connection = connect();
    serve(connection, row.before);
    ask(connection, row.farewell);
    connection.server.reset();
    EXPECT_TRUE(at_end(connection.client.get()));
    connection.client.reset();
  }
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_client_gone), 0u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_unanswered_server), 0u);

  // Any other request is one.
  Connection connection = connect();
  serve(connection, "R\0\0\0\x08\0\0\0\0"s);
  ask(connection, "Q\0\0\0\x0dSELECT 1\0"s);
  connection.server.reset();
  EXPECT_TRUE(at_end(connection.client.get()));
  connection.client.reset();
  await(server_, SLOGATE_COUNTER_unanswered_server, 1);
}

// ---- TLS ----

std::string tls_record(char type, size_t bytes) {
  return type + "\3\3"s + static_cast<char>(bytes >> 8) + static_cast<char>(bytes & 0xff) +
         std::string(bytes, 'x');
}
// ServerHello of 1.3, in a record of its own.
const std::string kTls13Hello =
    "\x16\3\3\0\x32\2\0\0\x2e\3\3"s + std::string(32, 'r') + "\0\x13\1\0\0\6\0\x2b\0\2\3\4"s;
const std::string kFinished = "\x14\3\3\0\1\1"s + tls_record(23, 69);
const std::string kTicket = tls_record(23, 250), kData = tls_record(23, 100);

// Many servers send two, one by one, and the request may be there already.
TEST_P(Outcome, ASecondTicketAnswersNothingEither) {
  enum { Before, Between, After };
  for (const int request : {Before, Between, After}) {
    SCOPED_TRACE(request);
    const Connection connection = connect();
    serve(connection, kTls13Hello);
    send_text(connection.client.get(), request == Before ? kFinished + kData : kFinished);
    read_exactly(connection.server.get(), kFinished.size());
    answer(connection, kTicket);
    if (request == Between) send_text(connection.client.get(), kData);
    answer(connection, kTicket);
    if (request == After) send_text(connection.client.get(), kData);
    std::this_thread::sleep_for(110ms);
    EXPECT_EQ(kernel().inflight(server_).size(), 1u);
    read_exactly(connection.server.get(), kData.size());
    EXPECT_EQ(answers()["tls_unknown"], static_cast<uint64_t>(request));
    answer(connection, kData);
    EXPECT_TRUE(kernel().inflight(server_).empty());
  }
  EXPECT_EQ(handshakes(), (Rows{{"tls_full", 3}}));
  EXPECT_EQ(answers(), (Rows{{"tls_unknown", 3}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 3u);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.1), 3u);
}

// As with kernel TLS and sendfile: it is over all the same.
TEST_P(Outcome, AHandshakeEndsWithDataThatCannotBeRead) {
  const Connection connection = connect();
  serve(connection, kTls13Hello);
  ask(connection, kFinished);
  answer(connection, kTicket);
  const Connection other = connect();
  serve(other, kTls13Hello);
  ask(other, kData);
  const Fd file(check(memfd_create("answer", MFD_CLOEXEC), "memfd_create"));
  check(write(file.get(), kData.data(), kData.size()), "write");
  off_t offset = 0;
  check(sendfile(other.server.get(), file.get(), &offset, kData.size()), "sendfile");
  read_exactly(other.client.get(), kData.size());
  for (const Connection* each : {&connection, &other}) {
    ask(*each, kFinished);  // a request that is as long as the end of a handshake
    EXPECT_EQ(kernel().inflight(server_).size(), 1u);
    answer(*each, kData);
  }
  EXPECT_EQ(answers(), (Rows{{"tls_unknown", 3}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 3u);
}

// Servers that gave their tickets before, or give none, say nothing to the end of a handshake.
TEST_P(Outcome, TheEndOfAHandshakeThatIsNotAnsweredIsNoRequest) {
  for (const bool tickets : {false, true}) {
    SCOPED_TRACE(tickets);
    Connection connection = connect();
    serve(connection, kTls13Hello);
    ask(connection, kFinished);
    std::this_thread::sleep_for(110ms);
    EXPECT_TRUE(kernel().inflight(server_).empty());
    if (arrivals_are_read()) {
      EXPECT_TRUE(kernel().inflight(client_).empty());
    }
    send_text(connection.client.get(), kFinished);  // a request of the same length is one
    if (tickets) answer(connection, kTicket);
    read_exactly(connection.server.get(), kFinished.size());
    EXPECT_EQ(kernel().inflight(server_).size(), 1u);
    answer(connection, kData);
    EXPECT_TRUE(kernel().inflight(server_).empty());
    ask(connection, kFinished);
    EXPECT_EQ(kernel().inflight(server_).size(), 1u);
    answer(connection, kData);
  }
  EXPECT_EQ(answers(), (Rows{{"tls_unknown", 4}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 4u);
  EXPECT_EQ(in(SLOGATE_SIGNAL_queue), 4u);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.1), 0u);
  for (const bool server_first : {false, true}) {
    Connection connection = connect();
    serve(connection, kTls13Hello);
    ask(connection, kFinished);
    Fd& first = server_first ? connection.server : connection.client;
    Fd& second = server_first ? connection.client : connection.server;
    first.reset();
    EXPECT_TRUE(at_end(second.get()));
    second.reset();
  }
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_client_gone), 0u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_unanswered_server), 0u);
  if (arrivals_are_read()) {
    EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_unanswered_client), 0u);
  }
}

class OutcomeOfTls : public OutcomeTest {
 protected:
  void SetUp() override {
    if (reading_modes().empty()) GTEST_SKIP() << "this kernel shows no answers";
    start(Mode::Locked);
  }
  void TearDown() override {
    if (server_program_) server_program_->stop(SIGKILL);
    OutcomeTest::TearDown();
  }
  void start_server(const std::string& version, const std::vector<std::string>& more = {}) {
    Program(client_, {find_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                      "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-keyout",
                      files_.path() + "/key.pem", "-out", files_.path() + "/cert.pem"})
        .finish();
    std::vector<std::string> words = {find_program("openssl"),
                                      "s_server",
                                      "-quiet",
                                      "-WWW",
                                      version,
                                      "-accept",
                                      fmt::format("{}:{}", kLoopback, port_),
                                      "-cert",
                                      files_.path() + "/cert.pem",
                                      "-key",
                                      files_.path() + "/key.pem"};
    words.insert(words.end(), more.begin(), more.end());
    server_program_ = std::make_unique<Program>(server_, words);
    server_program_->wait_until_listening(port_);
  }
  // Connects, asks for a file and hangs up when it has the answer; the session is kept in a file,
  // or taken from one.
  void ask_by_tls(const std::string& more, const std::string& idle = "0") {
    Program(client_,
            {"/bin/sh", "-c",
             fmt::format("{{ sleep {}; printf 'GET /none HTTP/1.0\\r\\n\\r\\n'; sleep 0.3; }} | "
                         "openssl s_client -quiet -connect {}:{} {} 2>&1; true",
                         idle, kLoopback, port_, more)})
        .finish();
  }

  const uint16_t port_ = free_port();
  const TempDir files_;
  std::unique_ptr<Program> server_program_;
};

TEST_F(OutcomeOfTls, HandshakesAreNoRequestsAndFullOrResumed) {
  if (find_program("openssl").empty()) GTEST_SKIP() << "openssl is not installed";
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    SCOPED_TRACE(version);
    const Rows before = handshakes();
    const uint64_t requests = in(SLOGATE_SIGNAL_request);
    start_server(version);
    const std::string session = files_.path() + "/session" + version;
    ask_by_tls("-sess_out " + session);
    ask_by_tls("-sess_in " + session);
    EXPECT_TRUE(eventually([&] { return handshakes() != before; }));
    const auto grown = [&](const char* kind) {
      Rows rows = handshakes(), old = before;
      return rows[kind] - old[kind];
    };
    EXPECT_EQ(grown("tls_full"), 1u);
    EXPECT_EQ(grown("tls_resumed"), 1u);
    EXPECT_EQ(grown("tls_failed"), 0u);
    // 1.3: what the client says last in its handshake is answered by tickets.
    EXPECT_EQ(in(SLOGATE_SIGNAL_request)-requests, 2u);
    EXPECT_LE(in(SLOGATE_SIGNAL_queue), 2 * in(SLOGATE_SIGNAL_request)) << "goodbyes are read, too";
    EXPECT_EQ(answers().at("tls_unknown"), in(SLOGATE_SIGNAL_request));
    server_program_->stop(SIGKILL);
    server_program_.reset();
  }
}

// A client that is idle at first, and then asks.
TEST_F(OutcomeOfTls, TheTimeBeforeTheFirstRequestIsNotIts) {
  if (find_program("openssl").empty()) GTEST_SKIP() << "openssl is not installed";
  for (const char* tickets : {"0", "1", "2"}) {
    SCOPED_TRACE(tickets);
    const uint64_t requests = in(SLOGATE_SIGNAL_request);
    start_server("-tls1_3", {"-num_tickets", tickets});
    ask_by_tls("", "0.5");
    EXPECT_TRUE(eventually([&] { return in(SLOGATE_SIGNAL_request) == requests + 1; }));
    server_program_->stop(SIGKILL);
    server_program_.reset();
  }
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 0.4), 0u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_client_gone), 0u);
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_unanswered_server), 0u);
}

TEST_F(OutcomeOfTls, HandshakesThatFailAreToldByTheAlert) {
  if (find_program("openssl").empty()) GTEST_SKIP() << "openssl is not installed";
  start_server("-tls1_3");
  ask_by_tls("-tls1_2");
  EXPECT_TRUE(eventually([&] { return handshakes() == Rows{{"tls_failed", 1}}; }));
  EXPECT_EQ(in(SLOGATE_SIGNAL_request), 0u);
  EXPECT_EQ(answers(), Rows{});
}

// ---- nothing of it is kept ----

// Everything that lies in a map of the programs, as far as the kernel shows it.
std::string dump(const Maps& maps, const std::vector<slogate_inflight>& sockets, const Fd& socket) {
  std::string all(reinterpret_cast<const char*>(sockets.data()),
                  sockets.size() * sizeof(slogate_inflight));
  for (const MapStatus& status : maps.status({})) {
    const int fd = maps.fd(status.name);
    const auto facts = map_facts(fd);
    if (!facts) continue;
    std::string key(facts->key_bytes, '\0'), value(facts->value_bytes, '\0');
    const void* from = nullptr;
    while (bpf_map_get_next_key(fd, from, key.data()) == 0) {
      from = key.data();
      all += key;
      uint32_t id = 0;
      if (facts->type != BPF_MAP_TYPE_ARRAY_OF_MAPS) {
        if (bpf_map_lookup_elem(fd, key.data(), value.data()) == 0) all += value;
        continue;
      }
      // Inner maps come without gaps, and before 6.8 each look takes as long as all CPUs take to
      // leave what they are at.
      if (bpf_map_lookup_elem(fd, key.data(), &id) != 0) break;
      const Fd inner(bpf_map_get_fd_by_id(id));
      const auto inside = map_facts(inner.get());
      if (!inside) continue;
      std::string inner_key(inside->key_bytes, '\0'), inner_value(inside->value_bytes, '\0');
      const void* inner_from = nullptr;
      while (bpf_map_get_next_key(inner.get(), inner_from, inner_key.data()) == 0) {
        inner_from = inner_key.data();
        all += inner_key;
        if (bpf_map_lookup_elem(inner.get(), inner_key.data(), inner_value.data()) == 0)
          all += inner_value;
      }
    }
  }
  slogate_sock state{};
  const int fd = socket.get();
  if (bpf_map_lookup_elem(maps.fd("slogate_sockets"), &fd, &state) == 0)
    all.append(reinterpret_cast<const char*>(&state), sizeof(state));
  return all;
}

TEST_P(Outcome, NothingOfAPayloadLiesInAMap) {
  const std::string mark = "MaRkEd#";
  const Connection connection = connect();
  for (const std::string& text :
       {"-" + mark + mark + mark + "\r\n", "HTTP/1.1 500 " + mark + "\r\n",
        "+" + mark + "\r\n$7\r\n" + mark + "\r\n", mark + mark,
        "E\0\0\0\x23SFATAL\0VFATAL\0C53300\0M"s + mark + "\0\0"s}) {
    serve(connection, text);
    serve(connect(), text);
    answer(connect(), text);
  }
  const std::string all = dump(kernel().maps(), kernel().inflight(server_), connection.server);
  ASSERT_GT(all.size(), sizeof(slogate_slot));
  EXPECT_FALSE(all.contains(mark.substr(0, 4)));
  // The dump does show what lies there.
  const uint64_t id = server_.id();
  EXPECT_TRUE(all.contains(std::string(reinterpret_cast<const char*>(&id), sizeof(id))));
}

// ---- where no answer can be seen ----

class OutcomeUnseen : public OutcomeTest {};

TEST_F(OutcomeUnseen, IsUnknown) {
  if (std::ranges::find(modes(), Mode::Length) == modes().end())
    GTEST_SKIP() << "this kernel has no sock_send_length";
  start(Mode::Length);
  const Connection connection = connect();
  for (int i = 0; i < 3; ++i) serve(connection, kError);
  EXPECT_TRUE(eventually([&] { return in(SLOGATE_SIGNAL_request) == 3; }));
  EXPECT_EQ(answers(), (Rows{{"unknown_unknown", 3}}));
  EXPECT_EQ(in(SLOGATE_SIGNAL_failed_request) + in(SLOGATE_SIGNAL_answer), 0u);
}

}  // namespace
}  // namespace slogate
