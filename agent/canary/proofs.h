// SPDX-License-Identifier: Apache-2.0
// What speaks for a canary, added up over the blocks of a rollout.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "agent/canary/hypotheses.h"

namespace slogate {

// ln(1 / .05): what a pass needs of every objective.
inline constexpr double kProofThreshold = 2.995732273553991;

// Two sums for each component, one at each edge of a tie. To whoever is worse at one of the two
// edges, whichever it is, the sum at that edge reaches the threshold with a chance of at most 5 %,
// and a level is proven only where both did. So nothing is lost by looking at each edge alone. The
// lesser gain of each block would be of no use: at an edge where little happens gains come by
// chance, and the lesser of two of those has a mean below either.
class Proofs {
 public:
  Proofs() = default;
  explicit Proofs(size_t components);

  [[nodiscard]] bool empty() const { return edges_.front().sums.empty(); }
  // One block.
  void add(const ProofGains& gains);
  // Of a level at one edge and at both: enough at kProofThreshold. With a chance of at most 5 %
  // what is not so is ever shown (Ville): so once there was enough it is the most there was, until
  // as much speaks against it as for it. A pass then is not taken back by chance.
  [[nodiscard]] double at(size_t edge, const Components& level) const;
  [[nodiscard]] double of(const Components& level) const;
  // What was added up of it. The same at both edges of what was no tie yet.
  [[nodiscard]] std::span<const double> sums(size_t edge, const Components& level) const {
    return level.of(edges_[edge].sums);
  }

  // What was shown has to be proven anew where it is not any more.
  void forget_shown();
  // A tie was found: of this edge of the level nothing is shown, as all that was added up is of the
  // other. What speaks against it stays.
  void begin_anew(size_t edge, const Components& level);

 private:
  struct AtEdge {
    // One for each component; and for each level the most there was where that was enough, else 0.
    std::vector<double> sums, shown;
  };
  std::array<AtEdge, kEdgesOfTie> edges_;
};

}  // namespace slogate
