// SPDX-License-Identifier: Apache-2.0
// The members of the API's answers. An older or newer agent may leave members out; one of a
// wrong type throws Json::exception, which guarded() of run.h turns into a failure.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tools/cli/client.h"

namespace slogate::cli {

// The number at `pointer` (RFC 6901); nothing where there is none or it is null.
[[nodiscard]] std::optional<double> number_at(const Json& json, const std::string& pointer);

// All numbers at or below `pointer` together; nothing where there is none.
[[nodiscard]] std::optional<double> sum_at(const Json& json, const std::string& pointer);

// One cgroup of /v1/cgroups as the tables show it. Figures of requests are those it answered
// (server) or, where it answers none, those it sent (client).
struct CgroupRow {
  uint64_t id = 0;
  std::string path;  // "" while it is not known
  std::string name;  // NAMESPACE/POD/CONTAINER, or its path, or its id
  bool gone = false;
  std::string role;    // server, client, or "" where nothing was requested
  std::string signal;  // the name of the histogram these figures are from
  std::optional<double> requests, p50, p90, p99, p999;
  std::optional<double> errors;  // requests that failed, as far as outcomes are known
  std::optional<double> connections, connection_errors, client_gone, retransmits, drops, lost;
  std::optional<double> inflight, oldest;  // requests without an answer yet, and their age (s)
};
[[nodiscard]] CgroupRow parse_cgroup(const Json& json);

}  // namespace slogate::cli
