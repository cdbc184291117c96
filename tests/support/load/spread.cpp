// SPDX-License-Identifier: Apache-2.0
// slogate-load spread: many cgroups, each with a connection that asks now and then.
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "tests/support/cgroup.h"
#include "tests/support/load/command.h"
#include "tests/support/net.h"

namespace slogate::support {
namespace {

using namespace std::chrono_literals;

struct SpreadSetup {
  std::string host = "127.0.0.1", parent;
  uint16_t port = 0;
  unsigned cgroups = 1000;
  double rate = 1;
};

struct SpreadFacts {
  uint64_t answered = 0, failed = 0;
};

// A word that a child can leave its parent: a descriptor, or an error below 0.
class Note {
 public:
  Note()
      : memory_(::mmap(nullptr, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                       0)) {}
  Note(const Note&) = delete;
  Note& operator=(const Note&) = delete;
  ~Note() { ::munmap(memory_, sizeof(int)); }
  int& operator*() const { return *static_cast<int*>(memory_); }

 private:
  void* memory_;
};

// A connection that belongs to the cgroup, made by a child that shares our descriptors.
Result<Fd> connect_from(const std::string& cgroup, const Address& address, const Note& note,
                        const Flag& stop) {
  *note = -ECANCELED;
  const auto pid = fork_into(cgroup, CLONE_FILES);
  if (!pid) return fail(pid.error());
  if (*pid == 0) {
    const Connected connected = connect_to(address, 10s, 0, stop);
    *note = connected.fd ? connected.fd.get() : -(connected.gave_up ? ETIMEDOUT : connected.error);
    _exit(0);  // which leaves the descriptor open
  }
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (*note < 0) return fail(system_error("no connection from " + cgroup, -*note));
  return Fd(*note);
}

Result<std::vector<Fd>> connect_all(const SpreadSetup& setup, const Address& address,
                                    std::vector<std::string>& made, const Flag& stop) {
  const Note note;
  std::vector<Fd> connections;
  for (unsigned i = 0; i < setup.cgroups && !stop.raised(); ++i) {
    const std::string path = fmt::format("{}/c{}", setup.parent, i);
    if (::mkdir(path.c_str(), 0755) != 0) return fail(system_error("cannot make " + path, errno));
    made.push_back(path);
    auto connection = connect_from(path, address, note, stop);
    if (!connection) return fail(connection.error());
    connections.push_back(std::move(*connection));
  }
  return connections;
}

void ask_in_turns(const SpreadSetup& setup, const std::vector<Fd>& connections, const Flag& stop,
                  SpreadFacts& facts) {
  const Nanoseconds gap(
      static_cast<int64_t>(1e9 / setup.rate / static_cast<double>(connections.size())));
  auto next = Clock::now();
  while (!stop.raised())
    for (const Fd& connection : connections) {
      if (stop.raised()) return;
      ++(ask_once(connection.get(), 1) ? facts.answered : facts.failed);
      next += gap;
      std::this_thread::sleep_until(next);
    }
}

Result<void> spread(const SpreadSetup& setup, Run& run) {
  const auto address = parse_address(setup.host, setup.port);
  if (!address) return fail(address.error());
  SpreadFacts facts;
  Result<void> outcome;
  std::vector<std::string> made;
  std::jthread work([&] {
    const auto connections = connect_all(setup, *address, made, run.stop);
    if (connections) {
      Run::say("ready");
      ask_in_turns(setup, *connections, run.stop, facts);
    } else {
      outcome = fail(connections.error());
    }
    run.stop.raise();
  });
  const Ended ended = run.wait();
  work.join();
  for (const std::string& path : made) ::rmdir(path.c_str());
  if (!outcome) return outcome;
  run.report("spread", ended, {{"answered", facts.answered}, {"failed", facts.failed}});
  return {};
}

}  // namespace

void add_spread(CLI::App& app, Command& chosen) {
  auto setup = std::make_shared<SpreadSetup>();
  CLI::App* command = app.add_subcommand(
      "spread", "make cgroups and send requests to a `serve` from each, over one connection each");
  command->add_option("--host", setup->host)->capture_default_str();
  command->add_option("--port", setup->port)->required()->check(CLI::Range(1, 65535));
  command->add_option("--parent", setup->parent, "directory of the cgroup to make them in")
      ->required()
      ->check(CLI::ExistingDirectory);
  command->add_option("--cgroups", setup->cgroups)
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_option("--rate", setup->rate, "requests per second of each")
      ->check(CLI::Range(0.01, 1e4))
      ->capture_default_str();
  command->callback(
      [setup, &chosen] { chosen = [setup](Run& run) { return spread(*setup, run); }; });
}

}  // namespace slogate::support
