// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/hypotheses.h"

#include <algorithm>
#include <cmath>
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

// The first edge that is not below a latency in seconds, and the last that is not above it.
size_t edge_above(double latency) {
  size_t edge = 0;
  while (edge + 1 < SLOGATE_EDGES && bucket_edge(edge) < latency * (1 - 1e-12)) ++edge;
  return edge;
}
std::optional<size_t> edge_below(double latency) {
  std::optional<size_t> found;
  for (size_t edge = 0; edge < SLOGATE_EDGES && bucket_edge(edge) <= latency * (1 + 1e-12); ++edge)
    found = edge;
  return found;
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
  void proof(const Grid& grid, const F& gain) {
    for (size_t i = 0; i < grid.size(); ++i) gains.proof[at + i] = gain(grid[i]);
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

bool breaches(const Trial& baseline, double bound) {
  return baseline.events > bound * baseline.exposures;
}

void weigh_latency_max(const Hypothesis& hypothesis, const Tally& canary, const Tally* baseline,
                       Gains& gains) {
  const double share = 1 - hypothesis.levels.front().quantile;
  const size_t above = edge_above(hypothesis.bound);
  if (baseline && breaches(latency_trial(*baseline, hypothesis.signal, above), share)) {
    gains.baseline_breaches = true;
    return;
  }
  std::optional<Trial> passed;
  if (const auto below = edge_below(hypothesis.bound))
    passed = latency_trial(canary, hypothesis.signal, *below);
  weigh_absolute(latency_trial(canary, hypothesis.signal, above), passed, share, {gains, 0});
}

void weigh_latency_increase(const Hypothesis& hypothesis, const Tally& canary,
                            const Tally& baseline, size_t edge, Cell cell) {
  size_t veto = veto_edge(hypothesis.signal, edge);
  size_t pass = std::max(edge + kPassStretch, veto + kPassStretch - kVetoStretch);
  if (!hypothesis.implied) {
    veto = edge_above(bucket_edge(edge) + hypothesis.bound);
    pass = std::max(edge + 1, edge_below(bucket_edge(edge) + hypothesis.bound).value_or(0));
  }
  const Trial stable = latency_trial(baseline, hypothesis.signal, edge);
  const auto canary_at = [&](size_t at) {
    return latency_trial(canary, hypothesis.signal, std::min<size_t>(at, SLOGATE_EDGES - 1));
  };
  cell.against(kLatencyGrid, [&](double r) { return worse(canary_at(veto), stable, {}, r); });
  cell.proof(kLatencyGrid, [&](double r) { return worse(stable, canary_at(pass), {}, r); });
}

void weigh_ratio(const Hypothesis& hypothesis, const Tally& canary, const Tally* baseline,
                 Gains& gains) {
  const Trial x = ratio_trial(canary, hypothesis.signal);
  const Trial y = baseline ? ratio_trial(*baseline, hypothesis.signal) : Trial{};
  Cell cell{gains, 0};
  if (hypothesis.absolute) {
    gains.baseline_breaches = breaches(y, hypothesis.bound);
    if (!gains.baseline_breaches) weigh_absolute(x, x, hypothesis.bound, cell);
    return;
  }
  const Margin veto{1, hypothesis.implied ? kVetoIncrease : hypothesis.bound};
  const Margin pass{1, hypothesis.implied ? kPassIncrease : hypothesis.bound};
  cell.against(kRareGrid, [&](double r) { return worse(x, y, veto, r); });
  cell.proof(kStakes, [&](double stake) { return tolerable(x, y, pass, stake); });
}

}  // namespace

size_t veto_edge(size_t signal, size_t edge) {
  const size_t stretched = std::min<size_t>(edge + kVetoStretch, SLOGATE_EDGES - 1);
  return std::max(stretched, edge_above(bucket_edge(edge) + least_increase(signal)));
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

Edges to_edges(const Hypothesis& hypothesis, const Tally& history) {
  Edges edges;
  for (const Level& level : hypothesis.levels)
    edges.push_back(is_latency(hypothesis.signal) && !hypothesis.absolute
                        ? quantile_edge(history, hypothesis.signal, level.quantile)
                        : std::nullopt);
  return edges;
}

Gains weigh(const Hypothesis& hypothesis, const Tally& canary, const Tally* baseline,
            std::span<const std::optional<size_t>> edges) {
  const size_t size = Components{0, hypothesis.levels.size()}.size();
  Gains gains{std::vector<double>(size), std::vector<double>(size)};
  if (!is_latency(hypothesis.signal)) {
    if (hypothesis.absolute || baseline) weigh_ratio(hypothesis, canary, baseline, gains);
  } else if (hypothesis.absolute) {
    weigh_latency_max(hypothesis, canary, baseline, gains);
  } else if (baseline) {
    for (size_t i = 0; i < hypothesis.levels.size(); ++i)
      if (edges[i])
        weigh_latency_increase(hypothesis, canary, *baseline, *edges[i],
                               {gains, Components{}.level(i).first});
  }
  return gains;
}

Gains weigh(const Hypotheses& hypotheses, const Tally& canary, const Tally* baseline,
            const std::vector<Edges>& edges) {
  Gains all;
  all.against.reserve(hypotheses.component_count());
  all.proof.reserve(hypotheses.component_count());
  for (const auto& [hypothesis, number, components] : hypotheses.entries()) {
    const Gains one = weigh(hypothesis, canary, baseline, edges[number]);
    all.against.insert(all.against.end(), one.against.begin(), one.against.end());
    all.proof.insert(all.proof.end(), one.proof.begin(), one.proof.end());
    all.baseline_breaches = all.baseline_breaches || one.baseline_breaches;
  }
  return all;
}

}  // namespace slogate
