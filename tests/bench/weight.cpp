// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/weight.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace slogate {
namespace {

using support::Replay;
using support::Sampler;

constexpr std::array<size_t, 9> kMinutes = {1, 2, 3, 5, 10, 15, 20, 30, 60};
constexpr size_t kReadingsPerMinute = std::chrono::minutes(1) / kReadInterval;
constexpr size_t kBefore = 300;  // readings of the baseline alone

// Of one run: the weight after each of kMinutes, and seconds until something was so for the first
// time.
struct Run {
  std::array<double, kMinutes.size()> weights{};
  double pass = INFINITY, all = INFINITY, veto = INFINITY;
  double highest = 0;
};

class Traffic {
 public:
  explicit Traffic(const WeightExperiment& what)
      : what_(what), good_(support::lognormal()), canary_(what.canary) {}

  // A reading in which the canary has so many percent of the traffic.
  [[nodiscard]] Observation draw(std::mt19937_64& random, double weight) const {
    const auto all = static_cast<size_t>(what_.rate / 4);
    const size_t n = std::binomial_distribution<size_t>(all, weight / 100)(random);
    const bool bad = !what_.above || what_.rate * weight / 100 > *what_.above;
    Observation seen;
    fill(random, bad ? canary_ : good_, bad ? what_.failing : 0, n, seen.canary.added);
    fill(random, good_, 0, all - n, seen.baseline[0].added);
    return seen;
  }

 private:
  void fill(std::mt19937_64& random, const Sampler& times, double failing, size_t n,
            Counts& to) const {
    times.draw(random, n, to.histograms[SLOGATE_SIGNAL_request]);
    support::draw_answers(random, {failing}, n, to);
    const Histogram requests = to.histograms[SLOGATE_SIGNAL_request];
    support::add_ordinary_traffic(requests, to);
    if (what_.kept) to.counters[SLOGATE_COUNTER_used_server] = 0;
  }

  const WeightExperiment& what_;
  Sampler good_, canary_;
};

Run run_once(const Traffic& traffic, uint64_t seed) {
  std::mt19937_64 random(seed);
  Replay replay(support::default_slo(0.001));
  for (size_t i = 0; i < kBefore; ++i) replay.step(traffic.draw(random, 0));
  Run run;
  replay.judge().reset("2", replay.now());
  double weight = replay.judge().verdict()->traffic_weight;
  size_t minute = 0;
  for (size_t i = 1; minute < kMinutes.size(); ++i) {
    const Verdict& verdict = replay.step(traffic.draw(random, weight));
    weight = verdict.traffic_weight;
    const double now = std::chrono::duration<double>(kReadInterval).count() * double(i);
    run.highest = std::max(run.highest, weight);
    if (verdict.decision == Decision::Pass) run.pass = std::min(run.pass, now);
    if (i == kMinutes[minute] * kReadingsPerMinute) run.weights[minute++] = weight;
    if (verdict.decision == Decision::Veto) run.veto = now;
    if (weight == 100) run.all = now;
    // From here on nothing changes.
    if (weight != 100 && verdict.decision != Decision::Veto) continue;
    while (minute < kMinutes.size()) run.weights[minute++] = weight;
  }
  return run;
}

template <typename Member>
std::string at(std::vector<Run>& runs, double share, const Member& member) {
  return support::json_number(support::quantile_of(runs, share, member));
}

}  // namespace

void report_weight(const WeightExperiment& what, size_t threads) {
  const auto begin = std::chrono::steady_clock::now();
  const Traffic traffic(what);
  std::vector<Run> runs(std::max<size_t>(1, what.runs));
  support::for_each_run(runs.size(), threads,
                        [&](size_t i) { runs[i] = run_once(traffic, support::seed_of(i)); });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const auto vetoed =
      std::ranges::count_if(runs, [](const Run& run) { return std::isfinite(run.veto); });
  std::string weights;
  for (size_t i = 0; i < kMinutes.size(); ++i)
    weights += fmt::format("{}\"{}\": {}", i == 0 ? "" : ", ", kMinutes[i],
                           at(runs, 0.5, [i](const Run& run) { return run.weights[i]; }));
  fmt::print(
      "{{\"experiment\": \"{}\", \"alpha\": 0.001, \"runs\": {}, \"rate\": {:g}, \"vetoed\": {}, "
      "\"weights_by_minute\": {{{}}}, \"pass_seconds\": {}, \"all_seconds\": {}, "
      "\"all_seconds_p90\": {}, \"veto_seconds\": {}, \"veto_seconds_p90\": {}, \"highest\": {}, "
      "\"highest_p90\": {}, \"took_seconds\": {:.1f}}}\n",
      what.name, runs.size(), what.rate, vetoed, weights, at(runs, 0.5, std::mem_fn(&Run::pass)),
      at(runs, 0.5, std::mem_fn(&Run::all)), at(runs, 0.9, std::mem_fn(&Run::all)),
      at(runs, 0.5, std::mem_fn(&Run::veto)), at(runs, 0.9, std::mem_fn(&Run::veto)),
      at(runs, 0.5, std::mem_fn(&Run::highest)), at(runs, 0.9, std::mem_fn(&Run::highest)),
      took.count());
  std::fflush(stdout);
}

std::vector<WeightExperiment> weight_experiments(size_t runs) {
  const support::Survival good = support::lognormal();
  std::vector<WeightExperiment> all;
  for (const double rate : {1000.0, 100.0}) {
    const auto add = [&](std::string_view what, WeightExperiment experiment) {
      experiment.name = fmt::format("weight, {} at {:g}/s", what, rate);
      experiment.rate = rate;
      experiment.runs = runs;
      all.push_back(std::move(experiment));
    };
    add("good", {.canary = good});
    add("good, kept connections", {.canary = good, .kept = true});
    add("x1.2", {.canary = support::scaled(good, 1.2)});
    add("x1.5", {.canary = support::scaled(good, 1.5)});
    add("1 % errors", {.canary = good, .failing = 0.01});
    add("x2 above half of the load", {.canary = support::scaled(good, 2), .above = rate / 2});
    add("5 % errors above half of the load", {.canary = good, .failing = 0.05, .above = rate / 2});
  }
  return all;
}

}  // namespace slogate
