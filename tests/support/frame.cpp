// SPDX-License-Identifier: Apache-2.0
#include "tests/support/frame.h"

#include <algorithm>
#include <cstring>

namespace slogate::support {

void put_header(std::span<char> message, uint64_t id, uint64_t size) {
  std::memcpy(message.data(), &id, sizeof id);
  std::memcpy(message.data() + sizeof id, &size, sizeof size);
}

bool Framer::feed(std::span<const char> bytes, Clock::time_point seen, std::vector<Frame>& done) {
  while (!bytes.empty()) {
    if (have_ == 0) frame_.first = seen;
    const uint64_t wanted = (have_ < kHeaderSize ? kHeaderSize : size_) - have_;
    const size_t taken = std::min<uint64_t>(wanted, bytes.size());
    if (have_ < kHeaderSize) std::memcpy(header_.data() + have_, bytes.data(), taken);
    have_ += taken;
    bytes = bytes.subspan(taken);

    if (have_ == kHeaderSize) {
      std::memcpy(&frame_.id, header_.data(), sizeof frame_.id);
      std::memcpy(&size_, header_.data() + sizeof frame_.id, sizeof size_);
      if (size_ == 0) size_ = kDefaultSize;
      if (size_ < kHeaderSize || size_ > kLargestSize) return false;
    }
    if (have_ >= kHeaderSize && have_ == size_) {
      frame_.last = seen;
      done.push_back(frame_);
      have_ = 0;
    }
  }
  return true;
}

}  // namespace slogate::support
