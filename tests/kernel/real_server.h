// SPDX-License-Identifier: Apache-2.0
// Servers as Debian ships them, under the load of their own tools, against their own counts.
#pragma once

#include <string>
#include <vector>

#include "tests/kernel/fixture.h"
#include "tests/kernel/program.h"
#include "tests/kernel/tcp.h"

namespace slogate {

class RealServer : public BestMode {
 protected:
  void SetUp() override {
    // Programs of all modes see every run.
    for (const Mode mode : modes()) start(mode);
    BestMode::SetUp();
  }

  static bool have(std::initializer_list<const char*> programs) {
    for (const char* name : programs)
      if (find_program(name).empty()) return false;
    return true;
  }

  // The command line of an nginx with these directives in its block `http`, which may use files_.
  [[nodiscard]] std::vector<std::string> nginx_of(const std::string& http) const {
    files_.write("nginx.conf", fmt::format(R"(
daemon off;
master_process off;
pid {0}/nginx.pid;
error_log stderr crit;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
  uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
  root {0};
  {1}
}}
)",
                                           files_.path(), http));
    return {find_program("nginx"),        "-p", files_.path(), "-e", "stderr", "-c",
            files_.path() + "/nginx.conf"};
  }

  // What a server says when a third party asks it something.
  std::string ask(uint16_t port, const std::string& question, size_t at_least) {
    const Fd fd = connect_to(asker_, Address(kLoopback, port));
    send_text(fd.get(), question);
    std::string answer = read_exactly(fd.get(), at_least);
    char byte = 0;
    while (recv(fd.get(), &byte, 1, MSG_DONTWAIT) == 1) answer += byte;
    return answer;
  }

  [[nodiscard]] static uint64_t unanswered(const Counts& counts) {
    return counter(counts, SLOGATE_COUNTER_unanswered_server) +
           counter(counts, SLOGATE_COUNTER_unanswered_client);
  }

  // In all modes: n requests that were answered, and more that were only read.
  void expect_everywhere(uint64_t n, uint64_t only_read = 0) {
    for (const Mode mode : modes()) {
      SCOPED_TRACE(testing::PrintToString(mode));
      const Kernel& one = shared_kernel(mode);
      const Counts server = one.counts(server_.id()), client = one.counts(client_.id());
      EXPECT_EQ(samples(server, SLOGATE_SIGNAL_request), n);
      EXPECT_EQ(samples(server, SLOGATE_SIGNAL_queue), n + only_read);
      EXPECT_EQ(samples(client, SLOGATE_SIGNAL_client_request), n);
    }
  }

  TestCgroup asker_;
  const TempDir files_;
};

}  // namespace slogate
