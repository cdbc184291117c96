// SPDX-License-Identifier: Apache-2.0
// nginx under wrk.
#include <sstream>

#include "tests/kernel/real_server.h"

namespace slogate {
namespace {

class Nginx : public RealServer {
 protected:
  void start_nginx() {
    files_.write("index.html", std::string(1000, 'x'));
    const std::string http = fmt::format(R"(
  sendfile on;
  keepalive_requests 100000000;
  server {{
    listen {}:{} backlog=511;
    location = /status {{ stub_status; }}
  }})",
                                         kLoopback, port_);
    nginx_ = std::make_unique<Program>(server_, nginx_of(http));
    nginx_->wait_until_listening(port_);
  }

  // How many answers wrk has read.
  uint64_t run_wrk(const std::vector<std::string>& options) {
    std::vector<std::string> argv{find_program("wrk"), "-t", "1", "-c", "16", "-d", "2s"};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.push_back(fmt::format("http://{}:{}/", kLoopback, port_));
    Program wrk(client_, argv);
    std::istringstream lines(wrk.finish());
    for (std::string line; std::getline(lines, line);)
      if (line.find(" requests in ") != std::string::npos) return std::stoull(line);
    throw std::runtime_error("wrk does not say how many requests");
  }

  // What nginx itself has counted, once nobody but the one who asks is connected.
  struct Own {
    uint64_t connections = 0, requests = 0, asked = 0;
  };
  Own own_counts() {
    Own own;
    const bool idle = eventually(
        [&] {
          const std::string text = ask(port_, "GET /status HTTP/1.0\r\n\r\n", 200);
          ++own.asked;
          std::istringstream numbers(text.substr(text.find("requests") + sizeof("requests")));
          uint64_t handled = 0;
          numbers >> own.connections >> handled >> own.requests;
          return number_after(text, "Active connections: ") == 1;
        },
        std::chrono::seconds(10));
    EXPECT_TRUE(idle);
    return own;
  }

  // wrk hangs up in the middle: up to one request of each connection was asked and not counted by
  // wrk, and nginx may or may not have begun with it.
  void expect_agreement(uint64_t wrk, const Own& own) {
    for (const Mode mode : modes()) {
      SCOPED_TRACE(testing::PrintToString(mode));
      const Kernel& one = shared_kernel(mode);
      const Counts server = one.counts(server_.id()), client = one.counts(client_.id());
      const uint64_t answered = samples(server, SLOGATE_SIGNAL_request);
      EXPECT_LE(wrk + own.asked, answered);
      EXPECT_LE(answered, wrk + own.asked + 16);
      EXPECT_LE(answered, own.requests);
      EXPECT_LE(own.requests, answered + unanswered(server));
      EXPECT_EQ(samples(server, SLOGATE_SIGNAL_queue), own.requests);
      EXPECT_LE(wrk, samples(client, SLOGATE_SIGNAL_client_request));
      EXPECT_LE(samples(client, SLOGATE_SIGNAL_client_request), wrk + 16);
      EXPECT_EQ(counter(server, SLOGATE_COUNTER_connections_server), own.connections);
      EXPECT_EQ(counter(client, SLOGATE_COUNTER_connections_client) + own.asked, own.connections);
    }
  }

  const uint16_t port_ = free_port();
  std::unique_ptr<Program> nginx_;
};

TEST_F(Nginx, AgreesOnKeptConnections) {
  if (!have({"nginx", "wrk"})) GTEST_SKIP() << "nginx or wrk is not installed";
  start_nginx();
  const uint64_t wrk = run_wrk({});
  const Own own = own_counts();
  expect_agreement(wrk, own);
  EXPECT_GT(wrk, 1000u);
}

TEST_F(Nginx, AgreesOnAConnectionForEachRequest) {
  if (!have({"nginx", "wrk"})) GTEST_SKIP() << "nginx or wrk is not installed";
  start_nginx();
  const uint64_t wrk = run_wrk({"-H", "Connection: close"});
  const Own own = own_counts();
  expect_agreement(wrk, own);
  EXPECT_GE(own.connections, wrk);
}

}  // namespace
}  // namespace slogate
