// SPDX-License-Identifier: Apache-2.0
// The SLOs that rules for the whole fleet are made of: those of the configuration, and those that
// stand in the annotations of workloads.
#pragma once

#include <istream>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config/slo.h"
#include "maps/error.h"

namespace slogate::cli {

// An SLO, and where the pods of its arms are to be found.
struct FleetSlo {
  Slo slo;
  // A regular expression that matches the names of all its pods; "" where it could be any.
  std::string pod_names = {};
};

struct FleetSlos {
  std::vector<FleetSlo> slos;
  std::vector<std::string> problems;  // one line for each workload that is left out, and why
};

// Of the workloads in what `kubectl get deployments,statefulsets -A -o json` prints, or of a single
// one: those whose template has an SLO. Fails where the text is something else.
[[nodiscard]] Result<FleetSlos> slos_of_workloads(std::string_view json);

// The same of a file, of standard input for "-".
[[nodiscard]] Result<FleetSlos> read_workloads(const std::string& path);

}  // namespace slogate::cli
