// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/proofs.h"

#include <algorithm>

namespace slogate {

Proofs::Proofs(size_t components) {
  const size_t levels = components / Grid{}.size();
  edges_.fill({std::vector<double>(components), std::vector<double>(levels)});
}

void Proofs::add(const ProofGains& gains) {
  for (size_t edge = 0; edge < edges_.size(); ++edge) {
    auto& [sums, shown] = edges_[edge];
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += std::min(kCap, gains[edge][i]);
    for (size_t level = 0; level < shown.size(); ++level) {
      const double proof = log_mean_exp(Components{}.level(level).of(sums));
      if (proof < 0)
        shown[level] = 0;
      else if (proof >= kProofThreshold)
        shown[level] = std::max(shown[level], proof);
    }
  }
}

double Proofs::at(size_t edge, const Components& level) const {
  const double shown = edges_[edge].shown[level.first_level()];
  return shown > 0 ? shown : log_mean_exp(sums(edge, level));
}

double Proofs::of(const Components& level) const {
  return std::min(at(0, level), at(1, level));
}

void Proofs::forget_shown() {
  for (AtEdge& edge : edges_) std::ranges::fill(edge.shown, 0);
}

void Proofs::begin_anew(size_t edge, const Components& level) {
  auto& [sums, shown] = edges_[edge];
  for (double& sum : level.of(std::span(sums))) sum = std::min(sum, 0.0);
  shown[level.first_level()] = 0;
}

}  // namespace slogate
