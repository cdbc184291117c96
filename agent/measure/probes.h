// SPDX-License-Identifier: Apache-2.0
// The BPF programs: loaded by concern, attached one by one, each reported.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/host/kernel_features.h"
#include "agent/measure/program_objects.h"
#include "agent/measure/workload.h"
#include "maps/maps.h"

struct bpf_link;
struct bpf_program;

namespace slogate {

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

  // Pins links and programs again whose pins somebody removed. The links themselves nobody can end:
  // the kernel does not detach from tracepoints.
  Result<void> keep_pins(const PinDir& pins, uint32_t epoch) const;

  [[nodiscard]] std::vector<ProbeStatus> status(const slogate_runs& runs) const;
  // For each probe ProbeStatus::missed, which is not in status(): the kernel adds it up over all
  // CPUs.
  using Missed = std::array<std::optional<uint64_t>, SLOGATE_PROBES>;
  [[nodiscard]] Missed missed() const;

  // One walk over all sockets, or over those that have news or something under way: brings their
  // segments, round-trip times and overflows up to date, and gives those that have an open request,
  // or every one. Runs `inventory`, or what stands in for it, once for each socket.
  [[nodiscard]] Result<std::vector<slogate_inflight>> take_inventory(slogate_walk walk) const;
  // Whether that is by the roll, so that each walk is over all sockets.
  [[nodiscard]] bool calls_roll() const;

 private:
  struct LinkDeleter {
    void operator()(bpf_link* link) const;
  };
  struct Attached {
    std::unique_ptr<bpf_link, LinkDeleter> link;  // none of what the agent runs itself
    Fd program;  // none where a version that did not pin it attached it
    // Of the inventory over maps, whose `link` is to those that have news.
    std::unique_ptr<bpf_link, LinkDeleter> link_to_all = {};
  };

  explicit Probes(Maps& maps);
  void load(const Maps& maps, const KernelFeatures& features, uint32_t epoch, bool adopted);
  void load_without_http2(const Maps& maps, KernelFeatures features, uint32_t epoch, bool adopted);
  void attach_all(const Maps& maps, const KernelFeatures& features);
  void attach_one(ProbeStatus& status, const std::vector<Hook>& hooks, const Maps& maps);
  // Why the program could not be attached, "" when it is.
  std::string attach_program(const std::string& name, const Maps& maps);
  static Result<Attached> attach_to_kernel(const bpf_program* program, const Maps& maps);
  bool adopt(const PinDir& pins, const KernelFeatures& features, uint32_t epoch);
  [[nodiscard]] Result<void> require_needed() const;
  Result<void> keep_pins(const PinDir& pins, uint32_t epoch, const std::string& program) const;
  [[nodiscard]] Result<std::vector<slogate_inflight>> call_roll(slogate_walk walk) const;

  // Of the maps, which outlive this.
  Control* control_;
  int open_map_;
  std::vector<OpenObject> objects_;
  // By the name of the program.
  std::map<std::string, Attached, std::less<>> attached_;
  std::array<std::vector<std::string>, SLOGATE_PROBES> programs_of_;  // those attached for each
  std::string no_http2_;  // what the kernel had against following HTTP/2
  std::map<std::string, std::string, std::less<>> refused_;  // objects, with the reason
  std::array<ProbeStatus, SLOGATE_PROBES> status_;
};

}  // namespace slogate
