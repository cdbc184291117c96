// SPDX-License-Identifier: Apache-2.0
// The owner of the BPF maps: creates them, grows them, and is the only one to read them.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "maps/counts.h"
#include "maps/error.h"
#include "maps/fd.h"
#include "maps/map_status.h"

struct maps_bpf;

namespace slogate {

// How large the maps may become. Sizes are in slots.
struct MapLimits {
  size_t headroom = 128;               // free slots to keep ready for new cgroups
  size_t ceiling = SLOGATE_MAX_SLOTS;  // never more than this
};

// The ceiling in slots that `memory_ratio` of the node's `ram_bytes` pays for, at least one chunk.
[[nodiscard]] size_t ceiling_slots(double memory_ratio, uint64_t ram_bytes);

// One chunk of slots: an inner map of the slab and its memory.
class Chunk {
 public:
  static Result<Chunk> create();
  Chunk(Chunk&& other) noexcept;
  Chunk& operator=(Chunk&&) = delete;
  ~Chunk();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] slogate_slot& slot(size_t place) const { return slots_[place]; }

 private:
  Chunk(Fd fd, slogate_slot* slots) : fd_(std::move(fd)), slots_(slots) {}
  Fd fd_;
  slogate_slot* slots_ = nullptr;
};

// Who a slot belongs to at the moment.
struct Owner {
  uint64_t cgroup = 0;  // 0: nobody
  slogate_class class_ = SLOGATE_CLASS_service;
  uint32_t generation = 0;
};

// All maps of the agent. Nothing half-built exists: create() gives maps that are ready for the
// programs, with the headroom filled.
class Maps {
 public:
  // Needs CAP_BPF; says so when it is missing.
  static Result<Maps> create(const MapLimits& limits);
  Maps(Maps&&) noexcept;
  Maps& operator=(Maps&&) = delete;
  ~Maps();

  // The descriptor of a map by its name, -1 when there is none of that name.
  [[nodiscard]] int fd(std::string_view name) const;

  // ---- slots ----
  [[nodiscard]] size_t slots() const { return chunks_.size() * SLOGATE_CHUNK_SLOTS; }
  [[nodiscard]] size_t used_slots() const;
  [[nodiscard]] Owner owner(size_t slot) const;
  // Whether the slot changed since the last call; clears the mark. Call before copy().
  bool take_dirty(size_t slot);
  // Word by word, each as it is at that moment; every word only grows.
  void copy(size_t slot, Counts& to) const;

  // Adds chunks until `headroom` slots are free or the ceiling is reached, and gives the index room
  // for them. Nothing is copied that the programs write to, nothing is missed while it happens.
  // An error (no memory) leaves everything as it was before the last chunk.
  Result<void> keep_headroom();

  // ---- the rest ----
  [[nodiscard]] uint64_t lost(slogate_site site) const;
  [[nodiscard]] slogate_runs runs() const;  // summed over the lines
  // Replaces the rules that give a server socket its class; at most SLOGATE_CLASS_RULES.
  Result<void> set_class_rules(
      const std::vector<std::pair<slogate_class_key, slogate_class>>& rules);
  // Replaces the node's own addresses.
  Result<void> set_node_addresses(const std::vector<slogate_address>& addresses);
  // `sockets`: how many sockets are remembered, which only an iterator can tell.
  [[nodiscard]] std::vector<MapStatus> status(uint64_t sockets) const;

 private:
  Maps(maps_bpf* skeleton, const MapLimits& limits);
  Result<void> map_shared();
  Result<void> add_chunk();
  Result<void> grow_index(size_t entries);
  [[nodiscard]] slogate_slot& slot(size_t number) const;
  void list_free_slots();

  maps_bpf* skeleton_ = nullptr;
  MapLimits limits_;
  std::vector<Chunk> chunks_;
  Fd index_;
  size_t index_entries_ = 0;
  // For each slot, where in the ring of free slots it was listed last.
  std::vector<std::optional<uint32_t>> listed_at_;
  uint64_t* free_ = nullptr;  // the ring
  uint64_t slab_resizes_ = 0, index_resizes_ = 0;
  slogate_control* control_ = nullptr;
  slogate_runs* runs_ = nullptr;
};

}  // namespace slogate
