// SPDX-License-Identifier: Apache-2.0
#include "agent/claims.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "agent/sentence.h"
#include "agent/tick_time.h"
#include "maps/tables.h"

namespace slogate {
namespace {

// Latencies .5 together, most of it for requests; then connection errors, resets, loss.
constexpr std::array<double, kJudgedSignals> kSignalWeights = {0.35, 0.05,  0.05, 0.03, 0.02,
                                                               0.2,  0.075, 0.15, 0.075};
static_assert(SLOGATE_SIGNAL_request == 0 && SLOGATE_SIGNAL_rtt == 4 &&
              static_cast<size_t>(RatioSignal::Drops) == 1 && SLOGATE_SIGNALS == 5);
constexpr double kInactiveShare = 0.02;

Claim to_claim(const LatencyObjective& objective, bool absolute) {
  Claim claim{.signal = judged(objective.signal),
              .absolute = absolute,
              .bound = seconds(absolute ? *objective.max : *objective.max_increase),
              .levels = {{objective.quantile, 1}}};
  claim.name =
      fmt::format("{} {} {} {}", kSignals[objective.signal].name, quantile_text(objective.quantile),
                  absolute ? "max" : "max_increase", duration_text(claim.bound));
  return claim;
}

Claim to_claim(const RatioObjective& objective, bool absolute) {
  Claim claim{.signal = judged(objective.signal),
              .absolute = absolute,
              .bound = absolute ? *objective.max_ratio : *objective.max_increase,
              .levels = {{0, 1}}};
  claim.name = fmt::format("{} {} {}", kRatioSignals[claim.signal - SLOGATE_SIGNALS],
                           absolute ? "max_ratio" : "max_increase", share_text(claim.bound));
  return claim;
}

Claim implied_claim(size_t signal) {
  Claim claim{.signal = signal, .implied = true};
  const std::string_view name =
      is_latency(signal) ? kSignals[signal].name : kRatioSignals[signal - SLOGATE_SIGNALS];
  claim.name = fmt::format("{} against the baseline", name);
  if (is_latency(signal))
    claim.levels.assign(kLevels.begin(), kLevels.end());
  else
    claim.levels = {{0, 1}};
  return claim;
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

// One level of one claim, at `at` in the gains.
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

// B.1 of one trial for the veto and one for the pass, which differ where a bound lies between two
// edges.
void weigh_absolute(const Trial& vetoed, const std::optional<Trial>& passed, double bound,
                    Cell cell) {
  if (bound >= 1) return cell.proof(kLatencyGrid, [](double) { return kCap; });
  cell.against(kLatencyGrid, [&](double r) { return exceeds(vetoed, bound, r); });
  if (passed) cell.proof(kLatencyGrid, [&](double r) { return exceeds(*passed, bound, 1 / r); });
}

bool breaches(const Trial& baseline, double bound) {
  return baseline.events > bound * baseline.exposures;
}

void weigh_latency_max(const Claim& claim, const Tally& canary, const Tally* baseline,
                       Gains& gains) {
  const double share = 1 - claim.levels.front().quantile;
  const size_t above = edge_above(claim.bound);
  if (baseline && breaches(latency_trial(*baseline, claim.signal, above), share)) {
    gains.baseline_breaches = true;
    return;
  }
  std::optional<Trial> passed;
  if (const auto below = edge_below(claim.bound))
    passed = latency_trial(canary, claim.signal, *below);
  weigh_absolute(latency_trial(canary, claim.signal, above), passed, share, {gains, 0});
}

void weigh_latency_increase(const Claim& claim, const Tally& canary, const Tally& baseline,
                            size_t edge, Cell cell) {
  size_t veto = veto_edge(claim.signal, edge);
  size_t pass = std::max(edge + kPassStretch, veto + kPassStretch - kVetoStretch);
  if (!claim.implied) {
    veto = edge_above(bucket_edge(edge) + claim.bound);
    pass = std::max(edge + 1, edge_below(bucket_edge(edge) + claim.bound).value_or(0));
  }
  const Trial stable = latency_trial(baseline, claim.signal, edge);
  const auto canary_at = [&](size_t at) {
    return latency_trial(canary, claim.signal, std::min<size_t>(at, SLOGATE_EDGES - 1));
  };
  cell.against(kLatencyGrid, [&](double r) { return worse(canary_at(veto), stable, {}, r); });
  cell.proof(kLatencyGrid, [&](double r) { return worse(stable, canary_at(pass), {}, r); });
}

void weigh_ratio(const Claim& claim, const Tally& canary, const Tally* baseline, Gains& gains) {
  const Trial x = ratio_trial(canary, claim.signal);
  const Trial y = baseline ? ratio_trial(*baseline, claim.signal) : Trial{};
  Cell cell{gains, 0};
  if (claim.absolute) {
    gains.baseline_breaches = breaches(y, claim.bound);
    if (!gains.baseline_breaches) weigh_absolute(x, x, claim.bound, cell);
    return;
  }
  const Margin veto{1, claim.implied ? kVetoIncrease : claim.bound};
  const Margin pass{1, claim.implied ? kPassIncrease : claim.bound};
  cell.against(kRareGrid, [&](double r) { return worse(x, y, veto, r); });
  cell.proof(kStakes, [&](double stake) { return tolerable(x, y, pass, stake); });
}

}  // namespace

size_t veto_edge(size_t signal, size_t edge) {
  const size_t stretched = std::min<size_t>(edge + kVetoStretch, SLOGATE_EDGES - 1);
  return std::max(stretched, edge_above(bucket_edge(edge) + least_increase(signal)));
}

std::vector<Claim> to_claims(const Slo& slo) {
  std::vector<Claim> claims;
  claims.reserve(2 * slo.objectives.size() + kJudgedSignals);
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
          if (absolute) claims.push_back(to_claim(one, true));
          if (!one.max_increase) return;
          claims.push_back(to_claim(one, false));
          stated.insert(judged(one.signal));
        },
        objective);
  for (size_t signal = 0; slo.baseline && signal < kJudgedSignals; ++signal)
    if (!stated.contains(signal)) claims.push_back(implied_claim(signal));
  return claims;
}

std::vector<Claim> default_claims() {
  std::vector<Claim> claims;
  claims.reserve(kJudgedSignals);
  for (size_t signal = 0; signal < kJudgedSignals; ++signal)
    claims.push_back(implied_claim(signal));
  return claims;
}

std::vector<double> to_weights(const std::vector<Claim>& claims,
                               const std::array<bool, kJudgedSignals>& active) {
  std::array<double, kJudgedSignals> claims_of{};
  for (const Claim& claim : claims) ++claims_of[claim.signal];
  double used = 0, unused = 0;
  for (size_t s = 0; s < kJudgedSignals; ++s)
    if (claims_of[s] > 0) (active[s] ? used : unused) += kSignalWeights[s];
  const double inactive_share = used == 0 ? 1 : unused == 0 ? 0 : kInactiveShare;
  std::vector<double> weights;
  for (const Claim& claim : claims) {
    const size_t s = claim.signal;
    const double share = kSignalWeights[s] / claims_of[s] *
                         (active[s] ? (1 - inactive_share) / used : inactive_share / unused);
    for (const Level& level : claim.levels)
      weights.insert(weights.end(), Grid{}.size(), share * level.weight / Grid{}.size());
  }
  return weights;
}

Edges to_edges(const Claim& claim, const Tally& history) {
  Edges edges;
  for (const Level& level : claim.levels)
    edges.push_back(is_latency(claim.signal) && !claim.absolute
                        ? quantile_edge(history, claim.signal, level.quantile)
                        : std::nullopt);
  return edges;
}

Gains weigh(const Claim& claim, const Tally& canary, const Tally* baseline,
            std::span<const std::optional<size_t>> edges) {
  Gains gains{std::vector<double>(claim.components()), std::vector<double>(claim.components())};
  if (!is_latency(claim.signal)) {
    if (claim.absolute || baseline) weigh_ratio(claim, canary, baseline, gains);
  } else if (claim.absolute) {
    weigh_latency_max(claim, canary, baseline, gains);
  } else if (baseline) {
    for (size_t i = 0; i < claim.levels.size(); ++i)
      if (edges[i])
        weigh_latency_increase(claim, canary, *baseline, *edges[i], {gains, i * Grid{}.size()});
  }
  return gains;
}

}  // namespace slogate
