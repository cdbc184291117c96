// SPDX-License-Identifier: Apache-2.0
// PostgreSQL under pgbench.
#include <csignal>

#include "tests/kernel/real_server.h"

namespace slogate {
namespace {

class Postgres : public RealServer {
 protected:
  static constexpr uint64_t kClients = 4, kTransactions = 250, kStatements = 3;

  void start_postgres() {
    files_.give_to("postgres");
    files_.write("script.sql", "BEGIN;\nSELECT 1;\nEND;\n");
    const std::string data = files_.path() + "/data";
    Program initdb(asker_,
                   {find_program("initdb"), "-D", data, "-A", "trust", "-U", "test", "--no-sync",
                    "--locale=C", "--no-instructions"},
                   "postgres");
    initdb.finish();
    postgres_ = std::make_unique<Program>(
        server_,
        std::vector<std::string>{find_program("postgres"), "-D", data, "-p", std::to_string(port_),
                                 "-c", "listen_addresses=127.0.0.1", "-c",
                                 "unix_socket_directories=", "-c", "fsync=off", "-c",
                                 "log_line_prefix="},
        "postgres");
    postgres_->wait_for_line("LOG:  database system is ready to accept connections");
  }

  // At once, whoever is connected; its files must not change any more when they are removed.
  void TearDown() override {
    if (postgres_) postgres_->stop(SIGINT);
    RealServer::TearDown();
  }

  std::string run_pgbench(const std::string& protocol) {
    const std::string where =
        fmt::format("host={} port={} user=test dbname=postgres sslmode=disable gssencmode=disable",
                    kLoopback, port_);
    Program pgbench(
        client_, {find_program("pgbench"), "-n", "-M", protocol, "-c", std::to_string(kClients),
                  "-t", std::to_string(kTransactions), "-f", files_.path() + "/script.sql", where});
    return pgbench.finish();
  }

  const uint16_t port_ = free_port();
  std::unique_ptr<Program> postgres_;
};

// Each statement is an exchange, in either protocol, and so is the login of each connection: the
// clients' and the one on which pgbench looks whether the server is there. Where answers are read a
// login is known, and is no request. The message with which
// a client says goodbye has no answer, and where answers are read it is known to be one: the
// server, which ends the connection at that message, may be quicker than its client.
bool is_attached(slogate_probe probe) {
  return !hooks_of(kProbes[probe], features_of(Mode::Locked)).empty();
}

void expect_statements(const TestCgroup& server, const TestCgroup& client, uint64_t statements,
                       uint64_t connections) {
  for (const Mode mode : modes()) {
    SCOPED_TRACE(testing::PrintToString(mode));
    const Counts of_server = shared_kernel(mode).counts(server.id()),
                 of_client = shared_kernel(mode).counts(client.id());
    const uint64_t logins = mode == Mode::Length ? connections : 0;
    EXPECT_EQ(samples(of_server, SLOGATE_SIGNAL_request), statements + logins);
    EXPECT_EQ(samples(of_server, SLOGATE_SIGNAL_queue), statements + logins + connections)
        << "goodbyes are read, too";
    EXPECT_EQ(samples(of_client, SLOGATE_SIGNAL_client_request),
              statements + (is_attached(SLOGATE_PROBE_answer_arrived) ? 0 : connections));
  }
}

TEST_F(Postgres, CountsOneRequestForEachStatement) {
  if (!have({"postgres", "initdb", "pgbench"})) GTEST_SKIP() << "PostgreSQL is not installed";
  start_postgres();
  uint64_t statements = 0, connections = 0;
  for (const char* protocol : {"simple", "extended"}) {
    SCOPED_TRACE(protocol);
    const std::string report = run_pgbench(protocol);
    EXPECT_EQ(number_after(report, "actually processed: "), kClients * kTransactions) << report;
    connections += kClients + 1;
    statements += kClients * kTransactions * kStatements;
    const uint64_t n = statements + connections;
    const bool known_to_server = is_attached(SLOGATE_PROBE_send_locked);
    const bool known_to_client = known_to_server && is_attached(SLOGATE_PROBE_answer_arrived);
    const auto gone = [&] { return counter(server_counts(), SLOGATE_COUNTER_client_gone); };
    EXPECT_TRUE(eventually([&] {
      return gone() + unanswered(server_counts()) == (known_to_server ? 0 : connections);
    }));
    if (known_to_server) {
      EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_server_postgresql_success), n);
    }
    if (known_to_client) {
      EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_client_postgresql_success), n);
    }
    expect_statements(server_, client_, statements, connections);
    EXPECT_EQ(counter(server_counts(), SLOGATE_COUNTER_connections_server), connections);
    EXPECT_EQ(counter(client_counts(), SLOGATE_COUNTER_unanswered_client),
              known_to_client ? 0 : connections);
    EXPECT_EQ(errors(server_counts()) + errors(client_counts()), 0u);
  }
}

}  // namespace
}  // namespace slogate
