// SPDX-License-Identifier: Apache-2.0
// One SLO, from readings of its arms to a verdict. Nothing here touches a map, a file or a clock.
#pragma once

#include <cmath>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "agent/base/tick_time.h"
#include "agent/canary/aa_test.h"
#include "agent/canary/outlook.h"
#include "agent/canary/proofs.h"
#include "agent/canary/traffic_weight.h"
#include "agent/canary/verdict.h"

namespace slogate {

// Fewer canary samples or blocks than these end in no veto and no pass.
inline constexpr uint64_t kLeastSamples = 200;
inline constexpr size_t kLeastBlocks = 5;
// From so many requests on it is said what share of their outcomes is known.
inline constexpr double kFewRequests = 20;

// Evidence against the canary that is no veto yet, but should not go with a pass.
inline constexpr double kSuspicion = kProofThreshold;
// Where the baseline has had no traffic for this long the canary is alone: nothing is compared.
inline constexpr std::chrono::nanoseconds kAlone = std::chrono::seconds(10);

// The arms at one moment; every kReadInterval.
struct Observation {
  TickTime now{};
  ArmReading canary;
  std::array<ArmReading, 2> baseline;  // its cgroups in two halves, to be compared with each other
};

// Whose baseline a canary is compared with: that of its own node, or one that another node lends,
// which may be quicker by the SLO's node_margin. What is about the canary alone (its weight, a veto
// that stays) is the former judge's.
enum class Beside { OwnNode, OtherNode };

// Judges one SLO. A veto stays until reset(); everything else follows what is observed.
class Judge {
 public:
  // `rollout` names the evidence that begins here.
  Judge(const Slo& slo, std::string rollout, TickTime now, Beside beside = Beside::OwnNode);

  void observe(const Observation& seen) {
    take(seen);
    settle(draft(seen), seen.now);
  }
  // The same step by step, for one of several judges of a canary. A reading is taken in,
  void take(const Observation& seen);
  // what would follow from it is told,
  [[nodiscard]] Verdict draft(const Observation& seen) const;
  // and what does follow becomes the verdict, unless there is a veto already.
  void settle(Verdict verdict, TickTime now);

  // A reading of a lent baseline that has arrived since the one before, or before the first.
  void add_baseline(const std::array<ArmReading, 2>& halves, std::chrono::nanoseconds now);
  // What part of alpha its evidence may spend: decided before the evidence. Then a veto takes as
  // much more of it. Above 0, at most 1.
  void set_share(double share) { log_share_ = std::log(share); }
  // Whether it reckons how long a pass will take, which costs more than all the rest.
  void set_looks_ahead(bool looks_ahead) { looks_ahead_ = looks_ahead; }
  // A baseline is there, and had traffic of late.
  [[nodiscard]] bool has_baseline() const { return slo_.baseline && !alone_; }
  // One is needed and had no traffic of late, or is not there.
  [[nodiscard]] bool lacks_baseline() const { return slo_.baseline && alone_; }
  [[nodiscard]] double log_e() const { return facts_->log_e + log_share_; }
  // The same whatever its share.
  [[nodiscard]] double log_e_alone() const { return facts_->log_e; }
  [[nodiscard]] size_t blocks() const { return rollout_.blocks; }
  // Blocks in which both arms answered, which is what a step of the weight takes. Those beside the
  // baselines of other nodes are counted by who judges them all.
  [[nodiscard]] size_t answered_blocks() const { return rollout_.answered_blocks; }
  void count_answered_block() { rollout_.traffic_weight.add_block(); }

  // Never null. Values do not change once they were given out.
  [[nodiscard]] std::shared_ptr<const Verdict> verdict() const { return verdict_; }
  [[nodiscard]] const std::vector<Hypothesis>& hypotheses() const { return hypotheses_.all(); }

  // A new rollout: no evidence, no veto. What is known of the baseline stays.
  void reset(std::string rollout, TickTime now);
  // Of a judge of the same canary, of which something else is asked from now on.
  void go_on_with_weight_of(const Judge& before) { go_on_with_weight(before.earned().percent); }
  // What the canary has earned in this rollout, for the agent after this one.
  struct Earned {
    double percent = 0;   // of the traffic
    bool passed = false;  // at some time: with all the traffic its baseline need not be there

    bool operator==(const Earned&) const = default;
  };
  [[nodiscard]] Earned earned() const {
    return {rollout_.traffic_weight.percent(), rollout_.passed};
  }
  void go_on_with(const Earned& earned) {
    go_on_with_weight(earned.percent);
    rollout_.passed = earned.passed;
  }
  // More of the tail may come to be needed in this rollout, less only in the next.
  void set_pass_within(std::chrono::nanoseconds pass_within);
  // From now on the weight moves by these.
  void set_weight_steps(const WeightSteps& steps);
  // Takes up a veto of another agent, with its evidence as it was.
  void restore(Verdict veto);

 private:
  void go_on_with_weight(double percent) { rollout_.traffic_weight.go_on_from(percent); }
  // What only this rollout knows.
  struct Rollout {
    std::string name;
    std::optional<Evidence> evidence;  // from the first block on, when weights are decided
    Proofs proofs = {};
    std::vector<bool> needed;  // whether a pass needs it, of each level of all hypotheses
    FirstRequests firsts = {};
    Outlook outlook = {};
    TrafficWeight traffic_weight{Slo{}, std::chrono::nanoseconds(0)};
    size_t blocks = 0, answered_blocks = 0;
    Tally judged_canary, judged_baseline;
    std::chrono::nanoseconds began{0};
    std::optional<std::chrono::nanoseconds> last_sample;  // when the canary last answered
    uint64_t answered = 0;                                // how often it did
    size_t breaching = 0;  // blocks in a row in which the baseline breached an absolute bound
    bool outcomes_known = false;  // those of the canary's answers were, at some time
    bool passed = false;          // at some time
    // What came back last, and when.
    std::optional<std::pair<Gap, std::chrono::nanoseconds>> gap;
    std::shared_ptr<const Verdict> veto;
  };
  struct Conclusion {
    Decision decision;
    Reason reason;
    std::string message;
    std::optional<double> expected_seconds = {};
  };

  void note_activity(const Observation& seen);
  void note_loss(const ArmReading& arm, std::chrono::nanoseconds now);
  void note_baseline(const std::array<ArmReading, 2>& halves, std::chrono::nanoseconds now);
  // What the arms did in a block, or do in one that is under way.
  struct Block {
    Tally canary;
    std::array<Tally, 2> halves;
    [[nodiscard]] Tally baseline() const;
  };
  struct OpenBlock {
    Block before;  // what they had done when it began
    // How long it will be: decided when it begins, so that its end does not depend on what it
    // holds.
    size_t length = 0;
    size_t readings = 0;
    bool spoiled = false;  // samples of it were lost
  };
  void begin_block();
  void begin_block_of_answers();
  [[nodiscard]] Block all_until_now() const;
  [[nodiscard]] Block since(const Block& before) const;
  void end_block(std::chrono::nanoseconds now);
  void end_block_of_answers();
  void judge_block(const Block& block);
  void judge_block_of_answers(const Block& block, size_t readings);
  void add_evidence(const Gains& gains, SignalGroup part);
  // Takes what the arms did since `tallied_` into what is known of this rollout.
  void tally();
  // What can be said now, and how long a pass will take.
  void take_stock();
  void begin_evidence();
  [[nodiscard]] double expected_samples(size_t signal) const;
  void renew_edges(const Hypotheses::Entry& of, const LevelEdges& now, bool all);
  void learn(const Tally& baseline, size_t readings);
  [[nodiscard]] std::chrono::nanoseconds block() const;
  [[nodiscard]] Prospect prospect() const;
  void look_ahead(Verdict& facts) const;
  [[nodiscard]] size_t main_signal() const;
  // Whether it is known of a server's answers what they say.
  [[nodiscard]] static bool are_known(const Tally& arm);

  // What a hypothesis adds to the mixture of all, as a log: its share in it and the evidence.
  [[nodiscard]] double log_part(const Hypotheses::Entry& of, const ObjectiveVerdict& facts) const;
  // That which adds most.
  [[nodiscard]] Hypotheses::Entry worst(const Verdict& facts) const;
  [[nodiscard]] bool is_needed(const Hypothesis& hypothesis) const;
  [[nodiscard]] Standing standing(const Verdict& verdict) const;
  [[nodiscard]] std::optional<double> find_shown(const Verdict& facts) const;
  [[nodiscard]] Verdict describe() const;
  [[nodiscard]] std::shared_ptr<const ComparedArms> compare(const Verdict& facts) const;
  [[nodiscard]] size_t drawn_signal(const Verdict& facts) const;
  [[nodiscard]] ObjectiveVerdict describe(const Hypotheses::Entry& of) const;
  [[nodiscard]] Conclusion decide(const Observation& seen, const Verdict& facts) const;
  [[nodiscard]] bool is_alone(std::chrono::nanoseconds now) const {
    return slo_.baseline && now - baseline_seen_ >= kAlone;
  }
  // Whether a canary that passed has all the traffic, and its baseline therefore none.
  [[nodiscard]] bool is_let_go() const {
    return rollout_.passed && rollout_.traffic_weight.is_all() && alone_;
  }
  void decide_needed();
  [[nodiscard]] std::string alone_text(std::chrono::nanoseconds now) const;
  [[nodiscard]] bool is_trusted(const Observation& seen) const;
  [[nodiscard]] std::optional<Conclusion> find_veto(const Verdict& facts) const;
  [[nodiscard]] std::optional<Conclusion> find_doubt(const Observation& seen) const;
  [[nodiscard]] std::optional<Conclusion> find_restart(const Observation& seen,
                                                       const Verdict& facts) const;
  [[nodiscard]] std::optional<Conclusion> find_silence(const Observation& seen) const;
  [[nodiscard]] std::optional<Conclusion> find_abandoned() const;
  [[nodiscard]] std::optional<Conclusion> find_unknown() const;
  [[nodiscard]] std::optional<Conclusion> find_gap(const Observation& seen,
                                                   const Verdict& facts) const;
  [[nodiscard]] Conclusion find_lack(const Verdict& facts, std::string what) const;
  [[nodiscard]] std::string time_text(const Verdict& facts) const;
  [[nodiscard]] std::string connections_text() const;
  [[nodiscard]] std::string praise(const Verdict& facts) const;
  [[nodiscard]] std::string accuse(const Hypothesis& hypothesis,
                                   const ObjectiveVerdict& facts) const;

  Slo slo_;
  Beside beside_;
  Hypotheses hypotheses_;
  std::vector<std::string> component_names_;  // of all hypotheses, one after the other
  double threshold_;
  double log_share_ = 0;
  bool looks_ahead_ = true;

  Arm canary_;
  std::array<Arm, 2> baseline_;
  // Of shares of answers, and of all else: each as long as its own events need.
  OpenBlock block_, block_of_answers_;
  Block tallied_;  // up to where the arms' samples were taken into the rollout's, or left out
  std::chrono::nanoseconds block_began_{0};

  Tally history_;                // of the baseline, fading
  double history_readings_ = 0;  // how many it is of, fading as well
  size_t canary_cgroups_ = 0, baseline_cgroups_ = 0;
  bool alone_ = false;                          // the baseline has no traffic of late, or no cgroup
  std::vector<LevelEdges> edges_, test_edges_;  // of each hypothesis of the SLO and the A/A test
  Edges bound_edges_, split_edges_;
  size_t learned_ = 0, faded_ = 0;  // blocks
  AaTest aa_test_;
  std::chrono::nanoseconds baseline_seen_{0};  // when it last did anything
  Tally recent_canary_, recent_baseline_;      // for figures in sentences, fading
  std::optional<std::chrono::nanoseconds> lost_at_;

  Rollout rollout_;
  std::optional<Verdict> facts_;  // as of the last block
  std::shared_ptr<const Verdict> verdict_;
};

}  // namespace slogate
