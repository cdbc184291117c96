// SPDX-License-Identifier: Apache-2.0
#include "agent/enforce/breaker_term.h"

#include <algorithm>

namespace slogate {

bool BreakerTerm::look(const BreakerCase& said, TickTime now) {
  if (said.rollout != rollout_) {
    *this = {};
    rollout_ = said.rollout;
  }
  why_.clear();
  const bool wanted = hand_.value_or(said.vetoed);
  if (!wanted) {
    if (said.vetoed) why_ = "it was closed by hand, for the rest of this rollout";
    if (!hand_) until_.reset();
    return open_ = false;
  }
  if (!hand_ && !open_ && !said.obstacle.empty()) {
    why_ = said.obstacle;
    return false;
  }
  // An agent that begins anew under a veto has what is left of it. A clock that was set shortens it
  // to nothing at the worst, and never makes it longer.
  if (!until_)
    until_ = now.monotonic + std::clamp<std::chrono::nanoseconds>(
                                 said.max - (now.system - said.since), {}, said.max);
  open_ = now.monotonic < *until_;
  if (!open_) why_ = "its time is over, and connections are accepted for the rest of this rollout";
  return open_;
}

void BreakerTerm::open_by_hand(TickTime now, std::chrono::nanoseconds max) {
  hand_ = true;
  until_ = now.monotonic + max;
}

void BreakerTerm::close_by_hand() {
  hand_ = false;
}

}  // namespace slogate
