// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "maps/counts.h"
#include "maps/error.h"
#include "maps/fd.h"
#include "maps/index.h"
#include "maps/kernel_wait.h"
#include "maps/pins.h"
#include "maps/shared_memory.h"
#include "maps/sizing.h"

namespace slogate {

// Who a slot belongs to at the moment.
struct Owner {
  uint64_t cgroup = 0;  // 0: nobody
  slogate_class class_ = SLOGATE_CLASS_service;
  uint32_t generation = 0;
  uint16_t port = 0;  // the slot is for this local port alone; 0: for all that have none
  bool operator==(const Owner&) const = default;
};

// See Slab::shrink().
inline constexpr size_t kChunksAtOnce = 16;

// The slots: chunks that are added and given back while programs write to them. Slots have numbers
// that stay the same for as long as they are taken.
class Slab {
 public:
  // Takes up the pinned chunks, if there are any, and finishes what an agent that died had begun.
  // `outer_fd`, `control`, `ring`, `pins` (null for none), `waits` and `index` must outlive it.
  static Result<Slab> open(int outer_fd, slogate_control* control, uint64_t* ring,
                           const PinDir* pins, KernelWait& waits, Index& index);

  [[nodiscard]] size_t slots() const { return chunks_.size() * SLOGATE_CHUNK_SLOTS; }
  [[nodiscard]] size_t used() const;
  [[nodiscard]] Owner owner(size_t number) const;
  [[nodiscard]] size_t chunks() const { return chunks_.size(); }
  // Of one chunk, all of which are alike; there is always one.
  [[nodiscard]] int chunk_fd() const { return chunks_.front().fd.get(); }

  // Which parts of the slot changed since the last call (SLOGATE_DIRTY_*, 0 for none); clears the
  // marks. Call before copy().
  uint64_t take_dirty(size_t number);
  // The marks that the next call of it would take.
  [[nodiscard]] uint64_t dirty(size_t number) const;
  // Copies the marked parts, word by word, each as it is at that moment; every word only grows.
  void copy(size_t number, Counts& to, uint64_t marks = SLOGATE_DIRTY_ALL) const;
  // Everything of owners that lost their slot.
  [[nodiscard]] Counts totals() const;
  // The counts that found no slot.
  [[nodiscard]] Counts unattributed() const;
  // Whether the answers of the slot's owner are read where those of all are not. A new owner's are
  // not.
  void read_answers(size_t number, bool read);
  // Adds the counts of another version to the totals.
  void add_to_totals(const Counts& counts);

  // If `waits` has threads, the kernel goes on with the changes below when these return; the slab
  // must then stay where it is until all of them are finished.

  // Adds chunks up to `slots`, rounded up; nothing is copied, and no program waits. On an error
  // those chunks that could be added stay. Does nothing while chunks are being given back.
  Result<void> grow(size_t slots);
  // Gives back chunks from the end, as long as they are free and `slots` stay, and at most
  // kChunksAtOnce of them: the kernel takes tens of milliseconds for each. Does nothing while
  // anything else is under way.
  Result<void> shrink(size_t slots);
  // Pins chunks again whose pins somebody removed.
  Result<void> keep_pins() const;
  // Lists free slots for the programs to take; cheap when there is nothing to list.
  void list_free();
  // How many are listed.
  [[nodiscard]] size_t listed() const;

  // Takes the slots away from their owners: what they counted goes to the totals, and not one
  // event is lost or counted twice, whatever programs do meanwhile and wherever the agent dies. An
  // heir gets the slot for its class `service`, unless it has one by then.
  // Does nothing while others are being taken away or the index is being replaced: they will be
  // asked for again.
  Result<void> release(std::span<const Leaver> leavers);

 private:
  struct Chunk {
    Fd fd;
    SharedMemory memory;
  };

  Slab(int outer_fd, slogate_control* control, uint64_t* ring, const PinDir* pins,
       KernelWait& waits, Index& index)
      : outer_fd_(outer_fd),
        control_(control),
        ring_(ring),
        pins_(pins),
        waits_(&waits),
        index_(&index) {}
  [[nodiscard]] slogate_slot& slot(size_t number) const;
  static Result<Chunk> make_chunk();
  Result<void> add_chunks(size_t number);
  Result<void> adopt_chunk(size_t number);
  Result<void> publish_new();
  void wait_until_visible();
  [[nodiscard]] bool is_visible(size_t chunk) const;
  void reserve_slots();
  Result<void> recover();
  bool retire(size_t chunk);
  void unretire(size_t chunk);
  Result<void> finish_shrink(size_t chunks, const Result<void>& deleted);
  void relist();
  Result<void> finish_release(const std::vector<Leaver>& leavers, const Result<void>& waited);
  void begin_release(size_t number);
  void fold(size_t number);
  void empty(size_t number, uint64_t heir = 0);

  int outer_fd_;
  slogate_control* control_;
  uint64_t* ring_;
  const PinDir* pins_;
  KernelWait* waits_;
  Index* index_;
  std::vector<Chunk> chunks_;
  size_t published_ = 0;  // chunks that were handed to the kernel, or are being so
  size_t visible_ = 0;    // of these, chunks that programs are known to find
  bool shrinking_ = false, releasing_ = false;
  // For each slot, where in the ring it was listed last.
  std::vector<std::optional<uint32_t>> listed_at_;
};

}  // namespace slogate
