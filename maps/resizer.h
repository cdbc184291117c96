// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "maps/error.h"
#include "maps/index.h"
#include "maps/kernel_wait.h"
#include "maps/map_status.h"
#include "maps/slab.h"

namespace slogate {

// Brings slab and index to the size that is asked for, the one never without room for the other's
// owners, and remembers what changed and why.
class Resizer {
 public:
  using Time = std::chrono::system_clock::time_point;

  // All must outlive it.
  Resizer(Slab& slab, Index& index, KernelWait& waits);

  // From now on nothing here waits for programs that are running (see KernelWait): resize(),
  // resize_index() and Slab::release() begin a change that takes the kernel its time, and the next
  // call of resize() or go_on() finishes it. Growing takes effect at once all the same.
  void wait_on_threads() { waits_.use_threads(); }
  // Finishes the changes that the kernel is done with.
  Result<void> go_on(Time now);
  // Whether no change is under way.
  [[nodiscard]] bool is_settled() const { return waits_.idle(); }

  // Lists free slots and brings slab and index to `capacity` slots: more at once, less as far as
  // the last chunks are free. Remembers each change with its reason.
  Result<void> resize(size_t capacity, std::string_view reason, Time now);
  // The index alone, by hand; at least what the owners need.
  Result<void> resize_index(size_t entries, std::string_view reason, Time now);

  // The latest changes, oldest first.
  [[nodiscard]] const std::deque<Resize>& resizes() const { return resizes_; }
  [[nodiscard]] uint64_t slab_resizes() const { return slab_seen_.changes; }
  [[nodiscard]] uint64_t index_resizes() const { return index_seen_.changes; }

 private:
  // A map as the last of `resizes_` left it, and why the change that is under way was begun.
  struct Seen {
    std::string map;
    size_t size = 0;
    std::string reason = {};
    uint64_t changes = 0;
  };

  Result<void> grow(size_t capacity, std::string_view reason, Time now);
  Result<void> shrink(size_t capacity, std::string_view reason, Time now);
  void note_resizes(Time now);
  void note(Seen& seen, size_t size, Time now);

  Slab& slab_;
  Index& index_;
  KernelWait& waits_;
  Seen slab_seen_, index_seen_;
  std::deque<Resize> resizes_;
};

}  // namespace slogate
