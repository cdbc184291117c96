// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <random>
#include <string_view>
#include <variant>
#include <vector>

#include "tests/support/clock.h"

namespace slogate::support {

// Always the same.
struct Constant {
  Nanoseconds value{0};
};
// exp(N(ln median, sigma)).
struct Lognormal {
  Nanoseconds median{0};
  double sigma = 0;
};
// One after the other, again from the start at the end; never empty.
struct List {
  std::vector<Nanoseconds> values;
};
// Each value with its share; the shares add up to 1.
struct Steps {
  struct Step {
    Nanoseconds value;
    double share;
  };
  std::vector<Step> steps;
};
using Distribution = std::variant<Constant, Lognormal, List, Steps>;

// One duration per line; empty lines and those that start with # are skipped.
Result<List> parse_list(std::string_view text);

// Reads "constant:2ms", "lognormal:2ms:0.5" (a median given without unit is in ms), "list:FILE" or
// "steps:2ms*0.5,10ms*0.5".
Result<Distribution> read_distribution(std::string_view text);

// From `after` on, a share of the requests takes `factor` times as long.
struct Change {
  Nanoseconds after{0};
  double share = 1;
  double factor = 1;
};

// "SECONDS:FACTOR"; all requests.
Result<Change> parse_slow_after(std::string_view text);
// "UNIX-SECONDS:FACTOR": at the same moment wherever it is said, as what several depend on would
// turn slow. `now` is since the epoch, too.
Result<Change> parse_slow_at(std::string_view text, Nanoseconds now);
// "SECONDS:SHARE:FACTOR".
Result<Change> parse_tail_after(std::string_view text);

// The service time of one request after the other. The same seed gives the same times, whatever
// the changes and the clock: a change draws from a generator of its own.
class ServiceTimes {
 public:
  ServiceTimes(Distribution distribution, std::vector<Change> changes, uint64_t seed);

  // For the next request, which is handled `since_start` after the start. At most an hour.
  Nanoseconds next(Nanoseconds since_start);

 private:
  Distribution distribution_;
  std::vector<Change> changes_;
  std::mt19937_64 random_, change_random_;
  size_t drawn_ = 0;
};

}  // namespace slogate::support
