// SPDX-License-Identifier: Apache-2.0
// From cgroups to the two arms of an SLO.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/canary/judge.h"
#include "agent/canary/restarts.h"
#include "agent/measure/workload.h"

namespace slogate {

// What `now` has above `before`; nothing when a count fell: then they are of two lives.
[[nodiscard]] std::optional<Counts> added(const Counts& now, const Counts& before);

// "/demo/canary/**, /other" or "pods of production with app=payment-api".
[[nodiscard]] std::string selector_text(const Selector& selector);

// Whether anything of it depends on which pod a cgroup belongs to.
[[nodiscard]] bool selects_pods(const Slo& slo);

// Follows the cgroups of one SLO. A cgroup that both selectors match is the canary's. Each counts
// from when it was first seen, and not before it is as old as the SLO's warm-up.
class Arms {
 public:
  explicit Arms(const Slo& slo);

  // Who belongs to which arm now, what they have open and what of theirs was lost.
  void look(const std::vector<Workload>& workloads, TickTime now);
  // What they did since the reading before. Cgroups without counts are passed over.
  [[nodiscard]] Observation read(const CgroupCounts& counts, TickTime now);

  // Who is away now will not have come back, but be new.
  void begin_rollout(TickTime now);

  // Whose counts read() needs.
  [[nodiscard]] std::vector<uint64_t> cgroups() const;
  // Sorted ids of the canary's that are there.
  [[nodiscard]] std::vector<uint64_t> canary_ids() const;
  // Sorted paths of the cgroups that are there.
  [[nodiscard]] std::vector<std::string> canary() const { return paths(Role::Canary); }
  [[nodiscard]] std::vector<std::string> baseline() const { return paths(Role::Baseline); }

 private:
  enum class Role { Unknown, Neither, Canary, Baseline };
  struct Member {
    Role role = Role::Unknown;  // never Neither
    size_t half = 0;            // of the baseline
    std::string path;
    std::chrono::nanoseconds first_seen{0};
    std::shared_ptr<const Counts> before;
    uint64_t lost = 0;        // in all
    uint64_t newly_lost = 0;  // since the reading before
    bool gone = false;
    std::shared_ptr<const Pod> pod;  // of a canary, as of the last look
    Inflight server, client;
    uint64_t seen = 0;  // the last look that found it
  };
  [[nodiscard]] Role role_of(const Workload& workload) const;
  void meet(const Workload& workload, TickTime now);
  void follow(Member& member, const Workload& workload);
  void update(Member& member, const Workload& workload) const;
  [[nodiscard]] std::shared_ptr<const Counts> judged_counts(const CgroupCounts& counts,
                                                            uint64_t id) const;
  void read_member(Member& member, std::shared_ptr<const Counts> counts, ArmReading& to,
                   TickTime now) const;
  [[nodiscard]] std::vector<std::string> paths(Role role) const;

  Slo slo_;
  bool by_pod_;  // whether anything of it depends on pods
  std::unordered_map<uint64_t, Member> members_;
  // Those in neither arm.
  struct Other {
    size_t path_hash = 0;
    uint64_t seen = 0;  // the last look that found it
  };
  std::unordered_map<uint64_t, Other> others_;
  uint64_t looks_ = 0;
  Restarts restarts_;    // of the canary
  size_t halves_ = 0;    // baseline cgroups there ever were
  bool looked_ = false;  // since the last reading
};

}  // namespace slogate
