// SPDX-License-Identifier: Apache-2.0
// What the machine under the agent offers and lacks: for `slogate doctor`, and for the agent before
// it starts.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/host/kernel_features.h"
#include "maps/error.h"

namespace slogate {

// Where the kernel shows itself; tests point it at a directory of their own.
struct HostRoots {
  std::string proc = "/proc", sys = "/sys";
  KernelTrials trials = {};
};

enum class FindingState {
  Ok,
  Degraded,  // slogate runs, and shows or keeps less
  Missing,   // slogate cannot run
};

// "ok", "degraded" or "missing".
[[nodiscard]] std::string_view to_text(FindingState state);

// One fact about the host.
struct Finding {
  std::string name;
  FindingState state = FindingState::Ok;
  std::string detail = {};  // what was found, and what it means when it is not ok
  std::string remedy = {};  // "" when there is nothing to do
};

struct KernelVersion {
  unsigned major = 0, minor = 0;
  auto operator<=>(const KernelVersion&) const = default;
};

// The oldest kernel slogate is meant for.
inline constexpr KernelVersion kOldestKernel{6, 1};

// From a release such as "6.1.0-18-amd64".
[[nodiscard]] Result<KernelVersion> parse_kernel_release(std::string_view text);

// The effective capabilities, one bit each, from the text of /proc/self/status.
[[nodiscard]] Result<uint64_t> parse_cap_eff(std::string_view status);

// Where cgroup2 is mounted: the host's whole tree where one can be found, else the first mount.
Result<std::string> find_cgroup2(const HostRoots& roots);

// Where v1 keeps the limits of memory on this host, if it does.
std::optional<std::string> find_v1_memory(const HostRoots& roots);

// Everything slogate depends on, good or bad, in the order it is needed.
std::vector<Finding> inspect_host(const HostRoots& roots);

// The first finding without which slogate cannot run, as an error with its remedy.
[[nodiscard]] Result<void> require_host(std::span<const Finding> findings);

}  // namespace slogate
