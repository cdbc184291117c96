// SPDX-License-Identifier: Apache-2.0
// What the agent may do to a canary that is vetoed, besides saying so: docs/enforcement.md.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace slogate {

// Off: nothing. Refuse: its new connections.
enum class EnforceMode { Off, Refuse };
inline constexpr std::array<std::string_view, 2> kEnforceModes = {"off", "refuse"};

// Addresses that agree in their first `bits`; those of IPv4 as IPv6 has them, ::ffff:10.0.0.1.
struct AddressRange {
  std::array<uint8_t, 16> address{};
  unsigned bits = 128;

  auto operator<=>(const AddressRange&) const = default;
};

// Of the agent.
struct EnforceConfig {
  EnforceMode mode = EnforceMode::Off;
  // How long after a veto, at the most: 1 s to 24 h.
  std::chrono::nanoseconds max = std::chrono::minutes{10};
  bool dry_run = false;  // counts what would be refused, and refuses nothing
  // Whose connections are never refused, besides the node's own and those over loopback.
  std::vector<AddressRange> exempt;

  bool operator==(const EnforceConfig&) const = default;
};

// Of one SLO. What stands here goes over what the agent's has, but `exempt`, which adds to it.
struct EnforceTerms {
  EnforceMode mode = EnforceMode::Off;
  std::vector<uint16_t> ports;  // empty: the SLO's own, or every one where it has none
  bool latency = false;         // for vetoes of latency, too
  std::optional<std::chrono::nanoseconds> max = {};
  std::optional<bool> dry_run = {};
  std::vector<AddressRange> exempt;

  bool operator==(const EnforceTerms&) const = default;
};

// What one list may hold at the most.
inline constexpr size_t kMaxEnforcePorts = 8;
inline constexpr size_t kMaxExempt = 100;

}  // namespace slogate
