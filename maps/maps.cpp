// SPDX-License-Identifier: Apache-2.0
#include "maps/maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>

#include "bpf/maps.skel.h"
#include "maps/bpf_map.h"

namespace slogate {
namespace {

constexpr size_t kChunkBytes = sizeof(slogate_slot) * SLOGATE_CHUNK_SLOTS;
constexpr size_t kControlBytes = sizeof(slogate_control);
constexpr size_t kRunsBytes = sizeof(slogate_runs) * SLOGATE_RUN_LINES;
constexpr size_t kFreeBytes = sizeof(__u64) * SLOGATE_FREE_SLOTS;

// What an owner costs besides its slot: an element of the index, which is kept at most two thirds
// full, and its place in the ring of free slots.
constexpr size_t kBytesPerSlot = sizeof(slogate_slot) + 160;

// Words that programs add to at any moment: each is read whole, in no order.
uint64_t load(const __u64& word) {
  return __atomic_load_n(&word, __ATOMIC_RELAXED);
}
uint32_t load32(const __u32& word) { return __atomic_load_n(&word, __ATOMIC_RELAXED); }

template <size_t N>
void load_all(const __u64 (&from)[N], std::array<uint64_t, N>& to) {
  for (size_t i = 0; i < N; ++i) to[i] = load(from[i]);
}

Result<Fd> create_index(size_t entries) {
  const int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "slogate_owners", sizeof(slogate_key),
                                sizeof(slogate_ref), static_cast<__u32>(entries), nullptr);
  if (fd < 0) return fail(bpf_error("cannot create an index", fd));
  return Fd(fd);
}

// Enters into `to` each owner that `from` has and `to` lacks.
Result<void> copy_owners(int from, int to) {
  slogate_key key{}, next{};
  slogate_ref ref{};
  const slogate_key* at = nullptr;
  while (bpf_map_get_next_key(from, at, &next) == 0) {
    key = next;
    at = &key;
    if (bpf_map_lookup_elem(from, &key, &ref) != 0) continue;
    const int error = bpf_map_update_elem(to, &key, &ref, BPF_NOEXIST);
    if (error != 0 && error != -EEXIST) return fail(bpf_error("cannot fill an index", error));
  }
  return {};
}

}  // namespace

size_t ceiling_slots(double memory_ratio, uint64_t ram_bytes) {
  const double bytes = memory_ratio * static_cast<double>(ram_bytes);
  const auto chunks =
      static_cast<size_t>(bytes / static_cast<double>(kBytesPerSlot * SLOGATE_CHUNK_SLOTS));
  return std::clamp<size_t>(chunks, 1, SLOGATE_MAX_CHUNKS) * SLOGATE_CHUNK_SLOTS;
}

// ---- Chunk ----

Result<Chunk> Chunk::create() {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
  Fd fd(bpf_map_create(BPF_MAP_TYPE_ARRAY, "slogate_chunk", sizeof(__u32), sizeof(slogate_slot),
                       SLOGATE_CHUNK_SLOTS, &options));
  if (!fd) return fail(bpf_error("cannot create a chunk of slots", errno));
  auto memory = map_memory(fd.get(), kChunkBytes, "a chunk of slots");
  if (!memory) return fail(memory.error());
  return Chunk(std::move(fd), static_cast<slogate_slot*>(*memory));
}

Chunk::Chunk(Chunk&& other) noexcept
    : fd_(std::move(other.fd_)), slots_(std::exchange(other.slots_, nullptr)) {}

Chunk::~Chunk() {
  if (slots_ != nullptr) munmap(slots_, whole_pages(kChunkBytes));
}

// ---- Maps: life ----

Maps::Maps(maps_bpf* skeleton, const MapLimits& limits) : skeleton_(skeleton), limits_(limits) {}

Maps::Maps(Maps&& other) noexcept
    : skeleton_(std::exchange(other.skeleton_, nullptr)),
      limits_(other.limits_),
      chunks_(std::move(other.chunks_)),
      index_(std::move(other.index_)),
      index_entries_(other.index_entries_),
      listed_at_(std::move(other.listed_at_)),
      free_(std::exchange(other.free_, nullptr)),
      slab_resizes_(other.slab_resizes_),
      index_resizes_(other.index_resizes_),
      control_(std::exchange(other.control_, nullptr)),
      runs_(std::exchange(other.runs_, nullptr)) {}

Maps::~Maps() {
  if (control_ != nullptr) munmap(control_, whole_pages(kControlBytes));
  if (free_ != nullptr) munmap(free_, whole_pages(kFreeBytes));
  if (runs_ != nullptr) munmap(runs_, whole_pages(kRunsBytes));
  maps_bpf__destroy(skeleton_);
}

Result<Maps> Maps::create(const MapLimits& limits) {
  maps_bpf* skeleton = maps_bpf__open();
  if (skeleton == nullptr) return fail(bpf_error("cannot read the BPF maps' object", errno));
  Maps maps(skeleton, limits);
  if (const int error = maps_bpf__load(skeleton); error != 0)
    return fail(bpf_error("cannot create the BPF maps", error));
  if (auto done = maps.map_shared(); !done) return fail(done.error());
  if (auto done = maps.keep_headroom(); !done) return fail(done.error());
  maps.slab_resizes_ = maps.index_resizes_ = 0;  // filling them was no resize
  return maps;
}

Result<void> Maps::map_shared() {
  auto control = map_memory(fd("slogate_control"), kControlBytes, "slogate_control");
  if (!control) return fail(control.error());
  control_ = static_cast<slogate_control*>(*control);
  auto runs = map_memory(fd("slogate_runs"), kRunsBytes, "slogate_runs");
  if (!runs) return fail(runs.error());
  runs_ = static_cast<slogate_runs*>(*runs);
  auto free_slots = map_memory(fd("slogate_free"), kFreeBytes, "slogate_free");
  if (!free_slots) return fail(free_slots.error());
  free_ = static_cast<uint64_t*>(*free_slots);
  return {};
}

int Maps::fd(std::string_view name) const {
  return bpf_object__find_map_fd_by_name(skeleton_->obj, std::string(name).c_str());
}

// ---- Maps: slots ----

slogate_slot& Maps::slot(size_t number) const {
  return chunks_[number / SLOGATE_CHUNK_SLOTS].slot(number % SLOGATE_CHUNK_SLOTS);
}

size_t Maps::used_slots() const {
  size_t used = 0;
  for (size_t i = SLOGATE_FIRST_SLOT; i < slots(); ++i)
    used += load32(slot(i).state) != SLOGATE_SLOT_free ? 1 : 0;
  return used;
}

Owner Maps::owner(size_t number) const {
  const slogate_slot& s = slot(number);
  // The program writes the owner last, so what is read after it belongs to it.
  const uint64_t cgroup = __atomic_load_n(&s.cgroup, __ATOMIC_ACQUIRE);
  return {cgroup, static_cast<slogate_class>(s.class_), s.generation};
}

bool Maps::take_dirty(size_t number) {
  slogate_slot& s = slot(number);
  if (load(s.dirty) == 0) return false;
  // A full barrier: what is added after this read is marked again.
  return __atomic_exchange_n(&s.dirty, 0, __ATOMIC_SEQ_CST) != 0;
}

void Maps::copy(size_t number, Counts& to) const {
  const slogate_slot& s = slot(number);
  load_all(s.counters, to.counters);
  load_all(s.drops, to.drops);
  for (size_t i = 0; i < SLOGATE_SIGNALS; ++i) load_all(s.histograms[i], to.histograms[i]);
}

Result<void> Maps::keep_headroom() {
  if (!chunks_.empty()) list_free_slots();
  const size_t wanted =
      std::min(SLOGATE_FIRST_SLOT + used_slots() + limits_.headroom, limits_.ceiling);
  while (slots() < wanted) {
    // The index first: a slot that cannot be entered is no use. A third of it stays free, so that
    // it need not grow with every chunk.
    const size_t after = slots() + SLOGATE_CHUNK_SLOTS;
    if (after + after / 2 > index_entries_)
      if (auto done = grow_index(std::bit_ceil(after + after / 2)); !done) return done;
    if (auto done = add_chunk(); !done) return done;
  }
  return {};
}

Result<void> Maps::add_chunk() {
  auto chunk = Chunk::create();
  if (!chunk) return fail(chunk.error());
  const auto number = static_cast<__u32>(chunks_.size());
  const int chunk_fd = chunk->fd();
  for (size_t i = 0; i < SLOGATE_CHUNK_SLOTS; ++i) chunk->slot(i).generation = 1;
  if (const int error = bpf_map_update_elem(fd("slogate_slab"), &number, &chunk_fd, BPF_ANY);
      error != 0)
    return fail(bpf_error("cannot add a chunk of slots", error));
  chunks_.push_back(std::move(*chunk));
  ++slab_resizes_;
  listed_at_.resize(slots());
  list_free_slots();
  return {};
}

// Lists each free slot that is not in the ring, lowest first, so that the chunks fill up in order.
// A slot that was taken from the ring and is free was given back: two CPUs had wanted one for the
// same owner.
void Maps::list_free_slots() {
  const uint32_t taken = __atomic_load_n(&control_->free_taken, __ATOMIC_ACQUIRE);
  uint32_t listed = control_->free_listed;
  for (size_t i = SLOGATE_FIRST_SLOT; i < slots(); ++i) {
    if (listed - taken >= SLOGATE_FREE_SLOTS) break;
    std::optional<uint32_t>& at = listed_at_[i];
    const bool in_ring = at && static_cast<int32_t>(*at - taken) >= 0;
    if (in_ring || load32(slot(i).state) != SLOGATE_SLOT_free) continue;
    at = listed;
    __atomic_store_n(&free_[listed % SLOGATE_FREE_SLOTS], i, __ATOMIC_RELAXED);
    ++listed;
    // The entry before the count that makes it one.
    __atomic_store_n(&control_->free_listed, listed, __ATOMIC_RELEASE);
  }
}

// The programs go on using the old index until the one store that replaces it. An owner that was
// entered in between is found in the old one afterwards; if it has got a second slot by then, both
// count and are summed.
Result<void> Maps::grow_index(size_t entries) {
  auto index = create_index(entries);
  if (!index) return fail(index.error());
  if (index_)
    if (auto done = copy_owners(index_.get(), index->get()); !done) return done;
  const __u32 zero = 0;
  const int index_fd = index->get();
  // Waits until no program uses the old one any more.
  if (const int error = bpf_map_update_elem(fd("slogate_index"), &zero, &index_fd, BPF_ANY);
      error != 0)
    return fail(bpf_error("cannot replace the index", error));
  if (index_)
    if (auto done = copy_owners(index_.get(), index->get()); !done) return done;
  index_ = std::move(*index);
  index_entries_ = entries;
  ++index_resizes_;
  return {};
}

// ---- Maps: the rest ----

uint64_t Maps::lost(slogate_site site) const {
  return load(control_->lost[site]);
}

slogate_runs Maps::runs() const {
  slogate_runs total{};
  for (size_t line = 0; line < SLOGATE_RUN_LINES; ++line)
    for (size_t probe = 0; probe < SLOGATE_PROBES; ++probe) {
      total.runs[probe] += load(runs_[line].runs[probe]);
      total.timed[probe] += load(runs_[line].timed[probe]);
      total.timed_ns[probe] += load(runs_[line].timed_ns[probe]);
    }
  return total;
}

namespace {

// Makes the map hold exactly these keys: first what is to be there, then away with the rest, so
// that no key that stays is missing for a moment.
template <typename Key>
Result<void> replace_keys(int map, const std::vector<std::pair<Key, __u32>>& wanted,
                          std::string_view name) {
  for (const auto& [key, value] : wanted)
    if (const int error = bpf_map_update_elem(map, &key, &value, BPF_ANY); error != 0)
      return fail(bpf_error(fmt::format("cannot fill {}", name), error));
  std::vector<Key> stale;
  Key key{}, next{};
  const Key* at = nullptr;
  while (bpf_map_get_next_key(map, at, &next) == 0) {
    const bool kept = std::any_of(wanted.begin(), wanted.end(), [&next](const auto& entry) {
      return std::memcmp(&entry.first, &next, sizeof(Key)) == 0;
    });
    if (!kept) stale.push_back(next);
    key = next;
    at = &key;
  }
  for (const Key& old : stale) bpf_map_delete_elem(map, &old);
  return {};
}

}  // namespace

Result<void> Maps::set_class_rules(
    const std::vector<std::pair<slogate_class_key, slogate_class>>& rules) {
  std::vector<std::pair<slogate_class_key, __u32>> wanted(rules.begin(), rules.end());
  if (auto done = replace_keys(fd("slogate_classes"), wanted, "slogate_classes"); !done)
    return done;
  __atomic_store_n(&control_->class_rules, static_cast<__u32>(rules.size()), __ATOMIC_RELEASE);
  return {};
}

Result<void> Maps::set_node_addresses(const std::vector<slogate_address>& addresses) {
  std::vector<std::pair<slogate_address, __u32>> wanted;
  wanted.reserve(addresses.size());
  for (const slogate_address& address : addresses) wanted.emplace_back(address, 1);
  if (wanted.size() > SLOGATE_NODE_ADDRESSES) wanted.resize(SLOGATE_NODE_ADDRESSES);
  return replace_keys(fd("slogate_node"), wanted, "slogate_node");
}

std::vector<MapStatus> Maps::status(uint64_t sockets) const {
  const size_t used = used_slots();
  const uint64_t chunk_bytes =
      chunks_.empty() ? 0 : charged_bytes(chunks_.front().fd()) * chunks_.size();
  const size_t capacity = slots() - SLOGATE_FIRST_SLOT;
  std::vector<MapStatus> rows;
  rows.push_back({"slogate_slab", "array_of_maps", used, capacity,
                  charged_bytes(fd("slogate_slab")) + chunk_bytes, slab_resizes_,
                  lost(SLOGATE_SITE_no_slot)});
  rows.push_back({"slogate_index", "hash", used, index_entries_,
                  charged_bytes(fd("slogate_index")) + charged_bytes(index_.get()), index_resizes_,
                  lost(SLOGATE_SITE_index_full)});
  rows.push_back({"slogate_free", "array",
                  load32(control_->free_listed) - load32(control_->free_taken), SLOGATE_FREE_SLOTS,
                  charged_bytes(fd("slogate_free")), 0, 0});
  rows.push_back({"slogate_sockets", "sk_storage", sockets, 0,
                  // The kernel charges the elements to each socket; this is the table and the
                  // memory of what lies in it.
                  charged_bytes(fd("slogate_sockets")) + sockets * sizeof(slogate_sock), 0,
                  lost(SLOGATE_SITE_no_storage)});
  rows.push_back({"slogate_events", "ringbuf", 0, 0, charged_bytes(fd("slogate_events")), 0,
                  lost(SLOGATE_SITE_no_name)});
  rows.push_back({"slogate_control", "array", 1, 1, charged_bytes(fd("slogate_control")), 0, 0});
  rows.push_back({"slogate_runs", "array", SLOGATE_RUN_LINES, SLOGATE_RUN_LINES,
                  charged_bytes(fd("slogate_runs")), 0, 0});
  rows.push_back({"slogate_classes", "hash",
                  __atomic_load_n(&control_->class_rules, __ATOMIC_RELAXED), SLOGATE_CLASS_RULES,
                  charged_bytes(fd("slogate_classes")), 0, 0});
  return rows;
}

}  // namespace slogate
