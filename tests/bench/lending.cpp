// SPDX-License-Identifier: Apache-2.0
// What lending costs a lender: bench_lending ASKERS SLOS SECONDS. The lender is a process of its
// own, so that its CPU time is what the kernel says; its readings are those of a service with 1,000
// requests a second. Prints one object of JSON.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "agent/peers/peers.h"
#include "tests/unit/peers/support.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

std::vector<LentQuestion> questions(size_t slos) {
  std::vector<LentQuestion> all;
  for (size_t i = 0; i < slos; ++i) all.push_back(question(fmt::format("slo-{}", i)));
  return all;
}

std::unique_ptr<Peers> start(std::optional<ListenAddress> listen, const std::string& key_file) {
  auto peers = Peers::make(
      {.listen = std::move(listen), .security = {.tls = std::nullopt, .key_file = key_file}});
  if (!peers) {
    fmt::print(stderr, "{}\n", peers.error().line());
    std::exit(1);
  }
  (*peers)->start();
  return std::move(*peers);
}

// Writes its port, and lends until it is ended.
void lend(size_t slos, const std::string& key_file, int port_to) {
  const auto peers = start(ListenAddress{.host = "127.0.0.1", .port = 0}, key_file);
  const uint16_t port = peers->port();
  if (::write(port_to, &port, sizeof port) != sizeof port) std::exit(1);
  const auto all = questions(slos);
  for (uint64_t number = 1;; ++number) {
    Lendable lendable;
    for (const LentQuestion& one : all) lendable.readings.emplace_back(one, busy_reading(number));
    peers->lend(std::move(lendable));
    std::this_thread::sleep_for(250ms);
  }
}

// Of the thread of that name, in seconds; what hands it readings is not lending's cost.
double cpu_of_thread(pid_t process, const std::string& name) {
  for (const auto& task :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", process))) {
    std::string line;
    std::ifstream comm(task.path() / "comm");
    if (!std::getline(comm, line) || line != name) continue;
    double ns = 0;  // on a CPU, the first figure
    std::ifstream(task.path() / "schedstat") >> ns;
    return ns / 1e9;
  }
  return 0;
}

// Of all askers together: bytes of both directions, and the readings that came since the last call.
struct Received {
  uint64_t in = 0, out = 0, readings = 0;
};
Received look(std::vector<std::unique_ptr<Peers>>& askers) {
  Received sum;
  for (auto& asker : askers) {
    sum.in += asker->status()->bytes_in;
    sum.out += asker->status()->bytes_out;
    for (const Lent& one : asker->take()) sum.readings += one.answer.readings.size();
  }
  return sum;
}

int run(size_t askers, size_t slos, int seconds) {
  std::string directory = "/tmp/slogate-lending-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) return 1;
  const std::string key_file = directory + "/key";
  std::ofstream(key_file) << std::string(64, 'a');
  int pipe[2];
  if (::pipe(pipe) != 0) return 1;
  const pid_t lender = ::fork();
  if (lender == 0) lend(slos, key_file, pipe[1]);
  uint16_t port = 0;
  if (::read(pipe[0], &port, sizeof port) != sizeof port) return 1;

  const std::string address = fmt::format("127.0.0.1:{}", port);
  std::vector<std::unique_ptr<Peers>> all;
  for (size_t i = 0; i < askers; ++i) {
    all.push_back(start(std::nullopt, key_file));
    all.back()->set_peers({{.address = address, .name = address}}, 8);
    all.back()->want({.baselines = questions(slos), .rollouts = {}});
  }
  std::this_thread::sleep_for(5s);  // handshakes and history are over
  const Received before = look(all);
  uint64_t readings = 0;
  const double cpu_before = cpu_of_thread(lender, "peers");
  for (int i = 0; i < seconds; ++i) {
    std::this_thread::sleep_for(1s);
    readings += look(all).readings;
  }
  const double cpu = cpu_of_thread(lender, "peers") - cpu_before;
  const Received after = look(all);
  ::kill(lender, SIGKILL);
  ::waitpid(lender, nullptr, 0);
  ::unlink(key_file.c_str());
  ::rmdir(directory.c_str());
  if (readings == 0) return 1;  // nothing was lent
  const double pairs = static_cast<double>(askers) * seconds;
  fmt::print(
      "{{\"askers\": {}, \"slos\": {}, \"seconds\": {}, \"lender_cpu_ratio\": {:.6f}, "
      "\"readings_a_second\": {:.1f}, \"bytes_a_second_to_asker\": {:.0f}, "
      "\"bytes_a_second_to_lender\": {:.0f}}}\n",
      askers, slos, seconds, cpu / seconds, static_cast<double>(readings) / seconds,
      static_cast<double>(after.in - before.in) / pairs,
      static_cast<double>(after.out - before.out) / pairs);
  return 0;
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  if (argc != 4) return 64;
  return slogate::run(std::strtoul(argv[1], nullptr, 10), std::strtoul(argv[2], nullptr, 10),
                      std::atoi(argv[3]));
}
