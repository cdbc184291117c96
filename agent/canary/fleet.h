// SPDX-License-Identifier: Apache-2.0
// One SLO, judged beside the baseline of its own node, or, where that is too little, beside those
// that other nodes lend.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/canary/judge.h"
#include "agent/canary/lent.h"

namespace slogate {

// Judges one SLO as Judge does; nodes are names that the caller keeps.
class Fleet {
 public:
  Fleet(const Slo& slo, std::string rollout, TickTime now);

  void observe(const Observation& seen);

  // Never null. Values do not change once they were given out.
  [[nodiscard]] std::shared_ptr<const Verdict> verdict() const { return own_.verdict(); }
  [[nodiscard]] const std::vector<Hypothesis>& hypotheses() const { return own_.hypotheses(); }

  void reset(std::string rollout, TickTime now) { own_.reset(std::move(rollout), now); }
  void go_on_with_weight_of(const Fleet& before) { own_.go_on_with_weight_of(before.own_); }
  [[nodiscard]] Judge::Earned earned() const { return own_.earned(); }
  void go_on_with(const Judge::Earned& earned) { own_.go_on_with(earned); }
  void set_pass_within(std::chrono::nanoseconds pass_within) { own_.set_pass_within(pass_within); }
  void set_weight_steps(const WeightSteps& steps) { own_.set_weight_steps(steps); }
  void restore(Verdict veto) { own_.restore(std::move(veto)); }

  // Whether there is anyone to ask.
  void know_peers(bool known);
  // Whether a canary is here and too little of a baseline.
  [[nodiscard]] bool wants_lenders() const;
  // A node is being asked from now on.
  void ask(const std::string& node, TickTime now);
  void lend(const std::string& node, LentAnswer answer, TickTime now);
  void drop_lender(const std::string& node, TickTime now);
  // The other nodes that have canaries of this rollout.
  void set_canary_nodes(const std::vector<std::string>& nodes);
  // What this node's canary has shown; nothing where none was judged.
  [[nodiscard]] std::optional<LentEvidence> evidence() const;

 private:
  Judge own_;
};

}  // namespace slogate
