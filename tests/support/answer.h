// SPDX-License-Identifier: Apache-2.0
// The parsers of the kernel programs, over bytes of a test. What they may rely on of peek() is
// checked, and how often they ask is counted.
#pragma once

#include <linux/types.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "maps/abi.h"

namespace slogate {
namespace {

struct Bytes {
  const char* from;
  size_t size;
  unsigned peeks = 0;
};
#define ANSWER_SOURCE Bytes

bool peek(Bytes* bytes, __u32 offset, void* to, __u32 n) {
  ++bytes->peeks;
  if (n == 0 || n > 64 || offset >= bytes->size || bytes->size - offset < n) std::abort();
  std::memcpy(to, bytes->from + offset, n);
  return true;
}

#include "bpf/answer.h"

}  // namespace
}  // namespace slogate
