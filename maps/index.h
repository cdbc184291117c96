// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/types.h>

#include <cstddef>
#include <optional>

#include "maps/abi.h"
#include "maps/error.h"
#include "maps/fd.h"
#include "maps/kernel_wait.h"
#include "maps/pins.h"

namespace slogate {

// The hash from owner to slot. It is the one element of a map of maps, so that a larger or smaller
// one takes its place in one store.
class Index {
 public:
  // Takes up the pinned one, if there is one, else makes one of `entries`. `outer_fd`, `pins`
  // (null for none) and `waits` must outlive it.
  static Result<Index> open(int outer_fd, const PinDir* pins, KernelWait& waits, size_t entries);

  [[nodiscard]] int fd() const { return inner_.get(); }
  [[nodiscard]] size_t capacity() const { return capacity_; }

  // The programs go on using the old hash until the one store that replaces it, and none uses it
  // any more when the kernel returns from that. Owners that were entered in between are then
  // carried over; one that got a second slot meanwhile keeps both, which add up. Does nothing while
  // another resize is under way. The index must stay where it is until it is finished.
  Result<void> resize(size_t entries);

  // Whether it is being replaced: nothing may be erased then, as it would have to go from both.
  [[nodiscard]] bool is_resizing() const { return resizing_; }

  // Pins it again, if somebody removed its pin.
  Result<void> keep_pin() const;

  // Enters an owner, unless it is entered already or there is no room: then false. Not while the
  // index is being replaced.
  bool insert(const slogate_key& key, const slogate_ref& ref);
  // Forgets an owner, if it is entered with this slot.
  void erase(const slogate_key& key, size_t slot);

 private:
  Index(int outer_fd, const PinDir* pins, KernelWait& waits)
      : outer_fd_(outer_fd), pins_(pins), waits_(&waits) {}
  Result<void> adopt();
  Result<void> finish_resize(Fd next, size_t entries, const Result<void>& published);

  int outer_fd_;
  const PinDir* pins_;
  KernelWait* waits_;
  Fd inner_;
  size_t capacity_ = 0;
  bool resizing_ = false;
};

}  // namespace slogate
