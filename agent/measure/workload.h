// SPDX-License-Identifier: Apache-2.0
// What is known of one cgroup, one program and the agent's cost at one moment, as values.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/measure/pod.h"
#include "maps/counts.h"

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

// What one cgroup's sockets of class `service` counted up to one moment: together, and on the ports
// that an SLO names.
struct ServiceCounts {
  std::shared_ptr<const Counts> all;
  std::map<uint16_t, std::shared_ptr<const Counts>> ports = {};
};

// By cgroup id.
using CgroupCounts = std::unordered_map<uint64_t, ServiceCounts>;

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
  int step = 0;                    // see agent/measure/budget.h
  double watched = 1;              // share of the connections that are counted
  std::vector<slogate_probe> off;  // programs that don't run
};

}  // namespace slogate
