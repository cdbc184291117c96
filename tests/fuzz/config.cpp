// SPDX-License-Identifier: Apache-2.0
#include "agent/config/config.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using slogate::fuzz::require;
  const auto config = slogate::parse_config(slogate::fuzz::text(data, size), "file");
  if (config) {
    require(config->slos.size() <= slogate::kMaxSlos, "no more SLOs than allowed");
    for (const auto& slo : config->slos)
      require(!slo.objectives.empty() || slo.baseline, "an SLO asks for something");
    return 0;
  }
  require(!config.error().empty(), "a bad file has a problem");
  for (const auto& problem : config.error()) {
    require(problem.line().find('\n') == std::string::npos, "a problem is one line");
    require(problem.line_number >= 0 && problem.column >= 0, "a place in the file");
  }
  return 0;
}
