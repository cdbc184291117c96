// SPDX-License-Identifier: Apache-2.0
#include "maps/control.h"

#include <ctime>

namespace slogate {

Result<Control> Control::open(int fd) {
  auto memory = SharedMemory::map(fd, sizeof(slogate_control), "slogate_control");
  if (!memory) return fail(memory.error());
  return Control(std::move(*memory));
}

uint32_t Control::programs_epoch() const {
  return __atomic_load_n(&words()->programs_epoch, __ATOMIC_ACQUIRE);
}

void Control::activate(uint32_t epoch) {
  __atomic_store_n(&words()->programs_epoch, epoch, __ATOMIC_SEQ_CST);
  beat();
  __atomic_store_n(&words()->programs_epoch, epoch, __ATOMIC_SEQ_CST);
  __atomic_store_n(&words()->epoch, epoch, __ATOMIC_SEQ_CST);
}

// Always the kernel's own clock: it is compared with bpf_ktime_get_ns.
void Control::beat() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  __atomic_store_n(&words()->heartbeat,
                   static_cast<__u64>(now.tv_sec) * 1'000'000'000 + static_cast<__u64>(now.tv_nsec),
                   __ATOMIC_RELAXED);
}

void Control::spare(uint32_t programs, uint32_t hash_bits) {
  const auto before = static_cast<uint32_t>(words()->spare >> 32);
  if ((before & ~hash_bits) != 0) {
    __atomic_store_n(&words()->unwatched, words()->unwatched | before, __ATOMIC_RELEASE);
    __atomic_store_n(&words()->rewatched, words()->rewatched + 1, __ATOMIC_RELEASE);
  }
  __atomic_store_n(&words()->spare, static_cast<__u64>(hash_bits) << 32 | programs,
                   __ATOMIC_RELEASE);
}

void Control::begin_inventory(slogate_walk walk) {
  __atomic_store_n(&words()->walks, words()->walks + 1, __ATOMIC_RELEASE);
  __atomic_store_n(&words()->walk, walk, __ATOMIC_RELEASE);
  if (!is_over_all(walk)) return;
  __atomic_store_n(&words()->http2_connections, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&words()->http2_streams, 0, __ATOMIC_RELAXED);
}

uint32_t Control::unlisted() const {
  return __atomic_load_n(&words()->unlisted, __ATOMIC_RELAXED);
}

uint64_t Control::http2_connections() const {
  return __atomic_load_n(&words()->http2_connections, __ATOMIC_RELAXED);
}

uint64_t Control::http2_streams() const {
  return __atomic_load_n(&words()->http2_streams, __ATOMIC_RELAXED);
}

void Control::read_answers(bool all) {
  __atomic_store_n(&words()->answers, all ? 1 : 0, __ATOMIC_RELEASE);
}

void Control::set_class_rules(uint32_t rules) {
  __atomic_store_n(&words()->class_rules, rules, __ATOMIC_RELEASE);
}

void Control::set_node_netns(uint64_t cookie) {
  __atomic_store_n(&words()->node_netns, cookie, __ATOMIC_RELEASE);
}

uint32_t Control::class_rules() const {
  return __atomic_load_n(&words()->class_rules, __ATOMIC_ACQUIRE);
}

uint64_t Control::lost(slogate_site site) const {
  return __atomic_load_n(&words()->lost[site], __ATOMIC_RELAXED);
}

}  // namespace slogate
