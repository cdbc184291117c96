// SPDX-License-Identifier: Apache-2.0
// curl against servers that are slow, talk garbage or are not there. The real API server is in
// tests/kubernetes.
#include "agent/kubernetes/transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "agent/http/http.h"
#include "agent/kubernetes/client.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr auto kDeadline = 20s;

struct FakeServer {
  explicit FakeServer(HttpHandler handler) {
    auto socket = listen_tcp("127.0.0.1", 0);
    EXPECT_TRUE(socket);
    url = fmt::format("http://127.0.0.1:{}", socket->local_port());
    std::vector<HttpEndpoint> endpoints;
    endpoints.push_back({std::move(*socket), std::move(handler)});
    HttpLimits limits;
    limits.follow = 20ms;
    auto started = HttpServer::start(
        std::move(endpoints), [](std::string_view) {}, limits);
    EXPECT_TRUE(started);
    server = std::make_unique<HttpServer>(std::move(*started));
  }
  std::string url;
  std::unique_ptr<HttpServer> server;
};

// The answer to one call, and the lines it brought.
struct Outcome {
  ApiAnswer answer;
  std::vector<std::string> lines;
  bool opened = false, done = false;
};

Outcome call(const std::string& url, ApiCall what, const TransportLimits& limits = {}) {
  auto transport = Transport::make(url, "", "", limits);
  EXPECT_TRUE(transport);
  Outcome outcome;
  (*transport)
      ->start(std::move(what),
              {.done =
                   [&outcome](const ApiAnswer& answer) {
                     outcome.answer = answer;
                     outcome.done = true;
                   },
               .line = [&outcome](std::string_view line) { outcome.lines.emplace_back(line); },
               .opened = [&outcome] { outcome.opened = true; }});
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!outcome.done && std::chrono::steady_clock::now() < end) (*transport)->run(100ms);
  EXPECT_TRUE(outcome.done);
  return outcome;
}

TEST(KubernetesTransport, AnAnswerIsGivenAsItIs) {
  const FakeServer fake([](const HttpRequest& request) {
    return HttpResponse{.status = 418, .body = request.method + " " + request.body};
  });
  const Outcome outcome =
      call(fake.url, {.method = "PATCH", .target = "/x", .body = "hello", .content_type = "a/b"});
  EXPECT_EQ(outcome.answer.status, 418);
  EXPECT_EQ(outcome.answer.body, "PATCH hello");
}

TEST(KubernetesTransport, LinesOfAWatchComeOneByOne) {
  const FakeServer fake([](const HttpRequest&) {
    HttpResponse response{.body = "one\ntw"};
    response.more = [parts = std::vector<std::string>{
                         "unfinished", "o\n\nthree\n"}]() mutable -> std::optional<std::string> {
      if (parts.empty()) return std::nullopt;
      std::string part = std::move(parts.back());
      parts.pop_back();
      return part;
    };
    return response;
  });
  const Outcome outcome = call(fake.url, {.target = "/x", .watch = true});
  EXPECT_TRUE(outcome.opened);
  EXPECT_THAT(outcome.lines, ::testing::ElementsAre("one", "two", "three"));
  EXPECT_TRUE(outcome.answer.good());
}

TEST(KubernetesTransport, TooMuchIsBrokenOff) {
  const FakeServer fake([](const HttpRequest&) {
    HttpResponse response;
    response.more = [] { return std::string(65536, 'x'); };
    return response;
  });
  TransportLimits limits;
  limits.body_bytes = limits.line_bytes = 200'000;
  for (const bool watch : {false, true}) {
    const Outcome outcome = call(fake.url, {.target = "/x", .watch = watch}, limits);
    EXPECT_EQ(outcome.answer.end, ApiAnswer::End::Garbage);
    EXPECT_THAT(outcome.answer.error, HasSubstr("more than 200000 bytes"));
    EXPECT_FALSE(outcome.answer.good());
  }
}

TEST(KubernetesTransport, AListThatDribblesIsGivenUp) {
  const FakeServer fake([](const HttpRequest&) {
    HttpResponse response;
    response.more = [] { return "x"; };
    return response;
  });
  TransportLimits limits;
  limits.slow_bytes = 1'000'000;
  limits.slow = 1s;
  const Outcome outcome = call(fake.url, {.target = "/x"}, limits);
  EXPECT_EQ(outcome.answer.end, ApiAnswer::End::Away);
  EXPECT_EQ(outcome.answer.error, "it does not answer in time");
}

TEST(KubernetesTransport, NobodyThere) {
  const auto socket = listen_tcp("127.0.0.1", 0);
  ASSERT_TRUE(socket);
  const std::string url = fmt::format("http://127.0.0.1:{}", socket->local_port());
  {
    FakeServer fake([](const HttpRequest&) { return HttpResponse{}; });
    fake.server.reset();
    const Outcome outcome = call(fake.url, {.target = "/x"});
    EXPECT_EQ(outcome.answer.end, ApiAnswer::End::Away);
    EXPECT_EQ(outcome.answer.error, "cannot connect: Connection refused");
  }
  // Accepts, and then nothing.
  const Outcome outcome = call(url, {.target = "/x", .limit = 1s});
  EXPECT_EQ(outcome.answer.error, "it does not answer in time");
}

TEST(KubernetesTransport, ATokenGoesOverTlsOnlyAndMustBeOne) {
  EXPECT_FALSE(Transport::make("http://127.0.0.1:1", "/token", ""));
  EXPECT_FALSE(Transport::make("http://127.0.0.1:1", "", "/ca"));
  EXPECT_FALSE(Transport::make("ftp://127.0.0.1:1", "", ""));
  const auto path =
      std::filesystem::temp_directory_path() / fmt::format("slogate-token-{}", ::getpid());
  std::ofstream(path) << "secret\r\nX-Other: header";
  auto transport = Transport::make("https://127.0.0.1:1", path, "");
  ASSERT_TRUE(transport);
  std::string error;
  (*transport)->start({.target = "/x"}, {.done = [&error](const ApiAnswer& answer) {
                        error = answer.error;
                      }});
  (*transport)->run(1s);
  std::filesystem::remove(path);
  EXPECT_THAT(error, HasSubstr("holds no token"));
  EXPECT_THAT(error, ::testing::Not(HasSubstr("secret")));
}

// ---- the whole client against such servers ----

constexpr const char* kList = R"({"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[
  {"metadata":{"uid":"a","namespace":"n","name":"p"}}]})";

// Waits until `holds` is true of the client's cluster.
template <typename Holds>
bool comes(const KubernetesClient& client, Holds holds) {
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!holds(*client.cluster())) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

TEST(KubernetesClient, KeepsWhatItKnowsFromAServerGoneMad) {
  std::atomic<int> asked = 0;
  const FakeServer fake([&asked](const HttpRequest& request) {
    const bool watch = std::any_of(request.query.begin(), request.query.end(),
                                   [](const auto& pair) { return pair.first == "watch"; });
    if (++asked == 1) return HttpResponse{.body = kList};
    if (watch) return HttpResponse{.body = "\x1b[31m not JSON\n"};
    return HttpResponse{.body =
                            R"({"kind":"PodList","metadata":{"resourceVersion":"2"},"items":[5]})"};
  });
  std::atomic<int> changes = 0;
  auto client = KubernetesClient::start({fake.url, "", "", "node"}, [&changes] { ++changes; });
  ASSERT_TRUE(client);
  EXPECT_TRUE(comes(**client, [](const Cluster& cluster) {
    return cluster.trouble.starts_with("the API server's answers make no sense since 20");
  })) << (*client)->cluster()->trouble;
  const auto cluster = (*client)->cluster();
  EXPECT_TRUE(cluster->synced);
  ASSERT_THAT(cluster->pods, SizeIs(1));
  EXPECT_FALSE(cluster->pods[0]->gone);
  EXPECT_EQ(cluster->trouble.find('\x1b'), std::string::npos);
  EXPECT_GE(changes, 2);
  EXPECT_LT(asked, 10);
}

TEST(KubernetesClient, BurstsAreToldInOneGo) {
  const FakeServer fake([](const HttpRequest& request) {
    const bool watch = std::any_of(request.query.begin(), request.query.end(),
                                   [](const auto& pair) { return pair.first == "watch"; });
    if (!watch) return HttpResponse{.body = kList};
    HttpResponse response;
    response.more = [next = 0]() mutable -> std::optional<std::string> {
      std::string lines;
      if (next < 1000)
        for (const int end = next + 20; next < end; ++next)
          lines += fmt::format(
              R"({{"type":"ADDED","object":{{"metadata":{{"uid":"u{0}","namespace":"n","name":"p{0}","resourceVersion":"{0}"}}}}}})"
              "\n",
              next);
      return lines;
    };
    return response;
  });
  std::atomic<int> changes = 0;
  const auto begin = std::chrono::steady_clock::now();
  auto client = KubernetesClient::start({fake.url, "", "", "node"}, [&changes] { ++changes; });
  ASSERT_TRUE(client);
  EXPECT_TRUE(comes(**client, [](const Cluster& cluster) { return cluster.pods.size() == 1001; }));
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_LE(changes, took / 100ms + 3);
  EXPECT_EQ((*client)->cluster()->trouble, "");
}

TEST(KubernetesClient, EndsAtOnceWhateverIsUnderWay) {
  const auto silent = listen_tcp("127.0.0.1", 0);
  ASSERT_TRUE(silent);
  auto client = KubernetesClient::start(
      {fmt::format("http://127.0.0.1:{}", silent->local_port()), "", "", "node"}, [] {});
  ASSERT_TRUE(client);
  (*client)->set_conditions({{"u", "n", "p", true, "R", "m"}});
  for (int i = 0; i < 200; ++i) (*client)->post({"u", "n", "p", false, "R", "m"});
  std::this_thread::sleep_for(50ms);
  const auto begin = std::chrono::steady_clock::now();
  client->reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

}  // namespace
}  // namespace slogate
