// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "maps/fd.h"

namespace slogate::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A socket on which somebody answers once, whatever is asked, and keeps what was asked.
class OneAnswer {
 public:
  OneAnswer() {
    std::string name = (fs::temp_directory_path() / "slogate-client-XXXXXX").string();
    directory_ = ::mkdtemp(name.data()) != nullptr ? name : "";
    path_ = directory_ + "/agent.sock";
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM, 0));
    bound_ = listener_ &&
             ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~OneAnswer() {
    if (thread_.joinable()) thread_.join();
    fs::remove_all(directory_);
  }

  // Sends `bytes` after the request and closes.
  void say(std::string bytes) {
    ASSERT_TRUE(bound_ && ::listen(listener_.get(), 1) == 0);
    thread_ = std::thread([this, bytes = std::move(bytes)] {
      const Fd peer(::accept(listener_.get(), nullptr, nullptr));
      if (!peer) return;
      char buffer[4096];
      while (request_.find("\r\n\r\n") == std::string::npos) {
        const ssize_t got = ::read(peer.get(), buffer, sizeof buffer);
        if (got <= 0) break;
        request_.append(buffer, static_cast<size_t>(got));
      }
      for (std::string_view rest = bytes; !rest.empty();) {
        const ssize_t sent = ::send(peer.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (sent <= 0) break;
        rest.remove_prefix(static_cast<size_t>(sent));
      }
    });
  }
  // Listens and never answers.
  void say_nothing() const { ASSERT_TRUE(bound_ && ::listen(listener_.get(), 1) == 0); }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::string& request() {
    thread_.join();
    return request_;
  }

 private:
  std::string directory_, path_, request_;
  Fd listener_;
  bool bound_ = false;
  std::thread thread_;
};

std::string answer(const std::string& status, const std::string& body) {
  return fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\n\r\n{}", status, body.size(), body);
}

TEST(Client, GetsJson) {
  OneAnswer agent;
  agent.say(answer("200 OK", R"([{"id": 1}])"));
  const auto json = get(agent.path(), "/v1/cgroups?match=/a");
  ASSERT_TRUE(json.has_value()) << json.error().error.line();
  EXPECT_EQ(json->dump(), R"([{"id":1}])");
  EXPECT_THAT(agent.request(), ::testing::StartsWith("GET /v1/cgroups?match=/a HTTP/1.1\r\n"));
}

TEST(Client, TakesAnswersLargerThanAnyBuffer) {
  OneAnswer agent;
  agent.say(answer("200 OK", "[\"" + std::string(3 << 20, 'x') + "\"]"));
  const auto json = get(agent.path(), "/");
  ASSERT_TRUE(json.has_value()) << json.error().error.line();
  EXPECT_EQ(json->at(0).get_ref<const std::string&>().size(), size_t{3} << 20);
}

TEST(Client, TellsWhatTheAgentComplainsOf) {
  OneAnswer agent;
  agent.say(answer("404 Not Found", R"({"error": "no cgroup 7\u001b[2J"})"));
  const auto json = get(agent.path(), "/");
  ASSERT_FALSE(json.has_value());
  EXPECT_EQ(json.error().exit, kFailed);
  EXPECT_EQ(json.error().error.line(), "no cgroup 7?[2J");
}

TEST(Client, NobodyThere) {
  const OneAnswer agent;
  for (const std::string& path : {agent.path() + "x", agent.path()}) {
    const auto json = get(path, "/");
    ASSERT_FALSE(json.has_value());
    EXPECT_EQ(json.error().exit, kUnreachable);
    EXPECT_THAT(json.error().error.message, HasSubstr(path));
    EXPECT_THAT(json.error().error.remedy, HasSubstr("is the agent running?"));
  }
}

TEST(Client, PathThatNoSocketCanHave) {
  for (const std::string& path : {std::string(), std::string(108, 'a')}) {
    const auto json = get(path, "/");
    ASSERT_FALSE(json.has_value());
    EXPECT_EQ(json.error().exit, kUnreachable);
  }
}

TEST(Client, SocketOfAnotherGroup) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may use any socket";
  const OneAnswer agent;
  agent.say_nothing();
  fs::permissions(agent.path(), fs::perms::none);
  const auto json = get(agent.path(), "/");
  ASSERT_FALSE(json.has_value());
  EXPECT_EQ(json.error().exit, kUnreachable);
  EXPECT_THAT(json.error().error.remedy, HasSubstr("as a member of group"));
}

TEST(Client, GivesUpOnAnAgentThatHangs) {
  const OneAnswer agent;
  agent.say_nothing();
  const auto json = get(agent.path(), "/", std::chrono::milliseconds(50));
  ASSERT_FALSE(json.has_value());
  EXPECT_EQ(json.error().exit, kUnreachable);
  EXPECT_THAT(json.error().error.message, HasSubstr("no answer within 50 ms"));
}

TEST(Client, CutOff) {
  for (const char* bytes : {"", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[1,"}) {
    OneAnswer agent;
    agent.say(bytes);
    const auto json = get(agent.path(), "/");
    ASSERT_FALSE(json.has_value()) << bytes;
    EXPECT_EQ(json.error().exit, kUnreachable) << json.error().error.line();
  }
}

TEST(Client, SomethingElseOnTheSocket) {
  for (const std::string& bytes :
       {std::string("220 mail.example.org\r\n\r\n"), answer("200 OK", "<html>"),
        answer("200 OK", ""), answer("200 OK", std::string(1 << 20, '[')),
        answer("200 OK", "[1e999]")}) {
    OneAnswer agent;
    agent.say(bytes);
    const auto json = get(agent.path(), "/");
    ASSERT_FALSE(json.has_value()) << bytes;
    EXPECT_EQ(json.error().exit, kFailed) << json.error().error.line();
    EXPECT_THAT(json.error().error.remedy, HasSubstr("is this the socket of slogate-agent?"));
  }
}

TEST(Client, ErrorWithoutJson) {
  EXPECT_EQ(parse_answer(503, "busy").error().error.message,
            "the agent answered with HTTP status 503");
  EXPECT_EQ(parse_answer(404, R"({"error": 3})").error().error.message,
            "the agent answered with HTTP status 404");
}

TEST(Client, PatternsAreEncoded) {
  EXPECT_EQ(percent_encode("/a-b/**"), "/a-b/%2A%2A");
  EXPECT_EQ(percent_encode("/x?[a]&#%\\ \u00e9"), "/x%3F%5Ba%5D%26%23%25%5C%20%C3%A9");
}

}  // namespace
}  // namespace slogate::cli
