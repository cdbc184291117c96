// SPDX-License-Identifier: Apache-2.0
#include "agent/host/kernel_features.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "maps/abi.h"
#include "maps/bpf_map.h"
#include "maps/fd.h"

namespace slogate {
namespace {

struct BtfDeleter {
  void operator()(btf* types) const { btf__free(types); }
};

// The type of its programs, negative when the kernel has no such tracepoint.
int find_tracepoint(const btf* types, const ProbeInfo& probe) {
  const std::string name = fmt::format("btf_trace_{}", probe.tracepoint);
  return btf__find_by_name_kind(types, name.c_str(), BTF_KIND_TYPEDEF);
}

size_t parameters_of(const btf* types, int typedef_id) {
  if (typedef_id < 0) return 0;
  const btf_type* type = btf__type_by_id(types, typedef_id);              // typedef
  type = type != nullptr ? btf__type_by_id(types, type->type) : nullptr;  // pointer
  type = type != nullptr ? btf__type_by_id(types, type->type) : nullptr;  // function
  return type != nullptr && btf_is_func_proto(type) ? btf_vlen(type) : 0;
}

std::vector<std::string> read_drop_reasons(const btf* types) {
  constexpr std::string_view prefix = "SKB_DROP_REASON_";
  std::vector<std::string> names;
  const int id = btf__find_by_name_kind(types, "skb_drop_reason", BTF_KIND_ENUM);
  if (id < 0) return names;
  const btf_type* type = btf__type_by_id(types, id);
  const struct btf_enum* values = btf_enum(type);
  for (int i = 0; i < btf_vlen(type); ++i) {
    const std::string_view name = btf__name_by_offset(types, values[i].name_off);
    // MAX and SUBSYS_MASK are no reasons; past the table they share word 0.
    if (values[i].val < 0 || values[i].val >= SLOGATE_DROP_REASONS) continue;
    if (names.size() <= static_cast<size_t>(values[i].val)) names.resize(values[i].val + 1);
    names[values[i].val] = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
  }
  return names;
}

// Whether functions of this kernel could stand in for the probe's tracepoint.
bool has_functions(const ProbeInfo& probe, const KernelFeatures& features) {
  return !probe.functions.empty() && features.functions.contains(functions_of(probe).front());
}

bool needs_fentry(const KernelFeatures& features) {
  return std::ranges::any_of(kProbes, [&](const ProbeInfo& probe) {
    return !features.tracepoints.contains(probe.tracepoint) && has_functions(probe, features);
  });
}

// A program at the probe's tracepoint that could read packets, by its number, or why there is none.
Result<Fd> load_reader(const ProbeInfo& probe) {
  const int tracepoint =
      libbpf_find_vmlinux_btf_id(std::string(probe.tracepoint).c_str(), BPF_TRACE_RAW_TP);
  const int function = libbpf_find_vmlinux_btf_id("bpf_dynptr_from_skb", BPF_TRACE_FENTRY);
  if (tracepoint < 0 || function < 0) return fail("there is no bpf_dynptr_from_skb");
  LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_RAW_TP,
              .attach_btf_id = static_cast<__u32>(tracepoint));
  // bpf_dynptr_from_skb(the tracepoint's second argument, 0, 16 bytes of the stack)
  const std::array<bpf_insn, 7> read = {{
      {.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_1, .off = 8},
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2},
      {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_3, .src_reg = BPF_REG_10},
      {.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_3, .imm = -16},
      {.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_KFUNC_CALL, .imm = function},
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
      {.code = BPF_JMP | BPF_EXIT},
  }};
  Fd program(bpf_prog_load(BPF_PROG_TYPE_TRACING, "slogate_try", "GPL", read.data(), read.size(),
                           &options));
  if (!program) return fail(system_error("reading packets is refused", errno));
  return program;
}

// One over maps, or what stands in for it.
std::vector<Hook> iterators_of(const ProbeInfo& probe, const KernelFeatures& features) {
  const bool stands_in = !probe.stands_in_for.empty();
  if (stands_in == features.no_map_iterators.empty()) return {};
  return {{std::string(probe.name), stands_in ? "run" : "iter"}};
}

// A program that does nothing, for the function or iterator of that type.
Fd load_nothing(bpf_attach_type kind, int type) {
  LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = kind,
              .attach_btf_id = static_cast<__u32>(type));
  constexpr std::array<bpf_insn, 2> nothing = {{
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
      {.code = BPF_JMP | BPF_EXIT},
  }};
  return Fd(bpf_prog_load(BPF_PROG_TYPE_TRACING, "slogate_try", "GPL", nothing.data(),
                          nothing.size(), &options));
}

}  // namespace

std::vector<std::string_view> functions_of(const ProbeInfo& probe) {
  std::vector<std::string_view> names;
  for (std::string_view rest = probe.functions; !rest.empty();) {
    const size_t end = std::min(rest.find(' '), rest.size());
    names.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return names;
}

std::string entry_of(std::string_view function) {
  return fmt::format("entry_{}", function);
}

std::string try_fentry(const KernelFeatures& features) {
  if (features.functions.empty()) return "none of the functions is there";
  const std::string& function = *features.functions.begin();
  const int id = libbpf_find_vmlinux_btf_id(function.c_str(), BPF_TRACE_FENTRY);
  if (id < 0) return bpf_error(fmt::format("no function {}", function), id).message;
  const Fd program = load_nothing(BPF_TRACE_FENTRY, id);
  const Fd link(program ? bpf_raw_tracepoint_open(nullptr, program.get()) : -1);
  return link ? "" : system_error("fentry is refused", errno).message;
}

std::string try_map_iterators(const KernelFeatures& /*features*/) {
  const int id = libbpf_find_vmlinux_btf_id("bpf_sk_storage_map", BPF_TRACE_ITER);
  if (id < 0) return bpf_error("no iterator over storage of sockets", id).message;
  return load_nothing(BPF_TRACE_ITER, id)
             ? ""
             : system_error("iterators over the elements of maps are refused", errno).message;
}

std::string try_packets(const KernelFeatures& features) {
  // libbpf would complain on stderr of a function that an old kernel has not got.
  const libbpf_print_fn_t print = libbpf_set_print(nullptr);
  std::string reason;
  for (const ProbeInfo& probe : kProbes) {
    if (probe.reads == Reads::nothing || !features.tracepoints.contains(probe.tracepoint)) continue;
    if (auto reader = load_reader(probe); !reader) reason = reader.error().message;
  }
  libbpf_set_print(print);
  return reason;
}

Result<KernelFeatures> read_kernel_features(const std::string& btf_path,
                                            const KernelTrials& trials) {
  const std::unique_ptr<btf, BtfDeleter> owned(btf__parse_raw(btf_path.c_str()));
  if (!owned)
    return fail(system_error(fmt::format("cannot read {}", btf_path), errno).message,
                "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y");
  const btf* const types = owned.get();
  KernelFeatures features;
  for (const ProbeInfo& probe : kProbes) {
    for (const std::string_view function : functions_of(probe))
      if (btf__find_by_name_kind(types, std::string(function).c_str(), BTF_KIND_FUNC) >= 0)
        features.functions.emplace(function);
    if (!probe.is_iterator() && find_tracepoint(types, probe) >= 0)
      features.tracepoints.emplace(probe.tracepoint);
  }
  // The first parameter is the tracepoint's own.
  const ProbeInfo& drops = kProbes[SLOGATE_PROBE_packet_drop];
  features.kfree_skb_has_socket = parameters_of(types, find_tracepoint(types, drops)) >= 5;
  // The reason for a reset came with the same release as resets without a socket.
  const ProbeInfo& resets = kProbes[SLOGATE_PROBE_reset_sent];
  features.resets_without_socket = parameters_of(types, find_tracepoint(types, resets)) >= 4;
  features.drop_reasons = read_drop_reasons(types);
  if (needs_fentry(features)) features.no_fentry = trials.no_fentry(features);
  features.no_packets = trials.no_packets(features);
  features.no_map_iterators = trials.no_map_iterators(features);
  return features;
}

bool may_read(const ProbeInfo& probe, const KernelFeatures& features) {
  return probe.reads == Reads::nothing || features.no_packets.empty();
}

bool is_wanted(const ProbeInfo& probe, const KernelFeatures& features) {
  if (probe.reads != Reads::nothing && !features.read_answers) return false;
  const ProbeInfo* const other = stood_in_for(probe);
  return other == nullptr || hooks_of(*other, features).empty();
}

std::vector<Hook> hooks_of(const ProbeInfo& probe, const KernelFeatures& features) {
  const std::string name(probe.name);
  if (probe.is_iterator()) return iterators_of(probe, features);
  if (!is_wanted(probe, features) || !may_read(probe, features)) return {};
  if (features.tracepoints.contains(probe.tracepoint))
    return {{name, fmt::format("tp_btf/{}", probe.tracepoint)}};
  std::vector<Hook> hooks;
  if (!has_functions(probe, features) || !features.no_fentry.empty()) return hooks;
  for (const std::string_view function : functions_of(probe))
    if (features.functions.contains(function))
      hooks.push_back({entry_of(function), fmt::format("fentry/{}", function)});
  return hooks;
}

std::string why_no_hooks(const ProbeInfo& probe, const KernelFeatures& features) {
  if (!is_wanted(probe, features) && probe.stands_in_for.empty())
    return "not needed: the configuration lets no answers be read";
  if (!is_wanted(probe, features))
    return fmt::format("not needed: {} does it better", probe.stands_in_for);
  if (probe.is_iterator()) return features.no_map_iterators;
  if (features.tracepoints.contains(probe.tracepoint) && !may_read(probe, features))
    return fmt::format("this kernel lets no program read packets: {}", features.no_packets);
  std::string reason = fmt::format("this kernel has no tracepoint {}", probe.tracepoint);
  if (has_functions(probe, features)) reason += ", and " + features.no_fentry;
  return reason;
}

std::string why_no_http2(const KernelFeatures& features) {
  for (const slogate_probe needed : {SLOGATE_PROBE_answer_arrived, SLOGATE_PROBE_send_locked})
    if (hooks_of(kProbes[needed], features).empty()) return why_no_hooks(kProbes[needed], features);
  return features.no_http2;
}

uint32_t refusing_drop_reason(const KernelFeatures& features) {
  if (features.resets_without_socket && features.tracepoints.contains("tcp_send_reset")) return 0;
  const auto found = std::ranges::find(features.drop_reasons, "NO_SOCKET");
  if (found == features.drop_reasons.end()) return 0;
  return static_cast<uint32_t>(found - features.drop_reasons.begin());
}

std::vector<std::string> counted_drop_reasons(const KernelFeatures& features) {
  static constexpr std::array<std::string_view, 13> not_drops = {
      "NOT_SPECIFIED",     // freed, and nobody said it was a loss
      "MAX",               //
      "SOCKET_CLOSE",      // unread data of a socket the application closed
      "QUEUE_PURGE",       // the same, by another road
      "TCP_CLOSE",         // came after the end of its connection
      "TCP_RESET",         // the reset itself
      "TCP_FLAGS",         // a segment without ACK, or a SYN where none belongs
      "TCP_OLD_DATA",      // duplicates: the data is there already
      "TCP_OLD_ACK",       //
      "TCP_OLD_SEQUENCE",  //
      "TCP_TOO_OLD_ACK",   //
      "TCP_OFOMERGE",      // an out-of-order segment that another one covers
      "TCP_RFC7323_PAWS_ACK",
  };
  std::vector<std::string> names = features.drop_reasons;
  for (std::string& name : names)
    if (std::find(not_drops.begin(), not_drops.end(), name) != not_drops.end()) name.clear();
  return names;
}

}  // namespace slogate
