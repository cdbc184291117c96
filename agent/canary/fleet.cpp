// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/fleet.h"

namespace slogate {

Fleet::Fleet(const Slo& slo, std::string rollout, TickTime now)
    : own_(slo, std::move(rollout), now) {}

void Fleet::observe(const Observation& seen) {
  own_.observe(seen);
}

void Fleet::know_peers(bool) {}
bool Fleet::wants_lenders() const {
  return false;
}
void Fleet::ask(const std::string&, TickTime) {}
void Fleet::lend(const std::string&, LentAnswer, TickTime) {}
void Fleet::drop_lender(const std::string&, TickTime) {}
void Fleet::set_canary_nodes(const std::vector<std::string>&) {}
std::optional<LentEvidence> Fleet::evidence() const {
  return std::nullopt;
}

}  // namespace slogate
