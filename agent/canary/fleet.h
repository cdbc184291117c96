// SPDX-License-Identifier: Apache-2.0
// One SLO, judged beside the baseline of its own node, or, where that is too little, beside those
// that other nodes lend.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/canary/lender.h"
#include "agent/canary/spread.h"

namespace slogate {

// Who asks more than this many nodes asks too many.
inline constexpr size_t kMostLenders = 64;
// A node is asked until its answers have not been needed for this long: who comes and goes should
// not end what was found out.
inline constexpr std::chrono::seconds kNeedEnds{60};
// Who came later than so long after the first of those who lend is not waited for until this time
// is over: nodes come and go, and evidence beside a new one begins at nothing. Who is asked at the
// same time has answered by then, or is slow.
inline constexpr std::chrono::seconds kTogether{2};
inline constexpr std::chrono::minutes kNewcomer{5};

// Judges one SLO. With one canary node among several a slower node looks like a slower canary: so
// a veto needs the evidence beside every lender, where each may be quicker by the SLO's
// node_margin. The least of the evidence is no more than that beside the slowest lender, which is
// an e-value while the canary's node is within that margin. A pass needs the proof beside every
// lender. Formulas: docs/verdict.md.
class Fleet {
 public:
  Fleet(const Slo& slo, std::string rollout, TickTime now);

  // One reading of what is on this node.
  void observe(const Observation& seen);

  // Never null. Values do not change once they were given out.
  [[nodiscard]] std::shared_ptr<const Verdict> verdict() const { return own_.verdict(); }
  [[nodiscard]] const std::vector<Hypothesis>& hypotheses() const { return own_.hypotheses(); }

  // As those of Judge.
  [[nodiscard]] bool lacks_baseline() const { return own_.lacks_baseline(); }
  void reset(std::string rollout, TickTime now);
  void go_on_with_weight_of(const Fleet& before) { own_.go_on_with_weight_of(before.own_); }
  [[nodiscard]] Judge::Earned earned() const { return own_.earned(); }
  void go_on_with(const Judge::Earned& earned) { own_.go_on_with(earned); }
  void set_pass_within(std::chrono::nanoseconds pass_within);
  void set_weight_steps(const WeightSteps& steps);
  void restore(Verdict veto);

  // Whether there is anyone to ask.
  void know_peers(bool known);
  // Whether a canary is here beside too little of a baseline.
  [[nodiscard]] bool wants_lenders() const { return wants_; }
  // A node is being asked from now on.
  void ask(const std::string& node, TickTime now);
  // What a node answered.
  void lend(const std::string& node, LentAnswer answer, TickTime now);
  // It is asked no more.
  void drop_lender(const std::string& node);
  // The other nodes that have canaries of this rollout.
  void set_canary_nodes(const std::vector<std::string>& nodes) { spread_.set_nodes(nodes); }
  // What this node's canary has shown; nothing where none was judged.
  [[nodiscard]] const std::optional<LentEvidence>& evidence() const { return evidence_; }

 private:
  // By which baseline the canary was judged at first, and where it therefore spends the most.
  enum class First { Open, Own, Lenders };
  using Member = std::pair<const std::string, Lender>;

  void note_need(const Observation& seen);
  void decide_first(const Observation& seen);
  void leave(Lender& lender);
  void clear_lenders();
  void observe_lenders(const Observation& seen);
  [[nodiscard]] double share_of(const Lender& lender) const;
  void count_blocks(const std::vector<const Member*>& members);
  [[nodiscard]] std::vector<const Member*> members() const;
  [[nodiscard]] std::vector<const Member*> seniors(std::chrono::nanoseconds now) const;
  [[nodiscard]] Verdict judge_beside(const std::vector<const Member*>& members, Verdict own,
                                     std::chrono::nanoseconds now) const;
  [[nodiscard]] Verdict compose(const std::vector<const Member*>& members, const Member& of,
                                const Verdict& own) const;
  [[nodiscard]] bool is_vetoed(const std::vector<const Member*>& members,
                               std::chrono::nanoseconds now) const;
  [[nodiscard]] bool is_passed(const std::vector<const Member*>& members,
                               std::chrono::nanoseconds now) const;
  [[nodiscard]] static const Member* find_hindrance(const std::vector<const Member*>& members);
  void look_ahead_beside(const Member& one);
  [[nodiscard]] std::string asked_text() const;
  [[nodiscard]] std::vector<LenderStatus> statuses(std::chrono::nanoseconds now) const;
  void note_evidence(const std::vector<const Member*>& members, const Verdict& all,
                     const Observation& seen);
  void spread(Verdict& all) const;

  Slo slo_;
  Judge own_;
  bool peers_known_ = false, wants_ = false;
  std::optional<std::chrono::nanoseconds> needed_at_;  // when lenders were needed last
  std::map<std::string, Lender> lenders_;              // by node

  // Of this rollout.
  First first_ = First::Open;
  bool left_ = false;   // one that was compared with the canary has left
  size_t members_ = 1;  // that ever came, the baseline of this node included
  Spread spread_;
  std::optional<LentEvidence> evidence_;
};

}  // namespace slogate
