// SPDX-License-Identifier: Apache-2.0
// The arithmetic of the fleet's pooled rules on synthetic traffic, without a Prometheus: how long
// after a canary turned worse they veto it, how often they veto one that is no worse, and what
// bursts do. Prints a line of JSON for each experiment. That the rules compute the same is tested
// by tests/e2e/rules.sh. Usage: bench_pooled RUNS THREADS [PART OF A NAME]
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "agent/canary/hypotheses.h"
#include "maps/tables.h"
#include "tests/support/replay.h"
#include "tools/cli/rules.h"

namespace slogate {
namespace {

using cli::PooledStarts;
using support::Survival;

// Seconds from one evaluation to the next, and ln(2 / .001).
constexpr double kInterval = 5, kThreshold = 7.600902459542082;
constexpr double kNever = std::numeric_limits<double>::infinity();
// Bursts are told apart at this resolution, in seconds.
constexpr double kStep = 0.25;
constexpr size_t kSteps = static_cast<size_t>(kInterval / kStep);
// The share of time in bursts, in which half of all requests are six times slower.
constexpr double kBurstShare = 0.0244, kBurstFactor = 6;

struct Experiment {
  std::string name;
  Survival stable, canary;
  size_t blocks = 720;  // of an hour
  double change = 0;    // the canary is as stable before this block
  double burst = 0;     // mean length in seconds, of each pod by itself
  double rate = 50;     // requests per second and pod
  size_t canaries = 20, stables = 200;
  size_t runs = 0;
};

// ---- the rules ----

// slo:slogate_pooled_sum, slo:slogate_pooled_later_sum and slo:slogate_evidence_log_e.
class Mixture {
 public:
  explicit Mixture(std::vector<double> weights)
      : weights_(std::move(weights)), first_(weights_.size()), later_(weights_.size(), -kNever) {}

  double add(std::span<const double> gains) {
    ++blocks_;
    const double left = PooledStarts::left_for_later(blocks_);
    const double begins = blocks_ == 1 ? 0 : PooledStarts::left_for_later(blocks_ - 1) - left;
    double sum = 0;
    for (size_t i = 0; i < gains.size(); ++i) {
      first_[i] += std::min(kCap, gains[i]);
      later_[i] = std::min(PooledStarts::kLaterCap, gains[i]) +
                  std::log(std::exp(std::min(later_[i], 600.0)) + begins);
      sum += weights_[i] * (PooledStarts::kFirstWeight * std::exp(std::min(first_[i], 600.0)) +
                            std::exp(std::min(later_[i], 600.0)) + left);
    }
    // cppcheck-suppress invalidFunctionArg ; of 0, without any component, it is -infinity
    return std::log(sum);
  }

 private:
  std::vector<double> weights_, first_, later_;
  double blocks_ = 0;
};

// ---- traffic ----

// The hypotheses that the rules pool where nothing is stated; errors and drops do not happen here.
struct Question {
  Hypotheses hypotheses;
  std::vector<double> weights;
};

Question question() {
  std::vector<Hypothesis> pooled = default_hypotheses();
  std::erase_if(pooled, [](const Hypothesis& one) { return !kJudged[one.signal].pooled; });
  Hypotheses hypotheses(std::move(pooled));
  std::array<bool, kJudgedSignals> active{};
  active.fill(true);
  std::vector<double> weights = to_mixture_weights(hypotheses, active);
  return {std::move(hypotheses), std::move(weights)};
}

using Shares = std::array<double, kComparedLevels.size()>;

Shares mixed(const Shares& a, const Shares& b, double share_of_b) {
  Shares shares;
  for (size_t i = 0; i < a.size(); ++i) shares[i] = a[i] + (b[i] - a[i]) * share_of_b;
  return shares;
}

// How many requests are beyond each level's edge, and how many there are.
struct Drawn {
  Shares slow{};
  double all = 0;
};

double poisson(std::mt19937_64& random, double mean) {
  if (mean <= 0) return 0;
  return static_cast<double>(std::poisson_distribution<long>(mean)(random));
}

// `shares` beyond edges that rise, `mean` requests.
Drawn draw(std::mt19937_64& random, double mean, const Shares& shares) {
  Drawn drawn;
  double beyond = 0;
  for (size_t i = shares.size(); i-- > 0;) {
    drawn.all += poisson(random, mean * (shares[i] - beyond));
    drawn.slow[i] = drawn.all;
    beyond = shares[i];
  }
  drawn.all += poisson(random, mean * (1 - beyond));
  return drawn;
}

// Which pods are in a burst: a chain of two states each.
class Pods {
 public:
  Pods(size_t pods, double burst) : on_(pods), leave_(kStep / std::max(burst, kStep)) {}

  // The share of a block that was in bursts.
  double next(std::mt19937_64& random) {
    const double enter = kBurstShare / (1 - kBurstShare) * leave_;
    std::uniform_real_distribution<double> uniform;
    size_t bursts = 0;
    for (size_t step = 0; step < kSteps; ++step)
      for (size_t pod = 0; pod < on_.size(); ++pod) {
        on_[pod] = on_[pod] ? uniform(random) >= leave_ : uniform(random) < enter;
        bursts += on_[pod];
      }
    return static_cast<double>(bursts) / static_cast<double>(kSteps * on_.size());
  }

 private:
  std::vector<bool> on_;
  double leave_;
};

size_t edge_of(const Survival& survival, double quantile) {
  size_t edge = 0;
  while (survival(bucket_edge(edge)) > 1 - quantile) ++edge;
  return edge;
}

// Both arms' shares of slow requests, in each of their states.
struct Model {
  explicit Model(const Experiment& of) {
    const Survival slow = support::scaled(of.stable, kBurstFactor);
    for (size_t i = 0; i < kComparedLevels.size(); ++i) {
      const size_t edge = edge_of(of.stable, kComparedLevels[i].quantile);
      const double own = bucket_edge(edge), allowed = bucket_edge(veto_edge(0, edge));
      stable[i] = of.stable(own);
      good[i] = of.stable(allowed);
      bad[i] = of.canary(allowed);
      stable_burst[i] = (stable[i] + slow(own)) / 2;
      burst[i] = (good[i] + slow(allowed)) / 2;
    }
  }
  Shares stable, stable_burst, good, bad, burst;
};

std::vector<double> gains_of(const Question& question, const Drawn& canary, const Drawn& stable) {
  std::vector<double> gains;
  for (const Hypothesis& hypothesis : question.hypotheses.all())
    for (size_t level = 0; level < hypothesis.levels.size(); ++level) {
      const bool latency = is_latency(hypothesis.signal);
      const Trial x{latency ? canary.slow[level] : 0, canary.all};
      const Trial y{latency ? stable.slow[level] : 0, stable.all};
      const Margin margin{1, latency ? 0 : kVetoIncrease};
      for (const double factor : latency ? kLatencyGrid : kRareGrid)
        gains.push_back(worse(x, y, margin, factor));
    }
  return gains;
}

// Prometheus scrapes each node at a moment of its own, so a change reaches the rules bit by bit.
class Scrapes {
 public:
  Scrapes(std::mt19937_64& random, size_t nodes) : ages_(nodes) {
    for (double& age : ages_) age = kInterval * std::uniform_real_distribution<double>()(random);
  }
  // The share of what block `number` saw that is from after `moment`.
  [[nodiscard]] double share_after(double moment, double number) const {
    double sum = 0;
    for (const double age : ages_)
      sum += std::clamp((number * kInterval - age - moment) / kInterval, 0.0, 1.0);
    return sum / static_cast<double>(ages_.size());
  }

 private:
  std::vector<double> ages_;
};

// Seconds from the change to the veto.
double run_once(const Experiment& what, const Model& model, uint64_t seed) {
  static const Question asked = question();
  std::mt19937_64 random(seed);
  const Scrapes scrapes(random, what.canaries);
  const double change =
      what.change == 0
          ? -2 * kInterval
          : kInterval * (what.change + std::uniform_real_distribution<double>()(random));
  Pods canaries(what.canaries, what.burst), stables(what.stables, what.burst);
  Mixture mixture(asked.weights);
  const double one = what.rate * kInterval;
  for (size_t block = 1; block <= what.blocks; ++block) {
    Shares canary = mixed(model.good, model.bad, scrapes.share_after(change, double(block)));
    Shares stable = model.stable;
    if (what.burst > 0) {
      canary = mixed(canary, model.burst, canaries.next(random));
      stable = mixed(stable, model.stable_burst, stables.next(random));
    }
    const Drawn x = draw(random, one * double(what.canaries), canary);
    const Drawn y = draw(random, one * double(what.stables), stable);
    if (mixture.add(gains_of(asked, x, y)) >= kThreshold)
      return double(block) * kInterval - std::max(change, 0.0);
  }
  return kNever;
}

void report(const Experiment& what, size_t threads) {
  const Model model(what);
  std::vector<double> took(std::max<size_t>(1, what.runs));
  support::for_each_run(took.size(), threads,
                        [&](size_t i) { took[i] = run_once(what, model, support::seed_of(i)); });
  std::ranges::sort(took);
  const auto vetoed = std::ranges::lower_bound(took, kNever) - took.begin();
  const auto at = [&](double share) {
    const double value = took[static_cast<size_t>(share * double(took.size() - 1))];
    return std::isfinite(value) ? fmt::format("{:.0f}", value) : "null";
  };
  fmt::print(
      "{{\"experiment\": \"{}\", \"runs\": {}, \"minutes\": {:.0f}, \"vetoed\": {}, "
      "\"median_seconds\": {}, \"p90_seconds\": {}}}\n",
      what.name, took.size(), double(what.blocks) * kInterval / 60, vetoed, at(0.5), at(0.9));
  std::fflush(stdout);
}

std::vector<Experiment> experiments(size_t runs) {
  const Survival ln = support::lognormal(), pa = support::pareto();
  const Survival border = support::scaled(ln, std::exp2(kVetoStretch / 8.0));
  const size_t some = runs / 10;
  std::vector<Experiment> all;
  for (const int minutes : {0, 2, 5, 10, 30, 60})
    for (const auto& [name, stable, canary] :
         {std::tuple("lognormal x2", ln, support::scaled(ln, 2)),
          {"lognormal tail x2", ln, support::tail_stretched(ln, 2)},
          {"Pareto tail x2", pa, support::tail_stretched(pa, 2)}})
      all.push_back({.name = fmt::format("{} after {} min", name, minutes),
                     .stable = stable,
                     .canary = canary,
                     .blocks = size_t(minutes) * 12 + 120,
                     .change = minutes * 12.0,
                     .runs = some});
  for (const double rate : {1, 5, 50}) {
    all.push_back({.name = fmt::format("identical, {} a second and pod", rate),
                   .stable = ln,
                   .canary = ln,
                   .rate = rate,
                   .runs = runs});
    all.push_back({.name = fmt::format("just allowed, {} a second and pod", rate),
                   .stable = ln,
                   .canary = border,
                   .rate = rate,
                   .runs = runs});
  }
  all.push_back(
      {.name = "identical, a day", .stable = ln, .canary = ln, .blocks = 17'280, .runs = some});
  all.push_back({.name = "just allowed, a day",
                 .stable = ln,
                 .canary = border,
                 .blocks = 17'280,
                 .rate = 5,
                 .runs = some});
  for (const double burst : {1.0, 2.5, 5.0, 10.0})
    for (const size_t pods : {1, 20})
      all.push_back({.name = fmt::format("identical, bursts of {} s, {} canaries", burst, pods),
                     .stable = ln,
                     .canary = ln,
                     .burst = burst,
                     .canaries = pods,
                     .stables = 10 * pods,
                     .runs = some});
  return all;
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  return slogate::support::run_experiments(argc, argv, "bench_pooled", 1000, slogate::experiments,
                                           slogate::report);
}
