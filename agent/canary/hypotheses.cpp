// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/hypotheses.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <set>

#include "agent/base/figures.h"
#include "agent/base/tick_time.h"
#include "maps/tables.h"

namespace slogate {
namespace {

constexpr double kInactiveShare = 0.02;

Hypothesis to_hypothesis(const LatencyObjective& objective, bool absolute) {
  Hypothesis hypothesis{.signal = judged(objective.signal),
                        .absolute = absolute,
                        .bound = seconds(absolute ? *objective.max : *objective.max_increase),
                        .levels = {{objective.quantile, 1}}};
  hypothesis.name =
      fmt::format("{} {} {} {}", kJudged[hypothesis.signal].name, quantile_text(objective.quantile),
                  absolute ? "max" : "max_increase", duration_text(hypothesis.bound));
  return hypothesis;
}

Hypothesis to_hypothesis(const RatioObjective& objective, bool absolute) {
  Hypothesis hypothesis{.signal = judged(objective.signal),
                        .absolute = absolute,
                        .bound = absolute ? *objective.max_ratio : *objective.max_increase,
                        .levels = {{0, 1}}};
  hypothesis.name =
      fmt::format("{} {} {}", kJudged[hypothesis.signal].name,
                  absolute ? "max_ratio" : "max_increase", share_text(hypothesis.bound));
  return hypothesis;
}

Hypothesis implied_hypothesis(size_t signal) {
  Hypothesis hypothesis{.signal = signal, .implied = true};
  hypothesis.name = fmt::format("{} against the baseline", kJudged[signal].name);
  if (is_latency(signal))
    hypothesis.levels.assign(kComparedLevels.begin(), kComparedLevels.end());
  else
    hypothesis.levels = {{0, 1}};
  return hypothesis;
}

// Powers of two are what comparing costs most: each is made once.
const std::array<double, SLOGATE_EDGES>& edges_in_seconds() {
  static const auto all = [] {
    std::array<double, SLOGATE_EDGES> made{};
    for (size_t edge = 0; edge < made.size(); ++edge) made[edge] = bucket_edge(edge);
    return made;
  }();
  return all;
}

// The first edge that is not below a latency in seconds, and the last that is not above it.
size_t edge_above(double latency) {
  const auto& all = edges_in_seconds();
  const auto found = std::ranges::lower_bound(all, latency * (1 - 1e-12));
  return std::min<size_t>(static_cast<size_t>(found - all.begin()), SLOGATE_EDGES - 1);
}
std::optional<size_t> edge_below(double latency) {
  const auto& all = edges_in_seconds();
  const auto found = std::ranges::upper_bound(all, latency * (1 + 1e-12));
  if (found == all.begin()) return std::nullopt;
  return static_cast<size_t>(found - all.begin()) - 1;
}

// One level of one hypothesis, at `at` in the gains.
struct Cell {
  Gains& gains;
  size_t at;

  template <typename F>
  void against(const Grid& grid, const F& gain) {
    for (size_t i = 0; i < grid.size(); ++i) gains.against[at + i] = gain(grid[i]);
  }
  template <typename F>
  void proof_at(size_t edge, const Grid& grid, const F& gain) {
    for (size_t i = 0; i < grid.size(); ++i) gains.proof[edge][at + i] = gain(grid[i]);
  }
  // Of what is no tie.
  template <typename F>
  void proof(const Grid& grid, const F& gain) {
    proof_at(0, grid, gain);
    std::copy_n(gains.proof[0].begin() + at, grid.size(), gains.proof[1].begin() + at);
  }
};

// exceeds() of an absolute bound: one trial for the veto and one for the pass, which differ where
// the bound lies between two edges.
void weigh_absolute(const Trial& vetoed, const std::optional<Trial>& passed, double bound,
                    Cell cell) {
  if (bound >= 1) return cell.proof(kLatencyGrid, [](double) { return kCap; });
  cell.against(kLatencyGrid, [&](double r) { return exceeds(vetoed, bound, r); });
  if (passed) cell.proof(kLatencyGrid, [&](double r) { return exceeds(*passed, bound, 1 / r); });
}

void weigh_latency_max(const Hypothesis& hypothesis, const Tally& canary, const Tally* baseline,
                       Gains& gains) {
  if (baseline && breaches_bound(hypothesis, *baseline)) return;
  const double share = 1 - hypothesis.levels.front().quantile;
  const size_t above = edge_above(hypothesis.bound);
  std::optional<Trial> passed;
  if (const auto below = edge_below(hypothesis.bound))
    passed = latency_trial(canary, hypothesis.signal, *below);
  weigh_absolute(latency_trial(canary, hypothesis.signal, above), passed, share, {gains, 0});
}

// As far from the baseline's edge as the canary's may be on a node that is as fast.
size_t usual_edge(Hypothesis hypothesis, size_t edge) {
  hypothesis.node_margin = 1;
  return proof_edge(hypothesis, edge);
}

void weigh_latency_increase(const Hypothesis& hypothesis, double quantile, const Tally& canary,
                            const Tally& baseline, const LevelEdge& edge, const FirstShares& firsts,
                            Cell cell) {
  const size_t signal = hypothesis.signal;
  const Trial stable = latency_trial(baseline, signal, edge.at);
  const Trial beyond = latency_trial(canary, signal, against_edge(hypothesis, edge.at));
  if (const auto margin = first_margin(firsts, 1 - quantile))
    cell.against(kLatencyGrid, [&](double r) { return worse(beyond, stable, *margin, r); });
  const auto prove = [&](size_t at, bool gap, const auto& to) {
    const size_t proof = proof_edge(hypothesis, at);
    const Trial slow = latency_trial(canary, signal, proof);
    if (gap) {
      const Trial usual = latency_trial(baseline, signal, usual_edge(hypothesis, at));
      const Margin margin{1, kGapTolerance * (1 - quantile)};
      to(kStakes, [&](double stake) { return tolerable(slow, usual, margin, stake); });
    } else {
      const Trial beyond_it = latency_trial(baseline, signal, at);
      to(kLatencyGrid, [&](double r) { return worse(beyond_it, slow, {}, r); });
    }
  };
  if (!edge.is_tie())
    return prove(edge.at, edge.gap, [&](const auto&... of) { cell.proof(of...); });
  prove(edge.at, edge.gap, [&](const auto&... of) { cell.proof_at(0, of...); });
  prove(edge.next, edge.next_gap, [&](const auto&... of) { cell.proof_at(1, of...); });
}

// Two standard errors tell a share of `events` from this one.
constexpr double kTold = 2;

bool is_gap(const Hypothesis& hypothesis, double quantile, const Tally& history, size_t edge) {
  const Trial beyond = latency_trial(history, hypothesis.signal, edge);
  const size_t proof = usual_edge(hypothesis, edge);
  const Trial farther = latency_trial(history, hypothesis.signal, proof);
  const double share = 1 - std::exp2(-kGapIndex * static_cast<double>(proof - edge) / 8);
  const double left = (1 - quantile) * beyond.exposures;
  if (left >= kTiedSamples && beyond.events < kEndShare * left) return true;
  const double error = std::sqrt(beyond.events * share * (1 - share));
  return beyond.events > 0 &&
         beyond.events - farther.events <= share * beyond.events - kTold * error;
}

// Whether what is beyond an edge and what is tolerated besides are more than the quantile leaves.
bool is_much(const Trial& beyond, double quantile) {
  return beyond.events - kTold * std::sqrt(beyond.events) >
         (1 - kGapTolerance) * (1 - quantile) * beyond.exposures;
}

void weigh_ratio(const Hypothesis& hypothesis, const Tally& canary, const Tally* baseline,
                 Gains& gains) {
  const Trial x = ratio_trial(canary, hypothesis.signal);
  Cell cell{gains, 0};
  if (hypothesis.absolute) {
    if (!baseline || !breaches_bound(hypothesis, *baseline))
      weigh_absolute(x, x, hypothesis.bound, cell);
    return;
  }
  const Trial y = baseline ? ratio_trial(*baseline, hypothesis.signal) : Trial{};
  const Margin veto{1, hypothesis.implied ? kVetoIncrease : hypothesis.bound};
  const Margin pass{1, hypothesis.implied ? kPassIncrease : hypothesis.bound};
  cell.against(kRareGrid, [&](double r) { return worse(x, y, veto, r); });
  cell.proof(kStakes, [&](double stake) { return tolerable(x, y, pass, stake); });
}

bool is_in(SignalGroup part, size_t signal) {
  return part == SignalGroup::All || is_of_answers(signal) == (part == SignalGroup::OfAnswers);
}

std::array<size_t, 2> both_edges(const LevelEdge& edge) {
  return {edge.at, edge.next};
}

bool stays_tied(const std::optional<LevelEdge>& used, const std::array<size_t, 2>& found) {
  const auto [at, next] = found;
  return used && used->is_tie() && at == next && (at == used->at || at == used->next);
}

}  // namespace

size_t against_edge(const Hypothesis& hypothesis, size_t edge) {
  return hypothesis.implied
             ? veto_edge(hypothesis.signal, edge, hypothesis.node_margin)
             : edge_above(bucket_edge(edge) * hypothesis.node_margin + hypothesis.bound);
}

size_t proof_edge(const Hypothesis& hypothesis, size_t edge) {
  const double slowest = bucket_edge(edge) * hypothesis.node_margin;
  const size_t found = hypothesis.implied
                           ? std::max(edge_below(slowest).value_or(edge) + kPassStretch,
                                      edge_above(slowest + least_increase(hypothesis.signal)) +
                                          kPassStretch - kVetoStretch)
                           : std::max(edge + 1, edge_below(slowest + hypothesis.bound).value_or(0));
  return std::min<size_t>(found, SLOGATE_EDGES - 1);
}

size_t veto_edge(size_t signal, size_t edge, double node_margin) {
  const double slowest = bucket_edge(edge) * node_margin;
  const size_t stretched = std::min<size_t>(edge + kVetoStretch, SLOGATE_EDGES - 1);
  return std::max(stretched, edge_above(slowest + least_increase(signal)));
}

std::vector<Hypothesis> to_hypotheses(const Slo& slo) {
  std::vector<Hypothesis> hypotheses;
  hypotheses.reserve(2 * slo.objectives.size() + kJudgedSignals);
  std::set<size_t> stated;
  for (const Objective& objective : slo.objectives)
    std::visit(
        [&](const auto& one) {
          constexpr bool latency = std::is_same_v<std::decay_t<decltype(one)>, LatencyObjective>;
          bool absolute = false;
          if constexpr (latency)
            absolute = one.max.has_value();
          else
            absolute = one.max_ratio.has_value();
          if (absolute) hypotheses.push_back(to_hypothesis(one, true));
          if (!one.max_increase) return;
          hypotheses.push_back(to_hypothesis(one, false));
          stated.insert(judged(one.signal));
        },
        objective);
  for (size_t signal = 0; slo.baseline && signal < kJudgedSignals; ++signal)
    if (!kJudged[signal].stated_only && !stated.contains(signal))
      hypotheses.push_back(implied_hypothesis(signal));
  return hypotheses;
}

std::vector<Hypothesis> to_hypotheses_between_nodes(const Slo& slo) {
  std::vector<Hypothesis> hypotheses = to_hypotheses(slo);
  for (Hypothesis& hypothesis : hypotheses)
    if (is_latency(hypothesis.signal) && !hypothesis.absolute)
      hypothesis.node_margin = slo.node_margin;
  return hypotheses;
}

std::vector<Hypothesis> default_hypotheses() {
  std::vector<Hypothesis> hypotheses;
  hypotheses.reserve(kJudgedSignals);
  for (size_t signal = 0; signal < kJudgedSignals; ++signal)
    if (!kJudged[signal].stated_only) hypotheses.push_back(implied_hypothesis(signal));
  return hypotheses;
}

Hypotheses::Hypotheses(std::vector<Hypothesis> all) : all_(std::move(all)) {
  for (const Hypothesis& hypothesis : all_) {
    components_.push_back({component_count_, hypothesis.levels.size()});
    component_count_ += components_.back().size();
  }
}

std::vector<double> to_mixture_weights(const Hypotheses& hypotheses,
                                       const std::array<bool, kJudgedSignals>& active) {
  std::array<double, kJudgedSignals> hypotheses_of{};
  for (const Hypothesis& hypothesis : hypotheses.all()) ++hypotheses_of[hypothesis.signal];
  double used = 0, unused = 0;
  for (size_t s = 0; s < kJudgedSignals; ++s)
    if (hypotheses_of[s] > 0) (active[s] ? used : unused) += kJudged[s].share;
  const double inactive_share = used == 0 ? 1 : unused == 0 ? 0 : kInactiveShare;
  std::vector<double> weights;
  for (const Hypothesis& hypothesis : hypotheses.all()) {
    const size_t s = hypothesis.signal;
    const double share = kJudged[s].share / hypotheses_of[s] *
                         (active[s] ? (1 - inactive_share) / used : inactive_share / unused);
    for (const Level& level : hypothesis.levels)
      weights.insert(weights.end(), Grid{}.size(), share * level.share / Grid{}.size());
  }
  return weights;
}

std::vector<bool> to_groups(const Hypotheses& hypotheses) {
  std::vector<bool> of_answers;
  for (const auto& [hypothesis, number, components] : hypotheses.entries())
    of_answers.insert(of_answers.end(), components.size(), is_of_answers(hypothesis.signal));
  return of_answers;
}

LevelEdges to_edges(const Hypothesis& hypothesis, const Tally& history, const LevelEdges& used) {
  LevelEdges edges(hypothesis.levels.size());
  if (!is_latency(hypothesis.signal) || hypothesis.absolute) return edges;
  for (size_t level = 0; level < edges.size(); ++level) {
    const double quantile = hypothesis.levels[level].quantile;
    const auto found = quantile_edges(history, hypothesis.signal, quantile);
    if (!found) continue;
    const auto [at, next] =
        level < used.size() && stays_tied(used[level], *found) ? both_edges(*used[level]) : *found;
    const bool next_gap = is_gap(hypothesis, quantile, history, next);
    edges[level] = {at, is_gap(hypothesis, quantile, history, at), next, next_gap,
                    next_gap && is_much(latency_trial(history, hypothesis.signal, next), quantile)};
  }
  return edges;
}

std::optional<size_t> new_edge(const std::optional<LevelEdge>& before,
                               const std::optional<LevelEdge>& now) {
  if (!before || !now || before->is_tie() || !now->is_tie()) return std::nullopt;
  const auto from_before = [&](size_t edge) {
    return std::max(edge, before->at) - std::min(edge, before->at);
  };
  return from_before(now->at) <= from_before(now->next) ? 1 : 0;
}

bool is_level_needed(const Hypothesis& hypothesis, const Level& level, double expected_samples) {
  return !hypothesis.implied || !is_latency(hypothesis.signal) || level.quantile <= kAlwaysShown ||
         expected_samples * (1 - level.quantile) >= kProofSamples * (1 - 1e-9);
}

bool breaches_bound(const Hypothesis& hypothesis, const Tally& baseline) {
  if (!hypothesis.absolute) return false;
  const bool latency = is_latency(hypothesis.signal);
  const double share = latency ? 1 - hypothesis.levels.front().quantile : hypothesis.bound;
  const Trial trial = latency
                          ? latency_trial(baseline, hypothesis.signal, edge_above(hypothesis.bound))
                          : ratio_trial(baseline, hypothesis.signal);
  return trial.events > share * trial.exposures;
}

bool breaches_bound(const Hypotheses& hypotheses, const Tally& baseline) {
  return std::ranges::any_of(hypotheses.all(),
                             [&](const Hypothesis& one) { return breaches_bound(one, baseline); });
}

Gains weigh(const Hypothesis& hypothesis, const Tally& canary, const Tally* baseline,
            std::span<const std::optional<LevelEdge>> edges, const FirstsOfSignals& firsts) {
  const size_t size = Components{0, hypothesis.levels.size()}.size();
  const std::vector<double> nothing(size);
  Gains gains{.against = nothing, .proof = {nothing, nothing}};
  if (!is_latency(hypothesis.signal)) {
    if (hypothesis.absolute || baseline) weigh_ratio(hypothesis, canary, baseline, gains);
  } else if (hypothesis.absolute) {
    weigh_latency_max(hypothesis, canary, baseline, gains);
  } else if (baseline) {
    for (size_t i = 0; i < hypothesis.levels.size(); ++i)
      if (edges[i])
        weigh_latency_increase(hypothesis, hypothesis.levels[i].quantile, canary, *baseline,
                               *edges[i], firsts[hypothesis.signal],
                               {gains, Components{}.level(i).first});
  }
  return gains;
}

Gains weigh(const Hypotheses& hypotheses, const Tally& canary, const Tally* baseline,
            const std::vector<LevelEdges>& edges, const FirstsOfSignals& firsts, SignalGroup part) {
  const std::vector<double> nothing(hypotheses.component_count());
  Gains all{.against = nothing, .proof = {nothing, nothing}};
  for (const auto& [hypothesis, number, components] : hypotheses.entries()) {
    if (!is_in(part, hypothesis.signal)) continue;
    const Gains one = weigh(hypothesis, canary, baseline, edges[number], firsts);
    std::ranges::copy(one.against, components.of(std::span(all.against)).begin());
    for (size_t edge = 0; edge < kEdgesOfTie; ++edge)
      std::ranges::copy(one.proof[edge], components.of(std::span(all.proof[edge])).begin());
  }
  return all;
}

}  // namespace slogate
