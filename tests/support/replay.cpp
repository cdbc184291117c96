// SPDX-License-Identifier: Apache-2.0
#include "tests/support/replay.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <numeric>
#include <thread>

namespace slogate::support {
namespace {

// Where a survival function falls to `share`.
double quantile_of(const Survival& of, double share) {
  double low = 1e-6, high = 64;
  for (int i = 0; i < 100; ++i) {
    const double middle = std::sqrt(low * high);
    (of(middle) > share ? low : high) = middle;
  }
  return high;
}

}  // namespace

Survival lognormal(double sigma, double median) {
  return [=](double x) { return 0.5 * std::erfc(std::log(x / median) / sigma / std::sqrt(2)); };
}

Survival pareto() {
  return [](double x) { return x <= 0.004 ? 1 : std::pow(0.004 / x, 1.5); };
}

Survival few_values() {
  static constexpr std::array<std::pair<double, double>, 5> values = {
      {{0.001, 0.7}, {0.002, 0.2}, {0.005, 0.07}, {0.020, 0.025}, {0.080, 0.005}}};
  return [](double x) {
    double beyond = 0;
    for (const auto& [value, share] : values)
      if (value > x * (1 + 1e-12)) beyond += share;
    return beyond;
  };
}

Survival bimodal(double slow) {
  return [=, most = lognormal(0.2, 0.005), rest = lognormal(0.2, 0.050)](double x) {
    return (1 - slow) * most(x) + slow * rest(x);
  };
}

Survival scaled(Survival of, double factor) {
  return [of = std::move(of), factor](double x) { return of(x / factor); };
}

Survival tail_stretched(const Survival& of, double factor) {
  const double p95 = quantile_of(of, 0.05), p99 = quantile_of(of, 0.01);
  const double eta = std::log(factor * p99 / p95) / std::log(p99 / p95);
  return [of, p95, eta](double x) { return of(x > p95 ? p95 * std::pow(x / p95, 1 / eta) : x); };
}

Sampler::Sampler(const Survival& survival) : keep_(SLOGATE_BUCKETS), other_(SLOGATE_BUCKETS) {
  std::vector<double> share(SLOGATE_BUCKETS);
  for (size_t i = 0; i < share.size(); ++i)
    share[i] = (i == 0 ? 1 : survival(bucket_edge(i - 1))) -
               (i == SLOGATE_EDGES ? 0 : survival(bucket_edge(i)));
  for (double& one : share) one *= SLOGATE_BUCKETS;
  std::vector<uint32_t> low, high;
  for (uint32_t i = 0; i < share.size(); ++i) (share[i] < 1 ? low : high).push_back(i);
  std::ranges::fill(keep_, 1);
  while (!low.empty() && !high.empty()) {
    const uint32_t a = low.back(), b = high.back();
    low.pop_back();
    keep_[a] = share[a];
    other_[a] = b;
    share[b] -= 1 - share[a];
    if (share[b] >= 1) continue;
    high.pop_back();
    low.push_back(b);
  }
}

void Sampler::draw(std::mt19937_64& random, size_t requests, Histogram& to) const {
  for (size_t i = 0; i < requests; ++i) {
    const uint64_t bits = random();
    const auto bucket = static_cast<size_t>((bits >> 32) * SLOGATE_BUCKETS >> 32);
    const double coin = static_cast<double>(bits & 0xffffffff) * 0x1p-32;
    ++to[coin < keep_[bucket] ? bucket : other_[bucket]];
  }
}

Tally tally_of(const Sampler& sampler, size_t requests, uint64_t seed) {
  std::mt19937_64 random(seed);
  ArmReading reading;
  sampler.draw(random, requests, reading.added.histograms[SLOGATE_SIGNAL_request]);
  Arm arm;
  arm.add(reading);
  return arm.tally();
}

void draw_answers(std::mt19937_64& random, const Saying& what, uint64_t requests, Counts& to) {
  if (what.tls) {
    to.counters[SLOGATE_COUNTER_server_tls_unknown] += requests;
    return;
  }
  uint64_t failed = 0;
  if (what.failing > 0)
    failed = std::binomial_distribution<uint64_t>(requests, what.failing)(random);
  to.counters[SLOGATE_COUNTER_server_http_success] += requests - failed;
  to.counters[SLOGATE_COUNTER_server_http_server_error] += failed;
}

void add_ordinary_traffic(const Histogram& requests, Counts& to) {
  const uint64_t all = count(requests);
  to.histograms[SLOGATE_SIGNAL_answer] += requests;
  to.histograms[SLOGATE_SIGNAL_queue][0] += all;
  to.counters[SLOGATE_COUNTER_used_server] += all / 10;
  to.counters[SLOGATE_COUNTER_segments_in] += 2 * all;
  to.counters[SLOGATE_COUNTER_segments_out] += 2 * all;
}

bool Bursts::next(std::mt19937_64& random) {
  const double coin = static_cast<double>(random() >> 11) * 0x1p-53;
  on_ = on_ ? coin >= leave_ : coin < enter_;
  return on_;
}

Slo default_slo(double alpha) {
  Slo slo;
  slo.name = "replay";
  slo.canary = std::vector{*Glob::parse("/canary")};
  slo.baseline = std::vector{*Glob::parse("/stable")};
  slo.alpha = alpha;
  return slo;
}

const Verdict& Replay::step(const Histogram& canary, const Histogram& baseline) {
  Observation seen;
  seen.canary.added.histograms[SLOGATE_SIGNAL_request] = canary;
  seen.baseline[0].added.histograms[SLOGATE_SIGNAL_request] = baseline;
  return step(std::move(seen));
}

const Verdict& Replay::step(Observation seen) {
  now_.monotonic += kReadInterval;
  now_.system += kReadInterval;
  seen.now = now_;
  if (seen.canary.cgroups == 0) seen.canary.cgroups = 1;
  if (seen.baseline[0].cgroups == 0) seen.baseline[0].cgroups = 1;
  judge_.observe(seen);
  return *judge_.verdict();
}

void for_each_run(size_t runs, size_t threads, const std::function<void(size_t)>& run) {
  std::atomic<size_t> next = 0;
  std::vector<std::jthread> workers;
  for (size_t t = 0; t < threads; ++t)
    workers.emplace_back([&] {
      for (size_t i = next++; i < runs; i = next++) run(i);
    });
}

}  // namespace slogate::support
