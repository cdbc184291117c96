// SPDX-License-Identifier: Apache-2.0
#include "agent/http/http.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>

namespace slogate {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;

// How long a test waits for what must come; reached only when something is broken.
constexpr auto kDeadline = 20s;

// One answer as a client reads it.
struct Reply {
  int status = 0;  // 0: the connection ended before an answer was complete
  std::string head = {}, body = {};

  [[nodiscard]] std::string error() const {
    const auto json = nlohmann::json::parse(body, nullptr, false);
    return json.is_object() ? json.value("error", "") : "";
  }
};

// A client that sends exactly the bytes it is told to.
class Client {
 public:
  explicit Client(Fd fd) : fd_(std::move(fd)) {}

  // Stops at the first error: servers may hang up on what they don't like.
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  void finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }

  Reply get(std::string_view target = "/") {
    send(fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", target));
    return reply();
  }

  // The next answer; `head_only` for one that has no body whatever its Content-Length says.
  Reply reply(bool head_only = false) {
    size_t end = 0;
    while ((end = input_.find("\r\n\r\n")) == std::string::npos)
      if (!fill()) return {};
    Reply reply{.head = input_.substr(0, end + 2)};
    input_.erase(0, end + 4);
    const size_t length = head_only ? 0 : content_length(reply.head);
    while (input_.size() < length)
      if (!fill()) return {};
    reply.body = input_.substr(0, length);
    input_.erase(0, length);
    reply.status = std::atoi(reply.head.c_str() + sizeof "HTTP/1.1");
    return reply;
  }

  // True when the server ends the connection, with nothing more said.
  bool ended() {
    while (fill()) continue;
    return !timed_out_ && input_.empty();
  }

  [[nodiscard]] int fd() const { return fd_.get(); }

  // Whether anything (bytes or the end) came within `time`.
  bool readable(std::chrono::milliseconds time) const {
    pollfd poll{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&poll, 1, static_cast<int>(time.count())) > 0;
  }

  static size_t content_length(const std::string& head) {
    const std::string_view name = "Content-Length: ";
    const size_t at = head.find(name);
    return at == std::string::npos ? 0 : std::stoul(head.substr(at + name.size()));
  }

 private:
  bool fill() {
    if (!readable(kDeadline)) {
      timed_out_ = true;
      ADD_FAILURE() << "the server neither answers nor hangs up";
      return false;
    }
    char buffer[65536];
    const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n <= 0) return false;
    input_.append(buffer, static_cast<size_t>(n));
    return true;
  }

  Fd fd_;
  std::string input_;
  bool timed_out_ = false;
};

// Tells what it was asked.
HttpResponse echo(const HttpRequest& request) {
  nlohmann::json json = {{"method", request.method}, {"path", request.path},
                         {"query", request.query},   {"body", request.body},
                         {"accept", request.accept}, {"accept_encoding", request.accept_encoding}};
  if (request.peer) json["peer"] = {request.peer->uid, request.peer->gid, request.peer->pid};
  if (request.client) json["client"] = request.client->bytes;
  json["host"] = request.host;
  json["forwarded"] = request.forwarded;
  return {.body = json.dump()};
}

// A server on a Unix socket and a TCP port, with limits and handlers of the test's choice.
class Http : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "slogate-http-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    server_.reset();
    fs::remove_all(directory_);
  }

  void start(const HttpLimits& limits = {}, const HttpHandler& handler = echo,
             const HttpHandler& tcp_handler = echo) {
    auto local = listen_unix(path(), "");
    ASSERT_TRUE(local.has_value()) << local.error().line();
    auto tcp = listen_tcp("127.0.0.1", 0);
    ASSERT_TRUE(tcp.has_value()) << tcp.error().line();
    port_ = tcp->local_port();
    std::vector<HttpEndpoint> endpoints;
    endpoints.push_back({std::move(*local), handler});
    endpoints.push_back({std::move(*tcp), tcp_handler});
    auto server = HttpServer::start(
        std::move(endpoints), [this](std::string_view line) { log(line); }, limits);
    ASSERT_TRUE(server.has_value()) << server.error().line();
    server_.emplace(std::move(*server));
  }

  [[nodiscard]] std::string path() const { return (directory_ / "agent.sock").string(); }

  Client connect() { return connect(Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))); }
  Client connect(Fd fd) {
    if (!fd) throw std::runtime_error("no socket");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, path().size());
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0)
        << strerror(errno);
    return Client(std::move(fd));
  }
  Client connect_tcp() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) throw std::runtime_error("no socket");
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return Client(std::move(fd));
  }

  // The status of a newcomer, who tries again: the server may not have read yet what others said.
  int ask_until_served() {
    int status = 0;
    const auto end = std::chrono::steady_clock::now() + kDeadline;
    while (status != 200 && std::chrono::steady_clock::now() < end) status = connect().get().status;
    return status;
  }

  std::array<Client, 2> connect_both() { return {connect(), connect_tcp()}; }

  void log(std::string_view line) {
    const std::scoped_lock lock(mutex_);
    log_.emplace_back(line);
  }
  std::vector<std::string> logged() {
    const std::scoped_lock lock(mutex_);
    return log_;
  }

  fs::path directory_;
  uint16_t port_ = 0;
  std::optional<HttpServer> server_;
  std::mutex mutex_;
  std::vector<std::string> log_;
};

TEST_F(Http, HandsOverTheRequest) {
  start();
  Client client = connect();
  client.send(
      "POST /a%20b?x=%2F&y HTTP/1.1\r\nHost: h\r\nAccept: text/plain\r\nAccept-Encoding: gzip\r\n"
      "Content-Length: 5\r\n\r\nhello");
  const Reply reply = client.reply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.head, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_THAT(reply.head, HasSubstr("Cache-Control: no-store\r\n"));
  EXPECT_THAT(reply.head, HasSubstr("X-Content-Type-Options: nosniff\r\n"));
  const auto json = nlohmann::json::parse(reply.body);
  EXPECT_EQ(json["method"], "POST");
  EXPECT_EQ(json["path"], "/a b");
  EXPECT_EQ(json["query"], nlohmann::json::parse(R"([["x", "/"], ["y", ""]])"));
  EXPECT_EQ(json["body"], "hello");
  EXPECT_EQ(json["accept"], "text/plain");
  EXPECT_EQ(json["accept_encoding"], "gzip");
}

TEST_F(Http, TellsWhoTheLocalPeerIs) {
  start();
  const auto peer = nlohmann::json::parse(connect().get().body)["peer"];
  EXPECT_EQ(peer, nlohmann::json({::getuid(), ::getgid(), ::getpid()}));
  EXPECT_FALSE(nlohmann::json::parse(connect_tcp().get().body).contains("peer"));
}

TEST_F(Http, TellsWhichAddressAsksForWhom) {
  start();
  const auto asked = [](Client client, const std::string& header) {
    client.send(fmt::format("GET / HTTP/1.1\r\n{}\r\n", header));
    return nlohmann::json::parse(client.reply().body);
  };
  const auto over_tcp = asked(connect_tcp(), "Host: a.example:9937\r\n");
  EXPECT_EQ(over_tcp["client"],
            nlohmann::json({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}));
  EXPECT_EQ(over_tcp["host"], "a.example:9937");
  EXPECT_EQ(over_tcp["forwarded"], false);
  EXPECT_FALSE(asked(connect(), "").contains("client"));
  for (const char* header : {"Forwarded: for=192.0.2.1\r\n", "x-forwarded-for: 192.0.2.1\r\n",
                             "X-Real-IP: 192.0.2.1\r\n", "Via: 1.1 proxy\r\n"})
    EXPECT_EQ(asked(connect_tcp(), header)["forwarded"], true) << header;
}

TEST_F(Http, EveryEndpointHasItsOwnHandler) {
  start({}, echo, [](const HttpRequest&) -> HttpResponse {
    return {.status = 404, .content_type = "text/plain", .body = "tcp", .headers = {{"X-A", "b"}}};
  });
  EXPECT_EQ(connect().get().status, 200);
  const Reply reply = connect_tcp().get();
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(reply.body, "tcp");
  EXPECT_THAT(reply.head, HasSubstr("Content-Type: text/plain\r\n"));
  EXPECT_THAT(reply.head, HasSubstr("X-A: b\r\n"));
}

TEST_F(Http, KeepsConnectionsAlive) {
  start();
  Client local = connect(), tcp = connect_tcp();
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(local.get().status, 200);
    EXPECT_EQ(tcp.get().status, 200);
  }
}

TEST_F(Http, ClosesWhenAsked) {
  start();
  Client client = connect();
  client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const Reply reply = client.reply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.head, HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(client.ended());
}

TEST_F(Http, ClosesAfterHttp10) {
  start();
  Client client = connect();
  client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(client.reply().status, 200);
  EXPECT_TRUE(client.ended());
}

TEST_F(Http, PipelinedRequestsAreAnsweredInOrder) {
  start();
  Client client = connect();
  std::string requests;
  for (int i = 0; i < 100; ++i)
    requests += fmt::format("POST /{} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok", i);
  client.send(requests);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(nlohmann::json::parse(client.reply().body)["path"], fmt::format("/{}", i));
}

TEST_F(Http, HeadIsGetWithoutTheBody) {
  start();
  Client client = connect();
  const size_t length = client.get("/x").body.size();
  client.send("HEAD /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const Reply head = client.reply(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(Client::content_length(head.head), length);
  // Had a body followed, this would read it as an answer.
  EXPECT_EQ(nlohmann::json::parse(client.get("/y").body)["path"], "/y");
}

TEST_F(Http, UnknownMethodsReachTheHandler) {
  start();
  Client client = connect();
  client.send("BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(nlohmann::json::parse(client.reply().body)["method"], "BREW");
}

TEST_F(Http, ABadTargetIs400AndTheConnectionGoesOn) {
  start();
  Client client = connect();
  const Reply reply = client.get("/%zz");
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.error(), HasSubstr("hexadecimal"));
  EXPECT_EQ(client.get("*").status, 400);
  EXPECT_EQ(client.get().status, 200);
}

TEST_F(Http, GarbageIs400AndTheEnd) {
  start();
  for (const std::string_view garbage :
       {std::string_view("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15),
        std::string_view("hello\r\n\r\n"), std::string_view("GET /\r\n\r\n"),
        std::string_view("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        std::string_view("GET / HTTP/1.1\r\nbad header\r\n\r\n"),
        std::string_view("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
        std::string_view("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
                         "\r\n1\r\na\r\n0\r\n\r\n"),
        std::string_view("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")}) {
    for (Client& client : connect_both()) {
      client.send(garbage);
      const Reply reply = client.reply();
      EXPECT_EQ(reply.status, 400) << garbage;
      EXPECT_EQ(reply.error(), "not an HTTP/1.1 request") << garbage;
      EXPECT_TRUE(client.ended()) << garbage;
    }
  }
}

TEST_F(Http, ALargeHeaderIs400) {
  start();
  const std::string fits = "GET / HTTP/1.1\r\nX: " + std::string(7 * 1024, 'x') + "\r\n\r\n";
  const std::string large = "GET / HTTP/1.1\r\nX: " + std::string(9 * 1024, 'x') + "\r\n\r\n";
  Client client = connect_tcp();
  client.send(fits);
  EXPECT_EQ(client.reply().status, 200);
  client.send(large);
  const Reply reply = client.reply();
  EXPECT_EQ(reply.status, 400);
  EXPECT_THAT(reply.error(), HasSubstr("larger than 8192 bytes"));
  EXPECT_TRUE(client.ended());
}

TEST_F(Http, AHeaderWithoutEndIs400) {
  start();
  Client client = connect();
  client.send("GET /" + std::string(1 << 20, 'x'));
  EXPECT_EQ(client.reply().status, 400);
  EXPECT_TRUE(client.ended());
}

TEST_F(Http, ALargeBodyIs413) {
  start();
  const std::string body(64 * 1024, 'x');
  for (Client& client : connect_both()) {
    client.send(fmt::format("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{}", body.size(), body));
    EXPECT_EQ(client.reply().status, 200);
    client.send(
        fmt::format("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{}x", body.size() + 1, body));
    const Reply reply = client.reply();
    EXPECT_EQ(reply.status, 413);
    EXPECT_EQ(reply.error(), "the body is larger than 65536 bytes");
    EXPECT_TRUE(client.ended());
  }
}

TEST_F(Http, ALargeChunkedBodyIs413) {
  start();
  Client client = connect();
  client.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = fmt::format("{:x}\r\n{}\r\n", 8192, std::string(8192, 'x'));
  for (int i = 0; i < 16; ++i) client.send(chunk);
  EXPECT_EQ(client.reply().status, 413);
  EXPECT_TRUE(client.ended());
}

TEST_F(Http, AChunkedBodyIsPutTogether) {
  start();
  Client client = connect();
  client.send(
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
  EXPECT_EQ(nlohmann::json::parse(client.reply().body)["body"], "hello");
}

TEST_F(Http, AClientThatStopsSendingIsAnsweredStill) {
  start();
  for (Client& client : connect_both()) {
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.finish_sending();
    EXPECT_EQ(client.reply().status, 200);
    EXPECT_TRUE(client.ended());
  }
}

TEST_F(Http, ARequestThatBreaksOffHasNoAnswer) {
  start();
  Client client = connect();
  client.send("GET / HTTP/1.1\r\nHo");
  client.finish_sending();
  EXPECT_TRUE(client.ended());
}

TEST_F(Http, TimeToSendARequestIsLimitedHoweverItDrips) {
  start({.read = 200ms});
  Client client = connect();
  client.send("GET / HTTP/1.1\r\nX: ");
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!client.readable(10ms) && std::chrono::steady_clock::now() < end) client.send("x");
  EXPECT_TRUE(client.ended());
}

TEST_F(Http, TimeToSendABodyIsLimited) {
  start({.read = 100ms});
  Client client = connect_tcp();
  client.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n123");
  EXPECT_TRUE(client.ended());
}

TEST_F(Http, IdleClientsAreDisconnected) {
  start({.idle = 100ms});
  Client silent = connect(), served = connect_tcp();
  EXPECT_EQ(served.get().status, 200);
  EXPECT_TRUE(served.ended());
  EXPECT_TRUE(silent.ended());
}

TEST_F(Http, ClientsThatDoNotReadAreDisconnected) {
  const std::string large(16 << 20, 'x');
  start({.write = 100ms}, [&](const HttpRequest&) -> HttpResponse { return {.body = large}; });
  Client client = connect();
  client.send("GET / HTTP/1.1\r\n\r\n");
  // What it does not read stays in the way until the server hangs up; then the answer breaks off.
  std::atomic<bool> hung_up = false;
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!hung_up && std::chrono::steady_clock::now() < end) {
    pollfd poll{.fd = client.fd(), .events = POLLRDHUP, .revents = 0};
    hung_up = ::poll(&poll, 1, 100) > 0;
  }
  EXPECT_TRUE(hung_up);
  EXPECT_EQ(client.reply().status, 0);
}

TEST_F(Http, LargeAnswersArriveWhole) {
  const std::string large(16 << 20, 'x');
  start({}, [&](const HttpRequest&) -> HttpResponse { return {.body = large}; });
  Client client = connect();
  EXPECT_EQ(client.get().body, large);
  EXPECT_EQ(client.get().body, large);
}

TEST_F(Http, AnswersThatWaitToBeSentAreLimited) {
  const std::string large(4 << 20, 'x');
  start({.unsent_bytes = 6 << 20},
        [&](const HttpRequest&) -> HttpResponse { return {.body = large}; });
  Client waits = connect();
  waits.send("GET / HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(waits.readable(kDeadline));  // its answer is on the way and does not fit the socket
  Client other = connect();
  EXPECT_EQ(other.get().status, 503);
  EXPECT_EQ(waits.reply().body, large);
  EXPECT_EQ(other.get().body, large);
}

TEST_F(Http, ManyIdleClientsDoNotKeepOthersOut) {
  start();
  std::vector<Client> idle;
  for (int i = 0; i < 200; ++i) idle.push_back(i % 2 == 0 ? connect() : connect_tcp());
  for (int i = 0; i < 200; ++i) idle.push_back(connect());
  EXPECT_EQ(connect().get().status, 200);
  EXPECT_EQ(connect_tcp().get().status, 200);
  EXPECT_EQ(idle.back().get().status, 200);
}

TEST_F(Http, TheLongestIdleClientMakesRoom) {
  start({.connections = 3});
  Client first = connect(), second = connect(), third = connect();
  for (Client* client : {&first, &second, &third, &first}) EXPECT_EQ(client->get().status, 200);
  Client fourth = connect();
  EXPECT_EQ(fourth.get().status, 200);
  EXPECT_TRUE(second.ended());
  for (Client* client : {&first, &third, &fourth}) EXPECT_EQ(client->get().status, 200);
}

// Slow or half-said requests.
TEST_F(Http, WhereNobodyIsIdleTheSlowestClientMakesRoom) {
  start({.connections = 2});
  Client first = connect(), second = connect();
  for (Client* client : {&first, &second}) {
    EXPECT_EQ(client->get().status, 200);
    client->send("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n1");
  }
  EXPECT_EQ(ask_until_served(), 200);
  EXPECT_TRUE(first.ended());
  second.send("2");
  EXPECT_EQ(second.reply().status, 200);
}

// Those that ask and do not read.
TEST_F(Http, ClientsThatDoNotReadMakeRoom) {
  const std::string large(4 << 20, 'x');
  start({.connections = 2}, [&](const HttpRequest& request) -> HttpResponse {
    return {.body = request.path == "/large" ? large : "{}"};
  });
  Client first = connect(), second = connect();
  for (Client* client : {&first, &second}) {
    client->send("GET /large HTTP/1.1\r\n\r\n");
    ASSERT_TRUE(client->readable(kDeadline));
  }
  EXPECT_EQ(ask_until_served(), 200);
  EXPECT_EQ(first.reply().status, 0);
  EXPECT_EQ(second.reply().body.size(), large.size());
}

TEST_F(Http, WhereAllFollowNewcomersGet503) {
  start({.connections = 1}, [](const HttpRequest&) -> HttpResponse {
    return {.more = []() -> std::optional<std::string> { return ""; }};
  });
  Client follower = connect();
  follower.send("GET / HTTP/1.1\r\n\r\n");
  ASSERT_TRUE(follower.readable(kDeadline));
  Client other = connect();
  const Reply reply = other.reply();
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.error(), "too many connections");
  EXPECT_TRUE(other.ended());
}

TEST_F(Http, AClientThatIsShownOutDoesNotHoldAPlace) {
  start({.linger = std::chrono::minutes(10), .connections = 1});
  Client rude = connect();
  rude.send("rude\r\n\r\n");
  EXPECT_EQ(rude.reply().status, 400);
  EXPECT_EQ(connect().get().status, 200);
}

TEST_F(Http, ClientsThatGoLeaveTheirPlace) {
  start({.connections = 1});
  for (int i = 0; i < 20; ++i) {
    Client client = connect();
    client.send("GET / HTTP/1.1\r\n");
  }
  EXPECT_EQ(ask_until_served(), 200);
}

TEST_F(Http, AHandlerThatThrowsIsA503AndLoggedOnce) {
  start({}, [](const HttpRequest& request) -> HttpResponse {
    if (request.path == "/odd") throw 1;
    throw std::runtime_error("no snapshot");
  });
  Client client = connect();
  for (int i = 0; i < 3; ++i) {
    const Reply reply = client.get();
    EXPECT_EQ(reply.status, 503);
    EXPECT_THAT(reply.error(), Not(HasSubstr("snapshot")));
  }
  EXPECT_THAT(logged(), ElementsAre("http: a request failed: no snapshot"));
  EXPECT_EQ(client.get("/odd").status, 503);
  EXPECT_EQ(connect_tcp().get().status, 200);
}

TEST_F(Http, AnAnswerThatCannotBeSentCostsItsConnectionOnly) {
  start({}, [](const HttpRequest& request) -> HttpResponse {
    return {.status = request.path == "/bad" ? 1000 : 200};
  });
  Client other = connect();
  EXPECT_EQ(connect().get("/bad").status, 0);
  EXPECT_EQ(other.get().status, 200);
}

TEST_F(Http, RunningOutOfDescriptorsIsLoggedAndPasses) {
  start();
  Client before = connect();
  EXPECT_EQ(before.get().status, 200);
  Fd made(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{.rlim_cur = 3, .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  Client waiting = connect(std::move(made));
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (logged().empty() && std::chrono::steady_clock::now() < end)
    EXPECT_EQ(before.get().status, 200);  // those who are in are served
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_THAT(logged(), ElementsAre("http: cannot accept connections: Too many open files"));
  EXPECT_EQ(waiting.get().status, 200);
}

TEST_F(Http, EndsWithItsClientsAndItsFile) {
  start();
  Client idle = connect(), busy = connect();
  EXPECT_EQ(idle.get().status, 200);
  busy.send("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n1");
  server_.reset();
  EXPECT_TRUE(idle.ended());
  EXPECT_TRUE(busy.ended());
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(Http, CanBeMovedWhileItRuns) {
  start();
  Client client = connect();
  EXPECT_EQ(client.get().status, 200);
  HttpServer moved = std::move(*server_);
  server_.reset();
  EXPECT_EQ(client.get().status, 200);
}

TEST_F(Http, ManyClientsAtOnce) {
  start();
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&, i] {
        Client client = i % 2 == 0 ? connect() : connect_tcp();
        for (int n = 0; n < 100; ++n) good += client.get().status == 200;
      });
  }
  EXPECT_EQ(good, 800);
  EXPECT_THAT(logged(), IsEmpty());
}

}  // namespace
}  // namespace slogate
