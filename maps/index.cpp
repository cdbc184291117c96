// SPDX-License-Identifier: Apache-2.0
#include "maps/index.h"

#include <bpf/bpf.h>

#include <cerrno>
#include <memory>

#include "maps/bpf_map.h"

namespace slogate {
namespace {

constexpr std::string_view kPin = "owners";
constexpr std::string_view kNextPin = "owners_next";

Result<Fd> create_hash(size_t entries) {
  Fd fd(bpf_map_create(BPF_MAP_TYPE_HASH, "slogate_owners", sizeof(slogate_key),
                       sizeof(slogate_ref), static_cast<__u32>(entries), nullptr));
  if (!fd) return fail(bpf_error("cannot create an index", errno));
  return fd;
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

Result<Index> Index::open(int outer_fd, const PinDir* pins, KernelWait& waits, size_t entries) {
  Index index(outer_fd, pins, waits);
  if (pins != nullptr && (pins->has(kPin) || pins->has(kNextPin))) {
    if (auto done = index.adopt(); !done) return fail(done.error());
  } else if (auto done = index.resize(entries); !done) {
    return fail(done.error());
  }
  return index;
}

// Whichever of the two pins the programs see is the index; an agent may have died while it
// replaced one by the other.
Result<void> Index::adopt() {
  const __u32 zero = 0;
  __u32 current = 0;
  if (const int error = bpf_map_lookup_elem(outer_fd_, &zero, &current); error != 0)
    return fail(bpf_error("cannot read slogate_index", error));
  for (const std::string_view name : {kPin, kNextPin}) {
    if (!pins_->has(name)) continue;
    auto fd = pins_->get(name);
    if (!fd) return fail(fd.error());
    const auto facts = map_facts(fd->get());
    if (!facts) return fail(facts.error());
    if (facts->id != current) continue;
    inner_ = std::move(*fd);
    capacity_ = facts->entries;
    if (name == kNextPin) return pins_->rename(kNextPin, kPin);
    pins_->unpin(kNextPin);
    return {};
  }
  return fail("the pinned index is not the one in use", "run slogate-agent --unpin");
}

Result<void> Index::resize(size_t entries) {
  if (resizing_) return {};
  auto next = create_hash(entries);
  if (!next) return fail(next.error());
  if (inner_)
    if (auto done = copy_owners(inner_.get(), next->get()); !done) return done;
  if (pins_ != nullptr)
    if (auto done = pins_->pin(next->get(), kNextPin); !done) return done;
  resizing_ = true;
  // Shared, since a function object has to be copyable.
  const auto shared = std::make_shared<Fd>(std::move(*next));
  return waits_->run(
      [outer = outer_fd_, shared]() -> Result<void> {
        const __u32 zero = 0;
        const int fd = shared->get();
        if (const int error = bpf_map_update_elem(outer, &zero, &fd, BPF_ANY); error != 0)
          return fail(bpf_error("cannot replace the index", error));
        return {};
      },
      [this, shared, entries](const Result<void>& published) {
        return finish_resize(std::move(*shared), entries, published);
      });
}

Result<void> Index::finish_resize(Fd next, size_t entries, const Result<void>& published) {
  resizing_ = false;
  if (!published) {
    if (pins_ != nullptr) pins_->unpin(kNextPin);
    return published;
  }
  const Fd old = std::exchange(inner_, std::move(next));
  capacity_ = entries;
  if (pins_ != nullptr && !pins_->rename(kNextPin, kPin)) {  // somebody removed it
    pins_->unpin(kPin);
    if (auto done = keep_pin(); !done) return done;
  }
  return old ? copy_owners(old.get(), inner_.get()) : Result<void>{};
}

Result<void> Index::keep_pin() const {
  return pins_ == nullptr || resizing_ ? Result<void>{} : pins_->keep(inner_.get(), kPin);
}

bool Index::insert(const slogate_key& key, const slogate_ref& ref) {
  return !resizing_ && bpf_map_update_elem(inner_.get(), &key, &ref, BPF_NOEXIST) == 0;
}

void Index::erase(const slogate_key& key, size_t slot) {
  slogate_ref ref{};
  // Only the agent removes owners, so nobody can put another slot here in between.
  if (bpf_map_lookup_elem(inner_.get(), &key, &ref) == 0 && ref.slot == slot)
    bpf_map_delete_elem(inner_.get(), &key);
}

}  // namespace slogate
