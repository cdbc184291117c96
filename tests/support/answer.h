// SPDX-License-Identifier: Apache-2.0
// The parsers of the kernel programs, over bytes of a test. What they may rely on of peek() is
// checked, and how often they ask is counted.
#pragma once

#include <linux/types.h>

#include <cstdlib>
#include <cstring>

#include "maps/abi.h"

namespace slogate {
namespace {

struct answer_source {
  const char* from;
  __u32 here;   // so many bytes can be read
  __u32 bytes;  // so many were sent
  unsigned* peeks;
};

bool peek(const answer_source* source, __u32 offset, void* to, __u32 n) {
  ++*source->peeks;
  if (n == 0 || n > 64 || offset >= source->here || source->here - offset < n) std::abort();
  std::memcpy(to, source->from + offset, n);
  return true;
}

#include "bpf/answer.h"

}  // namespace
}  // namespace slogate
