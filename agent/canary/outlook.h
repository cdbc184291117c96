// SPDX-License-Identifier: Apache-2.0
// How long a pass will still take: a reckoning that no decision rests on.
//
// What proves an objective adds up by samples. An equal canary is expected to gain what its
// baseline's history would gain against itself at the present split of the traffic; that is known
// from the first second on, while the proof of so far is a few draws of a tail. But a canary that
// is slower within what is allowed gains less, and only its own proof tells. So the expectation
// counts like as many samples as it takes an equal canary to pass, and what was observed like as
// many as it has: halfway through a third of the weight is the canary's own. What is told is the
// time that is long enough every other time, not the mean.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <vector>

#include "agent/canary/proofs.h"
#include "agent/canary/verdict.h"

namespace slogate {

// Samples a second of late, fading with a time of half a minute: at 10 a second that is 300 of
// them, which tell the rate within 6 %.
class RateOfLate {
 public:
  void add(double samples, double seconds);
  // Nothing before anything was added.
  [[nodiscard]] std::optional<double> rate() const;

 private:
  double samples_ = 0, seconds_ = 0;
};

// How many steps it takes until the log of the mean of exp(sums + steps * gains) is `enough`, which
// it is not yet; nothing where it never will be. Both are of one length.
[[nodiscard]] std::optional<double> steps_until(std::span<const double> sums,
                                                std::span<const double> gains, double enough);

// What a judge knows of one rollout.
struct Prospect {
  const Hypotheses& hypotheses;
  const std::vector<LevelEdges>& edges;  // of each hypothesis
  const Proofs& proofs;
  const Tally& usual;  // what an equal canary does: the baseline's history; alone, its own past
  bool compared = false;
  size_t main_signal = 0;
  std::chrono::nanoseconds block{0};
  double enough = 0;  // the proof that a pass needs
};

class Outlook {
 public:
  // One block that lasted so many seconds, idle or not, from the first with samples on.
  void add_block(const Prospect& of, double canary, double baseline, double seconds);

  // Canary samples a second of late; nothing before the first.
  [[nodiscard]] std::optional<double> rate() const { return canary_.rate(); }
  // Says of each level and objective that a pass needs how many more seconds it takes, and returns
  // the longest of them; nothing where one is not known.
  std::optional<double> look(const Prospect& of, std::vector<ObjectiveVerdict>& objectives) const;

 private:
  struct Equal;
  [[nodiscard]] std::optional<double> time_of(const Prospect& of, const Equal& equal,
                                              const Hypotheses::Entry& entry, size_t level,
                                              const ProofGains& expected) const;
  [[nodiscard]] std::optional<double> time_at(const Prospect& of, const Equal& equal, double seen,
                                              std::span<const double> sums,
                                              std::span<const double> expected) const;

  RateOfLate canary_, baseline_;
  std::vector<double> samples_;  // of the canary since each level is proven, all levels in a row
};

}  // namespace slogate
