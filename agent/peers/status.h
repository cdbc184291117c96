// SPDX-License-Identifier: Apache-2.0
// How lending and asking go, for views.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace slogate {

// One agent that is asked.
struct PeerStatus {
  std::string address, name;
  std::string state;                     // "open", "connecting", "resting", "away", "self"
  std::string reason;                    // why it rests, or was dropped last; ""
  std::vector<std::string> lends;        // SLOs of which it lends now
  std::chrono::nanoseconds age{0};       // since its last answer; 0 before the first
  uint64_t bytes_in = 0, bytes_out = 0;  // of this connection, encrypted
};

struct PeersStatus {
  bool listens = false;
  size_t askers = 0;                     // that are connected and have shown who they are
  uint64_t turned_away = 0;              // connections that did not, or were too many
  std::string last_refusal;              // why the latest of these
  uint64_t bytes_in = 0, bytes_out = 0;  // in all, encrypted, of both sides
  std::vector<PeerStatus> peers;         // by address
};

}  // namespace slogate
