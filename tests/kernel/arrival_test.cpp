// SPDX-License-Identifier: Apache-2.0
// What answers to clients say, read from the segments that bring them.
#include <bpf/bpf.h>
#include <linux/filter.h>
#include <sys/mman.h>

#include <atomic>
#include <map>
#include <thread>

#include "maps/shared_maps.h"
#include "tests/kernel/fixture.h"
#include "tests/kernel/real_server.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

// "http/success" -> how many, without those of which there are none.
using Outcomes = std::map<std::string, uint64_t>;

Outcomes outcomes(const Counts& counts, std::string_view role) {
  Outcomes found;
  for (size_t i = 0; i < kCounters.size(); ++i)
    if (kCounters[i].family == "answers" && kCounters[i].value_of("role") == role &&
        counts.counters[i] != 0)
      found[fmt::format("{}/{}", kCounters[i].value_of("protocol"),
                        kCounters[i].value_of("outcome"))] = counts.counters[i];
  return found;
}

std::string http_answer(int status, std::string_view body = "ok") {
  return fmt::format("HTTP/1.1 {} Whatever\r\nContent-Length: {}\r\n\r\n{}", status, body.size(),
                     body);
}
constexpr std::string_view kGet = "GET / HTTP/1.1\r\n\r\n";

class Arrival : public AllModes {
 protected:
  void SetUp() override {
    if (const std::string why = why_not(); !why.empty()) GTEST_SKIP() << why;
    AllModes::SetUp();
  }
  void TearDown() override {
    if (IsSkipped()) return;
    read_answers(true);
    AllModes::TearDown();
  }

  // Why this kernel has no program that reads what arrives, "" when it has.
  static std::string why_not() {
    const KernelFeatures features = features_of(Mode::Locked);
    const ProbeInfo& probe = kProbes[SLOGATE_PROBE_answer_arrived];
    return hooks_of(probe, features).empty() ? why_no_hooks(probe, features) : "";
  }

  void read_answers(bool all) { kernel().maps().control().read_answers(all); }

  // In the cgroup's slot, of which each chunk is an inner map.
  void ask_for_answers_of(const TestCgroup& cgroup) {
    const Maps& maps = kernel().maps();
    for (uint32_t i = SLOGATE_FIRST_SLOT; i < maps.slab().slots(); ++i) {
      if (maps.slab().owner(i).cgroup != cgroup.id()) continue;
      const uint32_t chunk = i >> SLOGATE_CHUNK_SHIFT;
      uint32_t id = 0;
      check(bpf_map_lookup_elem(maps.fd("slogate_slab"), &chunk, &id), "slogate_slab");
      const Fd inner(check(bpf_map_get_fd_by_id(id), "bpf_map_get_fd_by_id"));
      constexpr size_t kBytes = SLOGATE_CHUNK_SLOTS * sizeof(slogate_slot);
      void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, inner.get(), 0);
      ASSERT_NE(memory, MAP_FAILED);
      static_cast<slogate_slot*>(memory)[i & (SLOGATE_CHUNK_SLOTS - 1)].answers = 1;
      munmap(memory, kBytes);
    }
  }

  [[nodiscard]] Outcomes client_outcomes() const { return outcomes(client_counts(), "client"); }

  Connection connect() {
    Connection both = connect_both(server_, client_);
    set_option(both.server.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    return both;
  }
  // Sends a request and takes it.
  static void ask(const Connection& both, std::string_view request = kGet) {
    send_text(both.client.get(), request);
    read_exactly(both.server.get(), request.size());
  }
  // Sends a part of an answer and takes it: so it is a segment of its own.
  static void tell(const Connection& both, std::string_view part) {
    send_text(both.server.get(), part);
    read_exactly(both.client.get(), part.size());
  }
  static void exchange(const Connection& both, std::string_view request, std::string_view answer) {
    ask(both, request);
    tell(both, answer);
  }
};
SLOGATE_IN_ALL_MODES(Arrival);

TEST_P(Arrival, OfAnswersOfHttpIsCountedByStatus) {
  const Connection both = connect();
  Outcomes expected;
  const std::pair<int, std::string> rows[] = {
      {200, "http/success"},      {204, "http/success"},      {302, "http/success"},
      {304, "http/success"},      {400, "http/client_error"}, {404, "http/client_error"},
      {429, "http/client_error"}, {500, "http/server_error"}, {503, "http/server_error"}};
  for (const auto& [status, outcome] : rows) {
    exchange(both, kGet, http_answer(status));
    ++expected[outcome];
    EXPECT_EQ(client_outcomes(), expected) << status;
  }
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), std::size(rows));
}

TEST_P(Arrival, WithIpv6IsTheSame) {
  const Connection both = connect_both(server_, client_, "::1");
  exchange(both, kGet, http_answer(200));
  exchange(both, kGet, http_answer(500));
  EXPECT_EQ(client_outcomes(), (Outcomes{{"http/success", 1}, {"http/server_error", 1}}));
}

TEST_P(Arrival, OfALargeBodyIsOneAnswer) {
  const Connection both = connect();
  const std::string body(4 << 20, 'x');
  for (const int status : {200, 500}) {
    ask(both);
    std::jthread writer([&] { send_text(both.server.get(), http_answer(status, body)); });
    read_exactly(both.client.get(), http_answer(status, body).size());
  }
  EXPECT_EQ(client_outcomes(), (Outcomes{{"http/success", 1}, {"http/server_error", 1}}));
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 2u);
}

TEST_P(Arrival, OfAStatusInTwoSegmentsIsUnknown) {
  const Connection both = connect();
  exchange(both, kGet, http_answer(200));
  ask(both);
  tell(both, "HTTP/1.");
  tell(both, http_answer(500).substr(7));
  EXPECT_EQ(client_outcomes(), (Outcomes{{"http/success", 1}, {"http/unknown", 1}}));
  exchange(both, kGet, http_answer(500));
  EXPECT_EQ(client_outcomes(),
            (Outcomes{{"http/success", 1}, {"http/unknown", 1}, {"http/server_error", 1}}));
}

TEST_P(Arrival, OfAnInterimAnswerLeavesTheRequestOpen) {
  const Connection both = connect();
  ask(both, "POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n");
  tell(both, "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 0u);
  EXPECT_EQ(client_outcomes(), Outcomes{});
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  ask(both, "the body");
  tell(both, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
  EXPECT_EQ(client_outcomes(), Outcomes{});
  tell(both, "HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n" + http_answer(500));
  EXPECT_EQ(client_outcomes(), (Outcomes{{"http/server_error", 1}}));
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 1u);
  EXPECT_EQ(samples_from(client_counts(), SLOGATE_SIGNAL_client_request, 0.1), 1u);
  exchange(both, kGet, http_answer(200));
  EXPECT_EQ(client_outcomes(), (Outcomes{{"http/server_error", 1}, {"http/success", 1}}));
}

// ---- segments that come late, twice, or out of order ----

// While it lives, the socket's filter drops segments that begin with these four bytes.
class DroppedAtFirst {
 public:
  DroppedAtFirst(int fd, std::string_view four) : fd_(fd) {
    const auto word = static_cast<uint32_t>(four[0] << 24 | four[1] << 16 | four[2] << 8 | four[3]);
    sock_filter filter[] = {
        {BPF_LD | BPF_B | BPF_ABS, 0, 0, 12},  // the header's length, in its upper half
        {BPF_ALU | BPF_AND | BPF_K, 0, 0, 0xf0},
        {BPF_ALU | BPF_RSH | BPF_K, 0, 0, 2},
        {BPF_MISC | BPF_TAX, 0, 0, 0},
        {BPF_LD | BPF_W | BPF_LEN, 0, 0, 0},
        {BPF_ALU | BPF_SUB | BPF_X, 0, 0, 0},
        {BPF_JMP | BPF_JGE | BPF_K, 0, 2, 4},
        {BPF_LD | BPF_W | BPF_IND, 0, 0, 0},
        {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, word},
        {BPF_RET | BPF_K, 0, 0, ~0u},
        {BPF_RET | BPF_K, 0, 0, 0},
    };
    const sock_fprog program{static_cast<unsigned short>(std::size(filter)), filter};
    check(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)),
          "SO_ATTACH_FILTER");
  }
  DroppedAtFirst(const DroppedAtFirst&) = delete;
  DroppedAtFirst& operator=(const DroppedAtFirst&) = delete;
  ~DroppedAtFirst() { set_option(fd_, SOL_SOCKET, SO_DETACH_FILTER, 0); }

 private:
  int fd_;
};

uint32_t out_of_order(int fd) {
  return info_of(fd).tcpi_rcv_ooopack;
}

TEST_P(Arrival, OfWhatCameBeforeTheFirstByteIsNotRead) {
  const Connection both = connect();
  const std::string head = "HTTP/1.1 500 Oh\r\nContent-Length: 15\r\n\r\n",
                    body = "HTTP/1.1 200 OK";
  ask(both);
  {
    const DroppedAtFirst dropped(both.client.get(), "HTTP");
    send_text(both.server.get(), head);
  }
  send_text(both.server.get(), body);
  read_exactly(both.client.get(), head.size() + body.size());
  EXPECT_EQ(client_outcomes(), (Outcomes{{"http/server_error", 1}}));
  EXPECT_GT(out_of_order(both.client.get()), 0u);
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 1u);
}

// The server has not heard that its first answer is there, and sends it again.
TEST_P(Arrival, OfWhatIsThereAlreadyIsNotRead) {
  const Connection both = connect();
  exchange(both, kGet, http_answer(404));
  ask(both);
  {
    // Neither ACKs nor requests come through.
    sock_filter drop_all[] = {{BPF_RET | BPF_K, 0, 0, 0}};
    const sock_fprog program{1, drop_all};
    check(setsockopt(both.server.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)),
          "SO_ATTACH_FILTER");
    tell(both, http_answer(200));
    send_text(both.client.get(), kGet);
    const DroppedAtFirst dropped(both.client.get(), "HTTP");
    send_text(both.server.get(), http_answer(503));
    set_option(both.server.get(), SOL_SOCKET, SO_DETACH_FILTER, 0);
  }
  read_exactly(both.client.get(), http_answer(503).size());
  EXPECT_EQ(client_outcomes(),
            (Outcomes{{"http/client_error", 1}, {"http/success", 1}, {"http/server_error", 1}}));
}

// A reader that wants to be told of no less than this: the first segment's data_ready tells nobody.
TEST_P(Arrival, ForAReaderThatWaitsForMoreIsThatOfTheFirstByte) {
  const Connection both = connect();
  set_option(both.client.get(), SOL_SOCKET, SO_RCVLOWAT, 60);
  ask(both);
  send_text(both.server.get(), "HTTP/1.1 500 Oh\r\nContent-Length: 40\r\n\r\n");
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 0u);
  send_text(both.server.get(), "HTTP/1.1 200 OK" + std::string(25, 'x'));
  read_exactly(both.client.get(), 79);
  EXPECT_EQ(client_outcomes(), (Outcomes{{"http/server_error", 1}}));
}

// A socket whose lock is held when a segment comes handles it later, in the holder's context.
TEST_P(Arrival, InTheBacklogIsTheSame) {
  const Connection both = connect();
  constexpr uint64_t kEach = 2000;
  std::atomic<bool> done = false;
  std::jthread holder([&] {
    while (!done) set_option(both.client.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  });
  for (uint64_t i = 0; i < kEach; ++i) {
    exchange(both, kGet, http_answer(200));
    exchange(both, kGet, http_answer(500));
  }
  done = true;
  EXPECT_EQ(client_outcomes(), (Outcomes{{"http/success", kEach}, {"http/server_error", kEach}}));
}

// ---- other protocols ----

TEST_P(Arrival, OfPipelinedRepliesOfRedisIsCountedForEach) {
  const Connection both = connect();
  exchange(both, "*1\r\n$4\r\nPING\r\n", "+PONG\r\n");
  EXPECT_EQ(client_outcomes(), (Outcomes{{"redis/success", 1}}));
  // Two values, one that is not there, two errors, a slot that moved.
  exchange(both, "several of them",
           "+OK\r\n$5\r\nhello\r\n$-1\r\n-ERR no such thing\r\n"
           "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
           "-MOVED 3999 127.0.0.1:6381\r\n");
  EXPECT_EQ(client_outcomes(), (Outcomes{{"redis/success", 3},
                                         {"redis/miss", 1},
                                         {"redis/server_error", 1},
                                         {"redis/client_error", 1},
                                         {"redis/redirect", 1}}));
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 2u);
  // At most 16 of what comes in one piece.
  std::string many;
  for (int i = 0; i < 20; ++i) many += "$-1\r\n";
  exchange(both, "twenty of them", many);
  EXPECT_EQ(client_outcomes()["redis/miss"], 17u);
}

std::string mysql_packet(uint8_t number, std::string_view payload) {
  std::string packet{static_cast<char>(payload.size()), 0, 0, static_cast<char>(number)};
  return packet.append(payload);
}

TEST_P(Arrival, OfAGreetingTellsTheProtocolAndIsNoAnswer) {
  const Connection both = connect();
  tell(both, mysql_packet(0, std::string("\x0a") + "8.0.36" + std::string(60, '\1')));
  EXPECT_EQ(client_outcomes(), Outcomes{});
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 0u);
  // What is no answer of MySQL's by itself is one of it now.
  exchange(both, "login", mysql_packet(2, std::string("\0\0\0\2\0\0\0", 7)));
  exchange(both, "query", mysql_packet(1, "\xff\x28\x04#42000You have an error"));
  exchange(both, "query", mysql_packet(1, "\xff\x22\x05#HY000 read-only, 1314"));
  EXPECT_EQ(client_outcomes(), (Outcomes{{"mysql/success", 1}, {"mysql/client_error", 2}}));
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 2u) << "but for the login";
}

TEST_P(Arrival, OfALoginIsCountedAndItsTimeIsNot) {
  using namespace std::string_literals;
  const Connection both = connect();
  exchange(both, "who I am", "R\0\0\0\x0c\0\0\0\5salt"s);
  exchange(both, "password", "R\0\0\0\x08\0\0\0\0Z\0\0\0\5I"s);
  exchange(both, "query", "C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"s);
  EXPECT_EQ(client_outcomes(), (Outcomes{{"postgresql/success", 3}}));
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 1u);
  EXPECT_EQ(kernel().inflight(client_).size(), 0u);
}

// ---- what has no answer ----

TEST_P(Arrival, NeedsAnAnswerOnlyForWhatAsksForOne) {
  using namespace std::string_literals;
  const auto unanswered = [&] {
    return counter(client_counts(), SLOGATE_COUNTER_unanswered_client);
  };
  const auto end = [](Connection both) {
    both.client.reset();
    EXPECT_TRUE(at_end(both.server.get()));
  };
  const std::string closes = "\5\0\0\0\x19\1\0\0\0"s;
  Connection mysql = connect();
  exchange(mysql, "query", mysql_packet(1, "\0\0\0\2\0\0\0"s));
  ask(mysql, closes);  // nothing was prepared: a query that hangs
  if (GetParam() != Mode::Length) {
    EXPECT_EQ(kernel().inflight(client_).size(), 1u);
  }
  end(std::move(mysql));
  await(client_, SLOGATE_COUNTER_unanswered_client, 1);
  Connection prepared = connect();
  exchange(prepared, "prepare", mysql_packet(1, "\0\1\0\0\0\0\0\0\0\0\0\0"s));
  if (GetParam() == Mode::Length) return;  // what a client sent is not known there
  exchange(prepared, "query", mysql_packet(1, "\0\0\0\2\0\0\0"s));
  ask(prepared, closes);
  EXPECT_EQ(kernel().inflight(client_).size(), 0u);
  end(std::move(prepared));

  const Connection postgresql = connect();
  exchange(postgresql, "who I am", "R\0\0\0\x08\0\0\0\0Z\0\0\0\5I"s);
  Connection cancel = connect();
  ask(cancel, "\0\0\0\x10\4\xd2\x16\x2e\0\0\0\1\0\0\0\2"s);
  end(std::move(cancel));

  // An upload that is answered before it is over, by one who reads no answer so long.
  Connection upload = connect();
  exchange(upload, kGet, http_answer(200));
  ask(upload, "POST / HTTP/1.1\r\n\r\n");
  send_text(upload.server.get(), http_answer(413));
  ask(upload, "body");
  EXPECT_EQ(kernel().inflight(client_).size(), 0u);
  read_exactly(upload.client.get(), http_answer(413).size());
  end(std::move(upload));
  EXPECT_EQ(client_outcomes()["http/client_error"], 1u);
  EXPECT_EQ(unanswered(), 1u);

  // What comes after that is a request, which may hang.
  Connection next = connect();
  exchange(next, kGet, http_answer(200));
  ask(next, "POST / HTTP/1.1\r\n\r\n");
  send_text(next.server.get(), http_answer(413));
  ask(next, "body");
  read_exactly(next.client.get(), http_answer(413).size());
  ask(next);
  EXPECT_EQ(kernel().inflight(client_).size(), 1u);
  end(std::move(next));
  EXPECT_EQ(unanswered(), 2u);
}

TEST_P(Arrival, OfARefusalIsOneServerError) {
  const std::pair<std::string, std::string> rows[] = {
      {"mysql/server_error", mysql_packet(0, "\xff\x10\x04Too many connections")},
      {"redis/server_error", "-ERR max number of clients reached\r\n"},
  };
  Outcomes expected;
  for (const auto& [outcome, refusal] : rows) {
    SCOPED_TRACE(outcome);
    Connection both = connect();
    tell(both, refusal);
    both.server.reset();
    EXPECT_TRUE(at_end(both.client.get()));
    ++expected[outcome];
    EXPECT_EQ(client_outcomes(), expected);
  }
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 0u);
}

// 53300 comes when the client has said who it is.
TEST_P(Arrival, OfAFullPoolOfPostgresqlIsAServerError) {
  const Connection both = connect();
  std::string fields = "SFATAL";
  for (const char* field : {"VFATAL", "C53300", "Msorry, too many clients already"})
    (fields += '\0') += field;
  fields += std::string("\0\0", 2);
  std::string error = "E";
  for (int shift = 24; shift >= 0; shift -= 8)
    error += static_cast<char>((fields.size() + 4) >> shift);
  exchange(both, "who I am", error + fields);
  EXPECT_EQ(client_outcomes(), (Outcomes{{"postgresql/server_error", 1}}));
}

TEST_P(Arrival, OfAnUnknownProtocolIsReadAFewTimes) {
  const Connection both = connect();
  for (int i = 0; i < 6; ++i) exchange(both, "ping", "?pong");
  EXPECT_EQ(client_outcomes(), (Outcomes{{"unknown/unknown", 6}}));
  // And from then on nothing of it is, whatever it looks like.
  exchange(both, kGet, http_answer(500));
  EXPECT_EQ(client_outcomes(), (Outcomes{{"unknown/unknown", 7}}));
}

// ---- whose answers are read ----

TEST_P(Arrival, OfARequestIsNoAnswer) {
  const Connection both = connect();
  exchange(both, http_answer(500), http_answer(200));
  EXPECT_EQ(client_outcomes(), (Outcomes{{"http/success", 1}}));
  EXPECT_EQ(outcomes(server_counts(), "client"), Outcomes{});
}

TEST_P(Arrival, IsReadWhereItIsAskedFor) {
  read_answers(false);
  const Connection both = connect();
  exchange(both, kGet, http_answer(500));
  EXPECT_EQ(client_outcomes(), Outcomes{});
  ask_for_answers_of(client_);
  exchange(both, kGet, http_answer(500));
  EXPECT_EQ(client_outcomes(), (Outcomes{{"http/server_error", 1}}));
  EXPECT_EQ(samples(client_counts(), SLOGATE_SIGNAL_client_request), 2u);
}

TEST_P(Arrival, IsUnknownWhereTheBudgetLeavesItOut) {
  kernel().maps().control().spare(1u << SLOGATE_PROBE_answer_arrived, 0);
  const Connection both = connect();
  exchange(both, kGet, http_answer(500));
  kernel().maps().control().spare(0, 0);
  EXPECT_EQ(client_outcomes(), (Outcomes{{"unknown/unknown", 1}}));
}

// ---- privacy ----

// All that lies in the programs' maps, and what they remember of a socket.
std::string all_bytes(const Maps& maps, int socket) {
  std::string all;
  const auto names = shared_map_names();
  EXPECT_TRUE(names.has_value());
  for (const std::string& name : *names) {
    const int fd = maps.fd(name);
    bpf_map_info info{};
    __u32 size = sizeof(info);
    check(bpf_obj_get_info_by_fd(fd, &info, &size), "bpf_obj_get_info_by_fd");
    if (info.type == BPF_MAP_TYPE_SK_STORAGE) {
      std::string value(info.value_size, '\0');
      // Only sockets of HTTP/2 have an entry in the one, whose headers are http2_test.cpp's; none
      // has one in the other where the inventory goes by the roll.
      if (bpf_map_lookup_elem(fd, &socket, value.data()) != 0)
        EXPECT_TRUE(name == "slogate_http2" || name == "slogate_news") << name;
      else
        all += value;
      continue;
    }
    if (info.type == BPF_MAP_TYPE_RINGBUF) {
      const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
      void* memory =
          mmap(nullptr, info.max_entries, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(2 * page));
      EXPECT_NE(memory, MAP_FAILED);
      all.append(static_cast<const char*>(memory), info.max_entries);
      munmap(memory, info.max_entries);
      continue;
    }
    std::string key(info.key_size, '\0'), next = key;
    for (bool first = true;
         bpf_map_get_next_key(fd, first ? nullptr : key.data(), next.data()) == 0; first = false) {
      key = next;
      std::string value(std::max<size_t>(info.value_size, 8), '\0');
      if (bpf_map_lookup_elem(fd, key.data(), value.data()) != 0) continue;
      all += key + value;
    }
  }
  return all;
}

TEST_P(Arrival, LeavesNothingOfAPayloadInAnyMap) {
  const Connection both = connect();
  const std::string mark = "PrIvAtE7";
  const std::string answers[] = {
      "HTTP/1.1 500 " + mark + "\r\n\r\n" + mark,
      "-ERR " + mark + mark + mark + "\r\n$8\r\n" + mark + "\r\n-" + mark + "\r\n",
      mysql_packet(1, "\xff\x28\x04#" + mark + mark),
  };
  for (const std::string& answer : answers) exchange(connect(), mark, answer);
  exchange(both, mark, answers[0]);
  const std::string all = all_bytes(kernel().maps(), both.client.get());
  EXPECT_GT(all.size(), size_t{1} << 19);
  // Not half of it, either: parsers look through words of 8 bytes.
  for (size_t i = 0; i + 4 <= mark.size(); ++i)
    EXPECT_EQ(all.find(mark.substr(i, 4)), std::string::npos) << i;
  // The slots are inner maps.
  for (size_t i = 0; i < kernel().maps().slab().slots(); ++i) {
    Counts counts;
    kernel().maps().slab().copy(i, counts);
    const std::string_view bytes(reinterpret_cast<const char*>(&counts), sizeof(counts));
    EXPECT_EQ(bytes.find(mark.substr(0, 4)), bytes.npos);
  }
}

// ---- real programs ----

class ArrivalAtRealClients : public RealServer {
 protected:
  void SetUp() override {
    const KernelFeatures features = features_of(Mode::Locked);
    const ProbeInfo& probe = kProbes[SLOGATE_PROBE_answer_arrived];
    if (hooks_of(probe, features).empty()) GTEST_SKIP() << why_no_hooks(probe, features);
    RealServer::SetUp();
  }
  void TearDown() override {
    if (!IsSkipped()) RealServer::TearDown();
  }
  void expect_outcomes(const Outcomes& expected) {
    for (const Mode mode : modes()) {
      SCOPED_TRACE(testing::PrintToString(mode));
      EXPECT_EQ(outcomes(shared_kernel(mode).counts(client_.id()), "client"), expected);
    }
  }
};

TEST_F(ArrivalAtRealClients, CurlAgreesWithNginx) {
  if (!have({"nginx", "curl"})) GTEST_SKIP() << "nginx or curl is not installed";
  const uint16_t port = free_port();
  files_.write("index.html", std::string(100'000, 'x'));
  Program nginx(server_, nginx_of(fmt::format(R"(
  server {{
    listen {}:{};
    location = /503 {{ return 503; }}
    location = /302 {{ return 302 /; }}
  }})",
                                              kLoopback, port)));
  nginx.wait_until_listening(port);
  const std::string base = fmt::format("http://{}:{}", kLoopback, port);
  // Twenty of each on one connection: curl counts with a range.
  for (const char* path : {"/?[1-20]", "/302?[1-20]", "/404?[1-20]", "/503?[1-20]"})
    Program(client_, {find_program("curl"), "-s", "-o", "/dev/null", base + path}).finish();
  expect_outcomes({{"http/success", 40}, {"http/client_error", 20}, {"http/server_error", 20}});
}

TEST_F(ArrivalAtRealClients, RedisCliAgreesWithRedis) {
  if (!have({"redis-server", "redis-cli"})) GTEST_SKIP() << "redis is not installed";
  const uint16_t port = free_port();
  Program redis(server_, {find_program("redis-server"), "--port", std::to_string(port), "--bind",
                          kLoopback, "--save", "", "--appendonly", "no", "--dir", files_.path()});
  redis.wait_until_listening(port);
  const auto ask = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {find_program("redis-cli"), "-p", std::to_string(port)});
    return Program(client_, words).finish();
  };
  ask({"SET", "list", "1"});
  ask({"GET", "list"});
  ask({"GET", "nothing"});
  ask({"LPUSH", "list", "1"});      // WRONGTYPE
  ask({"INCRBY", "list", "many"});  // ERR value is not an integer
  // Errors of scripts, which need no code: they do not make the connection opaque.
  const Fd client = connect_to(client_, Address(kLoopback, port));
  const auto say = [&](const std::string& command, const std::string& reply) {
    send_text(client.get(), command + "\r\n");
    EXPECT_EQ(read_exactly(client.get(), reply.size()), reply);
  };
  say("PING", "+PONG\r\n");
  for (int i = 0; i < 5; ++i)
    say("EVAL \"return {err = 'something failed'}\" 0", "-something failed\r\n");
  say("PING", "+PONG\r\n");
  expect_outcomes({{"redis/success", 4},
                   {"redis/miss", 1},
                   {"redis/client_error", 1},
                   {"redis/server_error", 6}});
}

}  // namespace
}  // namespace slogate
