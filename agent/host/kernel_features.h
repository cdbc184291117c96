// SPDX-License-Identifier: Apache-2.0
// What the running kernel offers the programs, and what each attaches to there.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "maps/error.h"
#include "maps/tables.h"

namespace slogate {

// From the kernel's BTF, and what was tried. A value, so that a test can take something away.
struct KernelFeatures {
  using Names = std::set<std::string, std::less<>>;
  Names tracepoints;
  Names functions;                    // those of signals.def
  std::string no_fentry;              // why no program can be attached to them; "": it can
  std::string no_packets;             // why no program can read packets; "": it can
  std::string no_map_iterators;       // why no program can go over the sockets in a map; "": it can
  std::string no_http2;               // why the programs that follow HTTP/2 are refused; "": not
  bool read_answers = true;           // not the kernel's word but the configuration's
  bool kfree_skb_has_socket = false;  // its fourth argument, since 6.11
  bool resets_without_socket = false;     // tcp_send_reset tells of them, since 6.10
  std::vector<std::string> drop_reasons;  // by number, without SKB_DROP_REASON_
};

// Why a program cannot be attached to the functions, "" when it can: tries it with one that does
// nothing. Needs what the agent needs.
[[nodiscard]] std::string try_fentry(const KernelFeatures& features);

// Why no program can read the packets that its tracepoint is given, "" when it can: lets the kernel
// verify one that does nothing else. Since 6.12 (8aeaed21befc), of which BTF says nothing: the
// function is there since 6.4, for programs of other types. Needs what the agent needs.
[[nodiscard]] std::string try_packets(const KernelFeatures& features);

// Why no program can go over the elements of maps, "" when it can. Kernels for sandboxes refuse it.
// Needs what the agent needs.
[[nodiscard]] std::string try_map_iterators(const KernelFeatures& features);

// What BTF cannot tell and has to be tried, or that a test says.
struct KernelTrials {
  std::string (*no_fentry)(const KernelFeatures&) = try_fentry;
  std::string (*no_packets)(const KernelFeatures&) = try_packets;
  std::string (*no_map_iterators)(const KernelFeatures&) = try_map_iterators;
};

// Tries fentry only where a function is wanted, because its tracepoint is missing.
Result<KernelFeatures> read_kernel_features(const std::string& btf_path = "/sys/kernel/btf/vmlinux",
                                            const KernelTrials& trials = {});

// The kernel's functions at whose entry a probe can be attached, and the program that is.
[[nodiscard]] std::vector<std::string_view> functions_of(const ProbeInfo& probe);
[[nodiscard]] std::string entry_of(std::string_view function);

// A program of a probe, by its name in the object, and what it attaches to: "tp_btf/...",
// "fentry/...", "iter", or "run" for one that the agent runs itself.
struct Hook {
  std::string program, target;
};

// How a probe is attached on such a kernel: in one way or not at all, which is empty.
[[nodiscard]] std::vector<Hook> hooks_of(const ProbeInfo& probe, const KernelFeatures& features);

// Whether the kernel lets the probe read what it reads.
[[nodiscard]] bool may_read(const ProbeInfo& probe, const KernelFeatures& features);

// Whether there is anything for the probe to do: there is nothing where it stands in for one that
// can be attached, or reads answers only and the configuration lets none be read.
[[nodiscard]] bool is_wanted(const ProbeInfo& probe, const KernelFeatures& features);

// Why HTTP/2 is not followed, "" where it is: that takes what is sent and what arrives.
[[nodiscard]] std::string why_no_http2(const KernelFeatures& features);

// Why a probe has no hooks.
[[nodiscard]] std::string why_no_hooks(const ProbeInfo& probe, const KernelFeatures& features);

// The number of the reason with which the SYN of a refused connection is dropped, where that alone
// tells of it; 0 where its reset does.
[[nodiscard]] uint32_t refusing_drop_reason(const KernelFeatures& features);

// Names of the reasons that count as drops, by number; "" for those that do not: no reason given,
// duplicates, and what is left over when a connection ends.
[[nodiscard]] std::vector<std::string> counted_drop_reasons(const KernelFeatures& features);

}  // namespace slogate
