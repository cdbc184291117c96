// SPDX-License-Identifier: Apache-2.0
#include "maps/shared_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "maps/bpf_map.h"

namespace slogate {
namespace {

// As mmap needs it.
size_t whole_pages(size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

}  // namespace

Result<SharedMemory> SharedMemory::map(int fd, size_t bytes, std::string_view name) {
  void* memory = mmap(nullptr, whole_pages(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return fail(bpf_error(fmt::format("cannot map {}", name), errno));
  return SharedMemory(memory, bytes);
}

SharedMemory::~SharedMemory() {
  if (memory_ != nullptr) munmap(memory_, whole_pages(bytes_));
}

}  // namespace slogate
