// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/budget.h"

namespace slogate {
namespace {

// Fewer connections make the programs cheaper and nothing else: below this share of what all of it
// costs they are not what is too much.
constexpr double kWorthSampling = 0.5;

}  // namespace

std::vector<slogate_probe> optional_programs() {
  std::vector<slogate_probe> programs;
  for (size_t probe = 0; probe < kProbes.size(); ++probe)
    if (kProbes[probe].need == Need::optional)
      programs.push_back(static_cast<slogate_probe>(probe));
  return programs;
}

std::chrono::nanoseconds ProgramCost::add(std::span<const ProbeStatus> probes) {
  for (const ProbeStatus& probe : probes) {
    if (kProbes[probe.probe].is_iterator()) continue;
    Seen& seen = seen_[probe.probe];
    const uint64_t timed = probe.timed - seen.timed;
    // Those of an agent before, too, are better than no mean at all.
    const double ns = timed > 0
                          ? static_cast<double>((probe.timed_total - seen.timed_total).count()) /
                                static_cast<double>(timed)
                          : probe.ns_per_run().value_or(0);
    if (!first_) total_ns_ += static_cast<double>(probe.runs - seen.runs) * ns;
    seen = {.runs = probe.runs, .timed = probe.timed, .timed_total = probe.timed_total};
  }
  first_ = false;
  return std::chrono::nanoseconds(static_cast<int64_t>(total_ns_));
}

bool Budget::look(const CpuTime& spent, std::chrono::nanoseconds now) {
  // The first window begins here: what it cost to start is not what it costs to run.
  if (first_ || now < since_) {
    first_ = false;
    before_ = spent;
    since_ = now;
    return false;
  }
  if (now - since_ < kWindow) return false;
  const double available = std::chrono::duration<double, std::nano>(now - since_).count() * cpus_;
  const auto share = [available](std::chrono::nanoseconds time) {
    return static_cast<double>(time.count()) / available;
  };
  status_.agent = share(spent.agent - before_.agent);
  status_.programs = share(spent.programs - before_.programs);
  before_ = spent;
  since_ = now;
  return judge_window();
}

bool Budget::judge_window() {
  const double total = status_.agent + status_.programs;
  over_ = total > status_.budget ? over_ + 1 : 0;
  under_ = status_.agent + 2 * status_.programs < status_.budget ? under_ + 1 : 0;
  const bool can_help = status_.step < kOptionalStep ||
                        (status_.step < kMostSteps && status_.programs > kWorthSampling * total);
  if (over_ >= kPatience && can_help)
    ++status_.step;
  else if (under_ >= kPatience && status_.step > 0)
    --status_.step;
  else
    return false;
  over_ = under_ = 0;
  return true;
}

}  // namespace slogate
