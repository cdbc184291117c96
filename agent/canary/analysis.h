// SPDX-License-Identifier: Apache-2.0
// All SLOs of the configuration under judgement.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "agent/canary/arms.h"
#include "agent/canary/fleet.h"
#include "agent/canary/lent.h"

namespace slogate {

// A canary set that is empty for this long ends its rollout.
inline constexpr std::chrono::seconds kRolloutEnds{60};

// One change of a decision. `from` is empty where a rollout begins.
struct VerdictChange {
  std::chrono::system_clock::time_point time;
  std::string from;
  std::shared_ptr<const Verdict> now;
};

// A veto that has to survive the agent, and what it is about: an SLO of the same name with another
// canary is another matter.
struct LatchedVeto {
  std::string canary;  // selector_text()
  Verdict verdict;
};

// A weight above its beginning, and whether a pass was among what earned it, for the agent after
// this one. It is of the same rollout where that has the same name, or, of cgroups, which have
// none, where one of the canary's cgroups is still there: no two have the same id until the next
// boot.
struct KeptWeight {
  std::string slo;
  std::string canary;   // selector_text()
  std::string rollout;  // Slo::rollout
  std::vector<uint64_t> cgroups;
  Judge::Earned earned;

  bool operator==(const KeptWeight&) const = default;
};

// Judges every SLO. All of it belongs to one thread.
class CanaryAnalysis {
 public:
  // SLOs whose name and canary stay the same keep evidence and veto where their objectives did not
  // change, and the veto alone where they did.
  void set_slos(const std::vector<Slo>& slos, TickTime now);
  // SLOs that cannot be judged, and why.
  void set_problems(std::vector<SloProblem> problems) { problems_ = std::move(problems); }
  // Whether cgroups are told apart by their pods.
  void know_pods(bool known) { pods_known_ = known; }
  // Takes up vetoes of another agent. Those without an SLO wait for it. How many there was one for.
  size_t restore(const std::vector<LatchedVeto>& vetoes);

  // Takes up weights of another agent, each as soon as its canary is seen.
  void restore_weights(std::vector<KeptWeight> weights);

  // A whole tick: who is there, and what everyone counted.
  void tick(const std::vector<Workload>& workloads, TickTime now);
  // Between two ticks: only what the cgroups of cgroups() counted.
  void read(const CgroupCounts& counts, TickTime now);
  [[nodiscard]] std::unordered_set<uint64_t> cgroups() const;

  // ---- what agents lend each other ----

  // Whether there is anyone to ask. Where nobody is, no SLO keeps a part of its alpha for what
  // others lend, and nothing is made ready for lending.
  void know_peers(bool known);
  // SLOs whose canary is here beside too little of a baseline: what to ask nodes that have one. Who
  // is no longer named is asked no more, and need not be dropped.
  [[nodiscard]] std::vector<LentQuestion> wanted() const;
  // SLOs whose canary is here and whose rollout has a name: what to ask the other nodes that have
  // canaries of it, for their evidence.
  [[nodiscard]] std::vector<LentQuestion> wanted_evidence() const;
  // Which other nodes those are, by the names that lend() has; unknown SLOs are passed over. A node
  // that was once named counts until the rollout ends, whether it says anything or not.
  void set_canary_nodes(std::string_view slo, const std::vector<std::string>& nodes);
  // A node begins to be asked for its baseline.
  void ask_lender(std::string_view slo, const std::string& lender, TickTime now);
  // An answer of a node: all readings after the one that the last answer ended with. Those of the
  // first are history and never judged, and so are those after some were lost. Readings of who was
  // not named by ask_lender(), and answers to a question that is not asked any more, are passed
  // over.
  void lend(const LentQuestion& question, const std::string& lender, LentAnswer answer,
            TickTime now);
  // The node will not be asked any more, for whatever reason.
  void drop_lender(std::string_view slo, const std::string& lender);

  // The other side: whether this node means the same by a question,
  [[nodiscard]] LentAnswer::State matches(const LentQuestion& question) const;
  // what its baselines did in each reading since the last call (at most the last 60 of each SLO),
  // in the order of their numbers,
  std::vector<std::pair<LentQuestion, LentReading>> take_lendable();
  // and what its own canary has shown; nothing where none was judged.
  [[nodiscard]] std::optional<LentEvidence> evidence_of(std::string_view slo) const;

  // A new rollout; fails when there is no such SLO.
  Result<void> reset(std::string_view slo, TickTime now);

  [[nodiscard]] bool empty() const { return cases_.empty(); }
  [[nodiscard]] std::shared_ptr<const Verdicts> verdicts() const;
  // Those in force, and those of canaries that are not judged now: of a revision that another one
  // has followed, or of an SLO that may come back.
  [[nodiscard]] std::vector<LatchedVeto> vetoes() const;
  [[nodiscard]] std::vector<KeptWeight> weights() const;
  // SLOs whose baseline, on this node, had no traffic of late: whether it serves nobody can know.
  [[nodiscard]] std::set<std::string> without_baseline() const;
  // What changed since the last call.
  std::vector<VerdictChange> take_changes() { return std::exchange(changes_, {}); }

 private:
  struct Case {
    Case(const Slo& of, const std::string& name, TickTime now)
        : slo(of), arms(of), judge(of, name, now) {}
    Slo slo;
    Arms arms;
    Fleet judge;
    LentQuestion question;                            // what is asked of it, and answered
    uint64_t readings = 0;                            // how many were made ready for lending
    std::optional<std::chrono::nanoseconds> read_at;  // when the last was
    std::shared_ptr<const SloStatus> status;          // as of the last tick or change of the SLO
    std::string decision;                             // as last reported
    bool blind = false;  // that outcomes are unknown was reported of this rollout
    std::string rollout;
    std::optional<std::chrono::nanoseconds> empty_since;
    bool had_canary = false;
  };
  void begin_next(Case& one, const Slo& slo, TickTime now);
  static void adopt(Case& one, const Verdict& veto);
  void put_aside(const Case& one);
  bool take_up(Case& one);
  void take_up_weight(Case& one);
  void describe(Case& one) const;
  void observe(Case& one, const CgroupCounts& counts, TickTime now);
  void end_empty(Case& one, size_t canary_cgroups, TickTime now);
  void note(Case& one, TickTime now);
  void keep_lendable(Case& one, const Observation& seen);
  [[nodiscard]] Case* find(std::string_view slo) const;

  std::vector<std::unique_ptr<Case>> cases_;
  std::vector<LatchedVeto> aside_;  // oldest first
  std::vector<KeptWeight> weights_aside_;
  std::vector<SloProblem> problems_;
  bool pods_known_ = false, peers_known_ = false;
  std::vector<std::pair<LentQuestion, LentReading>> lendable_;
  std::vector<VerdictChange> changes_;
};

}  // namespace slogate
