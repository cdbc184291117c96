// SPDX-License-Identifier: Apache-2.0
// Agents that talk to each other over real sockets, and others who should not.
#include "agent/peers/peers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <fstream>
#include <thread>

#include "agent/http/listen.h"
#include "agent/peers/tls.h"
#include "maps/fd.h"
#include "tests/unit/peers/certificates.h"
#include "tests/unit/peers/support.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using State = LentAnswer::State;
using What = Lent::What;

// How long a test waits for what must come; reached only when something is broken.
constexpr auto kDeadline = 20s;

template <typename Condition>
bool wait_until(const Condition& holds) {
  for (const auto end = std::chrono::steady_clock::now() + kDeadline;
       std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(10ms))
    if (holds()) return true;
  return holds();
}

class PeersTest : public ::testing::Test {
 protected:
  PeersTest() { std::ofstream(files_.path("key")) << std::string(64, 'a'); }

  [[nodiscard]] PeerSecurity shared_key() const {
    return {.tls = std::nullopt, .key_file = files_.path("key")};
  }
  static std::unique_ptr<Peers> start(PeersOptions options) {
    auto peers = Peers::make(std::move(options));
    if (!peers) throw std::runtime_error(peers.error().line());
    (*peers)->start();
    return std::move(*peers);
  }
  [[nodiscard]] std::unique_ptr<Peers> lender() const {
    return start({.listen = kAnyPort, .security = shared_key()});
  }
  [[nodiscard]] std::unique_ptr<Peers> asker() const {
    return start({.listen = std::nullopt, .security = shared_key()});
  }
  static void ask(Peers& asker, const std::vector<uint16_t>& ports) {
    std::vector<Candidate> all;
    for (const uint16_t port : ports) {
      const std::string address = fmt::format("127.0.0.1:{}", port);
      all.push_back({.address = address, .name = address});
    }
    asker.set_peers(all, 8);
    asker.want({.baselines = {question()}, .rollouts = {}});
  }
  static void lend(Peers& lender, uint64_t number) {
    lender.lend({.readings = {{question(), reading(number)}}, .evidence = {}});
  }
  // A connection that says nothing by itself.
  static Fd connect(uint16_t port) {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in to{.sin_family = AF_INET,
                         .sin_port = htons(port),
                         .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fd.reset();
    return fd;
  }
  // Readings that came, in their order.
  std::vector<uint64_t> numbers(Peers& asker) {
    for (Lent& one : asker.take()) {
      for (const LentReading& reading : one.answer.readings) numbers_.push_back(reading.number);
      if (one.what == What::Dropped) ++dropped_;
    }
    return numbers_;
  }
  static std::string reason(const Peers& asker) {
    const auto status = asker.status();
    return status->peers.empty() ? "" : status->peers[0].reason;
  }

  inline static const ListenAddress kAnyPort{.host = "127.0.0.1", .port = 0};
  TestCertificates files_;
  std::vector<uint64_t> numbers_;
  int dropped_ = 0;
};

TEST_F(PeersTest, ReadingsGoFromOneToTheOther) {
  const auto lends = lender(), asks = asker();
  for (uint64_t number = 1; number <= 3; ++number) lend(*lends, number);
  ask(*asks, {lends->port()});
  EXPECT_TRUE(wait_until([&] { return numbers(*asks).size() == 3; }));
  lend(*lends, 4);
  EXPECT_TRUE(wait_until([&] { return numbers(*asks) == std::vector<uint64_t>{1, 2, 3, 4}; }));
  EXPECT_TRUE(wait_until([&] { return lends->status()->askers == 1; }));
  ASSERT_EQ(asks->status()->peers.size(), 1u);
  EXPECT_TRUE(wait_until([&] { return asks->status()->peers[0].state == "open"; }));
  EXPECT_TRUE(wait_until([&] { return asks->status()->peers[0].bytes_in > 1000; }));
  EXPECT_EQ(lends->status()->turned_away, 0u);
}

TEST_F(PeersTest, CertificatesDoTheSame) {
  const auto lends =
      start({.listen = kAnyPort, .security = {.tls = files_.issue("ca", "a"), .key_file = ""}});
  const auto asks =
      start({.listen = std::nullopt, .security = {.tls = files_.issue("ca", "b"), .key_file = ""}});
  lend(*lends, 1);
  ask(*asks, {lends->port()});
  EXPECT_TRUE(wait_until([&] { return !numbers(*asks).empty(); }));
}

TEST_F(PeersTest, AnotherKeyGetsNothing) {
  std::ofstream(files_.path("other")) << std::string(64, 'b');
  const auto lends = lender();
  const auto asks = start({.listen = std::nullopt,
                           .security = {.tls = std::nullopt, .key_file = files_.path("other")}});
  lend(*lends, 1);
  ask(*asks, {lends->port()});
  EXPECT_TRUE(wait_until([&] { return lends->status()->turned_away > 0; }));
  EXPECT_THAT(numbers(*asks), IsEmpty());
  EXPECT_EQ(lends->status()->askers, 0u);
  EXPECT_TRUE(wait_until([&] { return reason(*asks) != ""; }));
}

TEST_F(PeersTest, ATokenIsCheckedElsewhereAndMeanwhileOthersAreServed) {
  std::function<void(Result<void>)> held;
  std::mutex mutex;
  const auto check = [&](const std::string& token, std::function<void(Result<void>)> done) {
    if (token == "good") return done({});
    if (token == "bad") return done(fail("it is of nobody"));
    const std::lock_guard lock(mutex);
    held = std::move(done);
  };
  const auto lends = start({.listen = kAnyPort, .security = shared_key(), .check_token = check});
  const auto asker_with = [&](const std::string& token) {
    auto asks = start(
        {.listen = std::nullopt, .security = shared_key(), .check_token = {}, .own_token = [token] {
           return token;
         }});
    ask(*asks, {lends->port()});
    return asks;
  };
  lend(*lends, 1);
  const auto later = asker_with("later");
  EXPECT_TRUE(wait_until([&] {
    const std::lock_guard lock(mutex);
    return held != nullptr;
  }));
  const auto good = asker_with("good"), bad = asker_with("bad"), none = asker_with("");
  EXPECT_TRUE(wait_until([&] { return !numbers(*good).empty(); }));
  EXPECT_TRUE(wait_until([&] { return reason(*bad).contains("it is of nobody"); })) << reason(*bad);
  EXPECT_TRUE(wait_until([&] { return reason(*none).contains("it shows no token"); }));
  numbers_.clear();
  {
    const std::lock_guard lock(mutex);
    held({});
  }
  EXPECT_TRUE(wait_until([&] { return !numbers(*later).empty(); }));
}

// Whoever checks tokens may live longer than who wanted to know.
TEST_F(PeersTest, ATokenMayBeCheckedTooLate) {
  std::function<void(Result<void>)> held;
  std::mutex mutex;
  auto lends =
      start({.listen = kAnyPort,
             .security = shared_key(),
             .check_token = [&](const std::string&, std::function<void(Result<void>)> done) {
               const std::lock_guard lock(mutex);
               held = std::move(done);
             }});
  const auto asks =
      start({.listen = std::nullopt, .security = shared_key(), .check_token = {}, .own_token = [] {
               return "token";
             }});
  ask(*asks, {lends->port()});
  EXPECT_TRUE(wait_until([&] {
    const std::lock_guard lock(mutex);
    return held != nullptr;
  }));
  lends.reset();
  held({});
}

TEST_F(PeersTest, ALenderThatGoesIsDroppedAndTakenUpAgain) {
  auto lends = lender();
  const auto asks = asker();
  const uint16_t port = lends->port();
  lend(*lends, 7);
  ask(*asks, {port});
  EXPECT_TRUE(wait_until([&] { return !numbers(*asks).empty(); }));
  lends.reset();
  EXPECT_TRUE(wait_until([&] { return numbers(*asks), dropped_ > 0; }));
  lends =
      start({.listen = ListenAddress{.host = "127.0.0.1", .port = port}, .security = shared_key()});
  lend(*lends, 1);
  EXPECT_TRUE(wait_until([&] { return numbers(*asks) == std::vector<uint64_t>{7, 1}; }));
}

TEST_F(PeersTest, ItDoesNotLendToItself) {
  const auto both = lender();
  lend(*both, 1);
  ask(*both, {both->port()});
  EXPECT_TRUE(wait_until([&] {
    const auto status = both->status();
    return !status->peers.empty() && status->peers[0].state == "self";
  }));
  EXPECT_THAT(numbers(*both), IsEmpty());
}

// A listener that is no agent: it answers with whatever comes to its mind.
TEST_F(PeersTest, GarbageFromALenderIsNamed) {
  const auto socket = listen_tcp("127.0.0.1", 0);
  ASSERT_TRUE(socket);
  std::jthread garbage([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd ready{.fd = socket->fd.get(), .events = POLLIN};
      if (::poll(&ready, 1, 50) != 1) continue;
      const Fd fd(::accept(socket->fd.get(), nullptr, nullptr));
      const std::string text(1000, 'x');
      (void)::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }
  });
  const auto asks = asker();
  ask(*asks, {socket->local_port()});
  EXPECT_TRUE(wait_until([&] { return reason(*asks).contains("TLS"); })) << reason(*asks);
  EXPECT_THAT(numbers(*asks), IsEmpty());
}

// A lender with the right key that says what it is told to: Hello, then this to every ask.
class FakeLender {
 public:
  FakeLender(const PeerSecurity& security, const Hello& hello, std::string answer)
      : keys_(*TlsKeys::read(security)),
        socket_(*listen_tcp("127.0.0.1", 0)),
        hello_(write_hello(hello)),
        answer_(std::move(answer)),
        thread_([this](const std::stop_token& stop) { run(stop); }) {}
  [[nodiscard]] uint16_t port() const { return socket_.local_port(); }

 private:
  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd ready{.fd = socket_.fd.get(), .events = POLLIN};
      if (::poll(&ready, 1, 50) == 1) serve(Fd(::accept(socket_.fd.get(), nullptr, nullptr)), stop);
    }
  }
  // Each frame of the asker's is answered by the next thing there is to say.
  void serve(const Fd& fd, const std::stop_token& stop) {
    TlsStream tls(keys_, TlsStream::Side::Lender);
    std::string heard;
    for (bool first = true; !stop.stop_requested();) {
      pollfd ready{.fd = fd.get(), .events = POLLIN};
      if (::poll(&ready, 1, 50) != 1) continue;
      char buffer[4096];
      const ssize_t got = ::recv(fd.get(), buffer, sizeof buffer, 0);
      if (got <= 0 || !tls.feed({buffer, static_cast<size_t>(got)})) return;
      if (!tls.read(heard, 1 << 20)) return;
      while (const auto frame = next_frame(heard, 1 << 20).value_or(std::nullopt)) {
        heard.erase(0, frame->bytes);
        if (!tls.write(std::exchange(first, false) ? hello_ : answer_)) return;
      }
      const std::string out = tls.take_output();
      (void)::send(fd.get(), out.data(), out.size(), MSG_NOSIGNAL);
    }
  }

  TlsKeys keys_;
  ListeningSocket socket_;
  std::string hello_, answer_;
  std::jthread thread_;
};

// Two versions that have none in common, and one that speaks ours and a later one.
TEST_F(PeersTest, OldAndNewSideBySide) {
  Hello later = hello();
  later.instance = std::string(kInstanceBytes, 'f');
  later.newest = kNewestWire + 1;
  const std::string part = write_reading(reading(1));
  const std::vector<std::string_view> parts = {part};
  const FakeLender speaks_ours(shared_key(), later, write_answer(1, State::Lends, parts, {}));
  const auto asks = asker();
  ask(*asks, {speaks_ours.port()});
  EXPECT_TRUE(wait_until([&] { return numbers(*asks) == std::vector<uint64_t>{1}; }));
  later.oldest = kNewestWire + 1;
  const FakeLender does_not(shared_key(), later, "");
  ask(*asks, {does_not.port()});
  const auto named = [&] {
    return std::ranges::any_of(asks->status()->peers, [](const PeerStatus& peer) {
      return peer.reason.contains("it speaks versions");
    });
  };
  EXPECT_TRUE(wait_until(named));
}

// With the key, and lying in format: closed, named, and nothing of it reaches the judge.
TEST_F(PeersTest, ALenderThatLiesInFormatIsDropped) {
  Hello lender = hello();
  lender.instance = std::string(kInstanceBytes, 'f');
  std::string lie = write_answer(1, State::Lends, {}, {});
  lie.back() = 9;  // no state
  const FakeLender lies(shared_key(), lender, lie);
  const auto asks = asker();
  ask(*asks, {lies.port()});
  EXPECT_TRUE(wait_until([&] { return reason(*asks).contains("state is 9"); })) << reason(*asks);
  for (const Lent& one : asks->take()) EXPECT_NE(one.what, What::Answered);
}

// Whoever says nothing loses its place to those who come later, and is thrown out in the end.
TEST_F(PeersTest, ACrowdThatSaysNothingKeepsNobodyOut) {
  const auto lends = lender(), asks = asker();
  lend(*lends, 1);
  std::vector<Fd> crowd;
  for (int i = 0; i < 200; ++i) crowd.push_back(connect(lends->port()));
  ask(*asks, {lends->port()});
  EXPECT_TRUE(wait_until([&] { return !numbers(*asks).empty(); }));
  EXPECT_TRUE(wait_until([&] { return lends->status()->turned_away == crowd.size(); }));
}

TEST_F(PeersTest, WhatIsNotTlsIsClosedAtOnce) {
  const auto lends = lender();
  const Fd fd = connect(lends->port());
  const std::string text = "GET / HTTP/1.1\r\n\r\n";
  ASSERT_GT(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), 0);
  char buffer[256];
  pollfd ready{.fd = fd.get(), .events = POLLIN};
  ASSERT_EQ(::poll(&ready, 1, 4000), 1);
  while (::recv(fd.get(), buffer, sizeof buffer, 0) > 0) {
  }
  EXPECT_TRUE(wait_until([&] { return lends->status()->turned_away == 1; }));
  EXPECT_NE(lends->status()->last_refusal, "");
}

TEST_F(PeersTest, ItSaysWhyItCannotStart) {
  const auto taken = lender();
  const auto second =
      Peers::make({.listen = ListenAddress{.host = "127.0.0.1", .port = taken->port()},
                   .security = shared_key()});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().line(), HasSubstr("peer_listen"));
  const auto missing = Peers::make(
      {.listen = kAnyPort, .security = {.tls = std::nullopt, .key_file = files_.path("none")}});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().line(), HasSubstr("none: cannot open"));
}

}  // namespace
}  // namespace slogate
