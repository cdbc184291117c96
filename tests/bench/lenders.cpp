// SPDX-License-Identifier: Apache-2.0
// Replays a canary that shares no node with its baseline through what the agent runs, with
// lenders on other nodes, and prints a line of JSON for each experiment: how often it is vetoed and
// passed, and when. Usage: bench_lenders RUNS THREADS [PART OF A NAME]
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <optional>

#include "agent/canary/fleet.h"
#include "tests/support/replay.h"

namespace slogate {
namespace {

using support::Sampler;
using support::Survival;

constexpr size_t kHistory = 60;  // readings that a lender's first answer has
constexpr size_t kMost = 8;      // lenders that are asked

// Whom the canary loses.
enum class Leaving {
  Nobody,
  Anyone,  // by chance
  // The one beside which it is the least worse: the worst that an accident, or an enemy, can do.
  TheLeast,
};

struct Experiment {
  std::string name;
  size_t nodes = 8;  // with a baseline
  double sigma = 0;  // of the log of how slow a node is
  // How slow the canary's node is: so many times the slowest of the first lenders; nothing: one of
  // the nodes, as slow as any.
  std::optional<double> canary = 1.25;
  double slower = 1;                       // all of the canary's requests, by its own fault
  std::array<double, 2> failing = {0, 0};  // of stable and canary
  size_t rate = 1000;                      // requests a second of the canary, and of each lender
  size_t readings = 240;
  Leaving leaving = Leaving::Nobody;
  size_t stay = 20;  // readings from one departure to the next
  // From this reading on one of the lenders is four times as slow.
  std::optional<size_t> slow_lender = {};
  size_t runs = 0;
};

struct Run {
  double vetoed = INFINITY, passed = INFINITY;  // seconds from the canary's first request on
  double cost = 0;                              // seconds that its readings took
  size_t readings = 0;
};

constexpr double kReading = std::chrono::duration<double>(kReadInterval).count();

// A node with a baseline.
struct Node {
  double factor = 1;
  std::optional<Sampler> times;
  uint64_t number = 0;

  LentReading draw(std::mt19937_64& random, const Experiment& what) {
    LentReading reading{.number = ++number, .lasted = kReadInterval, .halves = {}};
    for (ArmReading& half : reading.halves) {
      half.cgroups = 1;
      Histogram& requests = half.added.histograms[SLOGATE_SIGNAL_request];
      times->draw(random, what.rate / 8, requests);
      if (what.failing[1] > 0)
        support::draw_answers(random, {what.failing[0]}, count(requests), half.added);
    }
    return reading;
  }
};

class Replay {
 public:
  Replay(const Experiment& what, uint64_t seed) : what_(what), random_(seed) {
    std::lognormal_distribution<double> factor(0, what.sigma);
    for (size_t i = 0; i < what.nodes; ++i) set_factor(nodes_.emplace_back(), factor(random_));
    order_.resize(what.nodes);
    std::iota(order_.begin(), order_.end(), 0);
    std::ranges::shuffle(order_, random_);
    asked_ = std::min(kMost, what.nodes);
    double slowest = 0;
    for (size_t i = 0; i < asked_; ++i) slowest = std::max(slowest, nodes_[order_[i]].factor);
    const double own = what.canary ? *what.canary * slowest : factor(random_);
    canary_.emplace(support::scaled(support::lognormal(), own * what.slower));
    fleet_.know_peers(true);
  }

  Run run() {
    Run run;
    observe(0);  // a canary that is here and silent: whom to ask is found out
    for (size_t i = 0; i < asked_; ++i) join(order_[i]);
    std::chrono::nanoseconds cost{0};
    for (size_t i = 1; i <= what_.readings; ++i) {
      change(i);
      for (size_t at = 0; at < asked_; ++at) lend(order_[at], 1);
      const auto begin = std::chrono::steady_clock::now();
      const Verdict& verdict = observe(what_.rate / 4);
      cost += std::chrono::steady_clock::now() - begin;
      run.readings = i;
      if (verdict.decision == Decision::Pass)
        run.passed = std::min(run.passed, kReading * static_cast<double>(i));
      if (verdict.decision != Decision::Veto) continue;
      run.vetoed = kReading * static_cast<double>(i);
      break;
    }
    run.cost = std::chrono::duration<double>(cost).count();
    return run;
  }

 private:
  static void set_factor(Node& node, double factor) {
    node.factor = factor;
    node.times.emplace(support::scaled(support::lognormal(), factor));
  }
  static std::string name(size_t node) { return fmt::format("node-{:02}", node); }

  void join(size_t node) {
    fleet_.ask(name(node), now_);
    lend(node, kHistory);
  }
  void lend(size_t node, size_t readings) {
    LentAnswer answer;
    for (size_t i = 0; i < readings; ++i)
      answer.readings.push_back(nodes_[node].draw(random_, what_));
    fleet_.lend(name(node), std::move(answer), now_);
  }
  const Verdict& observe(size_t requests) {
    Observation seen;
    now_.monotonic += kReadInterval;
    now_.system += kReadInterval;
    seen.now = now_;
    seen.canary.cgroups = 1;
    Histogram& times = seen.canary.added.histograms[SLOGATE_SIGNAL_request];
    canary_->draw(random_, requests, times);
    if (what_.failing[1] > 0)
      support::draw_answers(random_, {what_.failing[1]}, requests, seen.canary.added);
    fleet_.observe(seen);
    return *fleet_.verdict();
  }
  void change(size_t reading) {
    if (what_.slow_lender == reading) set_factor(nodes_[order_[0]], 4 * nodes_[order_[0]].factor);
    if (what_.leaving == Leaving::Nobody || reading % what_.stay != 0) return;
    const size_t leaving = what_.leaving == Leaving::Anyone ? random_() % asked_ : least();
    fleet_.drop_lender(name(order_[leaving]));
    // Who comes is a node like the others, or a new one that is as slow.
    if (asked_ < order_.size())
      std::swap(order_[leaving], order_[asked_ + random_() % (order_.size() - asked_)]);
    join(order_[leaving]);
  }
  [[nodiscard]] size_t least() const {
    const auto& lenders = fleet_.verdict()->lenders;
    if (lenders.empty()) return 0;
    const std::string node = std::ranges::min_element(lenders, {}, &LenderStatus::log_e)->node;
    for (size_t i = 0; i < asked_; ++i)
      if (name(order_[i]) == node) return i;
    return 0;
  }

  const Experiment& what_;
  std::mt19937_64 random_;
  TickTime now_{std::chrono::sys_days(std::chrono::year(2026) / 11 / 30), std::chrono::hours(1)};
  std::vector<Node> nodes_;
  std::vector<size_t> order_;  // the first of them are asked
  size_t asked_ = 0;
  std::optional<Sampler> canary_;
  Fleet fleet_{support::default_slo(0.001), "1", now_};
};

void report(const Experiment& what, size_t threads) {
  std::vector<Run> results(what.runs);
  support::for_each_run(what.runs, threads,
                        [&](size_t i) { results[i] = Replay(what, support::seed_of(i)).run(); });
  const auto share = [&](auto member) {
    return std::ranges::count_if(results,
                                 [&](const Run& run) { return std::isfinite(run.*member); });
  };
  double cost = 0, readings = 0;
  for (const Run& run : results) {
    cost += run.cost;
    readings += static_cast<double>(run.readings);
  }
  const auto at = [&](double part, auto member) {
    return support::json_number(support::quantile_of(results, part, member));
  };
  fmt::print(
      "{{\"experiment\": \"{}\", \"runs\": {}, \"seconds\": {:g}, \"vetoed\": {}, \"passed\": {}, "
      "\"veto_seconds\": {}, \"veto_seconds_p90\": {}, \"pass_seconds\": {}, "
      "\"pass_seconds_p90\": {}, \"reading_microseconds\": {:.0f}}}\n",
      what.name, what.runs, kReading * static_cast<double>(what.readings), share(&Run::vetoed),
      share(&Run::passed), at(0.5, &Run::vetoed), at(0.9, &Run::vetoed), at(0.5, &Run::passed),
      at(0.9, &Run::passed), 1e6 * cost / std::max(1.0, readings));
  std::fflush(stdout);
}

std::vector<Experiment> experiments(size_t runs) {
  std::vector<Experiment> all;
  const size_t some = std::max<size_t>(1, runs / 10), few = std::max<size_t>(1, runs / 50);
  for (const size_t nodes : {3UL, 8UL, 20UL})
    for (const double sigma : {0.0, 0.1, 0.3})
      all.push_back({.name = fmt::format("at the margin, {} nodes, sigma {:g}", nodes, sigma),
                     .nodes = nodes,
                     .sigma = sigma,
                     .runs = runs});
  // All nodes alike, so that whoever comes is within the margin as well.
  for (const auto& [name, leaving] :
       {std::pair("anyone", Leaving::Anyone), std::pair("the least", Leaving::TheLeast)})
    all.push_back({.name = fmt::format("at the margin, {} leaves every 5 s", name),
                   .nodes = 20,
                   .leaving = leaving,
                   .runs = runs});
  all.push_back(
      {.name = "at the margin, one turns slow after 15 s", .slow_lender = 60, .runs = runs});
  for (const size_t nodes : {3UL, 20UL})
    for (const double sigma : {0.1, 0.3})
      all.push_back({.name = fmt::format("on any node, {} nodes, sigma {:g}", nodes, sigma),
                     .nodes = nodes,
                     .sigma = sigma,
                     .canary = std::nullopt,
                     .runs = some});
  for (const double factor : {1.0, 1.5, 2.0})
    all.push_back({.name = fmt::format("beyond the margin, its node x{:g}, sigma .1", factor),
                   .sigma = 0.1,
                   .canary = factor,
                   .runs = some});
  for (const size_t rate : {1000UL, 100UL})
    for (const double sigma : {0.0, 0.1})
      all.push_back({.name = fmt::format("all x2 at {}/s, 3 nodes, sigma {:g}", rate, sigma),
                     .nodes = 3,
                     .sigma = sigma,
                     .canary = std::nullopt,
                     .slower = 2,
                     .rate = rate,
                     .readings = 480,
                     .runs = few});
  all.push_back({.name = "all x2 at 1000/s, 8 nodes, one leaves every 5 s",
                 .canary = 1.0,
                 .slower = 2,
                 .leaving = Leaving::Anyone,
                 .runs = few});
  all.push_back({.name = "all x2 at 1000/s, 8 nodes, one turns slow after 1 s",
                 .canary = 1.0,
                 .slower = 2,
                 .slow_lender = 4,
                 .runs = few});
  all.push_back({.name = "5 % errors at 300/s, 3 nodes",
                 .nodes = 3,
                 .canary = 1.0,
                 .failing = {0, 0.05},
                 .rate = 300,
                 .readings = 480,
                 .runs = few});
  all.push_back({.name = "good at 1000/s, 8 nodes, its node as slow as the slowest",
                 .canary = 1.0,
                 .readings = 480,
                 .runs = few});
  return all;
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  return slogate::support::run_experiments(argc, argv, "bench_lenders", 100, slogate::experiments,
                                           slogate::report);
}
