// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/program_objects.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>

#include "bpf/objects.h"
#include "maps/bpf_map.h"

namespace slogate {
namespace {

#define SLOGATE_OBJECT(name) ProgramObject{#name, name##_bpf__elf_bytes},
constexpr auto kObjects = std::to_array<ProgramObject>({SLOGATE_OBJECTS});
#undef SLOGATE_OBJECT

constexpr bool has_row(const ProgramObject& object) {
  return std::ranges::any_of(kProbes, [&](const ProbeInfo& i) { return i.object == object.name; });
}
constexpr bool has_object(const ProbeInfo& info) {
  return std::ranges::any_of(kObjects, [&](const auto& o) { return o.name == info.object; });
}
static_assert(std::ranges::all_of(kObjects, has_row), "a .bpf.c without a row in signals.def");
static_assert(std::ranges::all_of(kProbes, has_object), "a row of signals.def without a .bpf.c");

template <typename T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

// Read-only for programs: their constants.
bool is_constants(const bpf_map* map) {
  return bpf_map__is_internal(map) && (bpf_map__map_flags(map) & BPF_F_RDONLY_PROG) != 0;
}

// Those that the source names; the compiler has sections of its own, such as .rodata.cst8.
bpf_map* find_constants(const bpf_object& object) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, &object) {
    if (is_constants(map) && std::string_view(bpf_map__name(map)).ends_with(".rodata")) return map;
  }
  return nullptr;
}

Result<void> set_constant(std::string& memory, const btf_var_secinfo& place, std::string_view name,
                          std::span<const Constant> constants) {
  const auto found = std::ranges::find(constants, name, &Constant::name);
  if (found == constants.end())
    return fail(fmt::format("nothing gives the constant {} of the programs a value", name),
                "give it one in constants_of()");
  if (found->bytes.size() != place.size || memory.size() < place.offset + place.size)
    return fail(fmt::format("the constant {} of the programs has {} bytes, and its value {}", name,
                            place.size, found->bytes.size()));
  std::memcpy(memory.data() + place.offset, found->bytes.data(), place.size);
  return {};
}

// What the object's rows say it has: the programs of tracepoints and iterators, and those at the
// entry of functions.
std::set<std::string, std::less<>> programs_of(std::string_view object) {
  std::set<std::string, std::less<>> names;
  for (const ProbeInfo& info : kProbes) {
    if (info.object != object) continue;
    names.emplace(info.name);
    for (const std::string_view function : functions_of(info)) names.insert(entry_of(function));
  }
  return names;
}

}  // namespace

std::string_view ProgramObject::bytes() const {
  size_t size = 0;
  const void* start = elf(&size);
  return {static_cast<const char*>(start), size};
}

std::span<const ProgramObject> program_objects() {
  return kObjects;
}

void ObjectDeleter::operator()(bpf_object* object) const {
  bpf_object__close(object);
}

Result<OpenObject> open_object(const ProgramObject& object) {
  const std::string name = fmt::format("{}_bpf", object.name);
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = name.c_str());
  const std::string_view bytes = object.bytes();
  OpenObject opened(bpf_object__open_mem(bytes.data(), bytes.size(), &options));
  if (!opened)
    return fail(system_error(fmt::format("object {} cannot be read", object.name), errno));
  return opened;
}

std::vector<Constant> constants_of(const KernelFeatures& features, uint32_t epoch) {
  std::string counted(SLOGATE_DROP_REASONS, '\0');
  const std::vector<std::string> reasons = counted_drop_reasons(features);
  for (size_t i = 0; i < reasons.size(); ++i) counted[i] = reasons[i].empty() ? 0 : 1;
  const auto overflow = std::ranges::find(reasons, "TCP_LISTEN_OVERFLOW");
  const auto listen_overflow =
      overflow == reasons.end() ? 0U : static_cast<uint32_t>(overflow - reasons.begin());
  const ProbeInfo& send_length = kProbes[SLOGATE_PROBE_send_length];
  return {
      {"slogate_epoch", bytes_of(epoch)},
      {"close_at_send_length", bytes_of(is_wanted(send_length, features))},
      {"counted", std::move(counted)},
      {"has_rx_sk", bytes_of(features.kfree_skb_has_socket)},
      {"listen_overflow", bytes_of(listen_overflow)},
      {"no_socket", bytes_of(refusing_drop_reason(features))},
      {"resets_without_socket", bytes_of(features.resets_without_socket)},
      {"read_answers", bytes_of(features.read_answers)},
      {"follow_http2", bytes_of(why_no_http2(features).empty())},
      {"by_roll", bytes_of(!features.no_map_iterators.empty())},
  };
}

Result<void> set_constants(bpf_object& object, std::span<const Constant> constants) {
  bpf_map* const map = find_constants(object);
  const btf* const types = bpf_object__btf(&object);
  if (map == nullptr || types == nullptr) return {};
  size_t size = 0;
  const auto* const start = static_cast<const char*>(bpf_map__initial_value(map, &size));
  const int id = btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC);
  if (start == nullptr || id < 0) return fail("the programs' constants cannot be found");
  std::string memory(start, size);
  const btf_type* const section = btf__type_by_id(types, id);
  const btf_var_secinfo* const places = btf_var_secinfos(section);
  for (size_t i = 0; i < btf_vlen(section); ++i) {
    const btf_type* const variable = btf__type_by_id(types, places[i].type);
    // What is `static` has its value from the source, such as the edges of the buckets.
    if (btf_var(variable)->linkage != BTF_VAR_GLOBAL_ALLOCATED) continue;
    const std::string_view name = btf__name_by_offset(types, variable->name_off);
    if (auto done = set_constant(memory, places[i], name, constants); !done) return done;
  }
  if (const int error = bpf_map__set_initial_value(map, memory.data(), memory.size()); error != 0)
    return fail(bpf_error("cannot set the programs' constants", error));
  return {};
}

Result<void> require_shared(const bpf_object& object,
                            const std::function<bool(std::string_view)>& is_shared) {
  const bpf_map* map = nullptr;
  bpf_object__for_each_map(map, &object) {
    const std::string_view name = bpf_map__name(map);
    if (is_shared(name) || is_constants(map)) continue;
    return fail(fmt::format("map {} of object {} is not shared: the agent would never read it",
                            name, bpf_object__name(&object)),
                "declare it in bpf/maps.h");
  }
  return {};
}

Result<void> share_maps(bpf_object& object, const SharedMap& shared) {
  const auto is_shared = [&](std::string_view name) { return shared(name) >= 0; };
  if (auto done = require_shared(object, is_shared); !done) return done;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, &object) {
    if (is_constants(map)) continue;
    if (const int error = bpf_map__reuse_fd(map, shared(bpf_map__name(map))); error != 0)
      return fail(bpf_error(fmt::format("cannot share map {}", bpf_map__name(map)), error));
  }
  return {};
}

Result<void> require_rows(const bpf_object& object, std::string_view name) {
  auto missing = programs_of(name);
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, &object) {
    const std::string_view found = bpf_program__name(program);
    if (missing.erase(std::string(found)) == 0)
      return fail(fmt::format("program {} of object {} has no row there", found, name),
                  "give it one in maps/signals.def");
  }
  if (missing.empty()) return {};
  return fail(fmt::format("object {} has no program {}", name, *missing.begin()),
              "write it, or take it out of maps/signals.def");
}

void choose_programs(bpf_object& object, const KernelFeatures& features) {
  std::set<std::string, std::less<>> wanted;
  for (const ProbeInfo& info : kProbes)
    for (Hook& hook : hooks_of(info, features)) wanted.insert(std::move(hook.program));
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, &object)
      bpf_program__set_autoload(program, wanted.contains(bpf_program__name(program)));
}

}  // namespace slogate
