// SPDX-License-Identifier: Apache-2.0
// What real clients, proxies and checkers do every day to real servers, each pair in a network
// namespace of its own, whose statistics are the kernel's word on it: no error of anybody's.
#include <sched.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <thread>

#include "tests/kernel/real_server.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kRequests = 100;

class Peers : public RealServer {
 protected:
  // Nothing of all this is an error of the server's, nor of the kernel's in its own words.
  void expect_no_fault() {
    kernel().take_inventory();
    const Counts server = server_counts();
    EXPECT_EQ(errors(server), 0u);
    EXPECT_EQ(counter(server, SLOGATE_COUNTER_harmful_in), 0u);
    EXPECT_EQ(counter(server, SLOGATE_COUNTER_harmful_out), 0u);
    EXPECT_EQ(server.drops.total(), 0u);
    EXPECT_EQ(tcp("ListenOverflows"), 0u);
  }
  [[nodiscard]] uint64_t tcp(const std::string& name) const {
    return netns_.statistic("TcpExt", name);
  }
  [[nodiscard]] uint64_t connections() const {
    return counter(server_counts(), SLOGATE_COUNTER_connections_server);
  }
  [[nodiscard]] uint64_t used() const {
    return counter(server_counts(), SLOGATE_COUNTER_used_server);
  }
  [[nodiscard]] uint64_t requests() const {
    return samples(server_counts(), SLOGATE_SIGNAL_request);
  }

  void start_nginx(const std::string& listen) {
    files_.write("index.html", std::string(1000, 'x'));
    start(server_, kPort,
          nginx_of(fmt::format("server {{ listen {}:{} {}; {} }}", kLoopback, kPort, listen,
                               certificate_)));
  }

  // As Debian configures it: the event MPM, and accept filters as they are by default.
  void start_apache() {
    files_.write("index.html", std::string(1000, 'x'));
    files_.write("apache.conf", fmt::format(R"(
ServerName localhost
ServerRoot {0}
PidFile {0}/apache.pid
Mutex posixsem
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User www-data
Group www-data
Listen {1}:{2}
DocumentRoot {0}
ErrorLog /dev/stderr
)",
                                            files_.path(), kLoopback, kPort));
    files_.give_to("www-data");
    start(server_, kPort, {find_program("apache2"), "-X", "-f", files_.path() + "/apache.conf"});
  }

  void start_haproxy(const std::string& backend) {
    files_.write("haproxy.cfg", fmt::format(R"(
global
  maxconn 200
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend in
  bind {0}:{1}
  default_backend out
backend out
  {2}
)",
                                            kLoopback, kProxyPort, backend));
    start(client_, kProxyPort,
          {find_program("haproxy"), "-db", "-f", files_.path() + "/haproxy.cfg"});
  }

  void start(const TestCgroup& cgroup, uint16_t port, const std::vector<std::string>& argv) {
    netns_.run([&] {
      programs_.push_back(std::make_unique<Program>(cgroup, argv));
      programs_.back()->wait_until_listening(port);
    });
  }

  // Runs to its end.
  std::string run(const TestCgroup& cgroup, const std::vector<std::string>& argv) {
    std::string output;
    netns_.run([&] { output = Program(cgroup, argv).finish(); });
    return output;
  }
  // `n` times, each a program of its own, whatever it ends with.
  void shell(const TestCgroup& cgroup, const std::string& command, uint64_t n) {
    run(cgroup,
        {"/bin/sh", "-c",
         fmt::format("i=0; while [ $i -lt {} ]; do {}; i=$((i + 1)); done 2>&1", n, command)});
  }

  void make_certificate() {
    run(asker_, {find_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-keyout",
                 files_.path() + "/key.pem", "-out", files_.path() + "/cert.pem"});
    certificate_ = fmt::format(
        "ssl_certificate {0}/cert.pem; ssl_certificate_key {0}/key.pem; ssl_protocols TLSv1.3;",
        files_.path());
  }

  void TearDown() override {
    for (auto& program : programs_) program->stop(SIGKILL);
    RealServer::TearDown();
  }

  static constexpr uint16_t kPort = 8000, kProxyPort = 8001;  // of the network namespace
  const Netns netns_;
  const std::string url_ = fmt::format("http://{}:{}/", kLoopback, kPort);
  std::string certificate_;
  std::vector<std::unique_ptr<Program>> programs_;
};

// It reads a whole answer and then drops its connection to the server by a reset.
TEST_F(Peers, AProxyThatKeepsNoConnectionToItsServer) {
  if (!have({"nginx", "haproxy", "curl"}))
    GTEST_SKIP() << "nginx, haproxy or curl is not installed";
  start_nginx("");
  start_haproxy(fmt::format("option http-server-close\n  server s {}:{}", kLoopback, kPort));
  shell(asker_,
        fmt::format("curl -sf -o /dev/null http://{0}:{1}/ http://{0}:{1}/", kLoopback, kProxyPort),
        kRequests / 2);
  EXPECT_EQ(requests(), kRequests);
  EXPECT_TRUE(eventually([&] { return used() == kRequests; }));
  EXPECT_GT(counter(server_counts(), SLOGATE_COUNTER_resets_in), 0u);
  EXPECT_EQ(unanswered(server_counts()), 0u);
  expect_no_fault();
}

TEST_F(Peers, ACheckerThatHangsUp) {
  if (!have({"nginx", "haproxy", "curl"}))
    GTEST_SKIP() << "nginx, haproxy or curl is not installed";
  start_nginx("");
  start_haproxy(fmt::format("server s {}:{} check inter 20ms", kLoopback, kPort));
  EXPECT_TRUE(eventually([&] { return connections() + tcp("EmbryonicRsts") >= kRequests; },
                         std::chrono::seconds(20)));
  shell(asker_, "curl -sf -o /dev/null " + url_, 10);
  programs_.back()->stop(SIGKILL);
  expect_no_fault();
  EXPECT_EQ(used(), 10u);
  EXPECT_EQ(requests(), 10u);
}

// It reads the answer to its PING and drops the connection.
TEST_F(Peers, ACheckerThatAsksRedis) {
  if (!have({"redis-server", "redis-cli", "haproxy"}))
    GTEST_SKIP() << "redis or haproxy is not installed";
  start(server_, kPort,
        {find_program("redis-server"), "--port", std::to_string(kPort), "--bind", kLoopback,
         "--save", "", "--appendonly", "no", "--dir", files_.path()});
  start_haproxy(
      fmt::format("option redis-check\n  server s {}:{} check inter 20ms", kLoopback, kPort));
  EXPECT_TRUE(eventually([&] { return requests() >= kRequests; }, std::chrono::seconds(20)));
  shell(asker_, fmt::format("redis-cli -p {} get x", kPort), 10);
  programs_.back()->stop(SIGKILL);
  expect_no_fault();
}

TEST_F(Peers, DeferredAcceptOfNginx) {
  if (!have({"nginx", "curl"})) GTEST_SKIP() << "nginx or curl is not installed";
  start_nginx("deferred");
  shell(client_, "curl -sf -o /dev/null " + url_, kRequests);
  EXPECT_GT(tcp("TCPDeferAcceptDrop"), 0u);
  EXPECT_EQ(requests(), kRequests);
  EXPECT_EQ(unanswered(server_counts()), 0u);
  expect_no_fault();
}

TEST_F(Peers, DeferredAcceptOfApache) {
  if (!have({"apache2", "curl"})) GTEST_SKIP() << "apache2 or curl is not installed";
  start_apache();
  shell(client_, "curl -sf -o /dev/null " + url_, kRequests);
  EXPECT_GT(tcp("TCPDeferAcceptDrop"), 0u);
  EXPECT_EQ(requests(), kRequests);
  EXPECT_EQ(unanswered(server_counts()), 0u);
  expect_no_fault();
}

// Keeps this thread, and the programs that it starts, on one CPU. Over loopback a packet is handled
// on the CPU that sent it, so that of two CPUs a reset may overtake the FIN before it.
class OnOneCpu {
 public:
  OnOneCpu() {
    sched_getaffinity(0, sizeof(before_), &before_);
    int first = 0;
    while (CPU_ISSET(first, &before_) == 0) ++first;
    cpu_set_t one{};
    CPU_SET(first, &one);
    sched_setaffinity(0, sizeof(one), &one);
  }
  OnOneCpu(const OnOneCpu&) = delete;
  OnOneCpu& operator=(const OnOneCpu&) = delete;
  ~OnOneCpu() { sched_setaffinity(0, sizeof(before_), &before_); }

 private:
  cpu_set_t before_{};
};

// s_time hangs up after the handshake and leaves the server's tickets unread, or unreceived.
TEST_F(Peers, ClientsThatLeaveTicketsUnread) {
  if (!have({"nginx", "openssl"})) GTEST_SKIP() << "nginx or openssl is not installed";
  const OnOneCpu order;
  make_certificate();
  start_nginx("ssl");
  run(client_, {find_program("openssl"), "s_time", "-connect",
                fmt::format("{}:{}", kLoopback, kPort), "-new", "-time", "1"});
  EXPECT_GE(connections(), 20u);
  EXPECT_TRUE(eventually([&] { return used() == connections(); }));
  expect_no_fault();
}

TEST_F(Peers, ClientsOfOpensslsOwnServer) {
  if (!have({"curl", "openssl"})) GTEST_SKIP() << "curl or openssl is not installed";
  make_certificate();
  start(server_, kPort,
        {find_program("openssl"), "s_server", "-quiet", "-www", "-tls1_3", "-accept",
         fmt::format("{}:{}", kLoopback, kPort), "-cert", files_.path() + "/cert.pem", "-key",
         files_.path() + "/key.pem"});
  shell(client_, fmt::format("curl -skf -o /dev/null https://{}:{}/", kLoopback, kPort), 20);
  shell(client_,
        fmt::format("openssl s_client -connect {}:{} </dev/null >/dev/null", kLoopback, kPort), 20);
  EXPECT_EQ(connections(), 40u);
  expect_no_fault();
}

// Gives up after 50 ms; the server goes on for a second and then writes its answer in two pieces.
TEST_F(Peers, AClientThatRunsOutOfPatience) {
  if (!have({"curl"})) GTEST_SKIP() << "curl is not installed";
  constexpr uint64_t kClients = 20;
  std::vector<Connection> served(kClients);
  netns_.run([&] {
    const Fd listener = listen_on(server_, Address(kLoopback, kPort));
    Program curls(client_, {"/bin/sh", "-c",
                            fmt::format("i=0; while [ $i -lt {} ]; do curl -s -m 0.05 {} & "
                                        "i=$((i + 1)); done; wait; true",
                                        kClients, url_)});
    for (Connection& one : served) one.server = accept_from(listener.get());
    curls.finish();
  });
  std::this_thread::sleep_for(1s);
  // On a busy machine 50 ms may be too short to ask.
  const auto asked = std::ranges::count_if(served, [](const Connection& one) {
    char byte = 0;
    return recv(one.server.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
  });
  EXPECT_GT(asked, 0);
  for (const char* part : {"HTTP/1.0 200 OK\r\n\r\n", "late"}) {
    for (const Connection& one : served)
      static_cast<void>(send(one.server.get(), part, strlen(part), MSG_NOSIGNAL));
    std::this_thread::sleep_for(20ms);
  }
  served.clear();
  EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_client_gone), kClients);
  EXPECT_EQ(samples_from(server_counts(), SLOGATE_SIGNAL_request, 1), static_cast<uint64_t>(asked));
  EXPECT_EQ(unanswered(server_counts()), 0u);
  expect_no_fault();
}

}  // namespace
}  // namespace slogate
