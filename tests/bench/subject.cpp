// SPDX-License-Identifier: Apache-2.0
// bench_subject NAME: attaches one set of programs and stays until it is told to end, so that a
// benchmark can look at them from outside. Says "ready" when they are attached.
//   empty    programs that do nothing, on the hooks of a request
//   hash     the pattern of hashes that most exporters use
//   slogate  the agent's programs, read once a second as the agent does
//   slogate-request  the same without the signal queue
//   slogate-answers  the agent's programs, and all answers are read
//   stats    nothing; the kernel keeps run-time statistics of all programs while it lives
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string_view>
#include <thread>

#include "agent/measure/probes.h"
#include "maps/bpf_map.h"
#include "tests/bench/empty.skel.h"
#include "tests/bench/hash.skel.h"

namespace slogate {
namespace {

Result<void> ready() {
  fmt::print("ready\n");
  std::fflush(stdout);
  return {};
}

[[noreturn]] void stay() {
  for (;;) pause();
}

// Loads and attaches the programs of an object whose tracepoints this kernel has.
Result<void> attach_all(bpf_object* object, const KernelFeatures& features) {
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) {
    const std::string_view section = bpf_program__section_name(program);
    const std::string_view tracepoint = section.substr(section.find('/') + 1);
    bpf_program__set_autoload(program, features.tracepoints.contains(tracepoint));
  }
  if (const int error = bpf_object__load(object); error != 0)
    return fail(bpf_error("cannot load the programs", error));
  bpf_object__for_each_program(program, object) {
    if (bpf_program__autoload(program) && bpf_program__attach(program) == nullptr)
      return fail(
          bpf_error(fmt::format("cannot attach {}", bpf_program__section_name(program)), errno));
  }
  return ready();
}

// The links go with the process.
template <typename Skeleton>
Result<void> run_alternative(Skeleton* skeleton) {
  if (skeleton == nullptr) return fail(bpf_error("cannot read the object", errno));
  auto features = read_kernel_features();
  if (!features) return fail(features.error());
  if (auto done = attach_all(skeleton->obj, *features); !done) return done;
  stay();
}

// What the agent does to the maps in each tick.
Result<void> tick(Maps& maps, const Probes& probes, std::vector<Counts>& read, uint64_t number) {
  const auto now = std::chrono::system_clock::now();
  if (auto done = maps.resizer().resize(maps.slab().slots(), "", now); !done) return done;
  if (auto open = probes.take_inventory(SLOGATE_WALK_news); !open) return fail(open.error());
  if (number % SLOGATE_QUIET_VISITS == 0)
    if (auto done = probes.take_inventory(SLOGATE_WALK_quiet); !done) return fail(done.error());
  read.resize(maps.slab().slots());
  for (size_t slot = 0; slot < maps.slab().slots(); ++slot)
    if (const uint64_t marks = maps.slab().take_dirty(slot))
      maps.slab().copy(slot, read[slot], marks);
  return {};
}

Result<void> run_slogate(bool queue, bool answers) {
  auto features = read_kernel_features();
  if (!features) return fail(features.error());
  if (!queue) features->tracepoints.erase("tcp_rcv_space_adjust");
  auto maps = Maps::open();
  if (!maps) return fail(maps.error());
  auto probes = Probes::attach(*maps, *features);
  if (!probes) return fail(probes.error());
  maps->control().read_answers(answers);
  if (auto done = ready(); !done) return done;
  std::vector<Counts> read;
  for (uint64_t number = 0;; ++number) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    if (auto done = tick(*maps, *probes, read, number); !done) return done;
  }
}

Result<void> run_stats() {
  const Fd stats(bpf_enable_stats(BPF_STATS_RUN_TIME));
  if (!stats) return fail(bpf_error("cannot enable run-time statistics", errno));
  if (auto done = ready(); !done) return done;
  stay();
}

Result<void> run(std::string_view subject) {
  if (subject == "empty") return run_alternative(empty_bpf__open());
  if (subject == "hash") return run_alternative(hash_bpf__open());
  if (subject == "slogate") return run_slogate(true, false);
  if (subject == "slogate-request") return run_slogate(false, false);
  if (subject == "slogate-answers") return run_slogate(true, true);
  if (subject == "stats") return run_stats();
  return fail(fmt::format("no subject \"{}\"", subject),
              "one of empty, hash, slogate, slogate-request, slogate-answers, stats");
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  // A benchmark that is killed leaves nothing attached.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const auto done = slogate::run(argc == 2 ? argv[1] : "");
  fmt::print(stderr, "bench_subject: {}\n", done.error().line());
  return 1;
}
