// SPDX-License-Identifier: Apache-2.0
// What the kernel programs make of frames of HTTP/2, over bytes of a test. What they may rely on of
// peek() is checked.
#pragma once

#include <linux/types.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "maps/abi.h"

namespace slogate {
namespace {

struct FrameBytes {
  const char* from;
  size_t size;
};
#define ANSWER_SOURCE FrameBytes

bool peek(FrameBytes* bytes, __u32 offset, void* to, __u32 n) {
  if (n == 0 || n > SLOGATE_HTTP2_SCRATCH || offset >= bytes->size || bytes->size - offset < n)
    std::abort();
  std::memcpy(to, bytes->from + offset, n);
  return true;
}

#include "bpf/http2.h"

}  // namespace
}  // namespace slogate
