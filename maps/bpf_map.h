// SPDX-License-Identifier: Apache-2.0
// Thin steps around libbpf's calls.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "maps/error.h"
#include "maps/fd.h"

namespace slogate {

// The remedy when the kernel refuses a BPF call.
[[nodiscard]] Error bpf_error(std::string_view what, int errno_value);

// Bytes the kernel charges for a map ("memlock" of its fdinfo), 0 when it does not tell.
[[nodiscard]] uint64_t charged_bytes(int fd);

// What the kernel knows of a map.
struct MapFacts {
  uint32_t id = 0, type = 0, key_bytes = 0, value_bytes = 0, entries = 0, flags = 0;
};
Result<MapFacts> map_facts(int fd);

// Runs of a program that the kernel left out because they had interrupted another one of it on the
// same CPU, as it counts them itself. Nothing if `fd` is no program.
[[nodiscard]] std::optional<uint64_t> missed_runs(int program);

}  // namespace slogate
