// SPDX-License-Identifier: Apache-2.0
// SLOs as they are written in the annotations of pods:
//   slogate.io/slo: "p99(request) < 15ms; p99(request) < baseline + 50ms; errors < baseline + 0.5%"
//
//   SLO       = OBJECTIVE { ";" OBJECTIVE } [ ";" ]
//   OBJECTIVE = QUANTILE "(" LATENCY ")" LESS [ "baseline" "+" ] DURATION
//             | RATIO                   LESS [ "baseline" "+" ] SHARE
//   QUANTILE  = "p50" | "p99" | "p99.9" | …          LATENCY = "request" | "queue" | "connect" | …
//   RATIO     = "errors" | "connection_errors" | "misses(client)" | "misses(client, redis)" | …
//   LESS      = "<" | "<="             DURATION = "15ms"             SHARE = "0.5%"
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config/slo.h"
#include "maps/error.h"

namespace slogate {

// At least one objective; an error names the part of the text that is wrong.
[[nodiscard]] Result<std::vector<Objective>> parse_objectives(std::string_view text);

// What the annotations of one pod, without their prefix, say.
struct PodAnnotations {
  // Objectives, port, container, alpha, warm-up, weight, notes; the rest is not theirs to say.
  Slo slo;
  // The arm, "canary" or "stable", and the workload it belongs to: both or neither. Without them
  // the newest revision of a Deployment is its canary.
  std::string track, workload;
};

// Nothing where they have no `slo`. Unknown annotations with our prefix are errors, too: a
// misspelt one would be ignored for ever.
[[nodiscard]] Result<std::optional<PodAnnotations>> parse_annotations(
    const std::map<std::string, std::string>& annotations);

}  // namespace slogate
