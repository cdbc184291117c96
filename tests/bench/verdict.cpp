// SPDX-License-Identifier: Apache-2.0
// Replays synthetic traffic through the judge that the agent runs, and prints a line of JSON for
// each experiment: how often identical arms are vetoed, and after how many requests a worse canary
// is; and how the weight of good and bad ones moves. Usage: bench_verdict RUNS THREADS [PART OF A
// NAME]
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <optional>

#include "tests/bench/weight.h"
#include "tests/support/replay.h"

namespace slogate {
namespace {

using support::Bursts;
using support::Replay;
using support::Sampler;
using support::Survival;

// One experiment: traffic of both arms, and for how long.
struct Experiment {
  std::string name;
  Survival stable, canary;
  double alpha = 0.01;
  size_t requests = 1000;  // of the canary in one reading
  size_t stable_factor = 1;
  size_t before = 300;    // readings of the baseline alone: enough for the A/A test
  size_t readings = 200;  // with the canary
  double bursts = 0;      // mean length in readings, 2.4 % of the time half of all 6 times slower
  size_t runs = 0;
  bool common = false;  // the bursts hit both arms at once
  size_t change = 0;    // from this reading on the canary is as `canary` says, before as stable
  // Where answers are read: what share of them fails. And everything else that a server counts.
  std::optional<std::array<double, 2>> failing = {};  // of stable and canary
  bool ordinary = false;
  // Each arm fails in all its answers for so many readings in a row, once in so many on average.
  std::array<size_t, 2> outages{};
  // The part of the requests of stable and canary that are the first on their connections, and how
  // many times slower these are.
  std::array<double, 2> firsts{};
  double first_slower = 1;
  size_t opens = 0;  // so many connections the canary opens in its first reading, and keeps
};

// What one run came to: after how many canary requests the veto fell, and the blocks of the end.
struct Run {
  double vetoed_after = INFINITY;
  double block = 0;
};

struct Arms {
  explicit Arms(const Experiment& of)
      : stable(of.stable),
        canary(of.canary),
        slow_stable(half_slow(of.stable)),
        slow_canary(half_slow(of.canary)),
        first_stable(support::scaled(of.stable, of.first_slower)),
        first_canary(support::scaled(of.canary, of.first_slower)) {}
  static Survival half_slow(const Survival& of) {
    return [of, slow = support::scaled(of, 6)](double x) { return (of(x) + slow(x)) / 2; };
  }
  Sampler stable, canary, slow_stable, slow_canary, first_stable, first_canary;
};

// The requests of a reading, and how many of them are the first on their connections.
struct Drawn {
  Histogram requests{};
  uint64_t firsts = 0;

  void draw(std::mt19937_64& random, const Sampler& first, const Sampler& later, size_t all,
            double part, size_t opened = 0) {
    firsts = std::min<uint64_t>(all, opened);
    if (part > 0) firsts += std::binomial_distribution<uint64_t>(all - firsts, part)(random);
    first.draw(random, firsts, requests);
    later.draw(random, all - firsts, requests);
  }
};

// When an arm fails in all its answers.
class Outages {
 public:
  explicit Outages(const std::array<size_t, 2>& of) : length_(of[0]), every_(of[1]) {}
  bool next(std::mt19937_64& random) {
    if (left_ == 0 && length_ != 0 && random() % every_ == 0) left_ = length_;
    return left_ != 0 && left_-- != 0;
  }

 private:
  size_t length_, every_, left_ = 0;
};

// `failing`: what share of their answers fails, of stable and canary.
Observation observed(const Experiment& what, std::mt19937_64& random, const Drawn& canary_drawn,
                     const Drawn& stable_drawn,
                     const std::optional<std::array<double, 2>>& failing) {
  const Histogram &canary = canary_drawn.requests, &stable = stable_drawn.requests;
  Observation seen;
  Counts& of_canary = seen.canary.added;
  Counts& of_stable = seen.baseline[0].added;
  of_canary.histograms[SLOGATE_SIGNAL_request] = canary;
  of_stable.histograms[SLOGATE_SIGNAL_request] = stable;
  if (failing) {
    support::draw_answers(random, {(*failing)[1]}, count(canary), of_canary);
    support::draw_answers(random, {(*failing)[0]}, count(stable), of_stable);
  }
  if (what.ordinary) {
    support::add_ordinary_traffic(canary, of_canary);
    support::add_ordinary_traffic(stable, of_stable);
  }
  of_canary.counters[SLOGATE_COUNTER_used_server] += canary_drawn.firsts;
  of_stable.counters[SLOGATE_COUNTER_used_server] += stable_drawn.firsts;
  return seen;
}

Run run_once(const Experiment& what, const Arms& arms, uint64_t seed) {
  std::mt19937_64 random(seed);
  Replay replay(support::default_slo(what.alpha));
  const double length = std::max(1.0, what.bursts), share = what.bursts > 0 ? 0.0244 : 0;
  Bursts canary_bursts(length, share), stable_bursts(length, share);
  Outages canary_outages(what.outages), stable_outages(what.outages);
  for (size_t i = 0; i < what.before + what.readings; ++i) {
    Drawn canary, stable;
    const bool stable_burst = share > 0 && stable_bursts.next(random);
    const bool own_burst = share > 0 && canary_bursts.next(random);
    const bool canary_burst = what.common ? stable_burst : own_burst;
    stable.draw(random, arms.first_stable, stable_burst ? arms.slow_stable : arms.stable,
                what.requests * what.stable_factor, what.firsts[0]);
    const bool changed = i >= what.before + what.change;
    const Sampler& good = canary_burst ? arms.slow_stable : arms.stable;
    const Sampler& bad = canary_burst ? arms.slow_canary : arms.canary;
    if (i >= what.before)
      canary.draw(random, changed ? arms.first_canary : arms.first_stable, changed ? bad : good,
                  what.requests, what.firsts[1], i == what.before ? what.opens : 0);
    auto failing = what.failing;
    if (failing && !changed) (*failing)[1] = (*failing)[0];
    if (failing && stable_outages.next(random)) (*failing)[0] = 1;
    if (failing && canary_outages.next(random)) (*failing)[1] = 1;
    const Verdict& verdict = replay.step(observed(what, random, canary, stable, failing));
    if (verdict.decision == Decision::Veto)
      return {static_cast<double>((i + 1 - what.before - what.change) * what.requests),
              std::chrono::duration<double>(verdict.block).count()};
  }
  return {.block = std::chrono::duration<double>(replay.judge().verdict()->block).count()};
}

std::vector<Run> run_all(const Experiment& what, size_t runs, size_t threads) {
  const Arms arms(what);
  std::vector<Run> results(runs);
  support::for_each_run(runs, threads,
                        [&](size_t i) { results[i] = run_once(what, arms, support::seed_of(i)); });
  return results;
}

// The upper end of the exact (Clopper-Pearson) one-sided 95 % interval of a share.
double upper_bound(size_t hits, size_t runs) {
  double low = 0, high = 1;
  for (int i = 0; i < 60; ++i) {
    const double p = (low + high) / 2;
    double below = 0, term = static_cast<double>(runs) * std::log1p(-p);
    for (size_t k = 0; k <= hits; ++k) {
      below += std::exp(term);
      term += std::log(static_cast<double>(runs - k) / static_cast<double>(k + 1)) + std::log(p) -
              std::log1p(-p);
    }
    (below > 0.05 ? low : high) = p;
  }
  return hits == runs ? 1 : high;
}

void report(const Experiment& what, size_t threads) {
  const size_t runs = std::max<size_t>(1, what.runs);
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Run> results = run_all(what, runs, threads);
  const auto hits = static_cast<size_t>(std::ranges::count_if(
      results, [](const Run& run) { return std::isfinite(run.vetoed_after); }));
  const auto at = [&results](double share, auto member) {
    return support::json_number(support::quantile_of(results, share, member));
  };
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  fmt::print(
      "{{\"experiment\": \"{}\", \"alpha\": {:g}, \"runs\": {}, \"requests\": {}, \"vetoed\": {}, "
      "\"share\": {:.5f}, \"upper95\": {:.5f}, \"median_requests\": {}, \"p90_requests\": {}, "
      "\"block_seconds\": {}, \"took_seconds\": {:.1f}}}\n",
      what.name, what.alpha, runs, what.readings * what.requests, hits,
      static_cast<double>(hits) / static_cast<double>(runs), upper_bound(hits, runs),
      at(0.5, &Run::vetoed_after), at(0.9, &Run::vetoed_after), at(0.5, &Run::block), took.count());
  std::fflush(stdout);
}

// Servers whose answers are read, with everything else that they count; the baseline was watched
// for two minutes.
void add_errors(std::vector<Experiment>& all, size_t runs) {
  const Survival ln = support::lognormal();
  const auto add = [&](std::string name, size_t a_second, double stable, double canary,
                       double alpha, size_t of) {
    all.push_back({.name = std::move(name),
                   .stable = ln,
                   .canary = ln,
                   .alpha = alpha,
                   .requests = a_second / 4,
                   .before = 480,
                   .readings = 400,
                   .runs = of,
                   .failing = std::array{stable, canary},
                   .ordinary = true});
  };
  const size_t some = std::max<size_t>(1, runs / 5);
  for (const double both : {0.0, 0.02}) {
    add(fmt::format("identical, {:g} % errors", 100 * both), 1000, both, both, 0.01, runs);
    all.back().before = 300;
    all.back().readings = 200;
  }
  // As much worse as is allowed: what alpha is about.
  add("errors 0 to 0.1 %", 1000, 0, 0.001, 0.01, some);
  add("errors 2 to 2.1 %", 1000, 0.02, 0.021, 0.01, some);
  add("all errors at 150/s", 150, 0, 1, 0.001, some);
  add("errors 0 to 5 % at 300/s", 300, 0, 0.05, 0.001, some);
  add("errors 2 to 7 % at 300/s", 300, 0.02, 0.07, 0.001, some);
  add("errors 0 to 1 % at 1000/s", 1000, 0, 0.01, 0.001, some);
  add("errors 0.5 to 1.5 % at 1000/s", 1000, 0.005, 0.015, 0.001, some);
  // Slow requests in bursts of 2 s: latencies are judged in blocks of many seconds.
  const auto add_in_bursts = [&](std::string name, size_t a_second, double stable, double canary,
                                 double alpha) {
    add(std::move(name), a_second, stable, canary, alpha, some);
    all.back().before = 1200;
    all.back().bursts = 8;
  };
  add_in_bursts("bursts, identical, 2 % errors", 300, 0.02, 0.02, 0.01);
  add_in_bursts("bursts, errors 2 to 2.1 %", 300, 0.02, 0.021, 0.01);
  add_in_bursts("bursts, errors 0 to 5 % at 300/s", 300, 0, 0.05, 0.001);
  add_in_bursts("bursts, all errors at 150/s", 150, 0, 1, 0.001);
  add_in_bursts("bursts, all errors at 300/s after 20 s", 300, 0, 1, 0.001);
  all.back().change = 80;
  // Arms alike that fail in everything at times.
  for (const size_t seconds : {1, 2, 3})
    for (const size_t every : {30, 300})
      for (const bool slow : {false, true}) {
        add(fmt::format("outages of {} s, each {} s{}", seconds, every,
                        slow ? ", slow in bursts" : ""),
            300, 0, 0, 0.01, some);
        all.back().outages = {4 * seconds, 4 * every};
        if (slow) all.back().before = 1200, all.back().bursts = 8;
      }
  // Late: after ten minutes in which it was as good.
  for (const double length : {2.0, 4.0}) {
    add_in_bursts(fmt::format("bursts of {:g} s, scale x2 after 10 min", length / 4), 300, 0, 0,
                  0.001);
    all.back().canary = support::scaled(ln, 2);
    all.back().change = 2400;
    all.back().readings = 4800;
    all.back().bursts = length;
  }
}

// What it costs a latency that other signals share the mixture: all of them are in use.
void add_mixtures(std::vector<Experiment>& all, size_t runs) {
  const Survival ln = support::lognormal();
  const auto add = [&](std::string name, Survival canary) {
    all.push_back({.name = std::move(name),
                   .stable = ln,
                   .canary = std::move(canary),
                   .alpha = 0.001,
                   .requests = 250,
                   .before = 480,
                   .readings = 400,
                   .runs = runs,
                   .failing = std::array{0.0, 0.0},
                   .ordinary = true});
  };
  for (const double factor : {1.5, 2.0, 4.0}) {
    add(fmt::format("among all signals, scale x{:g}", factor), support::scaled(ln, factor));
    add(fmt::format("among all signals, tail x{:g}", factor), support::tail_stretched(ln, factor));
  }
}

// A baseline that was seen for 10 s before its canary came: too short to measure how long blocks
// have to be.
void add_young(std::vector<Experiment>& all, size_t runs) {
  const Survival ln = support::lognormal();
  const auto add = [&](std::string name, Survival canary, double alpha, double bursts, size_t of) {
    all.push_back({.name = "young, " + std::move(name),
                   .stable = ln,
                   .canary = std::move(canary),
                   .alpha = alpha,
                   .requests = 250,
                   .before = 40,
                   .readings = 240,
                   .bursts = bursts,
                   .runs = of});
  };
  for (const double alpha : {0.01, 0.001}) {
    add(fmt::format("identical, alpha {:g}", alpha), ln, alpha, 0, runs);
    for (const double readings : {1.0, 2.0, 4.0, 8.0, 16.0})
      add(fmt::format("bursts of {:g} s, alpha {:g}", readings / 4, alpha), ln, alpha, readings,
          runs / 3);
  }
  // The slowest 2 % take 2.5 times as long, as in tests/bench/detect.sh.
  add(
      "slowest 2 % x2.5", [ln](double x) { return std::max(ln(x), std::min(0.02, ln(x / 2.5))); },
      0.001, 0, runs / 10);
  add("tail x2.5", support::tail_stretched(ln, 2.5), 0.001, 0, runs / 10);
  add("scale x2", support::scaled(ln, 2), 0.001, 0, runs / 10);
}

// Arms whose connections live for different times, where a connection's first request is slower.
void add_firsts(std::vector<Experiment>& all, size_t runs) {
  const Survival ln = support::lognormal();
  const auto add = [&](std::string name, size_t a_second, double stable, double canary,
                       double slower, size_t of) {
    all.push_back({.name = fmt::format("firsts, {}, {}/s", name, a_second),
                   .stable = ln,
                   .canary = ln,
                   .requests = a_second / 4,
                   .before = 480,
                   .readings = 480,
                   .runs = of,
                   .firsts = {stable, canary},
                   .first_slower = slower});
  };
  for (const size_t a_second : {1000, 100, 20}) {
    add("x3, 0 and 100 %", a_second, 0, 1, 3, runs);
    add("x3, 0 and 10 %", a_second, 0, 0.1, 3, runs);
    add("x3, 5 and 10 %", a_second, 0.05, 0.1, 3, runs);
    add("x3, 90 and 100 %", a_second, 0.9, 1, 3, runs);
    add("a third, 100 and 0 %", a_second, 1, 0, 1.0 / 3, runs);
    add("a third, 100 and 50 %", a_second, 1, 0.5, 1.0 / 3, runs);
  }
  // And what it costs where they live equally long: nothing.
  const auto bad = [&](std::string name, double part, double slower, size_t opens) {
    for (const double factor : {1.5, 2.0}) {
      add(fmt::format("{}, scale x{:g}", name, factor), 1000, part, part, slower, runs / 5);
      all.back().canary = support::scaled(ln, factor);
      all.back().alpha = 0.001;
      all.back().opens = opens;
      add(fmt::format("{}, tail x{:g}", name, factor + 1), 1000, part, part, slower, runs / 5);
      all.back().canary = support::tail_stretched(ln, factor + 1);
      all.back().alpha = 0.001;
      all.back().opens = opens;
    }
  };
  bad("none", 0, 1, 0);
  bad("10 % of both", 0.1, 1, 0);
  bad("100 at the start", 0, 1, 100);
}

std::vector<Experiment> experiments(size_t runs) {
  const Survival ln = support::lognormal(), pa = support::pareto();
  const size_t some = std::max<size_t>(1, runs / 5);
  const Experiment bursts{.name = "identical, bursts of 500",
                          .stable = ln,
                          .canary = ln,
                          .requests = 250,
                          .before = 1200,
                          .readings = 800,
                          .bursts = 2,
                          .runs = runs / 5};
  Experiment common = bursts;
  common.name = "identical, common bursts of 500";
  common.runs = runs / 25;
  common.common = true;
  std::vector<Experiment> all = {
      {.name = "identical, lognormal", .stable = ln, .canary = ln, .runs = runs},
      {.name = "identical, Pareto", .stable = pa, .canary = pa, .runs = runs},
      {.name = "identical, 1:9",
       .stable = ln,
       .canary = ln,
       .requests = 100,
       .stable_factor = 9,
       .runs = runs / 5},
      bursts,
      common,
  };
  for (const double factor : {1.5, 2.0, 4.0}) {
    const auto add = [&](const char* what, const Survival& stable, const Survival& canary) {
      all.push_back({.name = fmt::format("{} x{:g}", what, factor),
                     .stable = stable,
                     .canary = canary,
                     .runs = some});
    };
    add("lognormal tail", ln, support::tail_stretched(ln, factor));
    add("lognormal scale", ln, support::scaled(ln, factor));
    add("Pareto tail", pa, support::tail_stretched(pa, factor));
  }
  all.push_back({.name = "lognormal tail x2, alpha .001",
                 .stable = ln,
                 .canary = support::tail_stretched(ln, 2),
                 .alpha = 0.001,
                 .runs = some});
  all.push_back({.name = "lognormal tail x2 after 100,000",
                 .stable = ln,
                 .canary = support::tail_stretched(ln, 2),
                 .runs = some,
                 .change = 100});
  add_errors(all, runs);
  add_mixtures(all, some);
  add_young(all, runs);
  add_firsts(all, runs);
  return all;
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  using slogate::support::run_experiments;
  const int status =
      run_experiments(argc, argv, "bench_verdict", 100, slogate::experiments, slogate::report);
  if (status != 0) return status;
  const auto weights = [](size_t runs) {
    return slogate::weight_experiments(std::max<size_t>(1, runs / 5));
  };
  return run_experiments(argc, argv, "bench_verdict", 100, weights, slogate::report_weight);
}
