// SPDX-License-Identifier: Apache-2.0
// What first bytes say, protocol by protocol; the bytes are those of real servers.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/answer.h"

namespace slogate {
namespace {

using namespace std::string_literals;

struct Situation {
  slogate_protocol protocol = SLOGATE_PROTOCOL_untold;
  bool asked = true;
  bool first = false;
  __u8 misfits = 0;
  __u8 phase = 0;
};

// Reads the first `here` bytes of a send.
answer_reading read(const std::string& sent, size_t here, const Situation& in = {}) {
  Bytes bytes{sent.data(), here};
  answer_reading reading{};
  reading.here = static_cast<__u32>(here);
  reading.bytes = static_cast<__u32>(sent.size());
  reading.asked = in.asked;
  reading.first = in.first;
  reading.protocol = static_cast<__u8>(in.protocol);
  reading.misfits = in.misfits;
  reading.phase = in.phase;
  read_answer(&bytes, &reading);
  EXPECT_LE(bytes.peeks, sent.starts_with("HTTP/1.1 1") ? 34u : 20u) << sent;
  return reading;
}

answer_reading read(const std::string& sent, const Situation& in = {}) {
  return read(sent, sent.size(), in);
}

struct Row {
  const char* name;
  std::string sent;
  slogate_answer answer;
  slogate_protocol protocol;
};

// Of a connection whose protocol is known, or is not.
void expect_rows(const std::vector<Row>& rows, bool learnt, bool first = false) {
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const answer_reading reading = read(
        row.sent, {.protocol = learnt ? row.protocol : SLOGATE_PROTOCOL_untold, .first = first});
    EXPECT_EQ(reading.kind, ANSWER_outcome);
    EXPECT_EQ(reading.answer, row.answer);
    EXPECT_EQ(reading.protocol, row.protocol);
    EXPECT_EQ(reading.misfits, 0);
  }
}
void expect_rows(const std::vector<Row>& rows) {
  expect_rows(rows, true);
  expect_rows(rows, false);
}

// ---- HTTP ----

TEST(AnswerHttp, SaysItsStatus) {
  const auto row = [](const char* name, const std::string& sent, slogate_answer answer) {
    return Row{name, sent, answer, SLOGATE_PROTOCOL_http};
  };
  expect_rows({
      row("200", "HTTP/1.1 200 OK\r\nServer: nginx\r\n", SLOGATE_ANSWER_http_success),
      row("204", "HTTP/1.1 204 No Content\r\n\r\n", SLOGATE_ANSWER_http_success),
      row("304", "HTTP/1.1 304 Not Modified\r\n", SLOGATE_ANSWER_http_success),
      row("1.0", "HTTP/1.0 200 OK\r\n", SLOGATE_ANSWER_http_success),
      row("no reason", "HTTP/1.1 200\r\n", SLOGATE_ANSWER_http_success),
      row("404", "HTTP/1.1 404 Not Found\r\n", SLOGATE_ANSWER_http_client_error),
      row("499", "HTTP/1.1 499 Gone\r\n", SLOGATE_ANSWER_http_client_error),
      row("500", "HTTP/1.1 500 Internal Server Error\r\n", SLOGATE_ANSWER_http_server_error),
      row("503", "HTTP/1.0 503 Service Unavailable\r\n", SLOGATE_ANSWER_http_server_error),
  });
}

TEST(AnswerHttp, InterimAnswersAreNone) {
  for (const char* status : {"100 Continue", "102 Processing", "103 Early Hints"}) {
    const answer_reading reading = read("HTTP/1.1 "s + status + "\r\n\r\n");
    EXPECT_EQ(reading.kind, ANSWER_interim) << status;
    EXPECT_EQ(reading.protocol, SLOGATE_PROTOCOL_http);
  }
}

// A proxy may hand over both at once.
TEST(AnswerHttp, IsFoundBehindInterimAnswers) {
  const std::string hint = "HTTP/1.1 103 Early Hints\r\nLink: </" + std::string(100, 'a') +
                           ">; rel=preload\r\nLink: </b>\r\n\r\n",
                    more = "HTTP/1.1 100 Continue\r\n\r\n";
  const auto answer = [](const std::string& sent) {
    const answer_reading reading = read(sent);
    EXPECT_EQ(reading.kind, ANSWER_outcome) << sent;
    EXPECT_EQ(reading.rest, 0u);
    EXPECT_EQ(reading.here, sent.size());
    return reading.answer;
  };
  for (const std::string& before : {hint, more, more + hint}) {
    EXPECT_EQ(read(before).kind, ANSWER_interim) << before;
    EXPECT_EQ(answer(before + "HTTP/1.1 204 No Content\r\n\r\n"), SLOGATE_ANSWER_http_success);
    EXPECT_EQ(answer(before + "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"),
              SLOGATE_ANSWER_http_server_error);
    EXPECT_EQ(answer(before + "HTTP/1.1 40"), SLOGATE_ANSWER_http_unknown);
    EXPECT_EQ(answer(before + "what is this"), SLOGATE_ANSWER_http_unknown);
  }
  // Too far away to be found: that there is one shows, if it has a body.
  const std::string far =
      "HTTP/1.1 103 Early Hints\r\nLink: " + std::string(2000, 'a') + "\r\n\r\n";
  EXPECT_EQ(read(far).kind, ANSWER_interim);
  EXPECT_EQ(answer(far + "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"),
            SLOGATE_ANSWER_http_unknown);
  // In another piece of the same send.
  const std::string pieces = hint + "HTTP/1.1 500 Oh\r\n\r\n";
  EXPECT_EQ(read(pieces, hint.size()).answer, SLOGATE_ANSWER_http_unknown);
}

TEST(AnswerHttp, IsLeftByAnUpgrade) {
  const answer_reading reading = read("HTTP/1.1 101 Switching Protocols\r\n\r\n");
  EXPECT_EQ(reading.kind, ANSWER_outcome);
  EXPECT_EQ(reading.answer, SLOGATE_ANSWER_http_success);
  EXPECT_EQ(reading.protocol, SLOGATE_PROTOCOL_opaque);
}

TEST(AnswerHttp, SaysWhereHttp2BeginsAfterAnUpgrade) {
  const std::string head =
      "HTTP/1.1 101 Switching Protocols\r\nDate: today\r\nupgrade: h2c\r\nConnection: "
      "Upgrade\r\n\r\n";
  EXPECT_EQ(read(head).upgraded, head.size());
  EXPECT_EQ(read(head + "frames").upgraded, head.size());
  EXPECT_EQ(read(head, head.size() - 1).upgraded, 0u);
  EXPECT_EQ(read("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").upgraded, 0u);
}

TEST(AnswerHttp2, ServersBeginWithSettings) {
  using namespace std::string_literals;
  const Situation first{.first = true};
  const std::string settings = "\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0d"s;
  const auto reads = [&](const std::string& text) {
    return read(text, text.size(), first).settings != 0;
  };
  EXPECT_TRUE(reads(settings));
  EXPECT_TRUE(reads("\0\0\0\x04\0\0\0\0\0"s));
  EXPECT_FALSE(reads("\0\0\x07\x04\0\0\0\0\0"s));
  EXPECT_FALSE(reads("\0\0\x06\x04\x01\0\0\0\0"s));
  EXPECT_FALSE(reads("\0\0\x06\x04\0\0\0\0\x01"s));
  EXPECT_FALSE(reads("HTTP/1.1 200 OK\r\n\r\n"s));
}

TEST(AnswerHttp, SplitBeforeItsStatusIsUnknownAndStaysHttp) {
  const std::string sent = "HTTP/1.1 500 Internal Server Error\r\n";
  for (size_t here = 1; here < 12; ++here) {
    const answer_reading reading = read(sent, here, {.protocol = SLOGATE_PROTOCOL_http});
    EXPECT_EQ(reading.answer, SLOGATE_ANSWER_http_unknown) << here;
    if (here < 4) continue;  // "HTT" may be anything
    EXPECT_EQ(reading.protocol, SLOGATE_PROTOCOL_http) << here;
    EXPECT_EQ(reading.misfits, 0) << here;
  }
  EXPECT_EQ(read(sent, 12, {.protocol = SLOGATE_PROTOCOL_http}).answer,
            SLOGATE_ANSWER_http_server_error);
}

TEST(AnswerHttp, IsNotWhatOnlyLooksLikeIt) {
  for (const char* sent : {"HTTP/2.0 200 OK\r\n", "HTTP/1.1-200 OK\r\n", "HTTP/1.1 700 No\r\n",
                           "HTTP/1.1 2x0 OK\r\n", "HTTP/1.x 200 OK\r\n", "RTSP/1.0 200 OK\r\n"})
    EXPECT_EQ(read(sent).answer, SLOGATE_ANSWER_unknown_unknown) << sent;
}

// ---- Redis ----

std::vector<Row> redis_rows() {
  const auto row = [](const std::string& sent, slogate_answer answer) {
    return Row{"redis", sent, answer, SLOGATE_PROTOCOL_redis};
  };
  std::vector<Row> rows;
  for (const char* text :
       {"+OK\r\n", "+PONG\r\n", "+a long status that is longer than a window\r\n", ":0\r\n",
        ":-12\r\n", ":1234567890123\r\n", "$0\r\n\r\n", "$5\r\nhello\r\n", "*0\r\n",
        "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "%1\r\n+a\r\n:1\r\n", "~1\r\n+a\r\n", "#t\r\n", "#f\r\n",
        ",3.14\r\n", ",inf\r\n", "(3492890328409238509\r\n", "=15\r\ntxt:Some string\r\n"})
    rows.push_back(row(text, SLOGATE_ANSWER_redis_success));
  for (const char* text :
       {"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-NOPERM this user has no permissions to run the 'get' command\r\n",
        "-ERR syntax error\r\n", "-ERR unknown command 'foo', with args beginning with: \r\n",
        "-ERR wrong number of arguments for 'get' command\r\n",
        "-ERR unknown subcommand 'x'. Try CLIENT HELP.\r\n"})
    rows.push_back(row(text, SLOGATE_ANSWER_redis_client_error));
  for (const char* text :
       {"-ERR\r\n", "-ERR value is not an integer or out of range\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n", "-OOM command not allowed\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
        "-CLUSTERDOWN Hash slot not served\r\n", "-MISCONF Errors writing to the AOF file\r\n",
        "!21\r\nSYNTAX invalid syntax\r\n"})
    rows.push_back(row(text, SLOGATE_ANSWER_redis_server_error));
  for (const char* text : {"$-1\r\n", "*-1\r\n", "_\r\n"})
    rows.push_back(row(text, SLOGATE_ANSWER_redis_miss));
  for (const char* text : {"-MOVED 3999 127.0.0.1:6381\r\n", "-ASK 3999 127.0.0.1:6381\r\n"})
    rows.push_back(row(text, SLOGATE_ANSWER_redis_redirect));
  return rows;
}

TEST(AnswerRedis, SaysItsReply) {
  expect_rows(redis_rows(), true);
  std::vector<Row> rows = redis_rows();
  std::erase_if(rows, [](const Row& row) { return row.sent.starts_with("!"); });
  expect_rows(rows, false);
}

// The middle of a value may begin with anything.
TEST(AnswerRedis, IsNoErrorWithoutAWord) {
  for (const char* sent : {"- a list\r\n", "-1\r\n", "--\r\n", "-_\r\n"})
    EXPECT_EQ(read(sent, {.protocol = SLOGATE_PROTOCOL_redis}).answer, SLOGATE_ANSWER_redis_unknown)
        << sent;
}

// A script's error has what text it likes, and so has a proxy's; but nothing is learnt by that.
TEST(AnswerRedis, IsAnErrorWithoutACodeWhereItsProtocolIsKnown) {
  for (const char* sent : {"-something failed\r\n", "-upstream failure\r\n", "-err\r\n"}) {
    const answer_reading known = read(sent, {.protocol = SLOGATE_PROTOCOL_redis, .misfits = 3});
    EXPECT_EQ(known.answer, SLOGATE_ANSWER_redis_server_error) << sent;
    EXPECT_EQ(known.misfits, 0) << sent;
    EXPECT_EQ(read(sent).answer, SLOGATE_ANSWER_unknown_unknown) << sent;
  }
}

TEST(AnswerRedis, OfALargeValueIsToldByItsBeginning) {
  const std::string sent = "$100000\r\n" + std::string(100'000, 'x') + "\r\n";
  const answer_reading reading = read(sent, 16);
  EXPECT_EQ(reading.answer, SLOGATE_ANSWER_redis_success);
  EXPECT_EQ(reading.rest, 0u);
}

// Outcomes of all further replies of a send, by row.
struct More {
  answer_replies replies{};
  unsigned steps = 0, peeks = 0;
};
More more_of(const std::string& sent) {
  Bytes bytes{sent.data(), sent.size()};
  answer_reading reading{};
  reading.here = reading.bytes = static_cast<__u32>(sent.size());
  reading.asked = 1;
  reading.protocol = SLOGATE_PROTOCOL_redis;
  read_answer(&bytes, &reading);
  More more;
  while (more.steps < ANSWER_REDIS_STEPS && step_replies(&bytes, &reading, &more.replies) != 0)
    ++more.steps;
  more.peeks = bytes.peeks;
  return more;
}

TEST(AnswerRedis, PipelinesAreToldReplyByReply) {
  const More more = more_of(
      "+OK\r\n$-1\r\n$5\r\nhello\r\n:12345678901234567890\r\n-MOVED 3999 127.0.0.1:6381\r\n"
      "-ERR a rather long error, which goes on and on for much more than one window of 64 bytes "
      "does\r\n-NOAUTH Authentication required.\r\n_\r\n#t\r\n");
  EXPECT_EQ(more.replies.seen, 8u);
  const std::array<__u32, ANSWER_REDIS_OUTCOMES> expected = {3, 1, 1, 1, 2};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(more.replies.more[i], expected[i]) << i;
}

TEST(AnswerRedis, PipelinesAreToldUpToSixteenReplies) {
  std::string sent;
  for (int i = 0; i < 100; ++i) sent += "+OK\r\n";
  EXPECT_EQ(more_of(sent).replies.seen, 15u);
  sent.clear();
  for (int i = 0; i < 100; ++i) sent += "-ERR " + std::string(1000, 'x') + "\r\n";
  const More more = more_of(sent);
  EXPECT_LE(more.replies.seen, 15u);
  EXPECT_LE(more.peeks, ANSWER_REDIS_STEPS + 2u);
}

TEST(AnswerRedis, AReplyThatHasPartsEndsThePipeline) {
  EXPECT_EQ(more_of("+OK\r\n*1\r\n$1\r\na\r\n+OK\r\n").replies.seen, 1u);
  EXPECT_EQ(more_of("*1\r\n$1\r\na\r\n+OK\r\n").replies.seen, 0u);
  EXPECT_EQ(more_of("+OK\r\n$999999999\r\nx").replies.seen, 1u);
  EXPECT_EQ(more_of("+OK\r\n$9999999999\r\nx").replies.seen, 0u);
}

TEST(AnswerRedis, SubscriptionsHaveNoEnd) {
  for (const char* sent : {"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
                           "*3\r\n$10\r\npsubscribe\r\n$1\r\na\r\n:1\r\n",
                           ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"})
    EXPECT_TRUE(read(sent).endless) << sent;
  EXPECT_FALSE(read("*3\r\n$9\r\nsomething\r\n+a\r\n+b\r\n").endless);
}

// ---- PostgreSQL ----

std::string message(char type, const std::string& body) {
  const auto length = static_cast<uint32_t>(body.size() + 4);
  std::string out(1, type);
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(length >> shift & 0xff);
  return out + body;
}
const std::string kReady = message('Z', "I");
std::string postgres_error(const std::string& state, const std::string& severity = "ERROR",
                           bool english = true) {
  return message('E', "S" + severity + '\0' + (english ? "VERROR\0"s : ""s) + "C" + state + '\0' +
                          "Mwhatever there is to say\0Fx.c\0\0"s);
}

std::vector<Row> postgres_rows() {
  const auto row = [](const char* name, const std::string& sent, slogate_answer answer) {
    return Row{name, sent, answer, SLOGATE_PROTOCOL_postgresql};
  };
  const std::string columns =
      message('T', "\0\1?column?\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"s);
  const std::string line = message('D', "\0\1\0\0\0\1\x31"s);
  return {
      row("simple", columns + line + message('C', "SELECT 1\0"s) + kReady,
          SLOGATE_ANSWER_postgresql_success),
      row("command", message('C', "BEGIN\0"s) + message('Z', "T"),
          SLOGATE_ANSWER_postgresql_success),
      row("extended",
          message('1', "") + message('2', "") + columns + line + message('C', "SELECT 1\0"s) +
              kReady,
          SLOGATE_ANSWER_postgresql_success),
      row("empty", message('I', "") + kReady, SLOGATE_ANSWER_postgresql_success),
      row("constraint", postgres_error("23505") + kReady, SLOGATE_ANSWER_postgresql_client_error),
      row("data", postgres_error("22012") + kReady, SLOGATE_ANSWER_postgresql_client_error),
      row("password", postgres_error("28P01", "FATAL"), SLOGATE_ANSWER_postgresql_client_error),
      row("serialization", postgres_error("40001") + kReady,
          SLOGATE_ANSWER_postgresql_client_error),
      row("syntax", postgres_error("42601") + kReady, SLOGATE_ANSWER_postgresql_client_error),
      row("other", postgres_error("P0001") + kReady, SLOGATE_ANSWER_postgresql_client_error),
      row("too many", postgres_error("53300", "FATAL"), SLOGATE_ANSWER_postgresql_server_error),
      row("connection", postgres_error("08006", "FATAL"), SLOGATE_ANSWER_postgresql_server_error),
      row("shutdown", postgres_error("57P01", "FATAL"), SLOGATE_ANSWER_postgresql_server_error),
      row("I/O", postgres_error("58030") + kReady, SLOGATE_ANSWER_postgresql_server_error),
      row("internal", postgres_error("XX000") + kReady, SLOGATE_ANSWER_postgresql_server_error),
      row("before 9.6", postgres_error("53300", "FATAL", false),
          SLOGATE_ANSWER_postgresql_server_error),
      row("Russian", postgres_error("XX000", "ВАЖНО"), SLOGATE_ANSWER_postgresql_server_error),
      row("a long word", postgres_error("XX000", "SCHWERWIEGENDER FEHLER"),
          SLOGATE_ANSWER_postgresql_server_error),
      row("password wanted", message('R', "\0\0\0\x0aSCRAM-SHA-256\0\0"s),
          SLOGATE_ANSWER_postgresql_success),
      row("no such database", message('R', "\0\0\0\0"s) + postgres_error("3D000", "FATAL"),
          SLOGATE_ANSWER_postgresql_client_error),
      row("no room for more", message('R', "\0\0\0\0"s) + postgres_error("53300", "FATAL"),
          SLOGATE_ANSWER_postgresql_server_error),
  };
}

TEST(AnswerPostgresql, SaysItsState) {
  expect_rows(postgres_rows());
}

// Behind other messages only a connection that is known is looked at so far.
TEST(AnswerPostgresql, FindsAnErrorBehindOtherMessages) {
  const auto known = [](const std::string& sent) {
    return read(sent, {.protocol = SLOGATE_PROTOCOL_postgresql}).answer;
  };
  const std::string error = postgres_error("57014") + kReady;
  const std::string parsed = message('1', ""), bound = message('2', "");
  EXPECT_EQ(known(parsed + error), SLOGATE_ANSWER_postgresql_server_error);
  EXPECT_EQ(known(parsed + bound + message('n', "") + error),
            SLOGATE_ANSWER_postgresql_server_error);
  EXPECT_EQ(known(message('C', "BEGIN\0"s) + error), SLOGATE_ANSWER_postgresql_server_error);
  const std::string notice = message('N', "SNOTICE\0C00000\0Mhello\0\0"s);
  std::string notices;
  for (int i = 0; i < 7; ++i) notices += notice;
  EXPECT_EQ(known(notices + error), SLOGATE_ANSWER_postgresql_server_error) << "the eighth";
  EXPECT_EQ(known(notices + notice + error), SLOGATE_ANSWER_postgresql_success) << "the ninth";
  const std::string row = message('D', "\0\1\0\0\0\1\x31"s);
  EXPECT_EQ(known(row + error), SLOGATE_ANSWER_postgresql_success) << "after rows";
}

// A login is told by 'R', which is said nowhere else; its error by being where an answer was due.
TEST(AnswerPostgresql, LoginIsKnownAsOne) {
  const auto step = [](const std::string& sent, __u8 phase, bool first = false) {
    const answer_reading reading =
        read(sent, {.protocol = SLOGATE_PROTOCOL_postgresql, .first = first, .phase = phase});
    return std::pair<bool, bool>(reading.login, reading.phase & SLOGATE_PHASE_login);
  };
  using Step = std::pair<bool, bool>;
  const std::string welcome = message('R', "\0\0\0\0"s) + message('S', "a\0b\0"s) + kReady;
  const __u8 kLogin = SLOGATE_PHASE_login;
  EXPECT_EQ(step("N", 0, true), Step(true, true));
  EXPECT_EQ(step(message('R', "\0\0\0\x0aSCRAM-SHA-256\0\0"s), kLogin), Step(true, true));
  EXPECT_EQ(step(message('R', "\0\0\0\x0bserver first"s), kLogin), Step(true, true));
  EXPECT_EQ(step(message('R', "\0\0\0\x0cserver last"s) + welcome, kLogin), Step(true, false));
  EXPECT_EQ(step(welcome, 0, true), Step(true, false));
  // A pool proves who is there, and then waits for a server.
  const std::string proved = message('R', "\0\0\0\x0cserver last"s);
  EXPECT_EQ(step(proved, kLogin), Step(true, true));
  EXPECT_EQ(read(proved, {.protocol = SLOGATE_PROTOCOL_postgresql, .phase = kLogin}).kind,
            ANSWER_interim);
  EXPECT_EQ(step(postgres_error("28P01", "FATAL"), kLogin), Step(true, false));
  EXPECT_EQ(step(postgres_error("53300", "FATAL"), 0, true), Step(true, false));
  EXPECT_EQ(step(message('R', "\0\0\0\0"s) + postgres_error("3D000", "FATAL"), 0, true),
            Step(true, false));
  EXPECT_EQ(step(postgres_error("57P01", "FATAL"), 0), Step(false, false));
  EXPECT_EQ(step(message('C', "BEGIN\0"s) + kReady, 0), Step(false, false));
}

TEST(AnswerPostgresql, LetterForEncryptionIsOneOnlyAtTheBeginning) {
  for (const char* letter : {"N", "S"}) {
    const answer_reading reading = read(letter, {.first = true});
    EXPECT_EQ(reading.answer, SLOGATE_ANSWER_postgresql_success);
    EXPECT_EQ(reading.protocol, SLOGATE_PROTOCOL_postgresql);
    EXPECT_EQ(read(letter).answer, SLOGATE_ANSWER_unknown_unknown);
  }
}

TEST(AnswerPostgresql, ErrorWithoutAStateIsUnknown) {
  const std::string sent =
      message('E', "Sa word that has no end whatever one does"s + std::string(40, 'x'));
  EXPECT_EQ(read(sent, {.protocol = SLOGATE_PROTOCOL_postgresql}).answer,
            SLOGATE_ANSWER_postgresql_unknown);
}

// ---- MySQL ----

std::string packet(int number, const std::string& body) {
  std::string out;
  for (int shift = 0; shift < 24; shift += 8) out += static_cast<char>(body.size() >> shift & 0xff);
  return out + static_cast<char>(number) + body;
}
std::string mysql_failure(unsigned code, const std::string& state = "HY000", int number = 1) {
  return packet(number, "\xff"s + static_cast<char>(code & 0xff) + static_cast<char>(code >> 8) +
                            (state.empty() ? "" : "#" + state) + "what went wrong");
}
const std::string kGreeting = packet(0,
                                     "\x0a"
                                     "8.0.36\0\x08\0\0\0abcdefgh\0\xff\xff\xff\2\0\xff\xdf"s);
const std::string kOk = packet(1, "\0\1\0\2\0\0\0"s);

TEST(AnswerMysql, SaysItsPacket) {
  const auto row = [](const char* name, const std::string& sent, slogate_answer answer) {
    return Row{name, sent, answer, SLOGATE_PROTOCOL_mysql};
  };
  const std::string columns =
      packet(1, "\1") + packet(2, "\3def\0\0\0\0011\0\x0c\x3f\0\1\0\0\0\x08"s);
  const std::vector<Row> rows = {
      row("OK", kOk, SLOGATE_ANSWER_mysql_success),
      row("rows", columns, SLOGATE_ANSWER_mysql_success),
      row("syntax", mysql_failure(1064, "42000"), SLOGATE_ANSWER_mysql_client_error),
      row("duplicate", mysql_failure(1062, "23000"), SLOGATE_ANSWER_mysql_client_error),
      row("lock wait", mysql_failure(1205), SLOGATE_ANSWER_mysql_client_error),
      row("deadlock", mysql_failure(1213, "40001"), SLOGATE_ANSWER_mysql_client_error),
      row("too many", mysql_failure(1040, "08004"), SLOGATE_ANSWER_mysql_server_error),
      row("of the user", mysql_failure(1203, "42000"), SLOGATE_ANSWER_mysql_server_error),
      row("read-only", mysql_failure(1290), SLOGATE_ANSWER_mysql_server_error),
      row("disk full", mysql_failure(1021), SLOGATE_ANSWER_mysql_server_error),
      row("interrupted", mysql_failure(1317, "70100"), SLOGATE_ANSWER_mysql_server_error),
  };
  expect_rows(rows);
}

TEST(AnswerMysql, LoginIsAnExchange) {
  const Situation known = {.protocol = SLOGATE_PROTOCOL_mysql};
  EXPECT_EQ(read(packet(2, "\0\0\0\2\0\0\0"s), known).answer, SLOGATE_ANSWER_mysql_success);
  EXPECT_EQ(read(packet(2,
                        "\xfe"
                        "mysql_native_password\0"s),
                 known)
                .answer,
            SLOGATE_ANSWER_mysql_success);
  EXPECT_EQ(read(mysql_failure(1045, "28000", 2), known).answer, SLOGATE_ANSWER_mysql_client_error);
}

// Between a greeting and what says OK or no; what answers a request is packet 1.
TEST(AnswerMysql, LoginIsKnownAsOne) {
  const auto step = [](const std::string& sent, __u8 phase) {
    const answer_reading reading = read(sent, {.protocol = SLOGATE_PROTOCOL_mysql, .phase = phase});
    return std::pair<bool, bool>(reading.login, reading.phase & SLOGATE_PHASE_login);
  };
  using Step = std::pair<bool, bool>;
  const __u8 kLogin = SLOGATE_PHASE_login;
  EXPECT_EQ(read(kGreeting, {.asked = false, .first = true}).phase, kLogin);
  EXPECT_EQ(step(packet(2, "\xfemysql_native_password\0"s), kLogin), Step(true, true));
  EXPECT_EQ(step(packet(4, "\1\3"), kLogin), Step(true, true));
  EXPECT_EQ(step(packet(4, "\0\0\0\2\0\0\0"s), kLogin), Step(true, false));
  EXPECT_EQ(step(mysql_failure(1045, "28000", 2), kLogin), Step(true, false));
  EXPECT_EQ(step(kOk, kLogin), Step(false, false));
  EXPECT_EQ(step(packet(4, "\0\0\0\2\0\0\0"s), 0), Step(false, false)) << "LOAD DATA LOCAL";
}

TEST(AnswerMysql, StatementsAreClosedWhereTheyWerePrepared) {
  const auto phase = [](const std::string& sent) {
    return read(sent, {.protocol = SLOGATE_PROTOCOL_mysql}).phase;
  };
  const std::string prepared = "\0\1\0\0\0\1\0\0\0\0\0\0"s;
  EXPECT_EQ(phase(packet(1, prepared)), SLOGATE_PHASE_prepares);
  EXPECT_EQ(phase(packet(1, prepared) + packet(2, "\3def")), SLOGATE_PHASE_prepares);
  EXPECT_EQ(phase(packet(2, prepared)), 0);
  EXPECT_EQ(phase(packet(1, "\0\1\0\2\0\0\0hello"s)), 0) << "an OK that says as much";
  EXPECT_EQ(phase(kOk), 0);
  const Situation after = {.protocol = SLOGATE_PROTOCOL_mysql, .phase = SLOGATE_PHASE_prepares};
  EXPECT_EQ(read(kOk, after).phase, SLOGATE_PHASE_prepares) << "for as long as it lives";
}

TEST(AnswerMysql, CompressedIsNotUnderstood) {
  const std::string inner = packet(1, "\0\1\0\2\0\0\0"s);
  const std::string sent = "\x0b\0\0\1\0\0\0"s + inner;
  EXPECT_EQ(read(sent, {.protocol = SLOGATE_PROTOCOL_mysql}).answer, SLOGATE_ANSWER_mysql_unknown);
}

// Length-prefixed protocols begin with small numbers, too.
TEST(AnswerMysql, IsNotEveryProtocolThatBeginsWithALength) {
  for (const std::string& sent : {"\x10\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0"s,      // a wrong length
                                  "\x5d\1\0\0\x2a\0\0\0\1\0\0\0\xdd\7\0\0"s,  // MongoDB
                                  "\0\0\0\x12\0\0\0\7\0\0\0\0\0\1\0\0\0\0\0\0\0"s,  // Kafka
                                  "\x84\0\0\1\x08\0\0\0\4\0\0\0\1"s,                // Cassandra
                                  "\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64"s,            // HTTP/2
                                  "\1\0\0\0\0\0\x0e\0\x0a\0\x0b\0\0\0\0\0\0\0\0"s,  // AMQP
                                  "\x20\2\0\0"s, "\1\0\0\1\1"s, "\7\0\0\1\0\0\0\0"s}) {
    const answer_reading reading = read(sent);
    EXPECT_EQ(reading.answer, SLOGATE_ANSWER_unknown_unknown) << testing::PrintToString(sent);
    EXPECT_EQ(reading.protocol, SLOGATE_PROTOCOL_untold);
    EXPECT_EQ(reading.misfits, 1);
  }
}

// ---- memcached ----

TEST(AnswerMemcached, SaysItsWord) {
  const auto row = [](const char* sent, slogate_answer answer) {
    return Row{sent, sent, answer, SLOGATE_PROTOCOL_memcached};
  };
  expect_rows({
      row("VALUE k 0 5\r\nhello\r\nEND\r\n", SLOGATE_ANSWER_memcached_success),
      row("STORED\r\n", SLOGATE_ANSWER_memcached_success),
      row("NOT_STORED\r\n", SLOGATE_ANSWER_memcached_success),
      row("HD\r\n", SLOGATE_ANSWER_memcached_success),
      row("VERSION 1.6.18\r\n", SLOGATE_ANSWER_memcached_success),
      row("END\r\n", SLOGATE_ANSWER_memcached_miss),
      row("EN\r\n", SLOGATE_ANSWER_memcached_miss),
      row("CLIENT_ERROR bad data chunk\r\n", SLOGATE_ANSWER_memcached_client_error),
      row("SERVER_ERROR out of memory storing object\r\n", SLOGATE_ANSWER_memcached_server_error),
      row("ERROR\r\n", SLOGATE_ANSWER_memcached_server_error),
  });
  expect_rows({row("DELETED\r\n", SLOGATE_ANSWER_memcached_success),
               row("TOUCHED\r\n", SLOGATE_ANSWER_memcached_success),
               row("NOT_FOUND\r\n", SLOGATE_ANSWER_memcached_success),
               row("OK\r\n", SLOGATE_ANSWER_memcached_success),
               row("STAT pid 1\r\n", SLOGATE_ANSWER_memcached_success),
               row("7\r\n", SLOGATE_ANSWER_memcached_success)},
              true);
}

// ---- TLS ----

std::string two(size_t n) {
  return {static_cast<char>(n >> 8 & 0xff), static_cast<char>(n & 0xff)};
}
std::string record(char type, const std::string& body) {
  return type + "\3\3"s + two(body.size()) + body;
}
std::string handshake(char type, const std::string& body) {
  return type + "\0"s + two(body.size()) + body;
}
std::string extension(int type, size_t length) {
  return two(static_cast<size_t>(type)) + two(length) + std::string(length, 'e');
}
std::string hello(const std::string& extensions, bool retry = false, size_t session = 32) {
  const std::string random =
      retry ? "\xcf\x21\xad\x74\xe5"s + std::string(27, 'r') : std::string(32, 'r');
  return handshake(2, "\3\3" + random + static_cast<char>(session) + std::string(session, 's') +
                          "\x13\1\0"s + two(extensions.size()) + extensions);
}
const std::string kChange = record(20, "\1");
const std::string kTls13 = extension(43, 2);

void expect_handshake(const answer_reading& reading, answer_handshake handshake, answer_tls step) {
  EXPECT_EQ(reading.kind, ANSWER_handshake);
  EXPECT_EQ(reading.handshake, handshake);
  EXPECT_EQ(reading.protocol, SLOGATE_PROTOCOL_tls);
  EXPECT_EQ(reading.misfits, step);
}

TEST(AnswerTls, OneThreeIsToldByItsExtensions) {
  const std::string rest = kChange + record(23, std::string(900, 'x'));
  for (const size_t share : {36, 1124}) {  // X25519, and with ML-KEM
    const std::string key = extension(51, share);
    expect_handshake(read(record(22, hello(kTls13 + key)) + rest), ANSWER_HANDSHAKE_full,
                     ANSWER_TLS_last);
    expect_handshake(read(record(22, hello(key + kTls13)) + rest), ANSWER_HANDSHAKE_full,
                     ANSWER_TLS_last);
    const std::string ticket = extension(41, 2);
    expect_handshake(read(record(22, hello(kTls13 + key + ticket)) + rest),
                     ANSWER_HANDSHAKE_resumed, ANSWER_TLS_last);
    expect_handshake(read(record(22, hello(ticket + key + kTls13)) + rest),
                     ANSWER_HANDSHAKE_resumed, ANSWER_TLS_last);
  }
}

TEST(AnswerTls, OneThreeMayAskAgainAndIsToldByTheSecondHello) {
  const answer_reading asked = read(record(22, hello(kTls13 + extension(51, 2), true)) + kChange);
  expect_handshake(asked, ANSWER_HANDSHAKE_none, ANSWER_TLS_retry);
  const Situation then = {.protocol = SLOGATE_PROTOCOL_tls, .misfits = ANSWER_TLS_retry};
  // The change of cipher says nothing here, where 1.2 resumes with it.
  Situation alone = then;
  alone.asked = false;
  expect_handshake(read(kChange, alone), ANSWER_HANDSHAKE_none, ANSWER_TLS_retry);
  expect_handshake(read(record(22, hello(kTls13 + extension(51, 36))), then), ANSWER_HANDSHAKE_full,
                   ANSWER_TLS_last);
}

TEST(AnswerTls, OneTwoIsToldByWhatFollowsTheHello) {
  const std::string first = hello(extension(65281, 1) + extension(11, 4));
  const std::string certificate = handshake(11, std::string(800, 'c'));
  const std::string ticket = handshake(4, std::string(180, 't'));
  expect_handshake(read(record(22, first) + record(22, certificate)), ANSWER_HANDSHAKE_full,
                   ANSWER_TLS_told);
  expect_handshake(read(record(22, first + certificate)), ANSWER_HANDSHAKE_full, ANSWER_TLS_told);
  expect_handshake(read(record(22, first) + kChange), ANSWER_HANDSHAKE_resumed, ANSWER_TLS_told);
  expect_handshake(read(record(22, first) + record(22, ticket) + kChange), ANSWER_HANDSHAKE_resumed,
                   ANSWER_TLS_told);
  expect_handshake(read(record(22, first + ticket)), ANSWER_HANDSHAKE_resumed, ANSWER_TLS_told);
  expect_handshake(read(record(22, hello("")) + kChange), ANSWER_HANDSHAKE_resumed,
                   ANSWER_TLS_told);
  // Each message in a send of its own, of which nobody asked for the second.
  expect_handshake(read(record(22, first)), ANSWER_HANDSHAKE_none, ANSWER_TLS_hello);
  const Situation then = {
      .protocol = SLOGATE_PROTOCOL_tls, .asked = false, .misfits = ANSWER_TLS_hello};
  expect_handshake(read(record(22, certificate), then), ANSWER_HANDSHAKE_full, ANSWER_TLS_told);
  expect_handshake(read(kChange, then), ANSWER_HANDSHAKE_resumed, ANSWER_TLS_told);
  // Its last flight is no answer either.
  const Situation last = {.protocol = SLOGATE_PROTOCOL_tls};
  expect_handshake(read(record(22, ticket) + kChange, last), ANSWER_HANDSHAKE_none,
                   ANSWER_TLS_told);
  expect_handshake(read(kChange + record(22, std::string(40, 'f')), last), ANSWER_HANDSHAKE_none,
                   ANSWER_TLS_told);
}

TEST(AnswerTls, AlertsBeforeDataAreFailures) {
  const std::string failure = record(21, "\2\x28");
  const Situation known = {.protocol = SLOGATE_PROTOCOL_tls};
  expect_handshake(read(failure), ANSWER_HANDSHAKE_failed, ANSWER_TLS_told);
  expect_handshake(read(failure, known), ANSWER_HANDSHAKE_failed, ANSWER_TLS_told);
  expect_handshake(read(record(21, "\1\0"s), known), ANSWER_HANDSHAKE_none, ANSWER_TLS_told);
  // A farewell in 1.2 is encrypted.
  expect_handshake(read(record(21, std::string(26, 'x')), known), ANSWER_HANDSHAKE_none,
                   ANSWER_TLS_told);
  expect_handshake(read(record(21, "\1\x70") + record(22, hello(kTls13 + extension(51, 36)))),
                   ANSWER_HANDSHAKE_full, ANSWER_TLS_last);
}

TEST(AnswerTls, DataIsAnAnswerAndTheEndOfReading) {
  const answer_reading reading =
      read(record(23, std::string(100, 'x')), {.protocol = SLOGATE_PROTOCOL_tls});
  EXPECT_EQ(reading.kind, ANSWER_outcome);
  EXPECT_EQ(reading.answer, SLOGATE_ANSWER_tls_unknown);
  EXPECT_EQ(reading.misfits, ANSWER_TLS_data);
  EXPECT_FALSE(is_worth_reading(&reading));
}

// The rest of a server's first flight looks like data, too, but nobody has asked for that.
TEST(AnswerTls, WhatFollowsTheHelloOfOneThreeIsNotRead) {
  answer_reading reading = read(record(22, hello(kTls13 + extension(51, 36))));
  reading.asked = 0;
  EXPECT_FALSE(is_worth_reading(&reading));
  reading.asked = 1;
  EXPECT_TRUE(is_worth_reading(&reading));
}

TEST(AnswerTls, BeginsWithinOtherProtocols) {
  for (const slogate_protocol before :
       {SLOGATE_PROTOCOL_postgresql, SLOGATE_PROTOCOL_mysql, SLOGATE_PROTOCOL_http})
    expect_handshake(
        read(record(22, hello(kTls13 + extension(51, 36))), {.protocol = before, .misfits = 2}),
        ANSWER_HANDSHAKE_full, ANSWER_TLS_last);
  const Situation asked = {.protocol = SLOGATE_PROTOCOL_postgresql, .phase = SLOGATE_PHASE_login};
  EXPECT_EQ(read(record(22, hello(kTls13 + extension(51, 36))), asked).phase, 0);
}

// ---- learning, giving up ----

TEST(AnswerProtocol, UnknownOnesAreGivenUp) {
  Situation situation;
  for (int i = 1; i <= ANSWER_MISFITS; ++i) {
    const answer_reading reading = read("pong", situation);
    EXPECT_EQ(reading.answer, SLOGATE_ANSWER_unknown_unknown);
    EXPECT_EQ(reading.protocol == SLOGATE_PROTOCOL_opaque, i == ANSWER_MISFITS) << i;
    situation.protocol = static_cast<slogate_protocol>(reading.protocol);
    situation.misfits = reading.misfits;
  }
}

TEST(AnswerProtocol, KnownOnesAreGivenUpAfterMisfitsInARow) {
  Situation situation = {.protocol = SLOGATE_PROTOCOL_http};
  const auto answer = [&](const char* sent) {
    const answer_reading reading = read(sent, situation);
    situation.protocol = static_cast<slogate_protocol>(reading.protocol);
    situation.misfits = reading.misfits;
    return reading.answer;
  };
  for (int i = 1; i < ANSWER_MISFITS; ++i) EXPECT_EQ(answer("chunk"), SLOGATE_ANSWER_http_unknown);
  EXPECT_EQ(answer("HTTP/1.1 200 OK\r\n"), SLOGATE_ANSWER_http_success);
  for (int i = 1; i < ANSWER_MISFITS; ++i) EXPECT_EQ(answer("chunk"), SLOGATE_ANSWER_http_unknown);
  EXPECT_EQ(answer("chunk"), SLOGATE_ANSWER_unknown_unknown);
  EXPECT_EQ(situation.protocol, SLOGATE_PROTOCOL_opaque);
}

// ---- what nobody asked for ----

TEST(AnswerUnasked, RefusalsAreOneFailedAnswer) {
  const Situation first = {.asked = false, .first = true};
  const struct {
    std::string sent;
    slogate_answer answer;
  } rows[] = {
      {mysql_failure(1040, "08004", 0), SLOGATE_ANSWER_mysql_server_error},
      {mysql_failure(1040, "", 0), SLOGATE_ANSWER_mysql_server_error},
      {mysql_failure(1130, "", 0), SLOGATE_ANSWER_mysql_server_error},
      {"-ERR max number of clients reached\r\n", SLOGATE_ANSWER_redis_server_error},
      {"-NOAUTH go away\r\n", SLOGATE_ANSWER_redis_server_error},
      {postgres_error("53300", "FATAL"), SLOGATE_ANSWER_postgresql_server_error},
      {postgres_error("28000", "FATAL"), SLOGATE_ANSWER_postgresql_server_error},
      {"ERROR Too many open connections\r\n", SLOGATE_ANSWER_memcached_server_error},
      {"HTTP/1.1 503 Service Unavailable\r\n", SLOGATE_ANSWER_http_server_error},
  };
  for (const auto& row : rows) {
    const answer_reading reading = read(row.sent, first);
    EXPECT_EQ(reading.kind, ANSWER_outcome) << row.sent;
    EXPECT_EQ(reading.answer, row.answer) << row.sent;
  }
}

TEST(AnswerUnasked, GreetingsCountNothing) {
  const Situation first = {.asked = false, .first = true};
  const answer_reading greeting = read(kGreeting, first);
  EXPECT_EQ(greeting.kind, ANSWER_nothing);
  EXPECT_EQ(greeting.protocol, SLOGATE_PROTOCOL_mysql);
  const answer_reading timeout = read("HTTP/1.1 408 Request Timeout\r\n", first);
  EXPECT_EQ(timeout.kind, ANSWER_nothing);
  for (const char* sent : {"220 mail.example.com ESMTP\r\n", "+OK POP3 ready\r\n",
                           "* OK IMAP4rev1\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "INFO {}\r\n"}) {
    const answer_reading reading = read(sent, first);
    EXPECT_EQ(reading.kind, ANSWER_nothing) << sent;
    EXPECT_EQ(reading.protocol, SLOGATE_PROTOCOL_opaque) << sent;
  }
}

// ---- cut short, and garbage ----

std::vector<std::string> samples() {
  std::vector<std::string> all = {
      "HTTP/1.1 500 Internal Server Error\r\n",
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
      kGreeting,
      kOk,
      mysql_failure(1040, "08004", 0),
      record(22, hello(kTls13 + extension(51, 1124) + extension(41, 2))),
      record(22, hello("", true)) + kChange,
      record(21, "\2\x28"),
      "VALUE k 0 5\r\nhello\r\nEND\r\n"};
  for (const Row& row : redis_rows()) all.push_back(row.sent);
  for (const Row& row : postgres_rows()) all.push_back(row.sent);
  return all;
}

void expect_sane(const answer_reading& reading) {
  EXPECT_LE(reading.kind, ANSWER_handshake);
  EXPECT_LE(reading.protocol, SLOGATE_PROTOCOL_opaque);
  EXPECT_LE(reading.handshake, ANSWER_HANDSHAKE_failed);
  EXPECT_TRUE(reading.kind != ANSWER_outcome || reading.answer < SLOGATE_ANSWER_KINDS);
}

// peek() ends the test if it is asked for what is not there.
TEST(AnswerHostile, CutAtEveryLengthIsReadAsFarAsItGoes) {
  for (const std::string& sent : samples())
    for (int protocol = 0; protocol < SLOGATE_PROTOCOL_opaque; ++protocol)
      for (const bool asked : {false, true})
        for (size_t here = 0; here <= sent.size(); ++here) {
          const std::string exact = sent.substr(0, here);  // for AddressSanitizer
          expect_sane(read(exact, {.protocol = static_cast<slogate_protocol>(protocol),
                                   .asked = asked,
                                   .first = true}));
          expect_sane(read(sent, here,
                           {.protocol = static_cast<slogate_protocol>(protocol), .asked = asked}));
        }
}

// A part of an answer is unknown, or what the whole one is: never something else. An error that is
// cut in its state, or before it, may look like none; so it is left out here.
TEST(AnswerHostile, CutAnswersAreNoOtherOnes) {
  for (const std::string& sent : {"HTTP/1.1 500 Internal Server Error\r\n"s,
                                  "HTTP/1.1 404 Not Found\r\n"s, "HTTP/1.1 200 OK\r\n"s})
    for (size_t here = 1; here < sent.size(); ++here) {
      const slogate_answer whole =
          static_cast<slogate_answer>(read(sent, {.protocol = SLOGATE_PROTOCOL_http}).answer);
      const auto part = read(sent, here, {.protocol = SLOGATE_PROTOCOL_http}).answer;
      EXPECT_TRUE(part == whole || part == SLOGATE_ANSWER_http_unknown) << sent << here;
    }
  const std::string error = postgres_error("XX000");
  for (size_t here = 5; here < error.size(); ++here) {
    const auto part = read(error, here, {.protocol = SLOGATE_PROTOCOL_postgresql}).answer;
    EXPECT_TRUE(part == SLOGATE_ANSWER_postgresql_unknown ||
                part == SLOGATE_ANSWER_postgresql_server_error)
        << here << " " << int{part};
  }
}

TEST(AnswerHostile, ChangedBytesAreReadWithinBounds) {
  std::mt19937 random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same each time
  const std::vector<std::string> all = samples();
  for (int round = 0; round < 20'000; ++round) {
    std::string sent = all[random() % all.size()];
    for (size_t i = random() % 8; i-- > 0;)
      sent[random() % sent.size()] = static_cast<char>(random());
    const Situation in = {.protocol = static_cast<slogate_protocol>(random() % 7),
                          .asked = random() % 2 == 0,
                          .first = random() % 2 == 0,
                          .misfits = static_cast<__u8>(random() % 5),
                          .phase = static_cast<__u8>(random() % 4)};
    expect_sane(read(sent, in));
    more_of(sent);
  }
}

}  // namespace
}  // namespace slogate
