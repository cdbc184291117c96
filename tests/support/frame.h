// SPDX-License-Identifier: Apache-2.0
// What slogate-load speaks: requests and answers begin with the same 16 bytes, in this machine's
// byte order: a u64 id, which the answer repeats, and a u64 size of the whole message.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "tests/support/clock.h"

namespace slogate::support {

inline constexpr size_t kHeaderSize = 16;
inline constexpr size_t kDefaultSize = 64;  // what a size of 0 in a header means
inline constexpr size_t kLargestSize = size_t{64} << 20;

// Writes the header at the start of `message`, which holds at least kHeaderSize bytes.
void put_header(std::span<char> message, uint64_t id, uint64_t size);

// One message that has arrived whole.
struct Frame {
  uint64_t id = 0;
  Clock::time_point first = {};  // when the bytes were seen that its first byte was among
  Clock::time_point last = {};   // the same of its last byte
};

// Cuts one direction of one connection into messages; keeps no body.
class Framer {
 public:
  // Adds the messages that `bytes`, seen at `seen`, complete to `done`. Returns false at a size
  // that cannot be meant; the connection is of no use from then on.
  bool feed(std::span<const char> bytes, Clock::time_point seen, std::vector<Frame>& done);

  // No message has begun.
  [[nodiscard]] bool idle() const { return have_ == 0; }

 private:
  std::array<char, kHeaderSize> header_{};
  uint64_t have_ = 0;  // bytes of the current message so far
  uint64_t size_ = 0;  // of the current message, once its header is there
  Frame frame_;
};

}  // namespace slogate::support
