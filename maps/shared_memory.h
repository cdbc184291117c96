// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include "maps/error.h"

namespace slogate {

// Memory of a map that the programs write to while it is read.
class SharedMemory {
 public:
  // Of a BPF_F_MMAPABLE array, for reading and writing.
  static Result<SharedMemory> map(int fd, size_t bytes, std::string_view name);
  SharedMemory(SharedMemory&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_) {}
  SharedMemory& operator=(SharedMemory&&) = delete;
  ~SharedMemory();

  template <typename T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(memory_);
  }

 private:
  SharedMemory(void* memory, size_t bytes) : memory_(memory), bytes_(bytes) {}
  void* memory_;
  size_t bytes_;
};

}  // namespace slogate
