// SPDX-License-Identifier: Apache-2.0
#include "maps/maps.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "maps/bpf_map.h"
#include "maps/shared_maps.h"
#include "maps/shared_memory.h"

namespace slogate {
namespace {

constexpr size_t kFreeBytes = sizeof(__u64) * SLOGATE_FREE_SLOTS;
constexpr size_t kRunsBytes = sizeof(slogate_runs) * SLOGATE_RUN_LINES;

uint64_t load(const __u64& word) {
  return __atomic_load_n(&word, __ATOMIC_RELAXED);
}

// Whatever is wrong with pins, there is one way out.
Error not_taken_up(const Error& cause) {
  return {cause.within("cannot take up the pinned maps").message,
          "slogate-agent --unpin removes them, and counts start from zero"};
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

template <typename T>
Result<void> keep(Result<T> made, std::optional<T>& as) {
  if (!made) return fail(made.error());
  as.emplace(std::move(*made));
  return {};
}

}  // namespace

// In the order in which they are built, which is the reverse of the one in which they go.
struct Maps::Parts {
  Origin origin;
  const PinDir* pins;
  uint64_t programs_hash;
  MapFds fds;
  std::optional<Control> control = {};
  std::optional<SharedMemory> runs = {}, free_ring = {};
  std::optional<Index> index = {};
  std::optional<Slab> slab = {};
  std::optional<Resizer> resizer = {};
  uint64_t node_addresses = 0;
  // What the kernel charges for a map, which never changes, and for an index of so many entries.
  std::map<std::string_view, uint64_t> charges = {};
  std::pair<size_t, uint64_t> index_charge{};
  KernelWait waits = {};  // the first to go: its threads use what the others own

  [[nodiscard]] int fd(std::string_view name) const { return fds.find(name)->second.get(); }
  Result<void> open();
  uint64_t charged(std::string_view name, int map);
  uint64_t charged_for_index();
};

void Maps::PartsDeleter::operator()(Parts* parts) const {
  delete parts;
}

// Takes up what is pinned, or begins empty.
Result<void> Maps::Parts::open() {
  auto done = keep(Control::open(fd("slogate_control")), control);
  if (done) done = keep(SharedMemory::map(fd("slogate_runs"), kRunsBytes, "slogate_runs"), runs);
  if (done)
    done = keep(SharedMemory::map(fd("slogate_free"), kFreeBytes, "slogate_free"), free_ring);
  if (done) done = keep(Index::open(fd("slogate_index"), pins, waits, index_entries_for(0)), index);
  if (done)
    done = keep(Slab::open(fd("slogate_slab"), control->words(), free_ring->as<uint64_t>(), pins,
                           waits, *index),
                slab);
  if (done) resizer.emplace(*slab, *index, waits);
  return done;
}

uint64_t Maps::Parts::charged(std::string_view name, int map) {
  uint64_t& known = charges[name];
  if (known == 0) known = charged_bytes(map);
  return known;
}

uint64_t Maps::Parts::charged_for_index() {
  if (index_charge.second == 0 || index_charge.first != index->capacity())
    index_charge = {index->capacity(), charged_bytes(index->fd())};
  return index_charge.second;
}

Result<Maps> Maps::open(const PinDir* pins) {
  Inheritance left;
  if (pins != nullptr) {
    auto taken = take_inheritance(*pins);
    if (!taken) return fail(taken.error().within("pins of another agent"));
    left = *taken;
  }
  auto maps = build(left, pins);
  if (left.origin == Origin::adopted)
    return maps ? std::move(maps) : fail(not_taken_up(maps.error()));
  if (!maps) return maps;
  if (left.origin == Origin::folded) maps->slab().add_to_totals(left.carried);
  if (auto done = write_schema(maps->fd(kSchemaName), 0); !done) return fail(done.error());
  if (auto done = maps->keep_pins(); !done) return fail(done.error());
  return maps;
}

Result<Maps> Maps::build(const Inheritance& left, const PinDir* pins) {
  auto fds = left.origin == Origin::adopted ? pinned_maps(*pins) : make_maps();
  if (!fds) return fail(fds.error());
  std::unique_ptr<Parts, PartsDeleter> parts(new Parts{.origin = left.origin,
                                                       .pins = pins,
                                                       .programs_hash = left.programs_hash,
                                                       .fds = std::move(*fds)});
  if (auto done = parts->open(); !done) return fail(done.error());
  return Maps(std::move(parts));
}

Result<void> Maps::keep_pins() {
  if (parts_->pins == nullptr) return {};
  if (auto done = parts_->index->keep_pin(); !done) return done;
  if (auto done = slab().keep_pins(); !done) return done;
  return keep_map_pins(parts_->fds, *parts_->pins);
}

Origin Maps::origin() const {
  return parts_->origin;
}

int Maps::fd(std::string_view name) const {
  const auto found = parts_->fds.find(name);
  return found == parts_->fds.end() ? -1 : found->second.get();
}

Slab& Maps::slab() {
  return *parts_->slab;
}
const Slab& Maps::slab() const {
  return *parts_->slab;
}
const Index& Maps::index() const {
  return *parts_->index;
}
Resizer& Maps::resizer() {
  return *parts_->resizer;
}
const Resizer& Maps::resizer() const {
  return *parts_->resizer;
}
Control& Maps::control() {
  return *parts_->control;
}
const Control& Maps::control() const {
  return *parts_->control;
}

Result<void> Maps::activate(uint32_t epoch, uint64_t hash) {
  control().activate(epoch);
  parts_->programs_hash = hash;
  return write_schema(fd(kSchemaName), hash);
}

uint64_t Maps::programs_hash() const {
  return parts_->programs_hash;
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

// With one call: it is asked for once a tick.
size_t Maps::listeners() const {
  std::vector<slogate_listener_key> keys(SLOGATE_LISTENERS);
  std::vector<slogate_listener> values(SLOGATE_LISTENERS);
  __u32 next = 0, count = SLOGATE_LISTENERS;
  const int error = bpf_map_lookup_batch(fd("slogate_listeners"), nullptr, &next, keys.data(),
                                         values.data(), &count, nullptr);
  return error == 0 || error == -ENOENT ? count : 0;
}

slogate_runs Maps::runs() const {
  const auto* lines = parts_->runs->as<slogate_runs>();
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

Result<void> Maps::set_class_rules(const ClassRules& rules) {
  if (auto done = replace_keys(fd("slogate_classes"), rules, "slogate_classes"); !done) return done;
  control().set_class_rules(static_cast<uint32_t>(rules.size()));
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

std::vector<MapStatus> Maps::status(Sockets sockets) const {
  const auto bytes = [&](std::string_view name) { return parts_->charged(name, fd(name)); };
  const auto whole = [&](std::string_view name, std::string type, uint64_t entries,
                         uint64_t capacity) {
    return MapStatus{std::string(name), std::move(type), entries, capacity, bytes(name)};
  };
  const auto losing = [&](MapStatus row, slogate_site site) {
    row.lost = control().lost(site);
    row.site = kSites[site].name;
    return row;
  };
  const size_t used = slab().used();
  MapStatus slabs =
      whole("slogate_slab", "array_of_maps", used, slab().slots() - SLOGATE_FIRST_SLOT);
  slabs.bytes += parts_->charged("a chunk", slab().chunk_fd()) * slab().chunks();
  slabs.resizes = resizer().slab_resizes();
  MapStatus owners = whole("slogate_index", "hash", used, index().capacity());
  owners.bytes += parts_->charged_for_index();
  owners.resizes = resizer().index_resizes();
  // Elements of these are charged one by one, to whoever makes the kernel allocate them: this is
  // their net size.
  MapStatus remembered = whole("slogate_sockets", "sk_storage", sockets.remembered, 0);
  remembered.bytes += sockets.remembered * sizeof(slogate_sock);
  MapStatus news = whole("slogate_news", "sk_storage", sockets.with_news, 0);
  news.bytes += sockets.with_news * sizeof(__u32);
  MapStatus roll = whole("slogate_roll", "hash", sockets.on_roll, SLOGATE_ROLL);
  const uint64_t http2 = control().http2_connections();
  MapStatus streams =
      whole("slogate_http2", "sk_storage", control().http2_streams(), http2 * SLOGATE_STREAMS);
  streams.bytes += http2 * sizeof(slogate_http2);
  return {
      losing(std::move(slabs), SLOGATE_SITE_no_slot),
      losing(std::move(owners), SLOGATE_SITE_index_full),
      whole("slogate_free", "array", slab().listed(), SLOGATE_FREE_SLOTS),
      losing(std::move(remembered), SLOGATE_SITE_no_storage),
      losing(std::move(streams), SLOGATE_SITE_no_stream),
      std::move(news),
      losing(std::move(roll), SLOGATE_SITE_no_roll),
      whole("slogate_open", "array", 1, 1),
      losing(whole("slogate_events", "ringbuf", 0, 0), SLOGATE_SITE_no_name),
      whole("slogate_left_out", "lru_hash", left_out().size(), SLOGATE_LEFT_OUT),
      whole("slogate_listeners", "lru_hash", listeners(), SLOGATE_LISTENERS),
      whole("slogate_classes", "hash", control().class_rules(), SLOGATE_CLASS_RULES),
      whole("slogate_node", "hash", parts_->node_addresses, SLOGATE_NODE_ADDRESSES),
      whole("slogate_control", "array", 1, 1),
      whole("slogate_runs", "array", SLOGATE_RUN_LINES, SLOGATE_RUN_LINES),
      whole("slogate_schema", "array", 1, 1),
  };
}

}  // namespace slogate
