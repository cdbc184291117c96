// SPDX-License-Identifier: Apache-2.0
// What the kernel has to tell apart: the traffic classes of the configuration, and the ports that
// its SLOs name.
#pragma once

#include <vector>

#include "agent/config/config.h"
#include "maps/maps.h"

namespace slogate {

// A port that an SLO names has slots of its own within class `service`. A rule of the configuration
// for that port, or for peers on this node, still goes first. At most twice as many rules as there
// are ports and rules.
[[nodiscard]] ClassRules to_class_rules(const std::vector<ClassRule>& rules,
                                        const std::vector<Slo>& slos);

}  // namespace slogate
