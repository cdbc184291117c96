// SPDX-License-Identifier: Apache-2.0
#include "maps/inheritance.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "maps/bpf_map.h"
#include "maps/schema.h"
#include "maps/shared_maps.h"
#include "maps/shared_memory.h"

namespace slogate {
namespace {

Result<slogate_schema> read_schema(int fd) {
  const auto facts = map_facts(fd);
  if (!facts) return fail(facts.error());
  // Another version's may be longer or shorter: what we do not know is left out, what it does not
  // have is zero.
  std::vector<std::byte> value(std::max<size_t>(facts->value_bytes, sizeof(slogate_schema)));
  const __u32 zero = 0;
  if (const int error = bpf_map_lookup_elem(fd, &zero, value.data()); error != 0)
    return fail(bpf_error("cannot read the schema of the pinned maps", error));
  slogate_schema schema{};
  std::memcpy(&schema, value.data(), sizeof(schema));
  return schema;
}

Error damaged() {
  return {"the pinned maps are damaged", "run slogate-agent --unpin"};
}

// The word that says which copy of the totals counts, and which slot is in it already.
Result<uint64_t> read_fold(const slogate_schema& schema, const PinDir& pins) {
  const auto control = pins.get("slogate_control");
  if (!control) return fail(control.error());
  const auto facts = map_facts(control->get());
  if (!facts) return fail(facts.error());
  if (schema.fold_offset + sizeof(__u64) > facts->value_bytes) return fail(damaged());
  const auto memory = SharedMemory::map(control->get(), facts->value_bytes, "the pinned control");
  if (!memory) return fail(memory.error());
  return memory->as<__u64>()[schema.fold_offset / sizeof(__u64)];
}

// Adds the slots of one chunk, the first of which has this number, but for two.
Result<void> add_chunk(const slogate_schema& schema, int fd, size_t first,
                       std::array<size_t, 2> without, Counts& to) {
  const size_t bytes = size_t{schema.slot_bytes} * schema.chunk_slots;
  const auto facts = map_facts(fd);
  if (!facts || size_t{facts->value_bytes} * facts->entries < bytes) return fail(damaged());
  const auto memory = SharedMemory::map(fd, bytes, "a pinned chunk of slots");
  if (!memory) return fail(memory.error());
  const size_t words = schema.slot_bytes / sizeof(__u64);
  for (size_t place = 0; place < schema.chunk_slots; ++place)
    if (std::ranges::find(without, first + place) == without.end())
      add_foreign(schema, {memory->as<__u64>() + place * words, words}, to);
  return {};
}

// Everything that maps of another layout have counted.
Result<Counts> read_foreign(const slogate_schema& schema, const PinDir& pins) {
  const auto fold = read_fold(schema, pins);
  if (!fold) return fail(fold.error());
  // Of the two copies of the totals one counts, and a slot that is in it must not count again. Slot
  // 0 is nobody's and never folded: there the word names none.
  const size_t other_totals = schema.totals + (1 - (*fold >> 63));
  const size_t folded = (*fold >> 32) & 0x7fffffff;
  const std::array<size_t, 2> without = {other_totals, folded != 0 ? folded : other_totals};
  Counts sum;
  for (size_t chunk = 0;; ++chunk) {
    const auto fd = pins.get(fmt::format("chunk_{:04}", chunk));
    if (!fd) return sum;
    if (auto added = add_chunk(schema, fd->get(), chunk * schema.chunk_slots, without, sum); !added)
      return fail(added.error());
  }
}

}  // namespace

Result<Inheritance> take_inheritance(const PinDir& pins) {
  Inheritance found;
  if (!pins.has(kSchemaName)) {
    for (const std::string& name : pins.names()) pins.unpin(name);
    return found;
  }
  auto fd = pins.get(kSchemaName);
  if (!fd) return fail(fd.error());
  auto schema = read_schema(fd->get());
  if (!schema) return fail(schema.error());
  if (auto sound = check_schema(*schema); !sound) return fail(sound.error());
  if (is_compatible(*schema)) {
    found.origin = Origin::adopted;
    found.programs_hash = schema->programs;
    return found;
  }
  // First its programs, so that what is read is all there is.
  for (const std::string& name : pins.names())
    if (name.starts_with("link_")) pins.unpin(name);
  auto carried = read_foreign(*schema, pins);
  if (!carried) return fail(carried.error());
  for (const std::string& name : pins.names()) pins.unpin(name);
  found.origin = Origin::folded;
  found.carried = *carried;
  return found;
}

Result<void> write_schema(int fd, uint64_t programs_hash) {
  const slogate_schema schema = own_schema(programs_hash);
  const __u32 zero = 0;
  if (const int error = bpf_map_update_elem(fd, &zero, &schema, BPF_ANY); error != 0)
    return fail(bpf_error("cannot write the schema", error));
  return {};
}

}  // namespace slogate
