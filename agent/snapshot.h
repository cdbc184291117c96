// SPDX-License-Identifier: Apache-2.0
// What one tick saw: an immutable value that every view is a function of. Nothing here refers to a
// map, a file descriptor or a clock.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/event.h"
#include "agent/kubernetes/pod_names.h"
#include "agent/log.h"
#include "agent/verdict.h"
#include "maps/counts.h"
#include "maps/map_status.h"

namespace slogate {

// From this age on an open request is known by its age alone: histograms are too late.
inline constexpr std::chrono::seconds kOverdue{1};

// Requests that have begun and have no answer yet.
struct Inflight {
  uint64_t requests = 0;
  std::chrono::nanoseconds oldest{0};
  std::vector<std::chrono::nanoseconds> overdue = {};  // ages of those as old as kOverdue
};

// What the servers on one local port did, of those ports that an SLO names.
struct PortShare {
  uint16_t port = 0;
  std::shared_ptr<const Counts> counts;  // never null
  Inflight server = {};
};

// Everything known of one cgroup.
struct Workload {
  uint64_t id = 0;
  std::string path;       // relative to the cgroup2 root, starts with "/"; "" while it is not known
  PodContainer pod = {};  // whose it is
  bool gone = false;      // the cgroup has been removed; its counts stay for a while
  // Counts of the sockets of class `service`; never null.
  std::shared_ptr<const Counts> service;
  std::vector<PortShare> ports = {};  // parts of `service`
  // The other classes that were seen (probe, scrape, proxy).
  std::vector<std::pair<slogate_class, std::shared_ptr<const Counts>>> others;
  Inflight server, client;  // of class `service`
  uint64_t lost = 0;        // samples that found no slot, as far as they are remembered
};

// One BPF program; the other facts about it are in kProbes.
struct ProbeStatus {
  slogate_probe probe{};
  bool attached = false;
  std::string reason;     // why it is not attached; "" when it is
  bool degraded = false;  // not attached, and a signal is missing or worse for it
  uint64_t runs = 0;      // estimated lower bound: see struct slogate_runs
  uint64_t timed = 0;     // of these, timed
  std::chrono::nanoseconds timed_total{0};
  std::string attached_to = {};  // as in "fentry/tcp_sendmsg_locked"; several with spaces between
  uint64_t skipped = 0;          // runs that the budget left out, estimated like `runs`
  // Runs that the kernel left out because they had interrupted one of the same program on the same
  // CPU, as it counts them. Nothing where a version that could not tell attached the program.
  std::optional<uint64_t> missed = {};

  // Mean time of a run in ns, nothing before the first one was timed.
  [[nodiscard]] std::optional<double> ns_per_run() const {
    if (timed == 0) return std::nullopt;
    return static_cast<double>(timed_total.count()) / static_cast<double>(timed);
  }
};

// What the agent costs, as shares of all CPUs of the node, and what it leaves out to stay below its
// budget.
struct CpuStatus {
  double budget = 1;               // 1 for no limit
  double agent = 0, programs = 0;  // of the last 10 s
  int step = 0;                    // see agent/budget.h
  double watched = 1;              // share of the connections that are counted
  std::vector<slogate_probe> off;  // programs that don't run
};

// Of the agent's heap, within the last minute, in bytes: what is in use, and what is kept free for
// later.
struct HeapStatus {
  size_t used = 0, free = 0;
};

struct AgentStatus {
  std::string version, kernel;
  std::chrono::system_clock::time_point started, now;
  // CLOCK_MONOTONIC of the same moments: the other clock may be set.
  std::chrono::nanoseconds began{0}, ticked{0};
  uint64_t ticks = 0;
  std::chrono::nanoseconds last_tick{0};       // how long the last tick took
  std::chrono::nanoseconds total_ticks{0};     // and all of them together
  std::array<uint64_t, SLOGATE_SITES> lost{};  // samples lost, by site
  CpuStatus cpu;
  HeapStatus heap;
  Problems problems;
  uint64_t refused_calls = 0;      // of the system, see restrict_system_calls()
  std::vector<std::string> notes;  // what an operator should know, e.g. of a hybrid cgroup tree
};

// What is known of the API server, on nodes of Kubernetes.
struct KubernetesStatus {
  std::string node;
  bool synced = false;  // whether this node's pods were ever listed
  std::string
      trouble;      // why what is known, or was said of pods, may be out of date; "" if it isn't
  size_t pods = 0;  // that are there
};

// A list that costs nothing to copy: between two ticks, snapshots share theirs.
template <typename T>
class SharedList {
 public:
  SharedList& operator=(std::vector<T> list) {
    list_ = std::make_shared<std::vector<T>>(std::move(list));
    return *this;
  }
  const std::vector<T>& operator*() const { return *list_; }
  const std::vector<T>* operator->() const { return list_.get(); }
  [[nodiscard]] auto begin() const { return list_->cbegin(); }
  [[nodiscard]] auto end() const { return list_->cend(); }
  [[nodiscard]] size_t size() const { return list_->size(); }
  // To be changed before anybody else has it; a copy where somebody has.
  std::vector<T>& edit() {
    if (list_.use_count() > 1) *this = std::vector<T>(*list_);
    return *list_;
  }

 private:
  std::shared_ptr<std::vector<T>> list_ = std::make_shared<std::vector<T>>();
};

struct Snapshot {
  AgentStatus agent;
  std::optional<KubernetesStatus> kubernetes;
  SharedList<Workload> workloads;  // by path
  // Counts of cgroups that are gone and no longer among the workloads, and of what found no slot;
  // never null. All workloads and these together are everything that was ever counted.
  std::shared_ptr<const Counts> removed = std::make_shared<const Counts>();
  std::shared_ptr<const Counts> unattributed = std::make_shared<const Counts>();
  std::vector<MapStatus> maps;
  std::vector<Resize> resizes;  // the latest, oldest first
  std::vector<ProbeStatus> probes;
  // Names of the running kernel's drop reasons by number, without SKB_DROP_REASON_; "" where the
  // number has none or does not count as a drop. Never null.
  std::shared_ptr<const std::vector<std::string>> drop_reasons;
  // What is said of the SLOs; newer than the rest between two ticks. Neither is ever null.
  std::shared_ptr<const Verdicts> verdicts = std::make_shared<const Verdicts>();
  std::shared_ptr<const std::deque<Event>> events =
      std::make_shared<const std::deque<Event>>();  // the latest, oldest first
};

}  // namespace slogate
