// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace slogate {

// One BPF map, as the kernel and its owner know it.
struct MapStatus {
  std::string name, type;
  uint64_t entries = 0;   // in use
  uint64_t capacity = 0;  // 0: no limit of its own
  uint64_t bytes = 0;     // as the kernel charges them
  uint64_t resizes = 0;
  uint64_t lost = 0;           // samples this map had no room for
  std::string_view site = {};  // where they are counted (kSites), "" where none can be lost

  // entries / capacity, 0 where there is no capacity.
  [[nodiscard]] double pressure() const {
    return capacity == 0 ? 0.0 : static_cast<double>(entries) / static_cast<double>(capacity);
  }
};

// One change of a map's size, in entries.
struct Resize {
  std::chrono::system_clock::time_point time;
  std::string map;
  size_t from = 0, to = 0;
  std::string reason;
  uint64_t number = 0;  // of all changes, from 1 on
};

}  // namespace slogate
