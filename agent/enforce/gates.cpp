// SPDX-License-Identifier: Apache-2.0
#include "agent/enforce/gates.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/types.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>

#include "bpf/breaker.skel.h"
#include "maps/bpf_map.h"
#include "maps/breaker.h"

namespace slogate {
namespace {

static_assert(kMaxEnforcePorts == SLOGATE_BREAKER_PORTS);

Fd duplicate(int fd) {
  return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

slogate_breaker_rule& rule_of(const SharedMemory& memory, size_t place) {
  return memory.as<slogate_breaker>()->rules[place];
}

void set_mode(slogate_breaker_rule& rule, slogate_breaker_mode mode) {
  std::atomic_ref(rule.mode).store(mode, std::memory_order_release);
}

void set_until(slogate_breaker_rule& rule, std::chrono::nanoseconds until) {
  const auto moment = static_cast<__u64>(std::max<int64_t>(0, until.count()));
  std::atomic_ref(rule.until).store(moment, std::memory_order_relaxed);
}

BreakerCounts read_counts(const SharedMemory& memory, size_t place) {
  slogate_breaker_rule& rule = rule_of(memory, place);
  const auto read = [](__u64& word) {
    return std::atomic_ref(word).load(std::memory_order_relaxed);
  };
  return {.refused = read(rule.refused),
          .would_refuse = read(rule.would_refuse),
          .exempt = read(rule.exempt)};
}

BreakerCounts difference(const BreakerCounts& now, const BreakerCounts& before) {
  return {.refused = now.refused - before.refused,
          .would_refuse = now.would_refuse - before.would_refuse,
          .exempt = now.exempt - before.exempt};
}

slogate_exempt key_of(const Exempt& exempt) {
  slogate_exempt key{.bits = 32 + exempt.second.bits, .list = exempt.first, .address = {}};
  std::ranges::copy(exempt.second.address, key.address);
  return key;
}

}  // namespace

Result<Gates::Gate> Gates::load_one(Fd& exempt) {
  struct Close {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
  };
  size_t size = 0;
  const void* elf = breaker_bpf__elf_bytes(&size);
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "breaker_bpf");
  const std::unique_ptr<bpf_object, Close> object(bpf_object__open_mem(elf, size, &options));
  if (!object) return fail(system_error("object breaker cannot be read", errno));
  bpf_map* const shared = bpf_object__find_map_by_name(object.get(), "slogate_exempt");
  if (exempt)
    if (const int error = bpf_map__reuse_fd(shared, exempt.get()); error != 0)
      return fail(bpf_error("cannot share map slogate_exempt", error));
  if (const int error = bpf_object__load(object.get()); error != 0)
    return fail(bpf_error("cannot load the breaker", error));
  if (!exempt) exempt = duplicate(bpf_map__fd(shared));
  const int rules = bpf_object__find_map_fd_by_name(object.get(), "slogate_breaker");
  auto memory = SharedMemory::map(rules, sizeof(slogate_breaker), "slogate_breaker");
  if (!memory) return fail(memory.error());
  return Gate{.program = duplicate(
                  bpf_program__fd(bpf_object__find_program_by_name(object.get(), "refuse"))),
              .memory = std::move(*memory),
              .slos = std::vector<std::string>(SLOGATE_BREAKER_RULES),
              .before = std::vector<BreakerCounts>(SLOGATE_BREAKER_RULES)};
}

Result<Gates> Gates::load(size_t most) {
  std::vector<Gate> gates;
  gates.reserve(most);
  Fd exempt;
  while (gates.size() < most) {
    auto gate = load_one(exempt);
    if (!gate) return fail(gate.error());
    gates.push_back(std::move(*gate));
  }
  return Gates(std::move(gates), std::move(exempt));
}

const Gates::Gate* Gates::find(uint64_t number) const {
  const auto found = std::ranges::find_if(
      gates_, [number](const Gate& one) { return one.link && one.number == number; });
  return found == gates_.end() ? nullptr : &*found;
}

Gates::Gate* Gates::find_or_take(uint64_t number) {
  for (Gate& one : gates_)
    if (one.link && one.number == number) return &one;
  const auto found = std::ranges::find_if(gates_, [](const Gate& one) { return !one.link; });
  return found == gates_.end() ? nullptr : &*found;
}

Result<void> Gates::refuse(uint64_t number, int netns, const std::string& slo, const GateRule& rule,
                           std::chrono::nanoseconds until) {
  Gate* gate = find_or_take(number);
  if (gate == nullptr)
    return fail(
        fmt::format("connections are refused in {} network namespaces already, and more "
                    "at the same time are not",
                    gates_.size()));
  auto place = std::ranges::find(gate->slos, slo);
  if (place == gate->slos.end()) place = std::ranges::find(gate->slos, "");
  if (place == gate->slos.end())
    return fail(fmt::format("{} SLOs refuse connections to it already", gate->slos.size()));
  const auto at = static_cast<size_t>(place - gate->slos.begin());
  slogate_breaker_rule& to = rule_of(gate->memory, at);
  set_mode(to, SLOGATE_BREAKER_off);
  // No word of the new rule before that.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (place->empty()) gate->before[at] = read_counts(gate->memory, at);
  const size_t ports = std::min<size_t>(rule.ports.size(), SLOGATE_BREAKER_PORTS);
  const std::atomic_ref count(to.ports);
  count.store(0, std::memory_order_seq_cst);
  to.list = rule.list;
  std::copy_n(rule.ports.begin(), ports, to.port);
  count.store(ports == 0 ? SLOGATE_BREAKER_EVERY_PORT : static_cast<__u32>(ports),
              std::memory_order_release);
  set_until(to, until);
  set_mode(to, rule.dry_run ? SLOGATE_BREAKER_dry_run : SLOGATE_BREAKER_refuse);
  if (!gate->link) {
    gate->link = Fd(bpf_link_create(gate->program.get(), netns, BPF_SK_LOOKUP, nullptr));
    if (!gate->link) {
      const int error = errno;
      set_mode(to, SLOGATE_BREAKER_off);
      return fail(bpf_error("cannot attach the breaker to its network namespace", error));
    }
    gate->number = number;
  }
  *place = slo;
  return {};
}

void Gates::renew(uint64_t number, const std::string& slo, std::chrono::nanoseconds until) {
  const Gate* gate = find(number);
  if (gate == nullptr) return;
  const auto place = std::ranges::find(gate->slos, slo);
  if (place != gate->slos.end())
    set_until(rule_of(gate->memory, static_cast<size_t>(place - gate->slos.begin())), until);
}

BreakerCounts Gates::counts(uint64_t number, const std::string& slo) const {
  const Gate* gate = find(number);
  if (gate == nullptr) return {};
  const auto place = std::ranges::find(gate->slos, slo);
  if (place == gate->slos.end()) return {};
  const auto at = static_cast<size_t>(place - gate->slos.begin());
  return difference(read_counts(gate->memory, at), gate->before[at]);
}

BreakerCounts Gates::stop(uint64_t number, const std::string& slo) {
  const BreakerCounts counted = counts(number, slo);
  for (Gate& gate : gates_) {
    if (!gate.link || gate.number != number) continue;
    const auto place = std::ranges::find(gate.slos, slo);
    if (place == gate.slos.end()) break;
    set_mode(rule_of(gate.memory, static_cast<size_t>(place - gate.slos.begin())),
             SLOGATE_BREAKER_off);
    place->clear();
    const bool used =
        std::ranges::any_of(gate.slos, [](const std::string& one) { return !one.empty(); });
    if (!used) gate.link.reset();
  }
  return counted;
}

Result<void> Gates::set_exempt(const std::set<Exempt>& exempt) {
  const int map = exempt_map_.get();
  for (auto one = exempt_.begin(); one != exempt_.end();) {
    const slogate_exempt key = key_of(*one);
    if (!exempt.contains(*one)) bpf_map_delete_elem(map, &key);
    one = exempt.contains(*one) ? std::next(one) : exempt_.erase(one);
  }
  constexpr __u32 present = 1;
  for (const Exempt& one : exempt) {
    if (exempt_.contains(one)) continue;
    const slogate_exempt key = key_of(one);
    if (bpf_map_update_elem(map, &key, &present, BPF_ANY) != 0)
      return fail(bpf_error("addresses cannot be exempt from being refused", errno));
    exempt_.insert(one);
  }
  return {};
}

}  // namespace slogate
