// SPDX-License-Identifier: Apache-2.0
// How the breaker stands, as values: part of the snapshot.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slogate {

// New connections, by what became of them.
struct BreakerCounts {
  uint64_t refused = 0, would_refuse = 0, exempt = 0;

  BreakerCounts& operator+=(const BreakerCounts& other) {
    refused += other.refused;
    would_refuse += other.would_refuse;
    exempt += other.exempt;
    return *this;
  }
  bool operator==(const BreakerCounts&) const = default;
};

// Of one SLO that enforces.
struct BreakerStatus {
  std::string slo;
  bool open = false;     // new connections are refused, or counted where it is a dry run
  bool dry_run = false;  //
  bool by_hand = false;  // someone opened it, or keeps it closed
  std::vector<std::string> targets = {};  // whose, while it is open: pods or paths of cgroups
  std::optional<std::chrono::system_clock::time_point> since = {}, until = {};  // while it is open
  // Why it is not open, or not to everyone, though there is a veto; what cannot be refused at all.
  // "" for nothing.
  std::string note = {};
  BreakerCounts counts = {};  // since the agent began
};

struct Breakers {
  std::vector<BreakerStatus> list;

  [[nodiscard]] const BreakerStatus* find(std::string_view slo) const {
    const auto found = std::ranges::find(list, slo, &BreakerStatus::slo);
    return found == list.end() ? nullptr : &*found;
  }
};

// An SLO whose breaker was closed by hand, and for which rollout.
struct ClosedByHand {
  std::string slo, rollout;

  bool operator==(const ClosedByHand&) const = default;
};

// It opened or closed.
struct BreakerChange {
  std::chrono::system_clock::time_point time;
  std::string slo, rollout;
  bool open = false;
  std::string message;
};

}  // namespace slogate
