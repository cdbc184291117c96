// SPDX-License-Identifier: Apache-2.0
// The BPF programs: loaded by concern, attached one by one, each reported.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "agent/snapshot.h"
#include "maps/maps.h"

struct bpf_link;

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

// All programs that could be attached.
class Probes {
 public:
  // Attaches this agent's programs and lets them count from one moment on, in place of those of an
  // agent before. Where that one's are the same and still pinned, they are taken up and counting
  // never changes hands. With `pins` the programs go on without the agent; null ends them with it.
  // Fails only when a program that is needed cannot be attached; what else is missing is reported
  // by status().
  static Result<Probes> attach(Maps& maps, const KernelFeatures& features,
                               const PinDir* pins = nullptr);
  Probes(Probes&&) noexcept;
  Probes& operator=(Probes&&) = delete;
  ~Probes();

  // Pins links again whose pins somebody removed. The links themselves nobody can end: the kernel
  // does not detach from tracepoints.
  Result<void> keep_pins(const PinDir& pins, uint32_t epoch) const;

  [[nodiscard]] std::vector<ProbeStatus> status(const slogate_runs& runs) const;

  // One pass over all sockets: brings their segments, round-trip times and overflows up to date,
  // and gives those that have an open request, or every one (Maps::list_sockets()). Runs the
  // program `inventory` once for each socket.
  [[nodiscard]] Result<std::vector<slogate_inflight>> take_inventory() const;

 private:
  struct Object;
  struct LinkDeleter {
    void operator()(bpf_link* link) const;
  };

  Probes();
  void load(const Maps& maps, const KernelFeatures& features, uint32_t epoch, bool adopted);
  void attach_all(const Maps& maps, const KernelFeatures& features);
  void attach_one(ProbeStatus& status, const Maps& maps);
  bool adopt(const PinDir& pins, const KernelFeatures& features, uint32_t epoch);
  [[nodiscard]] Result<void> require_needed() const;

  std::vector<std::unique_ptr<Object>> objects_;
  std::map<slogate_probe, std::unique_ptr<bpf_link, LinkDeleter>> links_;
  std::map<std::string, std::string, std::less<>> refused_;  // objects, with the reason
  std::array<ProbeStatus, SLOGATE_PROBES> status_;
};

}  // namespace slogate
