// SPDX-License-Identifier: Apache-2.0
#include "agent/host.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>
#include <memory>

#include "agent/mounts.h"
#include "maps/tables.h"

namespace slogate {
namespace {

Result<std::string> read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(system_error(fmt::format("cannot read {}", path), errno));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<Mount> read_mounts(const HostRoots& roots) {
  const auto text = read_text(roots.proc + "/self/mounts");
  return text ? parse_mounts(*text) : std::vector<Mount>{};
}

constexpr const char* kUnified = "boot with systemd.unified_cgroup_hierarchy=1";

Finding inspect_kernel(const HostRoots& roots) {
  const auto text = read_text(roots.proc + "/sys/kernel/osrelease");
  const auto version = text ? parse_kernel_release(*text) : fail(text.error());
  if (!version)
    return {.name = "kernel", .state = FindingState::Missing, .detail = version.error().line()};
  const std::string release = text->substr(0, text->find('\n'));
  if (*version >= kOldestKernel) return {.name = "kernel", .detail = release};
  return {.name = "kernel",
          .state = FindingState::Missing,
          .detail = release + " is too old: it lacks what slogate measures with",
          .remedy = fmt::format("boot a kernel of at least {}.{}", kOldestKernel.major,
                                kOldestKernel.minor)};
}

struct BtfDeleter {
  void operator()(btf* types) const { btf__free(types); }
};
using Btf = std::unique_ptr<btf, BtfDeleter>;

Result<Btf> read_btf(const HostRoots& roots) {
  const std::string path = roots.sys + "/kernel/btf/vmlinux";
  // libbpf would explain itself on stderr.
  const libbpf_print_fn_t print = libbpf_set_print(nullptr);
  Btf types(btf__parse_raw(path.c_str()));
  const int error = errno;
  libbpf_set_print(print);
  if (!types) return fail(system_error(fmt::format("cannot read {}", path), error));
  return types;
}

Finding inspect_btf(const HostRoots& roots, const Result<Btf>& types) {
  if (types) return {.name = "BTF", .detail = roots.sys + "/kernel/btf/vmlinux"};
  return {.name = "BTF",
          .state = FindingState::Missing,
          .detail = types.error().message,
          .remedy = "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y"};
}

// Tracepoints that came after the oldest kernel slogate is meant for.
struct Since {
  std::string_view tracepoint, kernel;
};
constexpr std::array<Since, 3> kSince = {{
    {"sk_data_ready", "6.3"},
    {"sock_send_length", "6.3"},
    {"tcp_sendmsg_locked", "6.16"},
}};

std::string tracepoint_remedy(std::string_view tracepoint) {
  for (const Since& row : kSince)
    if (row.tracepoint == tracepoint) return fmt::format("kernels since {} have it", row.kernel);
  return "boot a kernel built with CONFIG_INET=y and CONFIG_TRACEPOINTS=y";
}

Finding inspect_tracepoint(const ProbeInfo& probe, const Btf* types) {
  Finding finding{.name = fmt::format("tracepoint {}", probe.tracepoint)};
  const std::string type = fmt::format("btf_trace_{}", probe.tracepoint);
  if (types != nullptr &&
      btf__find_by_name_kind(types->get(), type.c_str(), BTF_KIND_TYPEDEF) >= 0) {
    finding.detail = fmt::format("for {}", probe.name);
    return finding;
  }
  finding.state = probe.needed ? FindingState::Missing : FindingState::Degraded;
  finding.detail =
      fmt::format("{}; lost without it: {}",
                  types != nullptr ? "not in this kernel" : "unknown without BTF", probe.what);
  if (types != nullptr) finding.remedy = tracepoint_remedy(probe.tracepoint);
  return finding;
}

// `without`: what the kernel refuses to a process that has it not.
struct CapabilityInfo {
  std::string_view name;
  unsigned bit;
  std::string_view without;
};
constexpr std::array<CapabilityInfo, 2> kCapabilities = {{
    {"CAP_BPF", CAP_BPF, "no map or program can be loaded"},
    {"CAP_PERFMON", CAP_PERFMON, "no program can be attached to a tracepoint"},
}};

bool has(uint64_t capabilities, unsigned bit) {
  return (capabilities >> bit & 1) != 0;
}

Finding inspect_capability(const CapabilityInfo& row, const Result<uint64_t>& effective) {
  Finding finding{.name = std::string(row.name)};
  if (effective && has(*effective, row.bit)) {
    finding.detail = "this process has it";
  } else if (effective && has(*effective, CAP_SYS_ADMIN)) {
    finding.detail = "CAP_SYS_ADMIN stands in";
  } else {
    finding.state = FindingState::Missing;
    finding.detail = effective ? fmt::format("this process lacks it: {}", row.without)
                               : effective.error().line();
    finding.remedy = fmt::format("run as root or grant {}", row.name);
  }
  return finding;
}

Finding inspect_cgroup2(const std::vector<Mount>& mounts) {
  Finding finding{.name = "cgroup2"};
  const auto mount = find_cgroup2(mounts);
  const bool v1 = has_v1_controllers(mounts);
  if (!mount) {
    finding.state = FindingState::Missing;
    finding.detail = "not mounted";
    finding.remedy = v1 ? kUnified : "mount -t cgroup2 none /sys/fs/cgroup";
    return finding;
  }
  finding.detail = *mount;
  if (v1) {
    finding.state = FindingState::Degraded;
    finding.detail +=
        "; pods are invisible: this node keeps its controllers, and so its pods, in "
        "cgroup v1";
    finding.remedy = kUnified;
  } else if (is_private_view(*mount)) {
    finding.state = FindingState::Degraded;
    finding.detail += " is the private view of a container; other containers have no names in it";
    finding.remedy = "mount the host's /sys/fs/cgroup into this container";
  }
  return finding;
}

Finding inspect_bpffs(const HostRoots& roots, const std::vector<Mount>& mounts) {
  const std::string point = roots.sys + "/fs/bpf";
  const auto is_bpffs = [](const Mount& mount) { return mount.type == "bpf"; };
  // Of several mounts on one point the last one is seen.
  const auto mount = std::find_if(mounts.rbegin(), mounts.rend(),
                                  [&](const Mount& each) { return each.point == point; });
  if (mount != mounts.rend() && is_bpffs(*mount)) return {.name = "bpffs", .detail = point};
  // As in our DaemonSet, which keeps out of /sys for AppArmor's sake.
  if (const auto other = std::ranges::find_if(
          mounts, [&](const Mount& each) { return is_bpffs(each) && each.point != point; });
      other != mounts.end())
    return {.name = "bpffs", .detail = fmt::format("{0}, for --pin-dir {0}/...", other->point)};
  return {.name = "bpffs",
          .state = FindingState::Degraded,
          .detail = fmt::format("not mounted at {}; counts end with the agent", point),
          .remedy = fmt::format("mount -t bpf bpf {}", point)};
}

}  // namespace

std::string_view to_text(FindingState state) {
  switch (state) {
    case FindingState::Ok:
      return "ok";
    case FindingState::Degraded:
      return "degraded";
    case FindingState::Missing:
      break;
  }
  return "missing";
}

Result<KernelVersion> parse_kernel_release(std::string_view text) {
  KernelVersion version;
  const char* const start = text.data();
  const char* const end = start + text.size();
  const auto major = std::from_chars(start, end, version.major);
  if (major.ec == std::errc{} && major.ptr != end && *major.ptr == '.' &&
      std::from_chars(major.ptr + 1, end, version.minor).ec == std::errc{})
    return version;
  return fail(fmt::format("\"{}\" is no kernel release", text.substr(0, text.find('\n'))));
}

Result<uint64_t> parse_cap_eff(std::string_view status) {
  constexpr std::string_view key = "\nCapEff:";
  const size_t at = status.find(key);
  if (at == std::string_view::npos) return fail("the process status has no CapEff line");
  std::string_view digits = status.substr(at + key.size());
  digits = digits.substr(0, digits.find('\n'));
  digits.remove_prefix(std::min(digits.find_first_not_of(" \t"), digits.size()));
  uint64_t bits = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), bits, 16);
  if (read.ec == std::errc{} && read.ptr == digits.data() + digits.size()) return bits;
  return fail(fmt::format("\"{}\" is no set of capabilities", digits));
}

Result<std::string> find_cgroup2(const HostRoots& roots) {
  const std::vector<Mount> mounts = read_mounts(roots);
  if (const auto mount = find_cgroup2(mounts)) return *mount;
  const Finding finding = inspect_cgroup2(mounts);
  return fail("cgroup2 is " + finding.detail, finding.remedy);
}

std::optional<std::string> find_v1_memory(const HostRoots& roots) {
  return find_v1_memory(read_mounts(roots));
}

std::vector<Finding> inspect_host(const HostRoots& roots) {
  const auto types = read_btf(roots);
  std::vector<Finding> findings = {inspect_kernel(roots), inspect_btf(roots, types)};
  for (const ProbeInfo& probe : kProbes)
    if (!probe.tracepoint.empty())
      findings.push_back(inspect_tracepoint(probe, types ? &*types : nullptr));
  const auto status = read_text(roots.proc + "/self/status");
  const auto effective = status ? parse_cap_eff(*status) : fail(status.error());
  for (const CapabilityInfo& row : kCapabilities)
    findings.push_back(inspect_capability(row, effective));
  const std::vector<Mount> mounts = read_mounts(roots);
  findings.push_back(inspect_cgroup2(mounts));
  findings.push_back(inspect_bpffs(roots, mounts));
  return findings;
}

Result<void> require_host(std::span<const Finding> findings) {
  for (const Finding& finding : findings)
    if (finding.state == FindingState::Missing)
      return fail(fmt::format("{}: {}", finding.name, finding.detail), finding.remedy);
  return {};
}

}  // namespace slogate
