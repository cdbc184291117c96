// SPDX-License-Identifier: Apache-2.0
// What the charts of the page show: the last 15 minutes, in less than 2 MiB whatever the node runs.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/base/tick_time.h"
#include "agent/snapshot.h"

namespace slogate {

// The last N values, oldest first. No room is taken before there are any.
template <typename T, size_t N>
class Ring {
 public:
  void push(T value) {
    if (values_.size() < N) {
      if (values_.empty()) values_.reserve(N);
      values_.push_back(value);
    } else {
      values_[next_] = value;
      next_ = (next_ + 1) % N;
    }
  }
  [[nodiscard]] std::vector<T> list() const {
    std::vector<T> all(values_.begin() + static_cast<ptrdiff_t>(next_), values_.end());
    all.insert(all.end(), values_.begin(), values_.begin() + static_cast<ptrdiff_t>(next_));
    return all;
  }
  [[nodiscard]] bool empty() const { return values_.empty(); }
  // In no order.
  [[nodiscard]] const std::vector<T>& values() const { return values_; }

 private:
  std::vector<T> values_;
  size_t next_ = 0;  // the oldest, where the ring is full
};

// What a workload did in one step. Small, as there are 180 for each of hundreds.
struct WorkloadPoint {
  static constexpr uint8_t kNone = 255;

  float rate = 0;                    // requests a second
  uint16_t failed = 0;               // of 65,535: the share of what was tried that failed
  uint8_t p50 = kNone, p99 = kNone;  // buckets
};
static_assert(sizeof(WorkloadPoint) == 8);

// How an SLO stood in one second, as shares of what is enough; in 1/1024.
struct VerdictPoint {
  static constexpr int16_t kNone = std::numeric_limits<int16_t>::min();

  int16_t against = kNone, proof = kNone;
};

// What is shown of a workload beside its own counts.
struct WorkloadRates {
  bool client = false;                        // its requests are those it sent
  bool idle = false;                          // for all that is remembered
  double rate = 0;                            // requests a second of the last step
  double errors = 0, connection_errors = 0;   // a second
  std::optional<double> p50, p90, p99, p999;  // seconds, of late
  std::vector<WorkloadPoint> points = {};     // oldest first, one a step; none where not followed
};

// Belongs to one thread at a time.
class History {
 public:
  static constexpr std::chrono::seconds kStep{5};
  static constexpr size_t kSteps = 180;    // 15 minutes
  static constexpr size_t kSeconds = 900;  // the same
  // At most so many workloads have charts, those with most requests; so many SLOs; and of so many
  // workloads it is known how busy they are. Together 1.9 MiB at the worst.
  static constexpr size_t kFollowed = 448, kSlos = 96, kRated = 4096;

  // Once a tick.
  void tick(const Snapshot& now, TickTime moment);

  // Nothing where the workload came within this step.
  [[nodiscard]] std::optional<WorkloadRates> rates(uint64_t id, bool with_points) const;
  // Oldest first, one a second; none where the SLO is not followed.
  [[nodiscard]] std::vector<VerdictPoint> verdicts(std::string_view slo) const;
  // Runs a second of a program in the last step; nothing before there was one.
  [[nodiscard]] std::optional<double> runs(slogate_probe probe) const;

  // How many steps there were, of those that are remembered.
  [[nodiscard]] size_t steps() const {
    return static_cast<size_t>(std::min<uint64_t>(steps_, kSteps));
  }

  // What its values take on the heap, as far as it can be reckoned.
  [[nodiscard]] size_t bytes() const;

 private:
  // What a workload had done by the last step: numbers that only grow, of which differences are
  // taken modulo 2^32. Sorted by id.
  struct Rated {
    uint64_t id = 0;
    uint32_t requests = 0, errors = 0, connection_errors = 0;
    float rate = 0;
    float error_rate = 0, connection_error_rate = 0;
    bool client = false;
    bool fresh = false;  // came within the step, so that all it did it did there
  };
  // A part of a histogram's buckets, modulo 2^32: half the room of a Histogram.
  struct Buckets {
    size_t first = 0;
    std::vector<uint32_t> kept = {};
  };
  struct Followed {
    bool client = false;
    Buckets before;
    Buckets fading;                      // what was added of late: half as much of each step before
    std::array<uint8_t, 4> quantiles{};  // buckets of p50, p90, p99, p99.9
    Ring<WorkloadPoint, kSteps> points;
    uint64_t seen = 0;  // the last step that found it
  };
  struct FollowedSlo {
    std::string rollout;
    Ring<VerdictPoint, kSeconds> points;
    bool seen = false;
  };

  void step(const Snapshot& now, double seconds);
  void rate(const Snapshot& now, double seconds);
  void follow(const Snapshot& now);
  void add_point(Followed& of, const Workload& workload, const Rated& rated);
  void note_verdicts(const Verdicts& verdicts);
  void note_runs(const std::vector<ProbeStatus>& probes, double seconds);
  [[nodiscard]] const Rated* find(uint64_t id) const;

  std::optional<std::chrono::nanoseconds> stepped_;
  uint64_t steps_ = 0;
  std::vector<Rated> rated_;
  std::unordered_map<uint64_t, Followed> followed_;
  std::unordered_map<std::string, FollowedSlo> slos_;
  std::array<uint64_t, SLOGATE_PROBES> runs_before_{};
  std::array<std::optional<double>, SLOGATE_PROBES> runs_{};
};

// A quantile in this bucket, in seconds, as quantile() has it.
[[nodiscard]] double bucket_middle(uint8_t bucket);

}  // namespace slogate
