// SPDX-License-Identifier: Apache-2.0
#include "agent/page/history.h"

#include <algorithm>
#include <cmath>

#include "agent/canary/judge.h"
#include "agent/canary/tally.h"

namespace slogate {
namespace {

constexpr std::array<double, 4> kQuantiles = {0.5, 0.9, 0.99, 0.999};
constexpr double kShareUnit = 65'535, kVerdictUnit = 1024;

// Who answers is a server, whatever else it asks for.
bool is_client(const Counts& counts) {
  return count(counts.histograms[SLOGATE_SIGNAL_request]) == 0;
}

const Histogram& requests_of(const Counts& counts, bool client) {
  return counts.histograms[client ? SLOGATE_SIGNAL_client_request : SLOGATE_SIGNAL_request];
}

uint64_t errors_of(const Counts& counts, bool client) {
  return to_ratio(counts, client ? RatioSignal::ErrorsOfClient : RatioSignal::Errors).events;
}

// Modulo 2^32, as what is kept.
float per_second(uint32_t now, uint32_t before, double seconds) {
  return static_cast<float>(static_cast<double>(now - before) / seconds);
}

int16_t to_unit(double value, double enough) {
  return static_cast<int16_t>(std::lround(kVerdictUnit * std::clamp(value / enough, -4.0, 4.0)));
}

// What a pass has shown of what it needs, as a log of odds; nothing before the first block.
std::optional<double> least_proof(const Verdict& verdict) {
  std::optional<double> least;
  for (const ObjectiveVerdict& objective : verdict.objectives)
    if (objective.needed)
      least = std::min(objective.log_proof, least.value_or(objective.log_proof));
  return verdict.blocks == 0 ? std::nullopt : least;
}

VerdictPoint to_point(const Verdict& verdict) {
  if (verdict.blocks == 0 || verdict.threshold <= 0) return {};
  const auto proof = least_proof(verdict);
  return {to_unit(verdict.log_e, verdict.threshold),
          proof ? to_unit(*proof, kProofThreshold) : VerdictPoint::kNone};
}

}  // namespace

double bucket_middle(uint8_t bucket) {
  if (bucket >= SLOGATE_EDGES) return bucket_edge(SLOGATE_EDGES - 1);
  return std::exp2((static_cast<double>(bucket) + SLOGATE_EDGE_FIRST - 0.5) / 8);
}

void History::tick(const Snapshot& now, TickTime moment) {
  note_verdicts(*now.verdicts);
  if (stepped_ && moment.monotonic - *stepped_ < kStep - std::chrono::milliseconds(100)) return;
  const double lasted = stepped_ ? seconds(moment.monotonic - *stepped_) : 0;
  stepped_ = moment.monotonic;
  step(now, lasted);
}

void History::step(const Snapshot& now, double seconds) {
  ++steps_;
  rate(now, seconds);
  follow(now);
  note_runs(now.probes, seconds);
}

// Of all workloads. One that was not there before began with nothing; of the first step nothing is
// known but that.
void History::rate(const Snapshot& now, double seconds) {
  std::vector<Rated> rated;
  rated.reserve(std::min(kRated, now.workloads.size()));
  for (const Workload& workload : now.workloads) {
    if (rated.size() >= kRated) break;
    const Counts& counts = *workload.service;
    const bool client = is_client(counts);
    Rated one{.id = workload.id,
              .requests = static_cast<uint32_t>(count(requests_of(counts, client))),
              .errors = static_cast<uint32_t>(errors_of(counts, client)),
              .connection_errors =
                  static_cast<uint32_t>(to_ratio(counts, RatioSignal::ConnectionErrors).events),
              .client = client};
    const Rated* before = find(workload.id);
    if (before && before->client != client) before = nullptr;
    if (seconds > 0) {
      one.fresh = before == nullptr;
      const Rated& from = before ? *before : Rated{};
      one.rate = per_second(one.requests, from.requests, seconds);
      one.error_rate = per_second(one.errors, from.errors, seconds);
      one.connection_error_rate =
          per_second(one.connection_errors, from.connection_errors, seconds);
    }
    rated.push_back(one);
  }
  std::ranges::sort(rated, {}, &Rated::id);
  rated_ = std::move(rated);
}

const History::Rated* History::find(uint64_t id) const {
  const auto found = std::ranges::lower_bound(rated_, id, {}, &Rated::id);
  return found != rated_.end() && found->id == id ? &*found : nullptr;
}

// Those who are followed stay so while there is room; else the idlest of them gives way to who is
// twice as busy, so that nobody is taken up and left again by chance.
void History::follow(const Snapshot& now) {
  std::vector<std::pair<float, const Workload*>> others;
  for (const Workload& workload : now.workloads) {
    const Rated* rated = find(workload.id);
    if (!rated || rated->requests == 0) continue;
    const auto found = followed_.find(workload.id);
    if (found == followed_.end())
      others.emplace_back(rated->rate, &workload);
    else
      add_point(found->second, workload, *rated);
  }
  std::erase_if(followed_, [this](const auto& entry) { return entry.second.seen != steps_; });
  std::ranges::sort(others, std::greater{}, &std::pair<float, const Workload*>::first);
  std::vector<std::pair<float, uint64_t>> idlest;
  if (followed_.size() + others.size() > kFollowed) {
    for (const auto& [id, of] : followed_) idlest.emplace_back(find(id)->rate, id);
    std::ranges::sort(idlest);
  }
  size_t gone = 0;
  for (const auto& [rate, workload] : others) {
    if (followed_.size() >= kFollowed) {
      if (gone >= idlest.size() || rate <= 2 * idlest[gone].first) break;
      followed_.erase(idlest[gone++].second);
    }
    add_point(followed_[workload->id], *workload, *find(workload->id));
  }
}

void History::add_point(Followed& of, const Workload& workload, const Rated& rated) {
  const Histogram& now = requests_of(*workload.service, rated.client);
  const bool is_new = of.seen == 0 || of.client != rated.client;
  if (is_new) of = Followed{.client = rated.client};
  of.seen = steps_;
  // Half of what was, and what was added.
  const auto at = [](const Buckets& buckets, size_t bucket) -> uint32_t {
    return bucket - buckets.first < buckets.kept.size() ? buckets.kept[bucket - buckets.first] : 0;
  };
  Buckets fading{now.first(), std::vector<uint32_t>(now.kept().size())};
  uint64_t total = 0;
  for (size_t i = 0; i < now.kept().size(); ++i) {
    const size_t bucket = now.first() + i;
    const uint32_t added = static_cast<uint32_t>(now.kept()[i]) - at(of.before, bucket);
    // All that a workload did before it was followed would pass for its last seconds.
    fading.kept[i] = at(of.fading, bucket) / 2 + (is_new && !rated.fresh ? 0 : added);
    total += fading.kept[i];
  }
  of.before = {now.first(), std::vector<uint32_t>(now.kept().size())};
  std::ranges::transform(now.kept(), of.before.kept.begin(),
                         [](uint64_t n) { return static_cast<uint32_t>(n); });
  of.quantiles.fill(WorkloadPoint::kNone);
  uint64_t below = 0;
  for (size_t i = 0, q = 0; i < fading.kept.size() && total > 0; ++i) {
    below += fading.kept[i];
    while (q < kQuantiles.size() &&
           static_cast<double>(below) >= kQuantiles[q] * static_cast<double>(total))
      of.quantiles[q++] = static_cast<uint8_t>(fading.first + i);
  }
  of.fading = std::move(fading);
  const double failed = rated.error_rate + rated.connection_error_rate;
  const double tried = std::max<double>(rated.rate, failed);
  of.points.push({.rate = rated.rate,
                  .failed = static_cast<uint16_t>(
                      tried > 0 ? std::ceil(kShareUnit * std::min(1.0, failed / tried)) : 0),
                  .p50 = of.quantiles[0],
                  .p99 = of.quantiles[2]});
}

void History::note_verdicts(const Verdicts& verdicts) {
  for (auto& [name, slo] : slos_) slo.seen = false;
  for (const auto& verdict : verdicts.list) {
    auto found = slos_.find(verdict->slo);
    if (found == slos_.end()) {
      if (slos_.size() >= kSlos) continue;
      found = slos_.emplace(verdict->slo, FollowedSlo{}).first;
    }
    FollowedSlo& slo = found->second;
    // The line of one rollout must not run into that of the next.
    if (slo.rollout != verdict->rollout && !slo.points.empty()) slo.points.push({});
    slo.rollout = verdict->rollout;
    slo.points.push(to_point(*verdict));
    slo.seen = true;
  }
  std::erase_if(slos_, [](const auto& entry) { return !entry.second.seen; });
}

void History::note_runs(const std::vector<ProbeStatus>& probes, double seconds) {
  for (const ProbeStatus& probe : probes) {
    uint64_t& before = runs_before_[probe.probe];
    if (seconds > 0 && probe.runs >= before)
      runs_[probe.probe] = static_cast<double>(probe.runs - before) / seconds;
    before = probe.runs;
  }
}

std::optional<WorkloadRates> History::rates(uint64_t id, bool with_points) const {
  const Rated* rated = find(id);
  if (!rated) return std::nullopt;
  WorkloadRates rates{.client = rated->client,
                      .idle = steps_ > 1 && rated->rate == 0,
                      .rate = rated->rate,
                      .errors = rated->error_rate,
                      .connection_errors = rated->connection_error_rate};
  const auto found = followed_.find(id);
  if (found == followed_.end()) return rates;
  rates.idle = rates.idle &&
               std::ranges::all_of(found->second.points.values(), [](const WorkloadPoint& point) {
                 return point.rate == 0 && point.failed == 0;
               });
  const auto& quantiles = found->second.quantiles;
  const auto known = [&](size_t at) -> std::optional<double> {
    if (quantiles[at] == WorkloadPoint::kNone) return std::nullopt;
    return bucket_middle(quantiles[at]);
  };
  rates.p50 = known(0);
  rates.p90 = known(1);
  rates.p99 = known(2);
  rates.p999 = known(3);
  if (with_points) rates.points = found->second.points.list();
  return rates;
}

std::vector<VerdictPoint> History::verdicts(std::string_view slo) const {
  const auto found = slos_.find(std::string(slo));
  return found == slos_.end() ? std::vector<VerdictPoint>{} : found->second.points.list();
}

std::optional<double> History::runs(slogate_probe probe) const {
  return runs_[probe];
}

size_t History::bytes() const {
  constexpr size_t node = 32;  // of a map, and what the heap adds
  size_t sum = rated_.capacity() * sizeof(Rated);
  for (const auto& [id, of] : followed_)
    sum += node + sizeof id + sizeof of + kSteps * sizeof(WorkloadPoint) +
           (of.before.kept.capacity() + of.fading.kept.capacity()) * sizeof(uint32_t);
  for (const auto& [name, slo] : slos_)
    sum += node + 2 * name.capacity() + sizeof slo + slo.rollout.capacity() +
           kSeconds * sizeof(VerdictPoint);
  return sum;
}

}  // namespace slogate
