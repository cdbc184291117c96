// SPDX-License-Identifier: Apache-2.0
// Synthetic traffic for the judge: what two arms would have counted.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "agent/canary/judge.h"

namespace slogate::support {

// The share of requests that take longer than so many seconds.
using Survival = std::function<double(double)>;

// Median 10 ms; of sigma 1: p99 102 ms.
[[nodiscard]] Survival lognormal(double sigma = 1, double median = 0.010);
// From 4 ms on, with exponent 1.5: p99 86 ms.
[[nodiscard]] Survival pareto();
// 1, 2, 5, 20 and 80 ms with shares of .7, .2, .07, .025 and .005: p90 and p99.5 lie between two
// values.
[[nodiscard]] Survival few_values();
// A share of `slow` takes 50 ms, the others 5 ms, both lognormal with sigma .2: nothing takes 15.
[[nodiscard]] Survival bimodal(double slow);
// Every quantile times `factor`.
[[nodiscard]] Survival scaled(Survival of, double factor);
// Only what is beyond p95 is stretched, so that p99 is multiplied by `factor`.
[[nodiscard]] Survival tail_stretched(const Survival& of, double factor);

// Draws requests from a distribution over the buckets, in constant time each (Walker's alias
// method).
class Sampler {
 public:
  explicit Sampler(const Survival& survival);
  void draw(std::mt19937_64& random, size_t requests, Histogram& to) const;

 private:
  std::vector<double> keep_;
  std::vector<uint32_t> other_;
};

// What an arm has done after so many requests.
[[nodiscard]] Tally tally_of(const Sampler& sampler, size_t requests, uint64_t seed);

// What a server's answers say of so many requests, one each: a share of them that it failed, unless
// it speaks TLS and nobody can tell.
struct Saying {
  double failing = 0;
  bool tls = false;
};
void draw_answers(std::mt19937_64& random, const Saying& what, uint64_t requests, Counts& to);
// What is counted beside that of requests which are answered well on connections of ten requests.
void add_ordinary_traffic(const Histogram& requests, Counts& to);

// Whether an arm is in a burst of slow requests: a chain of two states, from reading to reading.
class Bursts {
 public:
  // Mean length in readings, and the share of time in bursts.
  Bursts(double length, double share) : leave_(1 / length), enter_(share / (1 - share) / length) {}
  bool next(std::mt19937_64& random);

 private:
  double leave_, enter_;
  bool on_ = false;
};

// Calls `run` with each of 0 to `runs` - 1, on so many threads at once.
void for_each_run(size_t runs, size_t threads, const std::function<void(size_t)>& run);

// The seed of a run: the same in each benchmark and at each time.
[[nodiscard]] constexpr uint64_t seed_of(size_t run) {
  return 20'261'121 + run * 7919;
}

// As JSON has it: what is not finite is null.
[[nodiscard]] inline std::string json_number(double value) {
  return std::isfinite(value) ? fmt::format("{:g}", value) : "null";
}

// What this share of the runs had at most; sorts them.
template <typename Run, typename Member>
[[nodiscard]] double quantile_of(std::vector<Run>& runs, double share, Member member) {
  std::ranges::sort(runs, {}, member);
  return std::invoke(member,
                     runs[static_cast<size_t>(share * static_cast<double>(runs.size() - 1))]);
}

// main() of a benchmark of experiments, which have names: RUNS THREADS [PART OF A NAME].
template <typename Experiments, typename Report>
int run_experiments(int argc, char** argv, const char* program, size_t runs,
                    const Experiments& experiments, const Report& report) {
  if (argc > 1) runs = std::strtoul(argv[1], nullptr, 10);
  const size_t threads = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1;
  if (runs == 0 || threads == 0) {
    fmt::print(stderr, "usage: {} RUNS THREADS [PART OF A NAME]\n", program);
    return 64;
  }
  const std::string only = argc > 3 ? argv[3] : "";
  for (const auto& what : experiments(runs))
    if (what.name.contains(only)) report(what, threads);
  return 0;
}

// An SLO with canary and baseline and nothing stated.
[[nodiscard]] Slo default_slo(double alpha);

// A judge under a clock of its own that is fed reading by reading.
class Replay {
 public:
  explicit Replay(const Slo& slo) : judge_(slo, "1", now_) {}

  // One reading later: these requests were answered.
  const Verdict& step(const Histogram& canary, const Histogram& baseline);
  // The same with everything a reading can have.
  const Verdict& step(Observation seen);
  [[nodiscard]] Judge& judge() { return judge_; }
  [[nodiscard]] TickTime now() const { return now_; }

 private:
  TickTime now_{std::chrono::sys_days(std::chrono::year(2026) / 11 / 21), std::chrono::hours(1)};
  Judge judge_;
};

}  // namespace slogate::support
