// SPDX-License-Identifier: Apache-2.0
// Lines of KEY=VALUE, as a pod's annotations; each value as objectives, too.
#include "agent/kubernetes/annotations.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using slogate::fuzz::require;
  std::string_view rest = slogate::fuzz::text(data, size);
  std::map<std::string, std::string> annotations;
  while (!rest.empty()) {
    const std::string_view line = slogate::fuzz::take_line(rest);
    const size_t equals = std::min(line.find('='), line.size());
    const std::string_view value = line.substr(std::min(line.size(), equals + 1));
    annotations[std::string(line.substr(0, equals))] = value;
    if (const auto objectives = slogate::parse_objectives(value))
      require(!objectives->empty(), "an SLO asks for something");
  }
  const auto parsed = slogate::parse_annotations(annotations);
  if (!parsed || !*parsed) return 0;
  require(annotations.contains("slo"), "only with an SLO");
  require((*parsed)->track.empty() == (*parsed)->workload.empty(), "both or neither");
  const slogate::WeightSteps& weight = (*parsed)->slo.weight;
  require(weight.from > 0 && weight.from <= weight.most && weight.most <= 100 && weight.step > 0,
          "a weight rises to at most 100");
  require((*parsed)->slo.alpha > 0 && (*parsed)->slo.alpha < 1, "alpha is a chance");
  return 0;
}
