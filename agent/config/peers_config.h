// SPDX-License-Identifier: Apache-2.0
// Who may ask this agent for readings, and whom it asks.
#pragma once

#include <optional>
#include <string>

namespace slogate {

// Files in PEM: a certificate of this agent with its chain, its key, and who signs those of agents.
struct PeerTls {
  std::string cert, key, ca;

  bool operator==(const PeerTls&) const = default;
};

// How agents know each other: by one of the two.
struct PeerSecurity {
  std::optional<PeerTls> tls;
  std::string key_file;  // of a key that all of them share; "" for none

  [[nodiscard]] bool given() const { return tls || !key_file.empty(); }
  bool operator==(const PeerSecurity&) const = default;
};

}  // namespace slogate
