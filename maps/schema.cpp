// SPDX-License-Identifier: Apache-2.0
#include "maps/schema.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace slogate {
namespace {

static_assert(SLOGATE_COUNTERS <= SLOGATE_SCHEMA_COUNTERS &&
              SLOGATE_SIGNALS <= SLOGATE_SCHEMA_NAMES);

void set_name(char (&to)[SLOGATE_SCHEMA_NAME], std::string_view name) {
  name.copy(to, SLOGATE_SCHEMA_NAME - 1);
}

std::string_view text_of(const char (&name)[SLOGATE_SCHEMA_NAME]) {
  return {name, strnlen(name, SLOGATE_SCHEMA_NAME)};
}

template <typename Schema>
auto& counter_name(Schema& schema, size_t i) {
  return i < SLOGATE_SCHEMA_NAMES ? schema.counter_names[i]
                                  : schema.more_counter_names[i - SLOGATE_SCHEMA_NAMES];
}

// Where the row of that name stands in one of our tables.
template <typename Table>
std::optional<size_t> find_row(const Table& table, std::string_view name) {
  const auto row = std::find_if(table.begin(), table.end(),
                                [name](const auto& info) { return info.name == name; });
  if (row == table.end()) return std::nullopt;
  return static_cast<size_t>(row - table.begin());
}

// Our bucket for theirs: the same edge, as far as we reach.
size_t own_bucket(const slogate_schema& schema, size_t bucket) {
  const bool overflow = bucket + 1 == schema.buckets;
  if (overflow) return SLOGATE_BUCKETS - 1;
  const long shifted = static_cast<long>(bucket) + schema.edge_first - SLOGATE_EDGE_FIRST;
  return static_cast<size_t>(std::clamp<long>(shifted, 0, SLOGATE_BUCKETS - 1));
}

bool fits(const slogate_schema& schema, uint64_t offset, uint64_t words) {
  return offset % sizeof(__u64) == 0 && offset + words * sizeof(__u64) <= schema.slot_bytes;
}

// FNV-1a. Never 0, which is what agents wrote that did not know of it.
uint32_t hash_of_names() {
  uint32_t hash = 0x811c9dc5;
  const auto add = [&hash](std::string_view name) {
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193;
    hash *= 0x01000193;  // the end of a name is part of it
  };
  for (const ProbeInfo& row : kProbes) add(row.name);
  for (const SiteInfo& row : kSites) add(row.name);
  return hash == 0 ? 1 : hash;
}

}  // namespace

slogate_schema own_schema(uint64_t programs_hash) {
  slogate_schema schema{};
  schema.magic = SLOGATE_SCHEMA_MAGIC;
  schema.abi = SLOGATE_ABI_VERSION;
  schema.slot_bytes = sizeof(slogate_slot);
  schema.chunk_slots = SLOGATE_CHUNK_SLOTS;
  schema.first_slot = SLOGATE_FIRST_SLOT;
  schema.totals = SLOGATE_TOTALS;
  schema.unattributed = SLOGATE_UNATTRIBUTED;
  schema.counters = SLOGATE_COUNTERS;
  schema.counters_offset = offsetof(slogate_slot, counters);
  schema.drops = SLOGATE_DROP_REASONS;
  schema.drops_offset = offsetof(slogate_slot, drops);
  schema.signals = SLOGATE_SIGNALS;
  schema.buckets = SLOGATE_BUCKETS;
  schema.histograms_offset = offsetof(slogate_slot, histograms);
  schema.edge_first = SLOGATE_EDGE_FIRST;
  schema.programs = programs_hash;
  schema.fold_offset = offsetof(slogate_control, fold);
  schema.tables = hash_of_names();
  for (size_t i = 0; i < kCounters.size(); ++i)
    set_name(counter_name(schema, i), kCounters[i].name);
  for (size_t i = 0; i < kSignals.size(); ++i) set_name(schema.signal_names[i], kSignals[i].name);
  return schema;
}

bool is_compatible(const slogate_schema& schema) {
  slogate_schema ours = own_schema(schema.programs);
  return std::memcmp(&ours, &schema, sizeof(ours)) == 0;
}

Result<void> check_schema(const slogate_schema& s) {
  const bool sound = s.magic == SLOGATE_SCHEMA_MAGIC && s.slot_bytes % sizeof(__u64) == 0 &&
                     s.slot_bytes <= (1u << 20) && s.chunk_slots > 0 &&
                     s.chunk_slots <= (1u << 16) && s.counters <= SLOGATE_SCHEMA_COUNTERS &&
                     s.signals <= SLOGATE_SCHEMA_NAMES && s.buckets > 1 &&
                     s.buckets <= (1u << 16) && s.drops <= (1u << 16) &&
                     fits(s, s.counters_offset, s.counters) && fits(s, s.drops_offset, s.drops) &&
                     fits(s, s.histograms_offset, uint64_t{s.signals} * s.buckets) &&
                     s.fold_offset <= (1u << 16) && s.edge_first >= -1000 && s.edge_first <= 1000;
  if (sound) return {};
  return fail("the pinned maps are not slogate's or are damaged", "run slogate-agent --unpin");
}

void add_foreign(const slogate_schema& schema, std::span<const __u64> words, Counts& to) {
  const auto word = [&words](uint64_t offset, uint64_t i) {
    return words[offset / sizeof(__u64) + i];
  };
  for (size_t i = 0; i < schema.counters; ++i)
    if (const auto row = find_row(kCounters, text_of(counter_name(schema, i))))
      to.counters[*row] += word(schema.counters_offset, i);
  for (size_t i = 0; i < schema.drops; ++i)
    to.drops[i < to.drops.size() ? i : 0] += word(schema.drops_offset, i);
  for (size_t signal = 0; signal < schema.signals; ++signal) {
    const auto row = find_row(kSignals, text_of(schema.signal_names[signal]));
    if (!row) continue;
    for (size_t i = 0; i < schema.buckets; ++i)
      to.histograms[*row][own_bucket(schema, i)] +=
          word(schema.histograms_offset, signal * schema.buckets + i);
  }
}

}  // namespace slogate
