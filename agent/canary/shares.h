// SPDX-License-Identifier: Apache-2.0
// What part of alpha the evidence beside each baseline may spend, so that all of them together
// never spend more than all of it.
#pragma once

#include <cstddef>

namespace slogate {

// Of alpha: what is judged by from the first moment on, until a lender leaves; and what is left for
// all that comes instead, whenever it comes and whoever chose it.
inline constexpr double kFirstShare = 0.9, kLaterShare = 1 - kFirstShare;
// As many members as a canary mostly has: its own node's baseline and eight lenders.
inline constexpr size_t kUsualMembers = 9;

// The parts into which a share is cut for members 0, 1, 2, ... in the order in which they came:
// together at most 1, the usual members alike, and later ones so that there may be any number.
[[nodiscard]] constexpr double part_of_member(size_t number) {
  constexpr auto usual = static_cast<double>(kUsualMembers);
  if (number < kUsualMembers) return 0.5 / usual;
  const auto n = static_cast<double>(number);
  return 0.5 * usual / (n * (n + 1));
}

}  // namespace slogate
