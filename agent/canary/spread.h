// SPDX-License-Identifier: Apache-2.0
// The evidence of all nodes that have canaries of one rollout: whether they agree.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/canary/lent.h"

namespace slogate {

// No node counts for more than this many times what a veto takes: one slow or lying node among
// three or more does not veto the canaries of the others, however sure it is. Of two it does if the
// other has a third of that.
inline constexpr double kMostOfOneNode = 1.5;

// The mean of e-values is one, so it reaches 1/alpha with a chance of at most alpha, for all nodes
// together. Of a node that has said nothing, or is gone, the e-value counts as 0, which is the
// least it can be: so nobody can make the mean larger by keeping silent.
class Spread {
 public:
  // Another rollout: nothing was said.
  void begin(std::string rollout);
  // The other nodes that have canaries; whoever was one counts until the next rollout.
  void set_nodes(const std::vector<std::string>& nodes);
  // What one of them says. Of another rollout, or of who is none of them, it is passed over.
  void hear(const std::string& node, const LentEvidence& evidence);

  // Nodes that agree, where the mean is enough.
  struct Agreement {
    double log_e = 0;  // of the mean
    size_t nodes = 0;  // that have canaries, this one included
    std::vector<std::string>
        worse;  // those of the others on which it is worse, as far as they know
  };
  // `log_e` is this node's own; a veto takes `threshold`.
  [[nodiscard]] std::optional<Agreement> find(double log_e, double threshold) const;

 private:
  std::string rollout_;
  std::map<std::string, std::optional<double>> nodes_;  // the log of each one's e-value
};

}  // namespace slogate
