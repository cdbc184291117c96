// SPDX-License-Identifier: Apache-2.0
// Replays synthetic traffic through the judge that the agent runs, and prints a line of JSON for
// each experiment: how long a canary waits for its first pass, how often that is taken back, and
// beside it what a test would need that knows both distributions.
// Usage: bench_passes RUNS THREADS [PART OF A NAME]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "tests/support/replay.h"

namespace slogate {
namespace {

using support::Replay;
using support::Sampler;
using support::Survival;

constexpr double kReadingsASecond = 4;
// The baseline is seen alone for so long, and a canary that passed for so long after it did.
constexpr size_t kBefore = 480, kAfter = 1200;

constexpr size_t readings(double seconds) {
  return static_cast<size_t>(seconds * kReadingsASecond);
}

struct Experiment {
  std::string name;
  Survival stable, canary;
  double rate = 1000;        // requests of the canary in a second
  size_t stable_factor = 1;  // the baseline has so many cgroups, each with as many
  size_t most = 0;           // readings to wait for a pass
  size_t runs = 0;
  bool good = true;  // otherwise no more than 5 % may ever pass, and there is no limit
  std::chrono::nanoseconds increase{0};  // of p99, where it is stated
};

Slo slo_of(const Experiment& what) {
  Slo slo = support::default_slo(0.001);
  if (what.increase.count() != 0)
    slo.objectives = {LatencyObjective{.quantile = 0.99, .max = {}, .max_increase = what.increase}};
  return slo;
}

struct Run {
  double seconds = INFINITY, samples = INFINITY;  // when it first passed
  double taken_back = 0;                          // how often, in the time after that
  double block = 0;
};

// Requests come as they like.
class Traffic {
 public:
  Traffic(const Sampler& sampler, double in_a_reading)
      : sampler_(sampler), requests_(in_a_reading) {}
  Histogram next(std::mt19937_64& random) {
    Histogram drawn{};
    sampler_.draw(random, requests_(random), drawn);
    return drawn;
  }

 private:
  const Sampler& sampler_;
  std::poisson_distribution<size_t> requests_;
};

Observation observed(const Experiment& what, const Histogram& canary, const Histogram& stable) {
  Observation seen;
  seen.canary.added.histograms[SLOGATE_SIGNAL_request] = canary;
  seen.baseline[0].added.histograms[SLOGATE_SIGNAL_request] = stable;
  seen.baseline[0].cgroups = what.stable_factor;
  return seen;
}

Run run_once(const Experiment& what, const Sampler& stable, const Sampler& canary, uint64_t seed) {
  std::mt19937_64 random(seed);
  Replay replay(slo_of(what));
  const double in_a_reading = what.rate / kReadingsASecond;
  Traffic good(stable, in_a_reading * static_cast<double>(what.stable_factor));
  Traffic judged(canary, in_a_reading);
  for (size_t i = 0; i < kBefore; ++i) replay.step(observed(what, {}, good.next(random)));
  Run run;
  size_t left = what.most;
  bool passes = false;
  double samples = 0;
  for (size_t i = 0; left > 0; ++i, --left) {
    const Histogram drawn = judged.next(random);
    samples += static_cast<double>(count(drawn));
    const Verdict& verdict = replay.step(observed(what, drawn, good.next(random)));
    const bool before = std::exchange(passes, verdict.decision == Decision::Pass);
    if (before && !passes) ++run.taken_back;
    if (!passes || std::isfinite(run.seconds)) continue;
    run.seconds = static_cast<double>(i + 1) / kReadingsASecond;
    run.samples = samples;
    run.block = std::chrono::duration<double>(verdict.block).count();
    if (!what.good) return run;
    left = kAfter;
  }
  return run;
}

std::vector<Run> run_all(const Experiment& what, size_t runs, size_t threads) {
  const Sampler stable(what.stable), canary(what.canary);
  std::vector<Run> results(runs);
  support::for_each_run(runs, threads, [&](size_t i) {
    results[i] = run_once(what, stable, canary, support::seed_of(i));
  });
  return results;
}

// How many requests of the canary a single bet needs that knows both shares: ln(20) / KL. Events of
// the two arms are Poisson to a good approximation; given how many there are of both, how many are
// the canary's is binomial, and the null puts its share at `tolerance` of the baseline's or more.
double limit(const Experiment& what, double quantile, double tolerance) {
  size_t edge = 0;
  while (what.stable(bucket_edge(edge)) > (1 - quantile) * (1 + 1e-9)) ++edge;
  const double factor = static_cast<double>(what.stable_factor);
  const double of_stable = factor * what.stable(bucket_edge(edge));
  const double of_canary = what.canary(bucket_edge(edge + kPassStretch));
  const double events = of_stable + of_canary;
  if (events <= 0) return INFINITY;
  const double null = tolerance / (tolerance + factor), share = of_canary / events;
  if (share >= null * (1 - 1e-9)) return INFINITY;
  const double information = (share > 0 ? share * std::log(share / null) : 0) +
                             (1 - share) * std::log((1 - share) / (1 - null));
  return kProofThreshold / (events * information);
}

void report(const Experiment& what, size_t threads) {
  const size_t runs = std::max<size_t>(1, what.runs);
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Run> results = run_all(what, runs, threads);
  const auto passed = static_cast<size_t>(
      std::ranges::count_if(results, [](const Run& run) { return std::isfinite(run.seconds); }));
  double taken_back = 0;
  for (const Run& run : results) taken_back += run.taken_back;
  const auto at = [&results](double share, auto member) {
    return support::json_number(support::quantile_of(results, share, member));
  };
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const auto limit_at = [&](double quantile, double tolerance) {
    return what.good ? support::json_number(limit(what, quantile, tolerance)) : "null";
  };
  fmt::print(
      "{{\"experiment\": \"{}\", \"runs\": {}, \"seconds\": {:g}, \"passed\": {}, "
      "\"share\": {:.5f}, \"median_seconds\": {}, \"p90_seconds\": {}, \"median_samples\": {}, "
      "\"p90_samples\": {}, \"taken_back\": {:g}, \"limit\": {}, \"limit_tolerant\": {}, "
      "\"limit_p999\": {}, \"block_seconds\": {}, \"took_seconds\": {:.1f}}}\n",
      what.name, runs, static_cast<double>(what.most) / kReadingsASecond, passed,
      static_cast<double>(passed) / static_cast<double>(runs), at(0.5, &Run::seconds),
      at(0.9, &Run::seconds), at(0.5, &Run::samples), at(0.9, &Run::samples),
      taken_back / static_cast<double>(runs), limit_at(0.99, 1), limit_at(0.99, 1.5),
      limit_at(0.999, 1), at(0.5, &Run::block), took.count());
  std::fflush(stdout);
}

struct Shape {
  const char* name;
  Survival of;
};

std::vector<Shape> shapes() {
  return {{"lognormal .5", support::lognormal(0.5)},
          {"lognormal 1", support::lognormal()},
          {"Pareto 1.5", support::pareto()},
          {"bimodal, p90 on the edge", support::bimodal(0.1)},
          {"bimodal, p99 on the edge", support::bimodal(0.01)},
          {"few values", support::few_values()}};
}

// How long to wait, from 2 minutes at 1,000 requests a second to 30 at 10.
size_t patience(double rate) {
  return readings(std::clamp(60'000 / rate, 120.0, 1800.0));
}

void add_good(std::vector<Experiment>& all, size_t runs) {
  const auto add = [&](const Shape& shape, double rate, size_t factor) {
    all.push_back({.name = fmt::format("pass {}, {:g}/s{}", shape.name, rate,
                                       factor == 1 ? "" : fmt::format(", 1:{}", factor)),
                   .stable = shape.of,
                   .canary = shape.of,
                   .rate = rate,
                   .stable_factor = factor,
                   .most = patience(rate),
                   .runs = runs});
  };
  for (const Shape& shape : shapes())
    for (const double rate : {1000.0, 400.0, 100.0, 50.0, 20.0, 10.0}) add(shape, rate, 1);
  for (const size_t factor : {2, 10})
    for (const double rate : {1000.0, 100.0, 20.0}) add(shapes()[1], rate, factor);
}

// Canaries that must not pass, looked at four times a second.
void add_bad(std::vector<Experiment>& all, size_t runs) {
  const auto add = [&](const char* what, const Shape& shape, const Survival& canary, double rate,
                       double seconds) {
    all.push_back({.name = fmt::format("never {} {}, {:g}/s", shape.name, what, rate),
                   .stable = shape.of,
                   .canary = canary,
                   .rate = rate,
                   .most = readings(seconds),
                   .runs = runs,
                   .good = false});
  };
  const double just = std::exp2(static_cast<double>(kPassStretch) / 8);
  for (const Shape& shape : shapes()) {
    const bool smooth = std::string_view(shape.name).starts_with("log") ||
                        std::string_view(shape.name).starts_with("Par");
    if (smooth) {
      add("scale x1.41", shape, support::scaled(shape.of, just), 1000, 60);
      add("tail x1.41", shape, support::tail_stretched(shape.of, just), 1000, 60);
      add("tail x1.41", shape, support::tail_stretched(shape.of, just), 100, 120);
      add("tail x1.5", shape, support::tail_stretched(shape.of, 1.5), 1000, 60);
    }
    add("scale x1.5", shape, support::scaled(shape.of, 1.5), 1000, 60);
    // Of fixed values 1.41 times is in the bucket of the bound itself: one more.
    const bool fixed = std::string_view(shape.name).starts_with("few");
    const double beyond = fixed ? just * std::exp2(1.0 / 8) : just;
    if (!smooth)
      add(fixed ? "tail x1.54" : "tail x1.41", shape, support::tail_stretched(shape.of, beyond),
          100, 120);
  }
  // A bound of a bucket below p99 of 86 ms, and p99 beyond it by as much again.
  const Shape pareto = shapes()[2];
  add("p99 + 18 ms of 9 stated", pareto, support::tail_stretched(pareto.of, 1.21), 1000, 60);
  all.back().increase = std::chrono::milliseconds(9);
  // p99 is 20 ms of one and 70 ms of the other, and by chance 5 ms of both.
  const Shape tied{"three values, p99 on the edge", [](double x) {
                     return x < 0.005 ? 1 : x < 0.020 ? 0.011 : x < 0.080 ? 0.003 : 0.0;
                   }};
  add(
      "p99 x3.5", tied, [](double x) { return x < 0.005   ? 1
                                              : x < 0.070 ? 0.011
                                                          : 0.0; }, 100, 120);
}

std::vector<Experiment> experiments(size_t runs) {
  std::vector<Experiment> all;
  add_good(all, std::max<size_t>(1, runs / 50));
  add_bad(all, runs);
  return all;
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  return slogate::support::run_experiments(argc, argv, "bench_passes", 1000, slogate::experiments,
                                           slogate::report);
}
