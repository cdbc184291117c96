// SPDX-License-Identifier: Apache-2.0
// When all sockets are visited, not only those that have news.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace slogate {

// All sockets are visited so often, for their number and for what came to idle ones without an
// event, keepalives; less often where that takes more than one part in so many of the time.
inline constexpr std::chrono::seconds kAllInterval{60};
inline constexpr int kAllShare = 500;
// Sooner where a socket found no memory for its entry: it would be missing among those that have
// news. Memory that its owner may use up, who could otherwise have all sockets visited each second:
// so that, too, takes no more than one part in so many of the time.
inline constexpr int kUnlistedShare = 20;

// Times are of the monotonic clock.
class Walks {
 public:
  // `unlisted`: how many entries there was no memory for, in all.
  [[nodiscard]] bool is_all_due(uint32_t unlisted, std::chrono::nanoseconds now) const {
    return now >= (unlisted != unlisted_ ? next_unlisted_ : next_all_);
  }
  // All were visited, which began at `now` and took so long; `unlisted` as it was before.
  void note_all(uint32_t unlisted, std::chrono::nanoseconds now, std::chrono::nanoseconds took) {
    unlisted_ = unlisted;
    next_all_ = now + std::max<std::chrono::nanoseconds>(kAllInterval, kAllShare * took);
    next_unlisted_ = now + kUnlistedShare * took;
  }

 private:
  uint32_t unlisted_ = 0;
  std::chrono::nanoseconds next_all_{0}, next_unlisted_{0};
};

}  // namespace slogate
