// SPDX-License-Identifier: Apache-2.0
#include "maps/maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <map>

#include "bpf/maps.skel.h"
#include "maps/bpf_map.h"
#include "maps/schema.h"

namespace slogate {
namespace {

// Every map that programs share, by name; what has no row in maps/abi.h has one here.
constexpr std::array<std::string_view, 11> kNames = {
    "slogate_slab",    "slogate_index",    "slogate_free",    "slogate_sockets",
    "slogate_control", "slogate_runs",     "slogate_classes", "slogate_node",
    "slogate_events",  "slogate_left_out", "slogate_schema"};

// Written last, so a set of pins without it was never finished.
constexpr std::string_view kSchemaName = "slogate_schema";

constexpr size_t kFreeBytes = sizeof(__u64) * SLOGATE_FREE_SLOTS;
constexpr size_t kRunsBytes = sizeof(slogate_runs) * SLOGATE_RUN_LINES;
constexpr size_t kResizesKept = 64;

using Skeleton = std::unique_ptr<maps_bpf, void (*)(maps_bpf*)>;
using MapFds = std::map<std::string, Fd, std::less<>>;

uint64_t load(const __u64& word) {
  return __atomic_load_n(&word, __ATOMIC_RELAXED);
}
uint32_t load(const __u32& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}

// New maps; the object they come from is not needed after that.
Result<MapFds> make_maps() {
  const Skeleton skeleton(maps_bpf__open(), maps_bpf__destroy);
  if (!skeleton) return fail(bpf_error("cannot read the object of the BPF maps", errno));
  if (const int error = maps_bpf__load(skeleton.get()); error != 0)
    return fail(bpf_error("cannot create the BPF maps", error));
  MapFds fds;
  for (const std::string_view name : kNames) {
    const int fd = bpf_object__find_map_fd_by_name(skeleton->obj, std::string(name).c_str());
    Fd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!copy) return fail(system_error(fmt::format("cannot keep map {}", name), errno));
    fds.emplace(name, std::move(copy));
  }
  return fds;
}

Result<MapFds> pinned_maps(const PinDir& pins) {
  const Skeleton skeleton(maps_bpf__open(), maps_bpf__destroy);
  if (!skeleton) return fail(bpf_error("cannot read the object of the BPF maps", errno));
  MapFds fds;
  for (const std::string_view name : kNames) {
    auto fd = pins.get(name);
    if (!fd) return fail(std::move(fd.error()));
    const auto facts = map_facts(fd->get());
    if (!facts) return fail(facts.error());
    const bpf_map* ours = bpf_object__find_map_by_name(skeleton->obj, std::string(name).c_str());
    if (facts->type != bpf_map__type(ours) || facts->key_bytes != bpf_map__key_size(ours) ||
        facts->value_bytes != bpf_map__value_size(ours))
      return fail(fmt::format("{} is another map", name));
    fds.emplace(name, std::move(*fd));
  }
  return fds;
}

// Whatever is wrong with pins, there is one way out.
Error not_taken_up(const Error& cause) {
  return {cause.within("cannot take up the pinned maps").message,
          "slogate-agent --unpin removes them, and counts start from zero"};
}

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

Result<void> write_schema(int fd, uint64_t programs_hash) {
  const slogate_schema schema = own_schema(programs_hash);
  const __u32 zero = 0;
  if (const int error = bpf_map_update_elem(fd, &zero, &schema, BPF_ANY); error != 0)
    return fail(bpf_error("cannot write the schema", error));
  return {};
}

// Makes the map hold exactly these keys: first what is to be there, then away with the rest, so
// that no key that stays is missing for a moment.
template <typename Key, typename Value>
Result<void> replace_keys(int map, const std::vector<std::pair<Key, Value>>& wanted,
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

// Everything that maps of another layout have counted.
Result<Counts> read_foreign(const slogate_schema& schema, const PinDir& pins) {
  const size_t chunk_bytes = size_t{schema.slot_bytes} * schema.chunk_slots;
  auto control = pins.get("slogate_control");
  if (!control) return fail(control.error());
  const auto control_facts = map_facts(control->get());
  if (!control_facts) return fail(control_facts.error());
  auto control_memory =
      SharedMemory::map(control->get(), control_facts->value_bytes, "the pinned control");
  if (!control_memory) return fail(control_memory.error());
  if (schema.fold_offset + sizeof(__u64) > control_facts->value_bytes)
    return fail("the pinned maps are damaged", "run slogate-agent --unpin");
  const uint64_t fold = control_memory->as<__u64>()[schema.fold_offset / sizeof(__u64)];
  // Of the two copies of the totals one counts, and a slot that is in it must not count again.
  const size_t other_totals = schema.totals + (1 - (fold >> 63));
  const size_t folded = (fold >> 32) & 0x7fffffff;

  Counts sum;
  for (size_t chunk = 0;; ++chunk) {
    auto fd = pins.get(fmt::format("chunk_{:04}", chunk));
    if (!fd) return sum;
    const auto facts = map_facts(fd->get());
    if (!facts || size_t{facts->value_bytes} * facts->entries < chunk_bytes)
      return fail("the pinned maps are damaged", "run slogate-agent --unpin");
    auto memory = SharedMemory::map(fd->get(), chunk_bytes, "a pinned chunk of slots");
    if (!memory) return fail(memory.error());
    const size_t slot_words = schema.slot_bytes / sizeof(__u64);
    for (size_t place = 0; place < schema.chunk_slots; ++place) {
      const size_t number = chunk * schema.chunk_slots + place;
      if (number == other_totals || (folded != 0 && number == folded)) continue;
      add_foreign(schema, {memory->as<__u64>() + place * slot_words, slot_words}, sum);
    }
  }
}

}  // namespace

// In the order in which they are built, which is the reverse of the one in which they go.
struct Maps::Parts {
  Origin origin;
  const PinDir* pins;
  MapFds fds;
  SharedMemory control_memory, runs_memory, free_memory;
  std::optional<Index> index;
  std::optional<Slab> slab;
  uint64_t programs_hash = 0;
  std::deque<Resize> resizes;
  uint64_t slab_resizes = 0, index_resizes = 0, node_addresses = 0;
  // As the last of `resizes` left them, and why the one that is under way was begun.
  size_t slab_slots = 0, index_entries = 0;
  std::string slab_reason, index_reason;
  // What the kernel charges for a map, which never changes, and for an index of so many entries.
  std::map<std::string_view, uint64_t> charged;
  std::pair<size_t, uint64_t> index_charged{};
  KernelWait waits;  // the first to go: its threads use what the others own

  [[nodiscard]] slogate_control& control() const { return *control_memory.as<slogate_control>(); }
  [[nodiscard]] int fd(std::string_view name) const { return fds.find(name)->second.get(); }

  void remember(std::string map, size_t from, size_t to, std::string_view reason,
                std::chrono::system_clock::time_point now) {
    resizes.push_back(
        {now, std::move(map), from, to, std::string(reason), slab_resizes + index_resizes});
    if (resizes.size() > kResizesKept) resizes.pop_front();
  }
};

void Maps::PartsDeleter::operator()(Parts* parts) const {
  delete parts;
}

namespace {

struct Found {
  Origin origin = Origin::made;
  Counts carried;
  uint64_t programs_hash = 0;
};

// What another agent left in the pin directory, and what to do with it. Other layouts and
// unfinished sets are removed here: their counts are carried over, their programs end.
Result<Found> look_for_pins(const PinDir& pins) {
  Found found;
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

}  // namespace

Result<Maps> Maps::open(const PinDir* pins) {
  Found found;
  if (pins != nullptr) {
    auto looked = look_for_pins(*pins);
    if (!looked) return fail(looked.error().within("pins of another agent"));
    found = *looked;
  }
  const bool adopted = pins != nullptr && found.origin == Origin::adopted;
  const auto failed = [adopted](const Error& cause) {
    return fail(adopted ? not_taken_up(cause) : cause);
  };
  auto fds = adopted ? pinned_maps(*pins) : make_maps();
  if (!fds) return failed(fds.error());
  const auto memory = [&fds](std::string_view name, size_t bytes) {
    return SharedMemory::map(fds->find(name)->second.get(), bytes, name);
  };
  auto control = memory("slogate_control", sizeof(slogate_control));
  if (!control) return failed(control.error());
  auto runs = memory("slogate_runs", kRunsBytes);
  if (!runs) return failed(runs.error());
  auto free_ring = memory("slogate_free", kFreeBytes);
  if (!free_ring) return failed(free_ring.error());

  std::unique_ptr<Parts, PartsDeleter> parts(new Parts{
      .origin = found.origin,
      .pins = pins,
      .fds = std::move(*fds),
      .control_memory = std::move(*control),
      .runs_memory = std::move(*runs),
      .free_memory = std::move(*free_ring),
      .index = std::nullopt,
      .slab = std::nullopt,
      .programs_hash = found.programs_hash,
      .resizes = {},
      .slab_reason = {},
      .index_reason = {},
      .waits = {},
  });
  auto index = Index::open(parts->fd("slogate_index"), pins, parts->waits, index_entries_for(0));
  if (!index) return failed(index.error());
  parts->index.emplace(std::move(*index));
  auto slab = Slab::open(parts->fd("slogate_slab"), &parts->control(),
                         parts->free_memory.as<uint64_t>(), pins, parts->waits, *parts->index);
  if (!slab) return failed(slab.error());
  parts->slab.emplace(std::move(*slab));
  parts->slab_slots = parts->slab->slots();
  parts->index_entries = parts->index->capacity();

  Maps maps(std::move(parts));
  if (found.origin == Origin::folded) maps.slab().add_to_totals(found.carried);
  if (adopted) return maps;
  if (auto done = write_schema(maps.fd(kSchemaName), 0); !done) return fail(done.error());
  if (auto done = maps.keep_pins(); !done) return fail(done.error());
  return maps;
}

Result<void> Maps::keep_pins() {
  if (parts_->pins == nullptr) return {};
  if (auto done = parts_->index->keep_pin(); !done) return done;
  if (auto done = slab().keep_pins(); !done) return done;
  for (const std::string_view name : kNames)
    if (auto done = parts_->pins->keep(fd(name), name); !done) return done;
  return {};
}

Slab& Maps::slab() const {
  return *parts_->slab;
}

Origin Maps::origin() const {
  return parts_->origin;
}

int Maps::fd(std::string_view name) const {
  const auto found = parts_->fds.find(name);
  return found == parts_->fds.end() ? -1 : found->second.get();
}

int Maps::index_fd() const {
  return parts_->index->fd();
}

Counts Maps::totals() const {
  Counts counts;
  slab().copy(slab().totals(), counts, SLOGATE_DIRTY_ALL);
  return counts;
}

Counts Maps::unattributed() const {
  Counts counts;
  slab().copy(SLOGATE_UNATTRIBUTED, counts, SLOGATE_DIRTY_ALL);
  return counts;
}

// ---- size ----

void Maps::wait_on_threads() {
  parts_->waits.use_threads();
}

bool Maps::is_settled() const {
  return parts_->waits.idle();
}

// Remembers what has changed since the last look.
void Maps::note_resizes(std::chrono::system_clock::time_point now) {
  if (const size_t slots = slab().slots(); slots != parts_->slab_slots) {
    ++parts_->slab_resizes;
    parts_->remember("slogate_slab", parts_->slab_slots, slots, parts_->slab_reason, now);
    parts_->slab_slots = slots;
  }
  if (const size_t entries = parts_->index->capacity(); entries != parts_->index_entries) {
    ++parts_->index_resizes;
    parts_->remember("slogate_index", parts_->index_entries, entries, parts_->index_reason, now);
    parts_->index_entries = entries;
  }
}

Result<void> Maps::go_on(std::chrono::system_clock::time_point now) {
  const auto done = parts_->waits.poll();
  note_resizes(now);
  return done;
}

Result<void> Maps::resize(size_t capacity, std::string_view reason,
                          std::chrono::system_clock::time_point now) {
  auto done = go_on(now);
  slab().list_free();
  const size_t before = slab().slots();
  if (capacity != before) parts_->slab_reason = reason;
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
Result<void> Maps::grow(size_t capacity, std::string_view reason,
                        std::chrono::system_clock::time_point now) {
  const Index& index = *parts_->index;
  if (auto done = slab().grow(std::min(capacity, index.capacity())); !done) return done;
  if (index_entries_for(capacity) > index.capacity())
    if (auto done = resize_index(index_entries_for(capacity), reason, now); !done) return done;
  return slab().grow(std::min(capacity, index.capacity()));
}

Result<void> Maps::shrink(size_t capacity, std::string_view reason,
                          std::chrono::system_clock::time_point now) {
  if (auto done = slab().shrink(capacity); !done) return done;
  // Twice what is needed may stay: it would soon be needed again.
  const size_t needed = index_entries_for(slab().slots());
  return parts_->index->capacity() > 2 * needed ? resize_index(needed, reason, now)
                                                : Result<void>{};
}

Result<void> Maps::resize_index(size_t entries, std::string_view reason,
                                std::chrono::system_clock::time_point now) {
  entries = std::max(entries, slab().used() + slab().used() / 2 + SLOGATE_CHUNK_SLOTS);
  if (entries == parts_->index->capacity() || parts_->index->is_resizing()) return {};
  parts_->index_reason = reason;
  const auto done = parts_->index->resize(entries);
  note_resizes(now);
  return done;
}

const std::deque<Resize>& Maps::resizes() const {
  return parts_->resizes;
}

// ---- programs ----

uint32_t Maps::programs_epoch() const {
  return load(parts_->control().programs_epoch);
}

Result<void> Maps::activate(uint32_t epoch, uint64_t hash) {
  __atomic_store_n(&parts_->control().programs_epoch, epoch, __ATOMIC_SEQ_CST);
  beat();
  __atomic_store_n(&parts_->control().programs_epoch, epoch, __ATOMIC_SEQ_CST);
  __atomic_store_n(&parts_->control().epoch, epoch, __ATOMIC_SEQ_CST);
  parts_->programs_hash = hash;
  return write_schema(fd(kSchemaName), hash);
}

uint64_t Maps::programs_hash() const {
  return parts_->programs_hash;
}

// Always the kernel's own clock: it is compared with bpf_ktime_get_ns.
void Maps::beat() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  __atomic_store_n(&parts_->control().heartbeat,
                   static_cast<__u64>(now.tv_sec) * 1'000'000'000 + static_cast<__u64>(now.tv_nsec),
                   __ATOMIC_RELAXED);
}

// ---- the rest ----

uint64_t Maps::lost(slogate_site site) const {
  return load(parts_->control().lost[site]);
}

std::vector<std::pair<uint64_t, uint64_t>> Maps::left_out() const {
  std::vector<std::pair<uint64_t, uint64_t>> rows;
  uint64_t key = 0, next = 0, samples = 0;
  const uint64_t* at = nullptr;
  const int map = fd("slogate_left_out");
  // An entry that makes room for another during the walk restarts it: bounded all the same.
  for (size_t i = 0; i < size_t{2} * SLOGATE_LEFT_OUT; ++i) {
    if (bpf_map_get_next_key(map, at, &next) != 0) break;
    key = next;
    at = &key;
    if (bpf_map_lookup_elem(map, &key, &samples) == 0) rows.emplace_back(key, samples);
  }
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end(),
                         [](const auto& a, const auto& b) { return a.first == b.first; }),
             rows.end());
  return rows;
}

slogate_runs Maps::runs() const {
  const auto* lines = parts_->runs_memory.as<slogate_runs>();
  slogate_runs total{};
  for (size_t line = 0; line < SLOGATE_RUN_LINES; ++line)
    for (size_t probe = 0; probe < SLOGATE_PROBES; ++probe) {
      total.runs[probe] += load(lines[line].runs[probe]);
      total.timed[probe] += load(lines[line].timed[probe]);
      total.timed_ns[probe] += load(lines[line].timed_ns[probe]);
      total.skipped[probe] += load(lines[line].skipped[probe]);
    }
  return total;
}

void Maps::spare(uint32_t programs, uint32_t hash_bits) {
  __atomic_store_n(&parts_->control().spare, static_cast<__u64>(hash_bits) << 32 | programs,
                   __ATOMIC_RELEASE);
}

void Maps::list_sockets(bool all) {
  __atomic_store_n(&parts_->control().list_sockets, all ? 1 : 0, __ATOMIC_RELEASE);
}

Result<void> Maps::set_class_rules(const ClassRules& rules) {
  if (auto done = replace_keys(fd("slogate_classes"), rules, "slogate_classes"); !done) return done;
  __atomic_store_n(&parts_->control().class_rules, static_cast<__u32>(rules.size()),
                   __ATOMIC_RELEASE);
  return {};
}

Result<void> Maps::set_node_addresses(const std::vector<slogate_address>& addresses) {
  std::vector<std::pair<slogate_address, __u32>> wanted;
  wanted.reserve(addresses.size());
  for (const slogate_address& address : addresses) wanted.emplace_back(address, 1);
  if (wanted.size() > SLOGATE_NODE_ADDRESSES) wanted.resize(SLOGATE_NODE_ADDRESSES);
  parts_->node_addresses = wanted.size();
  return replace_keys(fd("slogate_node"), wanted, "slogate_node");
}

void Maps::set_node_netns(uint64_t cookie) {
  __atomic_store_n(&parts_->control().node_netns, cookie, __ATOMIC_RELEASE);
}

std::vector<MapStatus> Maps::status(uint64_t sockets) const {
  const auto charged = [this](std::string_view name, int map) {
    uint64_t& known = parts_->charged[name];
    if (known == 0) known = charged_bytes(map);
    return known;
  };
  const auto bytes = [&](std::string_view name) { return charged(name, fd(name)); };
  if (auto& index = parts_->index_charged;
      index.second == 0 || index.first != parts_->index->capacity())
    index = {parts_->index->capacity(), charged_bytes(parts_->index->fd())};
  const size_t used = slab().used();
  const slogate_control& control = parts_->control();
  return {
      {"slogate_slab", "array_of_maps", used, slab().slots() - SLOGATE_FIRST_SLOT,
       bytes("slogate_slab") + charged("a chunk", slab().chunk_fd()) * slab().chunks(),
       parts_->slab_resizes, lost(SLOGATE_SITE_no_slot), "no_slot"},
      {"slogate_index", "hash", used, parts_->index->capacity(),
       bytes("slogate_index") + parts_->index_charged.second, parts_->index_resizes,
       lost(SLOGATE_SITE_index_full), "index_full"},
      {"slogate_free", "array", slab().listed(), SLOGATE_FREE_SLOTS, bytes("slogate_free"), 0, 0},
      // Its elements are charged one by one, to whoever makes the kernel allocate them: this is
      // their net size.
      {"slogate_sockets", "sk_storage", sockets, 0,
       bytes("slogate_sockets") + sockets * sizeof(slogate_sock), 0, lost(SLOGATE_SITE_no_storage),
       "no_storage"},
      {"slogate_events", "ringbuf", 0, 0, bytes("slogate_events"), 0, lost(SLOGATE_SITE_no_name),
       "no_name"},
      {"slogate_left_out", "lru_hash", left_out().size(), SLOGATE_LEFT_OUT,
       bytes("slogate_left_out"), 0, 0},
      {"slogate_classes", "hash", load(control.class_rules), SLOGATE_CLASS_RULES,
       bytes("slogate_classes"), 0, 0},
      {"slogate_node", "hash", parts_->node_addresses, SLOGATE_NODE_ADDRESSES,
       bytes("slogate_node"), 0, 0},
      {"slogate_control", "array", 1, 1, bytes("slogate_control"), 0, 0},
      {"slogate_runs", "array", SLOGATE_RUN_LINES, SLOGATE_RUN_LINES, bytes("slogate_runs"), 0, 0},
      {"slogate_schema", "array", 1, 1, bytes("slogate_schema"), 0, 0},
  };
}

}  // namespace slogate
