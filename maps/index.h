// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/types.h>

#include <cstddef>
#include <optional>

#include "maps/abi.h"
#include "maps/error.h"
#include "maps/fd.h"
#include "maps/pins.h"

namespace slogate {

// The hash from owner to slot. It is the one element of a map of maps, so that a larger or smaller
// one takes its place in one store.
class Index {
 public:
  // Takes up the pinned one, if there is one, else makes one of `entries`. `outer_fd` and `pins`
  // (null for none) must outlive it.
  static Result<Index> open(int outer_fd, const PinDir* pins, size_t entries);

  [[nodiscard]] int fd() const { return inner_.get(); }
  [[nodiscard]] size_t capacity() const { return capacity_; }

  // The programs go on using the old hash until the one store that replaces it, and none uses it
  // any more when this returns. Owners that were entered in between are carried over; one that got
  // a second slot meanwhile keeps both, which add up.
  Result<void> resize(size_t entries);

  // Forgets an owner, if it is entered with this slot.
  void erase(const slogate_key& key, size_t slot);

  // Returns when no program that is running now is still running.
  Result<void> wait_for_programs() const;

 private:
  Index(int outer_fd, const PinDir* pins) : outer_fd_(outer_fd), pins_(pins) {}
  Result<void> adopt();
  Result<void> publish(int inner_fd) const;

  int outer_fd_;
  const PinDir* pins_;
  Fd inner_;
  size_t capacity_ = 0;
};

}  // namespace slogate
