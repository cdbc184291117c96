// SPDX-License-Identifier: Apache-2.0
#include "maps/shared_maps.h"

#include <bpf/libbpf.h>
#include <fcntl.h>

#include <cerrno>
#include <memory>

#include "bpf/maps.skel.h"
#include "maps/bpf_map.h"

namespace slogate {
namespace {

using Skeleton = std::unique_ptr<maps_bpf, void (*)(maps_bpf*)>;

Result<Skeleton> open_skeleton() {
  Skeleton skeleton(maps_bpf__open(), maps_bpf__destroy);
  if (!skeleton) return fail(bpf_error("cannot read the object of the BPF maps", errno));
  return skeleton;
}

Result<void> require_same(const bpf_map* ours, int pinned) {
  const auto facts = map_facts(pinned);
  if (!facts) return fail(facts.error());
  if (facts->type != bpf_map__type(ours) || facts->key_bytes != bpf_map__key_size(ours) ||
      facts->value_bytes != bpf_map__value_size(ours))
    return fail(fmt::format("{} is another map", bpf_map__name(ours)));
  return {};
}

}  // namespace

Result<std::vector<std::string>> shared_map_names() {
  const auto skeleton = open_skeleton();
  if (!skeleton) return fail(skeleton.error());
  std::vector<std::string> names;
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, (*skeleton)->obj) names.emplace_back(bpf_map__name(map));
  return names;
}

// The object they come from is not needed after that.
Result<MapFds> make_maps() {
  const auto skeleton = open_skeleton();
  if (!skeleton) return fail(skeleton.error());
  if (const int error = maps_bpf__load(skeleton->get()); error != 0)
    return fail(bpf_error("cannot create the BPF maps", error));
  MapFds fds;
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, (*skeleton)->obj) {
    Fd copy(fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 3));
    if (!copy)
      return fail(system_error(fmt::format("cannot keep map {}", bpf_map__name(map)), errno));
    fds.emplace(bpf_map__name(map), std::move(copy));
  }
  return fds;
}

Result<MapFds> pinned_maps(const PinDir& pins) {
  const auto skeleton = open_skeleton();
  if (!skeleton) return fail(skeleton.error());
  MapFds fds;
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, (*skeleton)->obj) {
    auto fd = pins.get(bpf_map__name(map));
    if (!fd) return fail(std::move(fd.error()));
    if (auto same = require_same(map, fd->get()); !same) return fail(same.error());
    fds.emplace(bpf_map__name(map), std::move(*fd));
  }
  return fds;
}

Result<void> keep_map_pins(const MapFds& maps, const PinDir& pins) {
  for (const auto& [name, fd] : maps)
    if (name != kSchemaName)
      if (auto done = pins.keep(fd.get(), name); !done) return done;
  return pins.keep(maps.find(kSchemaName)->second.get(), kSchemaName);
}

}  // namespace slogate
