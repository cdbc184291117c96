// SPDX-License-Identifier: Apache-2.0
// How evidence is gathered; what follows from it is in judge_decide.cpp.
#include "agent/canary/judge.h"

#include <algorithm>
#include <cmath>

#include "agent/base/figures.h"

namespace slogate {
namespace {

// The baseline's quantiles are taken anew after so many blocks.
constexpr size_t kLearnBlocks = 60;
// What is known of the baseline fades by half when it is of so many blocks and requests.
constexpr size_t kFadeBlocks = 240;
constexpr uint64_t kFadeSamples = 200'000;
// Figures in sentences are of the last so many blocks, about.
constexpr size_t kRecentBlocks = 20;

bool is_idle(const Tally& block) {
  for (size_t signal = 0; signal < kJudgedSignals; ++signal)
    if (exposures(block, signal) != 0) return false;
  return true;
}

Tally difference(Tally now, const Tally& before) {
  now -= before;
  return now;
}

template <size_t N>
Edges edges_at(const std::array<double, N>& quantiles, const Tally& history, size_t signal) {
  Edges edges;
  for (const double quantile : quantiles) edges.push_back(quantile_edge(history, signal, quantile));
  return edges;
}

// Of the signals that tell of requests the first that is in use.
size_t first_used(const Tally& tally) {
  for (const slogate_signal signal :
       {SLOGATE_SIGNAL_request, SLOGATE_SIGNAL_client_request, SLOGATE_SIGNAL_connect})
    if (exposures(tally, judged(signal)) != 0) return judged(signal);
  return kJudgedSignals;
}

uint64_t answers(const Counts& added) {
  return count(added.histograms[SLOGATE_SIGNAL_request]) +
         count(added.histograms[SLOGATE_SIGNAL_client_request]);
}

std::string component_name(const Hypothesis& hypothesis, size_t level, size_t at) {
  const Grid& grid =
      is_latency(hypothesis.signal) || hypothesis.absolute ? kLatencyGrid : kRareGrid;
  const std::string factor = fmt::format("r{:g}", grid[at]);
  return is_latency(hypothesis.signal)
             ? quantile_text(hypothesis.levels[level].quantile) + "/" + factor
             : factor;
}

}  // namespace

Judge::Judge(const Slo& slo, std::string rollout, TickTime now)
    : slo_(slo),
      hypotheses_(to_hypotheses(slo)),
      threshold_(std::log(1 / slo.alpha)),
      aa_test_(slo.alpha) {
  for (const Hypothesis& hypothesis : hypotheses_) {
    edges_.emplace_back(hypothesis.levels.size());
    for (size_t i = 0; i < hypothesis.components(); ++i)
      component_names_.push_back(component_name(hypothesis, i / Grid{}.size(), i % Grid{}.size()));
  }
  for (const Hypothesis& hypothesis : aa_test_.hypotheses())
    test_edges_.emplace_back(hypothesis.levels.size());
  bound_edges_.resize(BoundSums::kBoundQuantiles.size());
  split_edges_.resize(AaTest::kTestedQuantiles.size());
  reset(std::move(rollout), now);
}

void Judge::reset(std::string rollout, TickTime now) {
  rollout_ = {.name = std::move(rollout), .evidence = {}, .proofs = {}, .bounds = {}, .gap = {}};
  rollout_.began = now.monotonic;
  // The block that is under way belongs to the rollout before.
  canary_before_ = canary_.tally();
  for (size_t half = 0; half < 2; ++half) baseline_before_[half] = baseline_[half].tally();
  readings_ = 0;
  aa_test_.begin_rollout();
  recent_canary_ = recent_baseline_ = {};
  facts_.reset();
  verdict_.reset();
  publish({.now = now, .canary = {}, .baseline = {}});
}

void Judge::restore(Verdict veto) {
  rollout_.name = veto.rollout;
  rollout_.weight = 0;
  rollout_.veto = verdict_ = std::make_shared<const Verdict>(std::move(veto));
}

void Judge::observe(const Observation& seen) {
  canary_.add(seen.canary);
  for (size_t half = 0; half < 2; ++half) baseline_[half].add(seen.baseline[half]);
  note_activity(seen);
  if (slo_.baseline)
    aa_test_.add_reading({baseline_[0].tally(), baseline_[1].tally()}, canary_.tally(),
                         main_signal(), split_edges_);
  if (++readings_ >= (slo_.baseline ? aa_test_.block() : kFirstBlock)) end_block();
  publish(seen);
}

void Judge::note_activity(const Observation& seen) {
  const auto now = seen.now.monotonic;
  if (seen.canary.lost + seen.baseline[0].lost + seen.baseline[1].lost > 0) {
    spoiled_ = true;
    lost_at_ = now;
  }
  if (seen.canary.gap) rollout_.gap = {*seen.canary.gap, now};
  if (const uint64_t n = answers(seen.canary.added); n != 0) {
    rollout_.last_sample = now;
    rollout_.answered += n;
  }
  if (answers(seen.baseline[0].added) + answers(seen.baseline[1].added) != 0) baseline_seen_ = now;
}

size_t Judge::main_signal() const {
  const size_t of_baseline = first_used(history_);
  if (of_baseline < kJudgedSignals) return of_baseline;
  const size_t of_canary = first_used(canary_.tally());
  return of_canary < kJudgedSignals ? of_canary : judged(SLOGATE_SIGNAL_request);
}

void Judge::end_block() {
  const Tally canary = difference(canary_.tally(), canary_before_);
  std::array<Tally, 2> halves;
  for (size_t half = 0; half < 2; ++half)
    halves[half] = difference(baseline_[half].tally(), baseline_before_[half]);
  Tally baseline = halves[0];
  baseline += halves[1];
  canary_before_ = canary_.tally();
  for (size_t half = 0; half < 2; ++half) baseline_before_[half] = baseline_[half].tally();
  readings_ = 0;
  if (std::exchange(spoiled_, false)) return;
  // Everything that is decided from the past is used before this block becomes part of it.
  if (slo_.baseline) aa_test_.add_block(halves, test_edges_);
  if (!is_idle(canary)) judge_block(canary, baseline);
  learn(baseline);
  facts_ = describe();
}

void Judge::judge_block(const Tally& canary, const Tally& baseline) {
  if (!rollout_.evidence) begin_evidence();
  std::vector<double> against;
  bool breaching = false;
  for (size_t i = 0, first = 0; i < hypotheses_.size(); ++i) {
    const Gains gains =
        weigh(hypotheses_[i], canary, slo_.baseline ? &baseline : nullptr, edges_[i]);
    against.insert(against.end(), gains.against.begin(), gains.against.end());
    for (const double gain : gains.proof) rollout_.proofs[first++] += std::min(kCap, gain);
    breaching = breaching || gains.baseline_breaches;
  }
  rollout_.evidence->add(against);
  rollout_.breaching = breaching ? rollout_.breaching + 1 : 0;
  ++rollout_.blocks;
  rollout_.judged_canary += canary;
  rollout_.judged_baseline += baseline;
  for (Tally* recent : {&recent_canary_, &recent_baseline_})
    if (rollout_.blocks % kRecentBlocks == 0) recent->halve();
  recent_canary_ += canary;
  recent_baseline_ += baseline;
  if (!slo_.baseline) return;
  rollout_.bounds.add(canary, baseline, main_signal(), bound_edges_);
  if (rollout_.blocks % kWeightBlocks == 0)
    rollout_.weight = next_traffic_weight(rollout_.weight, rollout_.bounds.bounds(slo_.alpha));
}

// The weights may depend on what was there before the first block, and on nothing later.
void Judge::begin_evidence() {
  std::array<bool, kJudgedSignals> active{};
  for (size_t signal = 0; signal < kJudgedSignals; ++signal)
    active[signal] = exposures(history_, signal) != 0;
  const std::vector<double> weights = to_weights(hypotheses_, active);
  rollout_.evidence.emplace(weights);
  rollout_.proofs.assign(weights.size(), 0);
}

void Judge::learn(const Tally& baseline) {
  history_ += baseline;
  ++faded_;
  const size_t signal = main_signal();
  if (faded_ >= kFadeBlocks && exposures(history_, signal) >= kFadeSamples) {
    history_.halve();
    faded_ = 0;
  }
  const bool all = learned_++ % kLearnBlocks == 0;
  const auto renew = [all](Edges& edges, const Edges& now) {
    for (size_t i = 0; i < edges.size(); ++i)
      if (all || !edges[i]) edges[i] = now[i];
  };
  for (size_t i = 0; i < hypotheses_.size(); ++i)
    renew(edges_[i], to_edges(hypotheses_[i], history_));
  for (size_t i = 0; i < test_edges_.size(); ++i)
    renew(test_edges_[i], to_edges(aa_test_.hypotheses()[i], history_));
  renew(bound_edges_, edges_at(BoundSums::kBoundQuantiles, history_, signal));
  renew(split_edges_, edges_at(AaTest::kTestedQuantiles, history_, signal));
}

ObjectiveVerdict Judge::describe_hypothesis(size_t number, size_t first) const {
  const Hypothesis& hypothesis = hypotheses_[number];
  ObjectiveVerdict facts{.objective = hypothesis.name, .needed = is_needed(hypothesis)};
  const double quantile = hypothesis.implied ? 0.99 : hypothesis.levels.front().quantile;
  const auto measured = [&](const Tally& tally) -> std::optional<double> {
    if (is_latency(hypothesis.signal)) return tally_quantile(tally, hypothesis.signal, quantile);
    const Trial trial = ratio_trial(tally, hypothesis.signal);
    if (trial.exposures <= 0) return std::nullopt;
    return trial.events / trial.exposures;
  };
  facts.canary = measured(recent_canary_);
  if (slo_.baseline) facts.baseline = measured(recent_baseline_);
  if (!rollout_.evidence) return facts;
  const size_t grid = Grid{}.size();
  facts.log_e = rollout_.evidence->log_e(first, hypothesis.components());
  facts.log_proof = std::numeric_limits<double>::infinity();
  for (size_t level = 0; level < hypothesis.levels.size(); ++level) {
    const auto proofs = std::span(rollout_.proofs).subspan(first + level * grid, grid);
    facts.log_proof = std::min(facts.log_proof, log_mean_exp(proofs));
    for (size_t i = 0; i < grid; ++i) {
      const size_t at = first + level * grid + i;
      facts.components.push_back({component_names_[at], rollout_.evidence->sums()[at],
                                  std::exp(rollout_.evidence->log_weights()[at])});
    }
  }
  return facts;
}

double Judge::log_share(size_t hypothesis, size_t first) const {
  return log_sum_exp(
      rollout_.evidence->log_weights().subspan(first, hypotheses_[hypothesis].components()));
}

Verdict Judge::describe() const {
  Verdict facts{.slo = slo_.name, .threshold = threshold_, .rollout = rollout_.name};
  facts.weight = round_traffic_weight(rollout_.weight);
  facts.blocks = rollout_.blocks;
  facts.block =
      (slo_.baseline ? aa_test_.block() : kFirstBlock) * std::chrono::nanoseconds(kReadInterval);
  for (size_t signal = 0; signal < kJudgedSignals; ++signal) {
    if (signal == judged(SLOGATE_SIGNAL_rtt) || signal == judged(RatioSignal::Drops) ||
        signal == judged(RatioSignal::Resets) || signal == judged(RatioSignal::Retransmits))
      continue;  // packets are not what anyone counts as a sample
    facts.samples.canary =
        std::max(facts.samples.canary, exposures(rollout_.judged_canary, signal));
    facts.samples.baseline =
        std::max(facts.samples.baseline, exposures(rollout_.judged_baseline, signal));
  }
  std::vector<double> parts;
  for (size_t i = 0, first = 0; i < hypotheses_.size(); first += hypotheses_[i].components(), ++i) {
    facts.objectives.push_back(describe_hypothesis(i, first));
    if (rollout_.evidence) parts.push_back(log_share(i, first) + facts.objectives[i].log_e);
  }
  // The mixture over all components is that of the mixtures over each hypothesis's.
  if (!parts.empty()) facts.log_e = log_sum_exp(parts);
  return facts;
}

}  // namespace slogate
