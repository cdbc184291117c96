// SPDX-License-Identifier: Apache-2.0
#include "agent/host/memory_limit.h"

#include <fmt/format.h>

#include <algorithm>

#include "maps/file.h"
#include "maps/integer.h"

namespace slogate {
namespace {

// Heap, stacks and a snapshot of some thousand cgroups with its answer to a scrape.
constexpr uint64_t kOwnMemory = uint64_t{48} << 20;

}  // namespace

std::string parse_own_cgroup(std::string_view text, std::string_view controller) {
  const std::string before_path = fmt::format(":{}:", controller);
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    const size_t number = std::min(line.find(':'), line.size());
    if (line.substr(number).starts_with(before_path + '/'))
      return std::string(line.substr(number + before_path.size()));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return "";
}

std::optional<uint64_t> read_memory_limit(const std::string& root, std::string path,
                                          std::string_view file) {
  std::optional<uint64_t> least;
  for (;;) {
    // "max", a missing file (the root has none) or a missing controller: no limit here.
    const auto text = read_file(fmt::format("{}{}/{}", root, path, file)).value_or("");
    const auto limit = parse_integer<uint64_t>(leading_digits(text));
    if (limit) least = std::min(least.value_or(*limit), *limit);
    const size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) return least;
    path.resize(slash);
  }
}

uint64_t memory_for_maps(uint64_t limit) {
  return std::max(limit > kOwnMemory ? limit - kOwnMemory : 0, limit / 2);
}

}  // namespace slogate
