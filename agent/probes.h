// SPDX-License-Identifier: Apache-2.0
// The BPF programs: loaded by concern, attached one by one, each reported.
#pragma once

#include <functional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/snapshot.h"
#include "maps/maps.h"

namespace slogate {

// What the running kernel offers, from its BTF. A value, so that a test can take something away.
struct KernelFeatures {
  std::set<std::string, std::less<>> tracepoints;
  bool kfree_skb_has_socket = false;      // its fourth argument, since 6.11
  std::vector<std::string> drop_reasons;  // by number, without SKB_DROP_REASON_
};

// Reads /sys/kernel/btf/vmlinux through libbpf.
Result<KernelFeatures> read_kernel_features();

// Names of the reasons that count as drops, by number; "" for those that do not: no reason given,
// duplicates, and what is left over when a connection ends.
[[nodiscard]] std::vector<std::string> counted_drop_reasons(const KernelFeatures& features);

// All programs that could be attached. Detaches them when it goes.
class Probes {
 public:
  // Fails only when a program that is needed cannot be attached; what else is missing is reported
  // by status().
  static Result<Probes> attach(const Maps& maps, const KernelFeatures& features);
  Probes(Probes&&) noexcept;
  Probes& operator=(Probes&&) = delete;
  ~Probes();

  [[nodiscard]] std::vector<ProbeStatus> status(const slogate_runs& runs) const;

  // One pass over all sockets: brings their segments, round-trip times and overflows up to date,
  // and gives those that have an open request. Runs the program `inventory` once for each socket.
  [[nodiscard]] Result<std::vector<slogate_inflight>> take_inventory() const;

 private:
  Probes();
  struct Loaded;
  std::vector<std::unique_ptr<Loaded>> loaded_;
  std::array<ProbeStatus, SLOGATE_PROBES> status_;

  void attach_one(ProbeStatus& status, const Maps& maps);
};

}  // namespace slogate
