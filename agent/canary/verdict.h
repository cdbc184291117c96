// SPDX-License-Identifier: Apache-2.0
// What is said of a canary, as values: part of the snapshot, and of what the state directory keeps.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config/slo.h"
#include "maps/counts.h"

namespace slogate {

enum class Decision { Pass, Hold, Veto };

// Names of Decision, in its order.
inline constexpr std::array<std::string_view, 3> kDecisions = {"pass", "hold", "veto"};

// Why. docs/verdict.md says of each what to do about it.
enum class Reason {
  Proven,               // pass: every objective that a pass needs is shown to hold
  Regressed,            // veto: worse than the baseline by more than allowed
  Exceeded,             // veto: beyond a bound of its own
  InsufficientSamples,  // hold, as are all that follow
  NoCanary,
  NoBaseline,
  BaselineUnstable,
  BaselineBreaching,
  WarmingUp,
  Restarting,
  Stalled,
  SamplesLost,
  Multiplexed,
  OutcomesUnknown,
  RegressedElsewhere,  // veto: the canaries of this rollout are worse on most of their nodes
};

// Names of Reason, in its order.
inline constexpr std::array<std::string_view, 15> kReasons = {"proven",
                                                              "regressed",
                                                              "exceeded",
                                                              "insufficient_samples",
                                                              "no_canary",
                                                              "no_baseline",
                                                              "baseline_unstable",
                                                              "baseline_breaching",
                                                              "warming_up",
                                                              "restarting",
                                                              "stalled",
                                                              "samples_lost",
                                                              "multiplexed",
                                                              "outcomes_unknown",
                                                              "regressed_elsewhere"};

// How one objective stands.
enum class ObjectiveState { Open, Proven, Against };

// Names of ObjectiveState, in its order.
inline constexpr std::array<std::string_view, 3> kObjectiveStates = {"open", "proven", "against"};

// One component of the evidence: what it adds up to since the rollout began, and its weight in the
// mixture. Sums of the same component add up over nodes.
struct EvidenceComponent {
  std::string name;  // "p99/r2"
  double sum = 0, mixture_weight = 0;
};

// How one quantile of an objective on a latency stands.
struct LevelVerdict {
  double quantile = 0;  // above 0, below 1
  // Evidence that it holds, enough at kProofThreshold: once there was enough, the most there was.
  double log_proof = 0;
  bool needed = true;                           // whether a pass needs it proven
  std::optional<double> expected_seconds = {};  // as of the verdict; of what is needed

  bool operator==(const LevelVerdict&) const = default;
};

struct ObjectiveVerdict {
  std::string objective;  // "request p99 max 15 ms"
  ObjectiveState state = ObjectiveState::Open;
  double log_e = 0;  // evidence against it alone
  double log_proof =
      0;  // evidence for it, the least of its needed levels; enough at kProofThreshold
  bool needed = false;                          // whether a pass needs it proven
  std::vector<LevelVerdict> levels = {};        // by quantile; none of a share
  std::optional<double> expected_seconds = {};  // as of the verdict; of what is needed
  // What was measured of late: seconds or shares; nothing where there were no samples.
  std::optional<double> canary, baseline;
  std::vector<EvidenceComponent> components;
};

// Where the arms are compared at one quantile, in seconds. The share of the baseline beyond its
// edge is held against that of the canary beyond each of the two others.
struct ComparedEdge {
  double quantile = 0;
  std::optional<double> baseline;  // nothing for a bound of the canary alone
  double veto = 0, pass = 0;
};

// The arms' latencies of late, of the signal that the verdict is about: for drawing.
struct ComparedArms {
  std::string_view signal;  // of kJudged
  Histogram canary, baseline;
  std::vector<ComparedEdge> edges;
};

// Samples of one arm that were judged, of the signal that has most of them.
struct ArmSamples {
  uint64_t canary = 0, baseline = 0;
};

// How it stands with a node that is asked for its baseline.
enum class LenderState {
  Asked,          // it has not answered yet
  Lends,          //
  Silent,         // it did, and nothing has come of late: nothing is decided before it is replaced
  NoSuchSlo,      // it knows nothing of the SLO
  OtherQuestion,  // its SLO of that name is about something else
};

// Names of LenderState, in its order.
inline constexpr std::array<std::string_view, 5> kLenderStates = {"asked", "lends", "silent",
                                                                  "no_such_slo", "other_question"};

// A node that is asked for its baseline, and how the canary stands beside that alone.
struct LenderStatus {
  std::string node;
  LenderState state = LenderState::Asked;
  uint64_t samples = 0;  // of its baseline, that were judged
  Decision decision = Decision::Hold;
  double log_e = 0;  // what a veto needs of it at most is Verdict::threshold
};

// Everything that is said of one SLO at one moment.
struct Verdict {
  std::string slo;
  Decision decision = Decision::Hold;
  Reason reason = Reason::InsufficientSamples;
  std::string message;        // one sentence for people
  double traffic_weight = 0;  // percent of the traffic that bounds justify
  std::vector<ObjectiveVerdict> objectives;
  ArmSamples samples;
  // Of the canary's requests of late the share whose outcome is known; nothing without requests.
  std::optional<double> outcomes_known;
  // The largest quantile of request latency that is shown to hold; nothing while none is.
  std::optional<double> shown = {};
  // How many more seconds a pass takes at the rate of late; nothing where that is not known.
  std::optional<double> expected_seconds = {};
  // Canary samples a second of late, of the signal that stands for the load.
  std::optional<double> rate = {};
  double log_e = 0, threshold = 0;                // a veto needs log_e >= threshold
  std::chrono::system_clock::time_point since{};  // when decision or reason last changed
  std::string rollout;                            // names the evidence; another after a reset
  std::chrono::nanoseconds block{0};              // how much time one block of evidence spans
  size_t blocks = 0;                              // how many there were
  // The same of what most speaks against; shares of answers have shorter ones.
  size_t blocks_against = 0;
  // The nodes that were asked because too little of a baseline is beside the canary; by name.
  std::vector<LenderStatus> lenders = {};
  // Null before the canary had a block, and of a veto that another agent made.
  std::shared_ptr<const ComparedArms> comparison = {};
};

// An SLO as it is judged now: what /v1/slos shows.
struct SloStatus {
  Slo slo;
  std::vector<std::string> objectives;        // those that follow from a baseline included
  std::vector<std::string> canary, baseline;  // paths of the cgroups that are in the arms
  std::vector<std::string> notes;             // what who wrote it should know
};

// An SLO that cannot be judged, and what has to change.
struct SloProblem {
  std::string slo;
  std::string message;

  bool operator==(const SloProblem&) const = default;
};

// All SLOs, those of the configuration in its order; `slos` and `list` are of the same length.
struct Verdicts {
  std::vector<std::shared_ptr<const SloStatus>> slos;  // never null
  std::vector<std::shared_ptr<const Verdict>> list;    // likewise
  std::vector<SloProblem> problems = {};

  [[nodiscard]] const Verdict* find(std::string_view slo) const {
    for (const auto& verdict : list)
      if (verdict->slo == slo) return verdict.get();
    return nullptr;
  }
};

}  // namespace slogate
