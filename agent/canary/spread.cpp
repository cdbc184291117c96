// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/spread.h"

#include <algorithm>
#include <cmath>

#include "agent/canary/judge.h"

namespace slogate {

void Spread::begin(std::string rollout) {
  rollout_ = std::move(rollout);
  nodes_.clear();
}

void Spread::set_nodes(const std::vector<std::string>& nodes) {
  for (const std::string& node : nodes) nodes_.try_emplace(node);
}

void Spread::hear(const std::string& node, const LentEvidence& evidence) {
  const auto found = nodes_.find(node);
  if (found == nodes_.end() || evidence.rollout != rollout_ || std::isnan(evidence.log_e)) return;
  found->second = evidence.log_e;
}

std::optional<Spread::Agreement> Spread::find(double log_e, double threshold) const {
  if (nodes_.empty()) return std::nullopt;
  const auto part = [threshold](double one) {
    return std::exp(std::min(one - threshold, std::log(kMostOfOneNode)));
  };
  Agreement found{.nodes = nodes_.size() + 1};
  double sum = part(log_e);
  for (const auto& [node, said] : nodes_) {
    if (!said) continue;
    sum += part(*said);
    if (*said >= kSuspicion) found.worse.push_back(node);
  }
  const double mean = sum / static_cast<double>(found.nodes);
  if (mean < 1) return std::nullopt;
  found.log_e = threshold + std::log(mean);
  return found;
}

}  // namespace slogate
