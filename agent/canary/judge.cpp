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

// Failures of a canary last as long as what they come from, a peer that is started again or a
// pool that fills, and there may be none to learn from in minutes. So a block of shares of answers
// that is a single reading counts for less, and a veto for nothing but them takes three seconds of
// them, not two.
double cap_of_answers(size_t readings) {
  constexpr double kCapOfReading = 0.75;
  return readings == 1 ? kCapOfReading : kCap;
}

Gains capped(Gains gains, double cap) {
  for (double& gain : gains.against) gain = std::min(gain, cap);
  return gains;
}

// Of the signals that stand for the load the first that is in use.
size_t first_used(const Tally& tally) {
  for (size_t signal = 0; signal < kJudgedSignals; ++signal)
    if (kJudged[signal].main && exposures(tally, signal) != 0) return signal;
  return kJudgedSignals;
}

uint64_t answers(const Counts& added) {
  uint64_t sum = 0;
  for (size_t signal = 0; signal < SLOGATE_SIGNALS; ++signal)
    if (kJudged[signal].answers) sum += count(added.histograms[signal]);
  return sum;
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

bool Judge::are_known(const Tally& arm) {
  const auto covered = coverage(arm, judged(RatioSignal::Errors));
  return covered && covered->answers >= kFewRequests && covered->known >= kLeastKnown;
}

Judge::Judge(const Slo& slo, std::string rollout, TickTime now, Beside beside)
    : slo_(slo),
      beside_(beside),
      hypotheses_(beside == Beside::OwnNode ? to_hypotheses(slo)
                                            : to_hypotheses_between_nodes(slo)),
      threshold_(std::log(1 / slo.alpha)),
      aa_test_(slo.alpha) {
  for (const Hypothesis& hypothesis : hypotheses_.all()) {
    edges_.emplace_back(hypothesis.levels.size());
    for (size_t level = 0; level < hypothesis.levels.size(); ++level)
      for (size_t at = 0; at < Grid{}.size(); ++at)
        component_names_.push_back(component_name(hypothesis, level, at));
  }
  for (const Hypothesis& hypothesis : aa_test_.hypotheses())
    test_edges_.emplace_back(hypothesis.levels.size());
  bound_edges_.resize(BoundSums::kBoundQuantiles.size());
  split_edges_.resize(AaTest::kTestedQuantiles.size());
  reset(std::move(rollout), now);
}

void Judge::reset(std::string rollout, TickTime now) {
  rollout_ = {.name = std::move(rollout),
              .evidence = {},
              .needed = {},
              .traffic_weight = TrafficWeight(slo_, now.monotonic),
              .gap = {}};
  rollout_.began = now.monotonic;
  aa_test_.begin_rollout();
  // The block that is under way belongs to the rollout before.
  begin_block();
  begin_block_of_answers();
  tallied_ = block_.before;
  block_began_ = now.monotonic;
  recent_canary_ = recent_baseline_ = {};
  facts_ = describe();
  verdict_.reset();
  settle(draft({.now = now, .canary = {}, .baseline = {}}), now);
}

void Judge::set_weight_steps(const WeightSteps& steps) {
  slo_.weight = steps;
  rollout_.traffic_weight.set_steps(steps);
}

void Judge::restore(Verdict veto) {
  rollout_.name = veto.rollout;
  rollout_.veto = verdict_ = std::make_shared<const Verdict>(std::move(veto));
}

void Judge::take(const Observation& seen) {
  canary_.add(seen.canary);
  for (size_t half = 0; half < 2; ++half) baseline_[half].add(seen.baseline[half]);
  note_activity(seen);
  canary_cgroups_ = seen.canary.cgroups;
  baseline_cgroups_ = seen.baseline[0].cgroups + seen.baseline[1].cgroups;
  alone_ = is_alone(seen.now.monotonic) || (slo_.baseline && baseline_cgroups_ == 0);
  // A baseline without traffic teaches nothing: what was known of how long blocks have to be would
  // be forgotten in the five minutes after the weight has reached 100.
  if (slo_.baseline)
    aa_test_.add_reading({baseline_[0].tally(), baseline_[1].tally()}, canary_.tally(),
                         main_signal(), split_edges_, alone_);
  if (++block_.readings >= block_.length) end_block(seen.now.monotonic);
  if (++block_of_answers_.readings >= block_of_answers_.length) end_block_of_answers();
}

void Judge::add_baseline(const std::array<ArmReading, 2>& halves, std::chrono::nanoseconds now) {
  for (size_t half = 0; half < 2; ++half) baseline_[half].add(halves[half]);
  note_baseline(halves, now);
}

void Judge::note_activity(const Observation& seen) {
  const auto now = seen.now.monotonic;
  note_loss(seen.canary, now);
  if (seen.canary.gap) rollout_.gap = {*seen.canary.gap, now};
  if (const uint64_t n = answers(seen.canary.added); n != 0) {
    rollout_.last_sample = now;
    rollout_.answered += n;
  }
  note_baseline(seen.baseline, now);
}

void Judge::note_loss(const ArmReading& arm, std::chrono::nanoseconds now) {
  if (arm.lost == 0) return;
  block_.spoiled = block_of_answers_.spoiled = true;
  lost_at_ = now;
}

void Judge::note_baseline(const std::array<ArmReading, 2>& halves, std::chrono::nanoseconds now) {
  const size_t load = main_signal();  // of what only sends there are no answers
  for (const ArmReading& half : halves) {
    note_loss(half, now);
    if (answers(half.added) != 0 || (is_latency(load) && count(half.added.histograms[load]) != 0))
      baseline_seen_ = now;
  }
}

std::chrono::nanoseconds Judge::block() const {
  return block_.length * std::chrono::nanoseconds(kReadInterval);
}

size_t Judge::main_signal() const {
  const size_t of_baseline = first_used(history_);
  if (of_baseline < kJudgedSignals) return of_baseline;
  const size_t of_canary = first_used(canary_.tally());
  return of_canary < kJudgedSignals ? of_canary : judged(SLOGATE_SIGNAL_request);
}

Tally Judge::Block::baseline() const {
  Tally both = halves[0];
  both += halves[1];
  return both;
}

void Judge::begin_block() {
  block_ = {.before = all_until_now(), .length = slo_.baseline ? aa_test_.block() : kFirstBlock};
}

// Slow requests may come in bursts for many seconds, as on a busy node, while answers fail as
// independently as ever, or the other way round: so shares of answers have blocks of their own.
void Judge::begin_block_of_answers() {
  block_of_answers_ = {.before = all_until_now(),
                       .length = slo_.baseline ? aa_test_.block_of_answers() : kFirstBlock};
}

Judge::Block Judge::all_until_now() const {
  return {canary_.tally(), {baseline_[0].tally(), baseline_[1].tally()}};
}

Judge::Block Judge::since(const Block& before) const {
  Block block{.canary = difference(canary_.tally(), before.canary), .halves = {}};
  for (size_t half = 0; half < 2; ++half)
    block.halves[half] = difference(baseline_[half].tally(), before.halves[half]);
  return block;
}

void Judge::end_block_of_answers() {
  const Block block = since(block_of_answers_.before);
  const size_t readings = block_of_answers_.readings;
  const bool spoiled = block_of_answers_.spoiled;
  if (slo_.baseline && !spoiled) aa_test_.add_block_of_answers(block.halves, test_edges_);
  begin_block_of_answers();
  if (spoiled) {
    tallied_ = block_of_answers_.before;
    return;
  }
  if (!is_idle(block.canary)) judge_block_of_answers(block, readings);
  take_stock();
}

void Judge::end_block(std::chrono::nanoseconds now) {
  const Block block = since(block_.before);
  const size_t readings = block_.readings;
  const bool spoiled = block_.spoiled;
  if (slo_.baseline && !spoiled) aa_test_.add_block(block.halves, test_edges_);
  begin_block();
  const double lasted = seconds(now - std::exchange(block_began_, now));
  // Everything that is decided from the past is used before this block becomes part of it.
  if (!spoiled && !is_idle(block.canary)) judge_block(block);
  tallied_ = block_.before;
  if (spoiled) return;
  const Tally baseline = block.baseline();
  rollout_.outlook.add_block(prospect(),
                             static_cast<double>(exposures(block.canary, main_signal())),
                             static_cast<double>(exposures(baseline, main_signal())), lasted);
  learn(baseline, readings);
  take_stock();
}

void Judge::take_stock() {
  facts_ = describe();
  // What was shown before the suspicion has to be proven at its end.
  if (facts_->log_e >= kSuspicion) rollout_.proofs.forget_shown();
  look_ahead(*facts_);
}

Prospect Judge::prospect() const {
  return {.hypotheses = hypotheses_,
          .edges = edges_,
          .proofs = rollout_.proofs,
          .usual = slo_.baseline ? history_ : rollout_.judged_canary,
          .compared = slo_.baseline.has_value(),
          .main_signal = main_signal(),
          .block = block(),
          .enough = kProofThreshold};
}

void Judge::look_ahead(Verdict& facts) const {
  facts.rate = rollout_.outlook.rate();
  if (!looks_ahead_) return;
  const auto is_open = [](const ObjectiveVerdict& objective) {
    return objective.needed && objective.log_proof < kProofThreshold;
  };
  if (std::ranges::none_of(facts.objectives, is_open) && facts.blocks >= kLeastBlocks &&
      facts.samples.canary >= kLeastSamples)
    return;
  const auto longest = rollout_.outlook.look(prospect(), facts.objectives);
  if (!longest) return;
  const double samples =
      static_cast<double>(kLeastSamples - std::min(kLeastSamples, facts.samples.canary));
  const double blocks = static_cast<double>(kLeastBlocks - std::min(kLeastBlocks, facts.blocks));
  facts.expected_seconds =
      std::max({*longest, samples / *facts.rate, blocks * seconds(facts.block)});
}

void Judge::judge_block(const Block& block) {
  if (!rollout_.evidence) begin_evidence();
  const Tally baseline = block.baseline();
  if (slo_.baseline) rollout_.firsts.add_block(block.canary, baseline);
  const FirstsOfSignals firsts = rollout_.firsts.told();
  rollout_.breaching = breaches_bound(hypotheses_, baseline) ? rollout_.breaching + 1 : 0;
  ++rollout_.blocks;
  add_evidence(weigh(hypotheses_, block.canary, slo_.baseline ? &baseline : nullptr, edges_, firsts,
                     SignalGroup::Others),
               SignalGroup::Others);
  if (rollout_.blocks % kRecentBlocks == 0)
    for (Tally* recent : {&recent_canary_, &recent_baseline_}) recent->halve();
  const size_t signal = main_signal();
  if (slo_.baseline && beside_ == Beside::OwnNode)
    rollout_.traffic_weight.add(block.canary, baseline, signal, bound_edges_, firsts);
  if (exposures(block.canary, signal) != 0 &&
      (!slo_.baseline || exposures(baseline, signal) != 0)) {
    ++rollout_.answered_blocks;
    rollout_.traffic_weight.add_block();
  }
}

void Judge::judge_block_of_answers(const Block& block, size_t readings) {
  if (!rollout_.evidence) begin_evidence();
  const Tally baseline = block.baseline();
  add_evidence(capped(weigh(hypotheses_, block.canary, slo_.baseline ? &baseline : nullptr, edges_,
                            {}, SignalGroup::OfAnswers),
                      cap_of_answers(readings)),
               SignalGroup::OfAnswers);
}

void Judge::add_evidence(const Gains& gains, SignalGroup part) {
  rollout_.evidence->add(gains.against, part);
  rollout_.proofs.add(gains.proof);
  tally();
}

// Of a long block in which the canary was there all of the baseline counts, with the short ones in
// which the canary was idle.
void Judge::tally() {
  const Block block = since(std::exchange(tallied_, all_until_now()));
  const Tally baseline = block.baseline();
  rollout_.judged_canary += block.canary;
  rollout_.judged_baseline += baseline;
  recent_canary_ += block.canary;
  recent_baseline_ += baseline;
  rollout_.outcomes_known = rollout_.outcomes_known || are_known(recent_canary_);
}

// How many samples of a signal the canary has in the time that a pass may take, by the baseline's
// rate before it came: a cgroup of the one as many as a cgroup of the other.
double Judge::expected_samples(size_t signal) const {
  if (history_readings_ <= 0) return 0;
  const double cgroups = static_cast<double>(std::max<size_t>(canary_cgroups_, 1)) /
                         static_cast<double>(std::max<size_t>(baseline_cgroups_, 1));
  const double in_a_reading =
      static_cast<double>(exposures(history_, signal)) / history_readings_ * std::min(1.0, cgroups);
  return in_a_reading * (slo_.pass_within / std::chrono::duration<double>(kReadInterval));
}

// The weights may depend on what was there before the first block, and on nothing later.
void Judge::begin_evidence() {
  std::array<bool, kJudgedSignals> active{};
  for (size_t signal = 0; signal < kJudgedSignals; ++signal)
    active[signal] = exposures(history_, signal) != 0;
  const std::vector<double> weights = to_mixture_weights(hypotheses_, active);
  rollout_.evidence.emplace(weights, to_groups(hypotheses_));
  rollout_.proofs = Proofs(weights.size());
  rollout_.needed.assign(weights.size() / Grid{}.size(), false);
  decide_needed();
}

// What a pass needs: known before the first block, where the baseline was there before. Where it
// was not, how many samples there are is seen in the blocks that a pass takes at the least. How
// slow the canary's are has no part in it. More may come to be needed, never less.
void Judge::decide_needed() {
  size_t number = 0;
  for (const Hypotheses::Entry& of : hypotheses_.entries()) {
    const std::vector<Level>& levels = of.hypothesis.levels;
    const double expected = expected_samples(of.hypothesis.signal);
    const auto has_open_tail = [&edges = edges_[of.number]](size_t level) {
      return edges[level] && edges[level]->open_tail;
    };
    for (size_t level = 0; level < levels.size(); ++level, ++number) {
      const bool needed = is_level_needed(of.hypothesis, levels[level], expected) ||
                          (level > 0 && rollout_.needed[number - 1] && has_open_tail(level - 1));
      rollout_.needed[number] = rollout_.needed[number] || needed;
    }
  }
}

void Judge::set_pass_within(std::chrono::nanoseconds pass_within) {
  slo_.pass_within = pass_within;
  if (rollout_.evidence) decide_needed();
}

void Judge::learn(const Tally& baseline, size_t readings) {
  history_ += baseline;
  const size_t signal = main_signal();
  // Silence, as by night or at a weight of 100, says nothing of the rate at which there is traffic.
  if (exposures(baseline, signal) != 0) history_readings_ += static_cast<double>(readings);
  ++faded_;
  if (faded_ >= kFadeBlocks && exposures(history_, signal) >= kFadeSamples) {
    history_.halve();
    history_readings_ /= 2;
    faded_ = 0;
  }
  const bool all = learned_++ % kLearnBlocks == 0;
  const auto renew = [all](auto& edges, const auto& now) {
    for (size_t i = 0; i < edges.size(); ++i)
      if (all || !edges[i]) edges[i] = now[i];
  };
  for (const Hypotheses::Entry& of : hypotheses_.entries())
    renew_edges(of, to_edges(of.hypothesis, history_, edges_[of.number]), all);
  if (rollout_.evidence && (all || rollout_.blocks == kLeastBlocks)) decide_needed();
  for (size_t i = 0; i < test_edges_.size(); ++i)
    renew(test_edges_[i], to_edges(aa_test_.hypotheses()[i], history_));
  renew(bound_edges_, edges_at(BoundSums::kBoundQuantiles, history_, signal));
  renew(split_edges_, edges_at(AaTest::kTestedQuantiles, history_, signal));
}

// Those that are not known yet, or all.
void Judge::renew_edges(const Hypotheses::Entry& of, const LevelEdges& now, bool all) {
  LevelEdges& edges = edges_[of.number];
  for (size_t level = 0; level < edges.size(); ++level) {
    if (edges[level] && !all) continue;
    const auto before = std::exchange(edges[level], now[level]);
    const auto found = new_edge(before, now[level]);
    if (found && !rollout_.proofs.empty())
      rollout_.proofs.begin_anew(*found, of.components.level(level));
  }
}

ObjectiveVerdict Judge::describe(const Hypotheses::Entry& of) const {
  const Hypothesis& hypothesis = of.hypothesis;
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
  facts.log_e = rollout_.evidence->log_e(of.components.first, of.components.size());
  facts.log_proof = std::numeric_limits<double>::infinity();
  for (size_t level = 0; level < of.components.levels; ++level) {
    const Components components = of.components.level(level);
    const double proof = rollout_.proofs.of(components);
    const bool needed = rollout_.needed[components.first_level()];
    if (needed) facts.log_proof = std::min(facts.log_proof, proof);
    if (is_latency(hypothesis.signal))
      facts.levels.push_back({hypothesis.levels[level].quantile, proof, needed});
  }
  // Those beside other nodes do not add up over nodes: two canaries may have one lender.
  if (beside_ == Beside::OtherNode) return facts;
  const auto names = of.components.of(component_names_);
  const auto sums = of.components.of(rollout_.evidence->sums());
  const auto log_weights = of.components.of(rollout_.evidence->log_weights());
  for (size_t i = 0; i < names.size(); ++i)
    facts.components.push_back({names[i], sums[i], std::exp(log_weights[i])});
  return facts;
}

double Judge::log_part(const Hypotheses::Entry& of, const ObjectiveVerdict& facts) const {
  return log_sum_exp(of.components.of(rollout_.evidence->log_weights())) + facts.log_e;
}

Hypotheses::Entry Judge::worst(const Verdict& facts) const {
  size_t found = 0;
  double most = -std::numeric_limits<double>::infinity();
  for (const Hypotheses::Entry& of : hypotheses_.entries()) {
    const double part = log_part(of, facts.objectives[of.number]);
    if (part <= most) continue;
    most = part;
    found = of.number;
  }
  return hypotheses_[found];
}

// What is suspected, if that is a latency, else what stands for the load.
size_t Judge::drawn_signal(const Verdict& facts) const {
  if (rollout_.evidence && facts.log_e >= kSuspicion)
    if (const size_t signal = worst(facts).hypothesis.signal; is_latency(signal)) return signal;
  return main_signal();
}

std::shared_ptr<const ComparedArms> Judge::compare(const Verdict& facts) const {
  const size_t signal = drawn_signal(facts);
  if (!is_latency(signal) || exposures(recent_canary_, signal) == 0) return nullptr;
  ComparedArms drawn{.signal = kJudged[signal].name,
                     .canary = to_histogram(recent_canary_.latencies[signal]),
                     .baseline = to_histogram(recent_baseline_.latencies[signal]),
                     .edges = {}};
  for (const auto& [hypothesis, number, components] : hypotheses_.entries()) {
    if (hypothesis.signal != signal) continue;
    for (size_t level = 0; level < hypothesis.levels.size(); ++level) {
      const double quantile = hypothesis.levels[level].quantile;
      if (hypothesis.absolute)
        drawn.edges.push_back({quantile, std::nullopt, hypothesis.bound, hypothesis.bound});
      else if (const auto& edge = edges_[number][level])
        drawn.edges.push_back({quantile, bucket_edge(edge->at),
                               bucket_edge(against_edge(hypothesis, edge->at)),
                               bucket_edge(proof_edge(hypothesis, edge->at))});
    }
  }
  return std::make_shared<const ComparedArms>(std::move(drawn));
}

// What is shown of a quantile is shown of those below it only where they are shown as well.
std::optional<double> Judge::find_shown(const Verdict& facts) const {
  std::optional<double> shown;
  for (const Hypotheses::Entry& of : hypotheses_.entries()) {
    if (of.hypothesis.signal != judged(SLOGATE_SIGNAL_request) || of.hypothesis.absolute) continue;
    for (const LevelVerdict& level : facts.objectives[of.number].levels) {
      if (level.log_proof < kProofThreshold) break;
      shown = level.quantile;
    }
  }
  return shown;
}

Verdict Judge::describe() const {
  Verdict facts{.slo = slo_.name, .threshold = threshold_, .rollout = rollout_.name};
  facts.traffic_weight = rollout_.traffic_weight.percent();
  facts.blocks = rollout_.blocks;
  facts.block = block();
  for (size_t signal = 0; signal < kJudgedSignals; ++signal) {
    if (!kJudged[signal].sample) continue;
    facts.samples.canary =
        std::max(facts.samples.canary, exposures(rollout_.judged_canary, signal));
    facts.samples.baseline =
        std::max(facts.samples.baseline, exposures(rollout_.judged_baseline, signal));
  }
  if (const auto covered = coverage(recent_canary_, judged(RatioSignal::Errors)))
    facts.outcomes_known = covered->known;
  std::vector<double> parts;
  for (const Hypotheses::Entry& of : hypotheses_.entries()) {
    facts.objectives.push_back(describe(of));
    if (rollout_.evidence) parts.push_back(log_part(of, facts.objectives.back()));
  }
  facts.shown = find_shown(facts);
  // The mixture over all components is that of the mixtures over each hypothesis's.
  if (!parts.empty()) {
    facts.log_e = log_sum_exp(parts);
    const Hypothesis& accused = worst(facts).hypothesis;
    facts.blocks_against = rollout_.evidence->blocks(is_of_answers(accused.signal));
  }
  facts.comparison = compare(facts);
  return facts;
}

}  // namespace slogate
