// SPDX-License-Identifier: Apache-2.0
// When the breaker of one SLO is open: a function of what is said of its canary and of time, which
// knows neither sockets nor programs.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "agent/base/tick_time.h"

namespace slogate {

// What is said of a canary at one moment.
struct BreakerCase {
  std::string rollout;
  bool vetoed = false;
  std::chrono::system_clock::time_point since = {};  // of the veto
  // Why the veto does not open it, "" for nothing. What is open already stays open, and by hand it
  // is opened all the same.
  std::string obstacle = {};
  // Why nobody opens it, by hand neither; what is open stays open.
  std::string barrier = {};
  // Why nothing is refused whatever was before; it may open again once this is over.
  std::string must_close = {};
  std::chrono::nanoseconds max{0};  // how long it is open for one rollout, at the most
};

class BreakerTerm {
 public:
  BreakerTerm() = default;
  // One that was closed by hand in this rollout.
  static BreakerTerm closed_by_hand(std::string rollout);

  // Whether connections are refused from now on.
  bool look(const BreakerCase& now_said, TickTime now);

  // By hand. Open: for as long as a veto would, whatever was before in this rollout. Closed: for
  // the rest of it.
  void open_by_hand(TickTime now, std::chrono::nanoseconds max);
  void close_by_hand();
  [[nodiscard]] bool is_by_hand() const { return hand_.has_value(); }
  [[nodiscard]] bool is_closed_by_hand() const { return hand_ == false; }
  // Of the last look.
  [[nodiscard]] const std::string& rollout() const { return rollout_; }

  // Until when, while it is open.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> until() const { return until_; }
  // Why it is not open though there is a veto, or closed; "" while it is open or there is none.
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  std::string rollout_;
  std::optional<bool> hand_;  // opened or closed by hand
  std::optional<std::chrono::nanoseconds> until_;
  bool open_ = false;
  std::string why_;
};

}  // namespace slogate
