// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "tests/support/clock.h"

namespace slogate::support {

// Every single duration, so that its quantiles are exact.
class Latencies {
 public:
  // Beyond 16 million (128 MiB) durations are only counted, in `unrecorded`.
  void add(Nanoseconds duration);
  void add(const Latencies& other);

  [[nodiscard]] size_t count() const { return all_.size(); }
  // The smallest duration that at least the share q of all does not exceed (nearest rank); 0 when
  // there is none. `q` is from 0 to 1.
  [[nodiscard]] Nanoseconds quantile(double q) const;
  // {"count", "sum_ns", "min_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns", "unrecorded"}
  [[nodiscard]] nlohmann::ordered_json to_json() const;
  // In the order they were added, in ns.
  [[nodiscard]] const std::vector<int64_t>& all() const { return all_; }

 private:
  std::vector<int64_t> all_;
  uint64_t unrecorded_ = 0;
};

}  // namespace slogate::support
