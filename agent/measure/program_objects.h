// SPDX-License-Identifier: Apache-2.0
// The BPF objects: which there are, and what is put into one before the kernel sees it. A name that
// nothing here knows, of a map, a constant or a program, is refused: libbpf would give the object a
// map that nobody reads, leave the constant 0, or load the program for nothing.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/host/kernel_features.h"
#include "maps/error.h"

struct bpf_object;

namespace slogate {

// One .bpf.c, compiled.
struct ProgramObject {
  std::string_view name;  // in its rows of signals.def
  const void* (*elf)(size_t* size);

  [[nodiscard]] std::string_view bytes() const;
};

// Every .bpf.c that has programs.
[[nodiscard]] std::span<const ProgramObject> program_objects();

struct ObjectDeleter {
  void operator()(bpf_object* object) const;
};
using OpenObject = std::unique_ptr<bpf_object, ObjectDeleter>;

// Reads the object; nothing is loaded, so it takes no privilege.
Result<OpenObject> open_object(const ProgramObject& object);

// A value for what a .bpf.c declares as `const volatile`.
struct Constant {
  std::string_view name;
  std::string bytes;
};

// All that programs are told of this kernel and of the agent that loads them.
[[nodiscard]] std::vector<Constant> constants_of(const KernelFeatures& features, uint32_t epoch);

// Fails for a constant of the object that has no value here, or one of another size.
Result<void> set_constants(bpf_object& object, std::span<const Constant> constants);

// The shared map of that name, -1 for none.
using SharedMap = std::function<int(std::string_view name)>;

// Fails for a map that is not shared. What a program can only read is its object's own.
Result<void> require_shared(const bpf_object& object,
                            const std::function<bool(std::string_view)>& is_shared);

// Makes the object use the shared maps, all of which it must find.
Result<void> share_maps(bpf_object& object, const SharedMap& shared);

// Fails for a program that has no row in signals.def, whose row says it is in another object, or
// that a row names and the object does not have.
Result<void> require_rows(const bpf_object& object, std::string_view name);

// Lets those programs be loaded that this kernel has a hook for.
void choose_programs(bpf_object& object, const KernelFeatures& features);

}  // namespace slogate
