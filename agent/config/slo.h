// SPDX-License-Identifier: Apache-2.0
// What a canary is held to, as it stands in the configuration. Plain values: what judges them is
// elsewhere.
#pragma once

#include <linux/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/base/glob.h"
#include "agent/config/enforce_config.h"
#include "agent/config/judged.h"

namespace slogate {

// The pods of one namespace that have all of these labels; there is at least one.
struct PodSelector {
  std::string namespace_;
  std::map<std::string, std::string> labels;

  bool operator==(const PodSelector&) const = default;
};

// The pods of some revisions of a Deployment, by the uids of their ReplicaSets. `text` says which
// these are: two with the same text are the same arm, though its ReplicaSets come and go.
struct RevisionSelector {
  std::string text;
  std::vector<std::string> replica_sets;

  bool operator==(const RevisionSelector&) const = default;
};

// The pods of one namespace whose annotations name this workload and track.
struct TrackSelector {
  std::string namespace_, workload, track;

  bool operator==(const TrackSelector&) const = default;
};

// The workloads of one arm: the cgroups that any of the globs matches (there is at least one), or
// pods.
using Selector = std::variant<std::vector<Glob>, PodSelector, RevisionSelector, TrackSelector>;

// "The p99 of `request` is at most `max`, and at most `max_increase` above the baseline's." At
// least one of the two is there, both are above zero.
struct LatencyObjective {
  slogate_signal signal = SLOGATE_SIGNAL_request;
  double quantile = 0;  // above 0, below 1
  std::optional<std::chrono::nanoseconds> max = {}, max_increase = {};

  bool operator==(const LatencyObjective&) const = default;
};

// "At most this share fails, and at most so much more than the baseline's share." At least one of
// the two is there, both are above 0 and at most 1.
struct RatioObjective {
  RatioSignal signal = RatioSignal::ConnectionErrors;
  std::optional<double> max_ratio = {}, max_increase = {};

  bool operator==(const RatioObjective&) const = default;
};

using Objective = std::variant<LatencyObjective, RatioObjective>;

// How the share of the traffic moves that a canary has earned; in percent. 0 < from <= most <= 100.
struct WeightSteps {
  double from = 5, step = 5, most = 100;
  std::chrono::nanoseconds every = std::chrono::seconds{30};  // between two steps up, at least

  bool operator==(const WeightSteps&) const = default;
};

// One canary and what it is held to. With a baseline, `objectives` may be empty: then only the
// relative objectives that every comparison has are judged.
struct Slo {
  // [a-z0-9]([-a-z0-9.]*[a-z0-9])?, at most 63 characters, or NAMESPACE.WORKLOAD where it stands in
  // annotations.
  std::string name;
  std::optional<uint16_t> port;          // judge only this local port
  std::optional<std::string> container;  // judge only the containers of this name
  Selector canary;
  std::optional<Selector> baseline;
  std::vector<Objective> objectives;
  double alpha = 0.001;  // chance of ever vetoing a canary that is no worse; above 0, at most 0.5
  std::chrono::nanoseconds warmup = std::chrono::seconds{30};
  // How much of the tail a pass shows: as much as the baseline's rate lets it in about this time.
  std::chrono::nanoseconds pass_within = std::chrono::seconds{10};
  // How many times slower than the slowest node whose baseline is lent the canary's own node may
  // be; 1 to 10.
  double node_margin = 1.25;
  WeightSteps weight = {};
  EnforceTerms enforce = {};
  // Names the rollout on every node alike, so that its evidence can be added up; "" where when it
  // began has to tell it from others.
  std::string rollout = {};
  std::vector<std::string> notes = {};  // what who wrote it should know

  bool operator==(const Slo&) const = default;
};

}  // namespace slogate
