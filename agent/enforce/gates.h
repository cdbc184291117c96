// SPDX-License-Identifier: Apache-2.0
// The programs that refuse connections, one for each network namespace in which some are. A gate
// that is open is a link that this process holds and nobody else: it closes when the process ends,
// however it ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/config/enforce_config.h"
#include "agent/enforce/breakers.h"
#include "maps/error.h"
#include "maps/fd.h"
#include "maps/shared_memory.h"

namespace slogate {

// Network namespaces that can be refused at the same time. A copy takes 4 ms of the start and 12
// KB.
inline constexpr size_t kMostGates = 16;

// What one SLO refuses.
struct GateRule {
  std::vector<uint16_t> ports;  // empty: every one; at most kMaxEnforcePorts
  uint32_t list = 0;            // of exempt addresses, besides list 0
  bool dry_run = false;

  bool operator==(const GateRule&) const = default;
};

// A rule that is not renewed holds for so long: an agent that hangs refuses nobody.
inline constexpr std::chrono::seconds kRuleLife{10};

// An exempt range, and the list it is on.
using Exempt = std::pair<uint32_t, AddressRange>;

class Gates {
 public:
  // Loads programs for so many namespaces, and attaches none. Takes CAP_BPF.
  static Result<Gates> load(size_t most = kMostGates);

  // Makes `slo` refuse by this rule in the namespace that `netns` is open on, as `number`. It may
  // have had another rule there. `until`: CLOCK_MONOTONIC; it holds no longer than that.
  Result<void> refuse(uint64_t number, int netns, const std::string& slo, const GateRule& rule,
                      std::chrono::nanoseconds until);
  // Lets it hold until then.
  void renew(uint64_t number, const std::string& slo, std::chrono::nanoseconds until);
  // What it counted there, all together.
  BreakerCounts stop(uint64_t number, const std::string& slo);
  // So far.
  [[nodiscard]] BreakerCounts counts(uint64_t number, const std::string& slo) const;

  // Replaces all lists. Those that find no room are not exempt, which is an error.
  Result<void> set_exempt(const std::set<Exempt>& exempt);

 private:
  // One copy. `slos` has a name for each rule, "" where it is free.
  struct Gate {
    Fd program;
    SharedMemory memory;
    Fd link = Fd();
    uint64_t number = 0;
    std::vector<std::string> slos = {};
    std::vector<BreakerCounts> before = {};  // what each rule had counted for others
  };
  Gates(std::vector<Gate> gates, Fd exempt)
      : gates_(std::move(gates)), exempt_map_(std::move(exempt)) {}
  static Result<Gate> load_one(Fd& exempt);
  [[nodiscard]] const Gate* find(uint64_t number) const;
  Gate* find_or_take(uint64_t number);

  std::vector<Gate> gates_;
  Fd exempt_map_;
  std::set<Exempt> exempt_;
};

}  // namespace slogate
