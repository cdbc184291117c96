// SPDX-License-Identifier: Apache-2.0
// slogate top: what the workloads did since the poll before. Here is what asks and compares;
// top_view.h renders it and live.h runs it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/cli/buckets.h"
#include "tools/cli/fields.h"

namespace slogate::cli {

// What is said of a canary.
struct CanaryNote {
  std::string verdict;
  std::optional<double> expected = {};  // seconds until a pass, while it is held

  bool operator==(const CanaryNote&) const = default;
};

// What an SLO that does not pass is said to lack.
struct Saying {
  std::string slo, verdict, message;

  bool operator==(const Saying&) const = default;
};

// What the agent said at one of its ticks.
struct Sample {
  std::string version, kernel, started;
  double ticks = 0, uptime = 0;                // uptime in seconds
  std::optional<double> lost;                  // samples that could not be kept, all sites together
  size_t degraded = 0;                         // programs that are not attached and missed
  std::map<uint64_t, CgroupRow> cgroups;       // by id
  std::map<std::string, CanaryNote> verdicts;  // of canaries, by path
  std::vector<Saying> sayings;                 // vetoes first
  std::map<uint64_t, Buckets> histograms;      // by id, of the rows that were shown
};

// One workload in one interval; nothing where it cannot be told.
struct TopRow {
  CgroupRow now;
  std::optional<double> before;  // requests when the interval began
  std::optional<double> rate, errors, connection_errors, retransmits, drops;  // per second
  std::optional<double> p50, p90, p99, p999;                                  // seconds
};

// What is shown at once.
struct TopFrame {
  Sample sample;                  // without histograms
  std::optional<double> seconds;  // since the sample before; nothing in the first frame
  std::vector<TopRow> rows;       // busiest first
};

// From /v1/status and /v1/cgroups of the same tick.
[[nodiscard]] Sample parse_sample(const Json& status, const Json& cgroups);

// What /v1/slos says of the paths of canaries; the worst where several SLOs speak of one.
[[nodiscard]] std::map<std::string, CanaryNote> parse_canaries(const Json& slos);

// What /v1/verdicts says of those that do not pass, vetoes first.
[[nodiscard]] std::vector<Saying> parse_sayings(const Json& verdicts);

// The workloads of `now`, busiest first, without quantiles. Without `before` there are no rates.
[[nodiscard]] std::vector<TopRow> compare(const Sample& now, const Sample* before);

// Polls the agent and remembers what it said the time before.
class TopSampler {
 public:
  explicit TopSampler(Fetch fetch) : fetch_(std::move(fetch)) {}

  // Nothing when the agent has not ticked since. Quantiles are asked for one by one, so only for
  // the first `rows` rows, and only these are returned.
  Outcome<std::optional<TopFrame>> poll(size_t rows);

 private:
  Outcome<Sample> sample();
  Outcome<void> add_quantiles(TopRow& row, Sample& now);

  Fetch fetch_;
  std::optional<Sample> before_;
};

}  // namespace slogate::cli
