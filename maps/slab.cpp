// SPDX-License-Identifier: Apache-2.0
//
// How a slot changes hands. A program claims a free one by compare-and-exchange on its state; only
// the agent takes one away:
//
//   1. state = leaving; the owner's entry leaves the index; the generation is raised. From here on
//      no program finds the slot any more, but one that is running may still add to it.
//   2. Wait until no such program is left: the kernel does that when an element of a map of maps is
//      replaced.
//   3. Fold: totals' = totals + slot goes to the copy of the totals that does not count, then one
//      store of `fold` makes it the one that counts and names the slot and its generation.
//   4. Zero the slot, clear its name from `fold`, state = free; or, for an heir, state = taken, its
//      name into the slot and then the slot into the index.
//
// An agent that dies leaves a slot `leaving`. The next one sees by `fold` whether 3 was done, and
// goes on with 4, or starts again at 1.
#include "maps/slab.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "maps/bpf_map.h"

namespace slogate {
namespace {

constexpr size_t kChunkBytes = sizeof(slogate_slot) * SLOGATE_CHUNK_SLOTS;

// The words of a slot that count something.
constexpr size_t kFirstWord = offsetof(slogate_slot, counters) / sizeof(__u64);
constexpr size_t kWords = sizeof(slogate_slot) / sizeof(__u64);

static_assert(2 + SLOGATE_SIGNALS * SLOGATE_GROUPS <= 64, "one word holds the marks of a slot");

// Words that programs write to at any moment: each is read and written whole, in no order unless
// it is said.
uint64_t load(const __u64& word) {
  return __atomic_load_n(&word, __ATOMIC_RELAXED);
}
uint32_t load(const __u32& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
template <typename Word>
void store(Word& word, std::type_identity_t<Word> value) {
  __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

template <size_t N>
void load_all(const __u64 (&from)[N], std::array<uint64_t, N>& to) {
  for (size_t i = 0; i < N; ++i) to[i] = load(from[i]);
}

// What is counted while this looks may be missing; it is there the next time.
template <size_t N>
void load_all(const __u64 (&from)[N], CountRow<N>& to) {
  size_t first = 0, end = N;
  while (first < end && load(from[first]) == 0) ++first;
  while (end > first && load(from[end - 1]) == 0) --end;
  std::vector<uint64_t> kept;
  kept.reserve(end - first);
  for (size_t i = first; i < end; ++i) kept.push_back(load(from[i]));
  to = CountRow<N>(first, std::move(kept));
}

// Of a histogram, the groups of buckets that are marked.
void load_marked(const slogate_slot& s, size_t signal, uint64_t marks, Histogram& to) {
  std::array<uint64_t, SLOGATE_GROUP> read{};
  for (size_t first = 0; first < SLOGATE_BUCKETS; first += SLOGATE_GROUP) {
    if ((marks & SLOGATE_DIRTY_BUCKET(signal, first)) == 0) continue;
    const size_t number = std::min<size_t>(SLOGATE_GROUP, SLOGATE_BUCKETS - first);
    for (size_t i = 0; i < number; ++i) read[i] = load(s.histograms[signal][first + i]);
    to.assign(first, std::span(read).first(number));
  }
}

std::span<__u64> words(slogate_slot& slot) {
  return {reinterpret_cast<__u64*>(&slot), kWords};
}

// What `fold` says: which copy of the totals counts (the top bit), and the slot that was added to
// it last with its generation, 0 when that slot has been emptied.
uint64_t fold_word(size_t copy, size_t number, uint32_t generation) {
  return uint64_t{copy} << 63 | uint64_t{number} << 32 | generation;
}
size_t fold_copy(uint64_t word) {
  return word >> 63;
}

std::string chunk_pin(size_t number) {
  return fmt::format("chunk_{:04}", number);
}

// ---- calls that wait for running programs ----

Result<void> publish(int outer_fd, const std::vector<__u32>& keys, const std::vector<int>& fds) {
  auto done = static_cast<__u32>(keys.size());
  int error = keys.size() == 1
                  ? -ENOTSUP
                  : bpf_map_update_batch(outer_fd, keys.data(), fds.data(), &done, nullptr);
  if (error == -ENOTSUP || error == -EINVAL)  // one, or a kernel without batches of these
    for (size_t i = error = 0; i < keys.size() && error == 0; ++i)
      error = bpf_map_update_elem(outer_fd, &keys[i], &fds[i], BPF_ANY);
  if (error != 0) return fail(bpf_error("cannot add chunks of slots", error));
  return {};
}

Result<void> unpublish(int outer_fd, size_t first, size_t end) {
  for (size_t i = end; i-- > first;) {
    const auto key = static_cast<__u32>(i);
    if (const int error = bpf_map_delete_elem(outer_fd, &key); error != 0)
      return fail(bpf_error("cannot give back a chunk of slots", error));
  }
  return {};
}

}  // namespace

// ---- life ----

Result<Slab> Slab::open(int outer_fd, slogate_control* control, uint64_t* ring, const PinDir* pins,
                        KernelWait& waits, Index& index) {
  Slab slab(outer_fd, control, ring, pins, waits, index);
  for (size_t i = 0; pins != nullptr && pins->has(chunk_pin(i)); ++i)
    if (auto done = slab.adopt_chunk(i); !done) return fail(done.error());
  if (slab.chunks_.empty()) {
    if (auto done = slab.add_chunks(1); !done) return fail(done.error());
    slab.reserve_slots();
  }
  if (auto done = slab.recover(); !done) return fail(done.error());
  slab.list_free();
  return slab;
}

// Nobody may claim these.
void Slab::reserve_slots() {
  for (size_t i = 0; i < SLOGATE_FIRST_SLOT; ++i) store(slot(i).state, SLOGATE_SLOT_retired);
}

Result<Slab::Chunk> Slab::make_chunk() {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
  Fd fd(bpf_map_create(BPF_MAP_TYPE_ARRAY, "slogate_chunk", sizeof(__u32), sizeof(slogate_slot),
                       SLOGATE_CHUNK_SLOTS, &options));
  if (!fd) return fail(bpf_error("cannot create a chunk of slots", errno));
  auto memory = SharedMemory::map(fd.get(), kChunkBytes, "a chunk of slots");
  if (!memory) return fail(memory.error());
  // Generations start at 1: no slot answers to a reference of 0.
  for (size_t i = 0; i < SLOGATE_CHUNK_SLOTS; ++i) memory->as<slogate_slot>()[i].generation = 1;
  return Chunk{std::move(fd), std::move(*memory)};
}

// All of them are published in one call: the kernel waits for running programs at the end of each
// call.
Result<void> Slab::add_chunks(size_t number) {
  std::vector<Chunk> added;
  const size_t first = chunks_.size();
  Result<void> outcome;
  while (added.size() < number && outcome) {
    auto chunk = make_chunk();
    if (!chunk) {
      outcome = fail(chunk.error());
      break;
    }
    if (pins_ != nullptr) outcome = pins_->pin(chunk->fd.get(), chunk_pin(first + added.size()));
    if (outcome) added.push_back(std::move(*chunk));
  }
  for (Chunk& chunk : added) chunks_.push_back(std::move(chunk));
  listed_at_.resize(slots());
  if (auto done = publish_new(); !done) return done;
  return outcome;
}

// What could not be published is tried again when the slab is asked to grow the next time.
Result<void> Slab::publish_new() {
  if (published_ == chunks_.size()) return {};
  std::vector<__u32> keys;
  std::vector<int> fds;
  for (size_t i = published_; i < chunks_.size(); ++i) {
    keys.push_back(static_cast<__u32>(i));
    fds.push_back(chunks_[i].fd.get());
  }
  const size_t first = std::exchange(published_, chunks_.size());
  return waits_->run([outer = outer_fd_, keys, fds] { return publish(outer, keys, fds); },
                     [this, first](const Result<void>& done) {
                       if (!done) published_ = std::min(published_, first);
                       return done;
                     });
}

bool Slab::is_visible(size_t chunk) const {
  const auto key = static_cast<__u32>(chunk);
  __u32 id = 0;
  return bpf_map_lookup_elem(outer_fd_, &key, &id) == 0;
}

// The programs find a chunk long before the kernel returns from the call that adds it.
void Slab::wait_until_visible() {
  using namespace std::chrono_literals;
  const auto deadline = std::chrono::steady_clock::now() + 50ms;
  while (!is_visible(chunks_.size() - 1) && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(100us);
}

Result<void> Slab::adopt_chunk(size_t number) {
  auto fd = pins_->get(chunk_pin(number));
  if (!fd) return fail(fd.error());
  const auto facts = map_facts(fd->get());
  if (!facts) return fail(facts.error());
  if (facts->value_bytes != sizeof(slogate_slot) || facts->entries != SLOGATE_CHUNK_SLOTS)
    return fail(fmt::format("pinned {} has another layout", chunk_pin(number)),
                "run slogate-agent --unpin");
  auto memory = SharedMemory::map(fd->get(), kChunkBytes, "a pinned chunk of slots");
  if (!memory) return fail(memory.error());
  // The agent before may have died between pinning a chunk and publishing it, or the other way
  // round when it gave one back.
  const auto key = static_cast<__u32>(number);
  __u32 published = 0;
  const bool known =
      bpf_map_lookup_elem(outer_fd_, &key, &published) == 0 && published == facts->id;
  chunks_.push_back({std::move(*fd), std::move(*memory)});
  listed_at_.resize(slots());
  if (!known) return publish_new();
  published_ = chunks_.size();
  return {};
}

Result<void> Slab::recover() {
  // Where the ring lists them, slots need not be listed again.
  const uint32_t listed = control_->free_listed;
  for (uint32_t at = load(control_->free_taken); at != listed; ++at)
    if (const uint64_t number = ring_[at % SLOGATE_FREE_SLOTS]; number < slots())
      listed_at_[number] = at;

  std::vector<Leaver> unfinished;
  for (size_t i = SLOGATE_FIRST_SLOT; i < slots(); ++i) {
    slogate_slot& s = slot(i);
    if (s.state == SLOGATE_SLOT_retired) store(s.state, SLOGATE_SLOT_free);
    if (s.state != SLOGATE_SLOT_leaving) continue;
    const uint64_t fold = control_->fold;
    if (fold == fold_word(fold_copy(fold), i, s.generation))
      empty(i);
    else
      unfinished.push_back({i});
  }
  return release(unfinished);
}

// ---- reading ----

slogate_slot& Slab::slot(size_t number) const {
  return chunks_[number / SLOGATE_CHUNK_SLOTS]
      .memory.as<slogate_slot>()[number % SLOGATE_CHUNK_SLOTS];
}

size_t Slab::used() const {
  size_t used = 0;
  for (size_t i = SLOGATE_FIRST_SLOT; i < slots(); ++i)
    if (const uint32_t state = load(slot(i).state);
        state == SLOGATE_SLOT_taken || state == SLOGATE_SLOT_leaving)
      ++used;
  return used;
}

Owner Slab::owner(size_t number) const {
  const slogate_slot& s = slot(number);
  // The program writes the owner last, so what is read after it belongs to it.
  const uint64_t cgroup = __atomic_load_n(&s.cgroup, __ATOMIC_ACQUIRE);
  return {cgroup, static_cast<slogate_class>(std::min<uint32_t>(s.class_, SLOGATE_CLASSES - 1)),
          s.generation, static_cast<uint16_t>(s.port)};
}

uint64_t Slab::take_dirty(size_t number) {
  slogate_slot& s = slot(number);
  if (load(s.dirty) == 0) return 0;
  // A full barrier: what is added after this read is marked again.
  return __atomic_exchange_n(&s.dirty, 0, __ATOMIC_SEQ_CST);
}

uint64_t Slab::dirty(size_t number) const {
  return __atomic_load_n(&slot(number).dirty, __ATOMIC_ACQUIRE);
}

void Slab::copy(size_t number, Counts& to, uint64_t marks) const {
  const slogate_slot& s = slot(number);
  const bool all = (marks & SLOGATE_DIRTY_ALL) != 0;
  if (all || (marks & SLOGATE_DIRTY_COUNTERS) != 0) load_all(s.counters, to.counters);
  if (all) load_all(s.drops, to.drops);
  for (size_t i = 0; i < SLOGATE_SIGNALS; ++i) {
    if (all)
      load_all(s.histograms[i], to.histograms[i]);
    else
      load_marked(s, i, marks, to.histograms[i]);
  }
}

Counts Slab::totals() const {
  Counts counts;
  copy(SLOGATE_TOTALS + fold_copy(control_->fold), counts);
  return counts;
}

Counts Slab::unattributed() const {
  Counts counts;
  copy(SLOGATE_UNATTRIBUTED, counts);
  return counts;
}

void Slab::read_answers(size_t number, bool read) {
  slogate_slot& s = slot(number);
  if (load(s.answers) != static_cast<__u32>(read)) store(s.answers, read ? 1 : 0);
}

// ---- growing and shrinking ----

Result<void> Slab::grow(size_t wanted) {
  if (shrinking_) return {};
  const size_t chunks = std::min<size_t>((wanted + SLOGATE_CHUNK_SLOTS - 1) / SLOGATE_CHUNK_SLOTS,
                                         SLOGATE_MAX_CHUNKS);
  if (chunks <= chunks_.size()) return publish_new();
  auto done = add_chunks(chunks - chunks_.size());
  wait_until_visible();
  list_free();
  return done;
}

Result<void> Slab::keep_pins() const {
  for (size_t i = 0; pins_ != nullptr && i < chunks_.size(); ++i)
    if (auto done = pins_->keep(chunks_[i].fd.get(), chunk_pin(i)); !done) return done;
  return {};
}

// Lowest first, so that the chunks fill up in order and the last ones fall free. A slot that was
// taken from the ring and is free was given back: two CPUs had wanted one for the same owner.
void Slab::list_free() {
  while (visible_ < published_ && is_visible(visible_)) ++visible_;
  const uint32_t taken = load(control_->free_taken);
  for (size_t i = SLOGATE_FIRST_SLOT; i < visible_ * SLOGATE_CHUNK_SLOTS; ++i) {
    const uint32_t listed = control_->free_listed;
    if (listed - taken >= SLOGATE_FREE_SLOTS) return;
    std::optional<uint32_t>& at = listed_at_[i];
    const bool in_ring = at && static_cast<int32_t>(*at - taken) >= 0;
    if (in_ring || load(slot(i).state) != SLOGATE_SLOT_free) continue;
    at = listed;
    store(ring_[listed % SLOGATE_FREE_SLOTS], i);
    store(control_->free_listed, listed + 1);  // the entry before the count that makes it one
  }
}

size_t Slab::listed() const {
  return load(control_->free_listed) - load(control_->free_taken);
}

Result<void> Slab::shrink(size_t wanted) {
  if (!waits_->idle()) return {};
  size_t first = chunks_.size();
  while (first * SLOGATE_CHUNK_SLOTS >= wanted + SLOGATE_CHUNK_SLOTS && first > 1 &&
         chunks_.size() - first < kChunksAtOnce && retire(first - 1))
    --first;
  if (first == chunks_.size()) return {};
  shrinking_ = true;
  return waits_->run(
      [outer = outer_fd_, first, end = chunks_.size()] { return unpublish(outer, first, end); },
      [this, first](const Result<void>& deleted) { return finish_shrink(first, deleted); });
}

Result<void> Slab::finish_shrink(size_t chunks, const Result<void>& deleted) {
  shrinking_ = false;
  published_ = visible_ = std::min(visible_, chunks);
  if (!deleted) {  // they are published anew when the slab next grows
    for (size_t i = chunks; i < chunks_.size(); ++i) unretire(i);
    return deleted;
  }
  while (chunks_.size() > chunks) {
    if (pins_ != nullptr) pins_->unpin(chunk_pin(chunks_.size() - 1));
    chunks_.pop_back();
  }
  listed_at_.resize(slots());
  relist();
  return {};
}

// Claims every slot of a chunk, or none: a program may claim one at the same moment.
bool Slab::retire(size_t chunk) {
  const size_t first = chunk * SLOGATE_CHUNK_SLOTS;
  for (size_t i = first; i < first + SLOGATE_CHUNK_SLOTS; ++i) {
    __u32 expected = SLOGATE_SLOT_free;
    if (__atomic_compare_exchange_n(&slot(i).state, &expected, SLOGATE_SLOT_retired, false,
                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
      continue;
    while (i-- > first) store(slot(i).state, SLOGATE_SLOT_free);
    return false;
  }
  return true;
}

void Slab::unretire(size_t chunk) {
  const size_t first = chunk * SLOGATE_CHUNK_SLOTS;
  for (size_t i = first; i < first + SLOGATE_CHUNK_SLOTS; ++i)
    store(slot(i).state, SLOGATE_SLOT_free);
}

// Takes entries out of the ring whose slots are gone. The good ones are listed again behind
// the others before these are skipped, so that the ring never looks empty to a program; an entry
// that is taken twice meanwhile is claimed once.
void Slab::relist() {
  const uint32_t end = control_->free_listed;
  listed_at_.assign(slots(), std::nullopt);
  list_free();
  uint32_t taken = load(control_->free_taken);
  while (static_cast<int32_t>(end - taken) > 0 &&
         !__atomic_compare_exchange_n(&control_->free_taken, &taken, end, false, __ATOMIC_SEQ_CST,
                                      __ATOMIC_SEQ_CST)) {
  }
}

// ---- releasing ----

Result<void> Slab::release(std::span<const Leaver> leavers) {
  if (leavers.empty() || releasing_ || index_->is_resizing()) return {};
  for (const Leaver& leaver : leavers) begin_release(leaver.slot);
  releasing_ = true;
  // The first chunk is always there: to publish it once more changes nothing and waits.
  return waits_->run([outer = outer_fd_,
                      first = chunks_.front().fd.get()] { return publish(outer, {0}, {first}); },
                     [this, leaving = std::vector(leavers.begin(), leavers.end())](
                         const Result<void>& waited) { return finish_release(leaving, waited); });
}

Result<void> Slab::finish_release(const std::vector<Leaver>& leavers, const Result<void>& waited) {
  releasing_ = false;
  if (!waited) return waited;  // they stay as they are until they are asked for again
  for (const Leaver& leaver : leavers) {
    fold(leaver.slot);
    empty(leaver.slot, leaver.heir);
  }
  list_free();
  return {};
}

void Slab::begin_release(size_t number) {
  slogate_slot& s = slot(number);
  store(s.state, SLOGATE_SLOT_leaving);
  index_->erase({s.cgroup, s.class_, s.port}, number);
  const uint32_t next = s.generation + 1;
  store(s.generation, next == 0 ? 1 : next);
}

void Slab::fold(size_t number) {
  const size_t copy = fold_copy(control_->fold);
  const auto from = words(slot(SLOGATE_TOTALS + copy));
  const auto to = words(slot(SLOGATE_TOTALS + (1 - copy)));
  const auto leaving = words(slot(number));
  for (size_t i = kFirstWord; i < kWords; ++i) to[i] = from[i] + load(leaving[i]);
  store(control_->fold, fold_word(1 - copy, number, slot(number).generation));
}

void Slab::empty(size_t number, uint64_t heir) {
  slogate_slot& s = slot(number);
  for (__u64& word : words(s).subspan(kFirstWord)) __atomic_store_n(&word, 0, __ATOMIC_RELAXED);
  store(s.dirty, 0);
  store(s.answers, 0);
  store(s.cgroup, 0);
  store(control_->fold, fold_word(fold_copy(control_->fold), 0, 0));
  if (heir != 0) {
    s.class_ = SLOGATE_CLASS_service;
    s.port = 0;
    store(s.cgroup, heir);
    store(s.state, SLOGATE_SLOT_taken);
    if (index_->insert({heir, s.class_, 0}, {static_cast<__u32>(number), s.generation})) return;
    store(s.cgroup, 0);
  }
  store(s.state, SLOGATE_SLOT_free);
}

void Slab::add_to_totals(const Counts& counts) {
  const size_t copy = fold_copy(control_->fold);
  const slogate_slot& from = slot(SLOGATE_TOTALS + copy);
  slogate_slot& to = slot(SLOGATE_TOTALS + (1 - copy));
  for (size_t i = 0; i < SLOGATE_COUNTERS; ++i)
    to.counters[i] = from.counters[i] + counts.counters[i];
  for (size_t i = 0; i < SLOGATE_DROP_REASONS; ++i) to.drops[i] = from.drops[i] + counts.drops[i];
  for (size_t signal = 0; signal < SLOGATE_SIGNALS; ++signal)
    for (size_t i = 0; i < SLOGATE_BUCKETS; ++i)
      to.histograms[signal][i] = from.histograms[signal][i] + counts.histograms[signal][i];
  store(control_->fold, fold_word(1 - copy, 0, 0));
}

}  // namespace slogate
