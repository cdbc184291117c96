// SPDX-License-Identifier: Apache-2.0
#include "agent/enforce/breaker_term.h"

#include <algorithm>
#include <utility>

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
  if (!said.must_close.empty()) {
    why_ = said.must_close;
    return open_ = false;
  }
  if (!open_) why_ = !said.barrier.empty() ? said.barrier : hand_ ? "" : said.obstacle;
  if (!why_.empty()) return false;
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

BreakerTerm BreakerTerm::closed_by_hand(std::string rollout) {
  BreakerTerm term;
  term.rollout_ = std::move(rollout);
  term.hand_ = false;
  return term;
}

void BreakerTerm::close_by_hand() {
  hand_ = false;
}

}  // namespace slogate
