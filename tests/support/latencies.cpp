// SPDX-License-Identifier: Apache-2.0
#include "tests/support/latencies.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

namespace slogate::support {
namespace {

constexpr size_t kMost = size_t{16} << 20;

int64_t nearest_rank(const std::vector<int64_t>& sorted, double q) {
  if (sorted.empty()) return 0;
  const double rank = std::ceil(q * static_cast<double>(sorted.size()));
  return sorted[std::max(static_cast<size_t>(rank), size_t{1}) - 1];
}

std::vector<int64_t> to_sorted(std::vector<int64_t> values) {
  std::ranges::sort(values);
  return values;
}

}  // namespace

void Latencies::add(Nanoseconds duration) {
  if (all_.size() < kMost)
    all_.push_back(duration.count());
  else
    ++unrecorded_;
}

void Latencies::add(const Latencies& other) {
  all_.insert(all_.end(), other.all_.begin(), other.all_.end());
  unrecorded_ += other.unrecorded_;
}

Nanoseconds Latencies::quantile(double q) const {
  return Nanoseconds(nearest_rank(to_sorted(all_), q));
}

nlohmann::ordered_json Latencies::to_json() const {
  const std::vector<int64_t> sorted = to_sorted(all_);
  return {{"count", sorted.size()},
          {"sum_ns", std::reduce(sorted.begin(), sorted.end(), int64_t{0})},
          {"min_ns", nearest_rank(sorted, 0)},
          {"p50_ns", nearest_rank(sorted, 0.5)},
          {"p90_ns", nearest_rank(sorted, 0.9)},
          {"p99_ns", nearest_rank(sorted, 0.99)},
          {"p999_ns", nearest_rank(sorted, 0.999)},
          {"max_ns", nearest_rank(sorted, 1)},
          {"unrecorded", unrecorded_}};
}

}  // namespace slogate::support
