// SPDX-License-Identifier: Apache-2.0
// The owner of the BPF maps: makes or takes them up, and is the only one to read them.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "maps/counts.h"
#include "maps/error.h"
#include "maps/fd.h"
#include "maps/index.h"
#include "maps/map_status.h"
#include "maps/pins.h"
#include "maps/sizing.h"
#include "maps/slab.h"

namespace slogate {

// How the maps came to be.
enum class Origin {
  made,     // new, all zero
  adopted,  // another agent's of this layout: counting never stopped
  folded,   // another layout's: what it had counted is in the totals
};

// Rules for sockets of servers, no two with the same key.
using ClassRules = std::vector<std::pair<slogate_class_key, slogate_class_rule>>;

// All maps of the agent. What exists is whole: open() gives maps that are ready for the programs.
class Maps {
 public:
  // `pins`: where they outlive the agent, null for nowhere; must outlive the Maps. Needs CAP_BPF.
  static Result<Maps> open(const PinDir* pins = nullptr);

  [[nodiscard]] Origin origin() const;
  // The descriptor of a map by its name, -1 when there is none of that name.
  [[nodiscard]] int fd(std::string_view name) const;
  // That of the hash from owner to slot, which a resize replaces.
  [[nodiscard]] int index_fd() const;

  // ---- slots; see Slab ----
  [[nodiscard]] size_t slots() const { return slab().slots(); }
  [[nodiscard]] size_t used_slots() const { return slab().used(); }
  // Those that programs are told of.
  [[nodiscard]] size_t free_slots() const { return slab().listed(); }
  [[nodiscard]] Owner owner(size_t slot) const { return slab().owner(slot); }
  uint64_t take_dirty(size_t slot) { return slab().take_dirty(slot); }
  [[nodiscard]] uint64_t dirty(size_t slot) const { return slab().dirty(slot); }
  void copy(size_t slot, Counts& to, uint64_t marks = SLOGATE_DIRTY_ALL) const {
    slab().copy(slot, to, marks);
  }
  [[nodiscard]] Counts totals() const;
  [[nodiscard]] Counts unattributed() const;
  // Takes their slots away from owners; see Slab::release().
  Result<void> release(std::span<const Leaver> leavers) { return slab().release(leavers); }

  // ---- size ----
  // From now on nothing here waits for programs that are running (see KernelWait): resize(),
  // resize_index() and release() begin what the kernel then takes its time for, and the next call
  // of resize() or go_on() finishes it. Growing takes effect at once all the same.
  void wait_on_threads();
  // Finishes what the kernel is done with.
  Result<void> go_on(std::chrono::system_clock::time_point now);
  // Whether nothing of this is under way.
  [[nodiscard]] bool is_settled() const;
  // Lists free slots and brings slab and index to `capacity` slots: more at once, less as far as
  // the last chunks are free. What is done is remembered with its reason.
  Result<void> resize(size_t capacity, std::string_view reason,
                      std::chrono::system_clock::time_point now);
  // The index alone, by hand; at least what the owners need.
  Result<void> resize_index(size_t entries, std::string_view reason,
                            std::chrono::system_clock::time_point now);
  // The latest changes, oldest first.
  [[nodiscard]] const std::deque<Resize>& resizes() const;

  // Pins again what somebody removed from the pin directory.
  Result<void> keep_pins();

  // ---- programs ----
  // Of which epoch the programs are that were activated last, 0 for none; see struct
  // slogate_control.
  [[nodiscard]] uint32_t programs_epoch() const;
  // From this moment on those of `epoch` count, and are described by `hash`.
  Result<void> activate(uint32_t epoch, uint64_t hash);
  // Hash of the programs that were activated last, 0 for none.
  [[nodiscard]] uint64_t programs_hash() const;
  // Tells the programs that an agent is here; without one for an hour they fall silent.
  void beat();

  // ---- the rest ----
  [[nodiscard]] uint64_t lost(slogate_site site) const;
  // Cgroups whose samples found no slot, with how many there were.
  [[nodiscard]] std::vector<std::pair<uint64_t, uint64_t>> left_out() const;
  [[nodiscard]] slogate_runs runs() const;  // summed over the lines
  // Leaves out runs of these programs (a bit for each, by slogate_probe), and connections whose
  // hash has one of these bits; 0 for nothing. Both change with one store.
  void spare(uint32_t programs, uint32_t hash_bits);
  // Whether the inventory reports every socket or only those with an open request.
  void list_sockets(bool all);
  // Replaces the rules that give a server socket its class; at most SLOGATE_CLASS_RULES.
  Result<void> set_class_rules(const ClassRules& rules);
  // Replaces the node's own addresses; at most SLOGATE_NODE_ADDRESSES are kept.
  Result<void> set_node_addresses(const std::vector<slogate_address>& addresses);
  // The network namespace that these addresses are of, by its cookie (SO_NETNS_COOKIE): loopback is
  // the node's only there.
  void set_node_netns(uint64_t cookie);
  // `sockets`: how many sockets are remembered, which only an iterator can tell.
  [[nodiscard]] std::vector<MapStatus> status(uint64_t sockets) const;

 private:
  // At a fixed address: slab and index refer to each other and to the shared memory.
  struct Parts;
  struct PartsDeleter {
    void operator()(Parts* parts) const;
  };
  explicit Maps(std::unique_ptr<Parts, PartsDeleter> parts) : parts_(std::move(parts)) {}
  [[nodiscard]] Slab& slab() const;
  void note_resizes(std::chrono::system_clock::time_point now);
  Result<void> grow(size_t capacity, std::string_view reason,
                    std::chrono::system_clock::time_point now);
  Result<void> shrink(size_t capacity, std::string_view reason,
                      std::chrono::system_clock::time_point now);

  std::unique_ptr<Parts, PartsDeleter> parts_;
};

}  // namespace slogate
