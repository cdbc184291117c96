// SPDX-License-Identifier: Apache-2.0
// slogate-load churn: cgroups that come, use a connection and go.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <thread>

#include "tests/support/cgroup.h"
#include "tests/support/load/command.h"
#include "tests/support/net.h"

namespace slogate::support {
namespace {

using namespace std::chrono_literals;

struct ChurnSetup {
  std::string host = "127.0.0.1", parent;
  uint16_t port = 0;
  unsigned cgroups = 1000, rounds = 1, requests = 1, alive = 50;
  double rate = 0;
};

struct ChurnFacts {
  uint64_t made = 0, answered = 0, failed = 0;
};

// How many requests of one connection were answered.
unsigned ask(const Address& address, unsigned requests, const Flag& stop) {
  const Connected connected = connect_to(address, 10s, 0, stop);
  for (unsigned i = 0; i < requests; ++i)
    if (!ask_once(connected.fd.get(), i)) return i;
  return requests;
}

// Runs ask() in a process of the cgroup.
Result<unsigned> ask_from(const std::string& cgroup, const Address& address, unsigned requests,
                          const Flag& stop) {
  const auto pid = fork_into(cgroup);
  if (!pid) return fail(pid.error());
  if (*pid == 0) _exit(static_cast<int>(ask(address, requests, stop)));
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? static_cast<unsigned>(WEXITSTATUS(status)) : 0;
}

// One round: each cgroup stays for as long as `alive` others come after it.
Result<void> churn_round(const ChurnSetup& setup, const Address& address, Run& run,
                         ChurnFacts& facts) {
  std::deque<std::string> alive;
  Result<void> outcome;
  const auto remove_oldest = [&alive] {
    ::rmdir(alive.front().c_str());
    alive.pop_front();
  };
  auto next = Clock::now();
  for (unsigned i = 0; i < setup.cgroups && outcome && !run.stop.raised(); ++i) {
    const std::string path = fmt::format("{}/c{}", setup.parent, facts.made);
    if (::mkdir(path.c_str(), 0755) != 0) {
      outcome = fail(system_error("cannot make " + path, errno));
      break;
    }
    alive.push_back(path);
    ++facts.made;
    if (const auto answered = ask_from(path, address, setup.requests, run.stop); answered) {
      facts.answered += *answered;
      facts.failed += setup.requests - *answered;
    } else {
      outcome = fail(answered.error());
    }
    if (alive.size() > setup.alive) remove_oldest();
    if (setup.rate > 0) {
      next += Nanoseconds(static_cast<int64_t>(1e9 / setup.rate));
      std::this_thread::sleep_until(next);
    }
  }
  while (!alive.empty()) remove_oldest();
  return outcome;
}

Result<void> churn(const ChurnSetup& setup, Run& run) {
  const auto address = parse_address(setup.host, setup.port);
  if (!address) return fail(address.error());
  ChurnFacts facts;
  Result<void> outcome;
  std::jthread work([&] {
    for (unsigned i = 0; i < setup.rounds && outcome && !run.stop.raised(); ++i)
      outcome = churn_round(setup, *address, run, facts);
    run.stop.raise();
  });
  const Ended ended = run.wait();
  work.join();
  if (!outcome) return outcome;
  run.report("churn", ended,
             {{"cgroups", facts.made}, {"answered", facts.answered}, {"failed", facts.failed}});
  return {};
}

}  // namespace

void add_churn(CLI::App& app, Command& chosen) {
  auto setup = std::make_shared<ChurnSetup>();
  CLI::App* command = app.add_subcommand(
      "churn", "make cgroups, send requests to a `serve` from each, and remove them");
  command->add_option("--host", setup->host)->capture_default_str();
  command->add_option("--port", setup->port)->required()->check(CLI::Range(1, 65535));
  command->add_option("--parent", setup->parent, "directory of the cgroup to make them in")
      ->required()
      ->check(CLI::ExistingDirectory);
  command->add_option("--cgroups", setup->cgroups, "of one round")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--rounds", setup->rounds)->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_option("--requests", setup->requests, "of each cgroup, over one connection")
      ->check(CLI::Range(1, 255))
      ->capture_default_str();
  command->add_option("--alive", setup->alive, "how many there are at once")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  command->add_option("--rate", setup->rate, "cgroups per second; 0 for as fast as they go")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->callback(
      [setup, &chosen] { chosen = [setup](Run& run) { return churn(*setup, run); }; });
}

}  // namespace slogate::support
