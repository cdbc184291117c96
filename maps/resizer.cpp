// SPDX-License-Identifier: Apache-2.0
#include "maps/resizer.h"

#include <algorithm>

namespace slogate {
namespace {

constexpr size_t kResizesKept = 64;

}  // namespace

Resizer::Resizer(Slab& slab, Index& index, KernelWait& waits)
    : slab_(slab),
      index_(index),
      waits_(waits),
      slab_seen_{.map = "slogate_slab", .size = slab.slots()},
      index_seen_{.map = "slogate_index", .size = index.capacity()} {}

// Remembers what has changed since the last look.
void Resizer::note_resizes(Time now) {
  note(slab_seen_, slab_.slots(), now);
  note(index_seen_, index_.capacity(), now);
}

void Resizer::note(Seen& seen, size_t size, Time now) {
  if (size == seen.size) return;
  ++seen.changes;
  resizes_.push_back({.time = now,
                      .map = seen.map,
                      .from = seen.size,
                      .to = size,
                      .reason = seen.reason,
                      .number = slab_resizes() + index_resizes()});
  if (resizes_.size() > kResizesKept) resizes_.pop_front();
  seen.size = size;
}

Result<void> Resizer::go_on(Time now) {
  const auto done = waits_.poll();
  note_resizes(now);
  return done;
}

Result<void> Resizer::resize(size_t capacity, std::string_view reason, Time now) {
  auto done = go_on(now);
  slab_.list_free();
  const size_t before = slab_.slots();
  if (capacity != before) slab_seen_.reason = reason;
  if (capacity > before) {
    if (auto grown = grow(capacity, reason, now); !grown) done = grown;
  } else if (capacity < before) {
    if (auto shrunk = shrink(capacity, reason, now); !shrunk) done = shrunk;
  }
  note_resizes(now);
  return done;
}

// At once what the index has room for: replacing it waits for every program that is running, and on
// a busy node that is long in a burst of new cgroups.
Result<void> Resizer::grow(size_t capacity, std::string_view reason, Time now) {
  if (auto done = slab_.grow(std::min(capacity, index_.capacity())); !done) return done;
  if (index_entries_for(capacity) > index_.capacity())
    if (auto done = resize_index(index_entries_for(capacity), reason, now); !done) return done;
  return slab_.grow(std::min(capacity, index_.capacity()));
}

Result<void> Resizer::shrink(size_t capacity, std::string_view reason, Time now) {
  if (auto done = slab_.shrink(capacity); !done) return done;
  // Twice what is needed may stay: it would soon be needed again.
  const size_t needed = index_entries_for(slab_.slots());
  return index_.capacity() > 2 * needed ? resize_index(needed, reason, now) : Result<void>{};
}

Result<void> Resizer::resize_index(size_t entries, std::string_view reason, Time now) {
  entries = std::max(entries, slab_.used() + slab_.used() / 2 + SLOGATE_CHUNK_SLOTS);
  if (entries == index_.capacity() || index_.is_resizing()) return {};
  index_seen_.reason = reason;
  const auto done = index_.resize(entries);
  note_resizes(now);
  return done;
}

}  // namespace slogate
