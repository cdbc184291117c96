// SPDX-License-Identifier: Apache-2.0
// The counts of each label set so far. The cgroups behind it come and go, and Prometheus must not
// see a counter fall: rate() takes one that falls for one that began anew, and counts it twice.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "agent/snapshot.h"
#include "exporter/labels.h"

namespace slogate {

// All workloads of one label set as one.
struct SheetRow {
  std::shared_ptr<const Labels> labels;
  std::shared_ptr<const Counts> counts;
  Inflight server, client;  // without the ages of the overdue
  uint64_t number = 0;      // label sets in the order in which they were first seen
};

// The ledger after one tick; an immutable value. No label set is in it twice.
struct Sheet {
  uint64_t number = 0;         // of the tick, from 1
  std::vector<SheetRow> rows;  // by labels
};

// A label set that no cgroup has any more is shown until a scrape has read it, but no longer than
// this: there may be no scraper.
inline constexpr std::chrono::minutes kLongestUnread{5};

// Books what each cgroup has counted since the snapshot before to the label set it has now. So a
// cgroup whose name was learned late leaves under "unknown" what it had counted there, and a cgroup
// that is gone leaves its counts to the next of the same name. Every slot that is taken is in at
// least one snapshot before it is taken away, so a cgroup that lives for a moment is seen, too;
// only what it counts between its last snapshot and the release of its slot is in no label set, but
// in the agent's `removed`. Nothing is kept when the agent ends.
//
// If a cgroup's pod is likely to be known soon, its counts wait for that: else each pod would begin
// with series of a path, and every one would after a restart of the agent.
//
// A label set leaves in the first tick after a scrape that saw it without a cgroup that is still
// there and without a change since. If its sockets outlive their cgroup, it comes back and goes on
// from where it was. It is forgotten when the agent has given up the last of its slots.
class Ledger {
 public:
  // `read`: number of the last sheet that scrapes have read whole, 0 before the first.
  [[nodiscard]] std::shared_ptr<const Sheet> tick(const Snapshot& snapshot, uint64_t read,
                                                  std::chrono::nanoseconds now);

 private:
  // The counts of all cgroups of one label set.
  struct Account {
    std::shared_ptr<const Labels> labels;
    std::shared_ptr<const Counts> total;
    uint64_t number = 0;
    uint64_t members = 0;              // cgroups in the snapshot
    uint64_t active = 0;               // the last tick with a member that is there, or a change
    std::chrono::nanoseconds seen{0};  // when that was
    Inflight server, client;
  };
  // A cgroup, how much of its counts has been booked, and where the last of it was.
  struct Member {
    Account* account = nullptr;
    std::shared_ptr<const Counts> booked;
    uint64_t tick = 0;
  };
  struct ByLabels {
    using is_transparent = void;
    using Shared = std::shared_ptr<const Labels>;
    bool operator()(const Shared& a, const Shared& b) const { return *a < *b; }
    bool operator()(const Shared& a, const Labels& b) const { return *a < b; }
    bool operator()(const Labels& a, const Shared& b) const { return a < *b; }
  };

  // `before`: the one it had, or null.
  Account& account_of(const Workload& workload, Account* before);
  void book(const Workload& workload, std::chrono::nanoseconds now);
  void close_accounts(uint64_t read, std::chrono::nanoseconds now);
  [[nodiscard]] static bool is_shown(const Account& account, uint64_t read,
                                     std::chrono::nanoseconds now);

  std::map<std::shared_ptr<const Labels>, Account, ByLabels> accounts_;
  std::unordered_map<uint64_t, Member> members_;
  uint64_t tick_ = 0, opened_ = 0;
};

}  // namespace slogate
