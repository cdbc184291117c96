// SPDX-License-Identifier: Apache-2.0
// Agent and programs tell each other these things by the words of struct slogate_control.
#pragma once

#include <linux/types.h>

#include <cstdint>

#include "maps/abi.h"
#include "maps/error.h"
#include "maps/shared_memory.h"

namespace slogate {

// Whether a walk goes over all sockets, or over those that have news.
[[nodiscard]] constexpr bool is_over_all(slogate_walk walk) {
  return walk == SLOGATE_WALK_all || walk == SLOGATE_WALK_list;
}

class Control {
 public:
  static Result<Control> open(int fd);

  // The epoch of the programs that were activated last, 0 for none.
  [[nodiscard]] uint32_t programs_epoch() const;
  // From this moment on the programs of `epoch` count.
  void activate(uint32_t epoch);
  // Tells the programs that an agent is here; without one for an hour they fall silent.
  void beat();
  // Leaves out runs of these programs (a bit for each, by slogate_probe), and connections whose
  // hash has one of these bits; 0 for nothing. Both change with one store. Connections that are
  // watched again are told so.
  void spare(uint32_t programs, uint32_t hash_bits);
  // Tells the inventory what it is for, and clears what it counts anew. Each says so itself: an
  // agent may have died in the middle of another one.
  void begin_inventory(slogate_walk walk);
  // How often, since the beginning, a socket could not be entered among those that have news.
  [[nodiscard]] uint32_t unlisted() const;
  // Connections of HTTP/2, and streams open on them, as the last walk over all sockets found.
  [[nodiscard]] uint64_t http2_connections() const;
  [[nodiscard]] uint64_t http2_streams() const;
  // Whether the answers of every cgroup are read, or only those of slots that say so
  // (Slab::read_answers).
  void read_answers(bool all);
  // How many class rules there are: at 0 nobody looks them up.
  void set_class_rules(uint32_t rules);
  [[nodiscard]] uint32_t class_rules() const;
  // The network namespace that the node's addresses are of, by its cookie (SO_NETNS_COOKIE):
  // loopback is the node's only there.
  void set_node_netns(uint64_t cookie);

  [[nodiscard]] uint64_t lost(slogate_site site) const;

  // For the slab, which keeps the ring of free slots and the totals' commit word there.
  [[nodiscard]] slogate_control* words() const { return memory_.as<slogate_control>(); }

 private:
  explicit Control(SharedMemory memory) : memory_(std::move(memory)) {}
  SharedMemory memory_;
};

}  // namespace slogate
