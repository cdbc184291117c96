// SPDX-License-Identifier: Apache-2.0
#include "agent/host/host.h"

#include <bpf/libbpf.h>
#include <linux/capability.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "agent/host/mounts.h"
#include "maps/file.h"
#include "maps/integer.h"

namespace slogate {
namespace {

Result<std::string> read_text(const std::string& path) {
  auto text = read_file(path);
  if (!text) return fail(text.error().within(path));
  return text;
}

std::vector<Mount> read_mounts(const HostRoots& roots) {
  const auto text = read_text(roots.proc + "/self/mounts");
  return text ? parse_mounts(*text) : std::vector<Mount>{};
}

constexpr const char* kUnified = "boot with systemd.unified_cgroup_hierarchy=1";

// What came after a kernel that is too old.
struct Lack {
  KernelVersion since;
  std::string_view what;
};
constexpr std::array<Lack, 3> kLacks = {{
    {{5, 11}, "what programs remember of sockets (since 5.11)"},
    {{5, 12}, "atomic operations of programs (since 5.12)"},
    {{5, 17}, "reasons of drops (since 5.17)"},
}};

std::string lacks_of(KernelVersion version) {
  std::vector<std::string_view> lacks;
  for (const Lack& lack : kLacks)
    if (version < lack.since) lacks.push_back(lack.what);
  return lacks.empty() ? "slogate was never tried there"
                       : fmt::format("it lacks {}", fmt::join(lacks, ", "));
}

Finding inspect_kernel(const HostRoots& roots) {
  const auto text = read_text(roots.proc + "/sys/kernel/osrelease");
  const auto version = text ? parse_kernel_release(*text) : fail(text.error());
  if (!version)
    return {.name = "kernel", .state = FindingState::Missing, .detail = version.error().line()};
  const std::string release = text->substr(0, text->find('\n'));
  if (*version >= kOldestKernel) return {.name = "kernel", .detail = release};
  return {.name = "kernel",
          .state = FindingState::Missing,
          .detail = fmt::format("{} is too old: {}", release, lacks_of(*version)),
          .remedy = fmt::format("boot a kernel of at least {}.{}", kOldestKernel.major,
                                kOldestKernel.minor)};
}

Result<KernelFeatures> read_features(const HostRoots& roots) {
  // libbpf would explain itself on stderr.
  const libbpf_print_fn_t print = libbpf_set_print(nullptr);
  auto features = read_kernel_features(roots.sys + "/kernel/btf/vmlinux", roots.trials);
  libbpf_set_print(print);
  return features;
}

Finding inspect_btf(const HostRoots& roots, const Result<KernelFeatures>& features) {
  if (features) return {.name = "BTF", .detail = roots.sys + "/kernel/btf/vmlinux"};
  return {.name = "BTF",
          .state = FindingState::Missing,
          .detail = features.error().message,
          .remedy = features.error().remedy};
}

std::string tracepoint_remedy(const ProbeInfo& probe) {
  if (!probe.since.empty()) return fmt::format("kernels since {} have it", probe.since);
  return "boot a kernel built with CONFIG_INET=y and CONFIG_TRACEPOINTS=y";
}

// How the probe is attached where its tracepoint is missing, "" when in no way.
std::string stand_in(const ProbeInfo& probe, const KernelFeatures& features) {
  if (!is_wanted(probe, features)) return why_no_hooks(probe, features);
  std::string targets;
  for (const Hook& hook : hooks_of(probe, features)) targets += hook.target + " ";
  return targets.empty() ? "" : fmt::format("{}stands in for {}", targets, probe.name);
}

Finding inspect_tracepoint(const ProbeInfo& probe, const KernelFeatures* features) {
  Finding finding{.name = fmt::format("tracepoint {}", probe.tracepoint)};
  if (features != nullptr && features->tracepoints.contains(probe.tracepoint) &&
      may_read(probe, *features)) {
    finding.detail = fmt::format("for {}", probe.name);
    return finding;
  }
  const std::string other = features != nullptr ? stand_in(probe, *features) : "";
  if (!other.empty()) {
    finding.detail = "not in this kernel; " + other;
    return finding;
  }
  finding.state = probe.need == Need::needed ? FindingState::Missing : FindingState::Degraded;
  finding.detail = fmt::format(
      "{}; lost without it: {}",
      features != nullptr ? why_no_hooks(probe, *features) : "unknown without BTF", probe.what);
  if (features != nullptr) finding.remedy = tracepoint_remedy(probe);
  return finding;
}

Finding inspect_iterators(const KernelFeatures& features) {
  Finding finding{.name = "iterators over maps", .detail = "for inventory"};
  if (!features.no_map_iterators.empty())
    finding.detail = features.no_map_iterators + "; roll_call stands in";
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
  const size_t dot = std::min(text.find('.'), text.size());
  const auto major = parse_integer<unsigned>(text.substr(0, dot));
  const auto minor =
      parse_integer<unsigned>(leading_digits(text.substr(std::min(dot + 1, text.size()))));
  if (major && minor) return KernelVersion{*major, *minor};
  return fail(fmt::format("\"{}\" is no kernel release", text.substr(0, text.find('\n'))));
}

Result<uint64_t> parse_cap_eff(std::string_view status) {
  constexpr std::string_view key = "\nCapEff:";
  const size_t at = status.find(key);
  if (at == std::string_view::npos) return fail("the process status has no CapEff line");
  std::string_view digits = status.substr(at + key.size());
  digits = digits.substr(0, digits.find('\n'));
  digits.remove_prefix(std::min(digits.find_first_not_of(" \t"), digits.size()));
  if (const auto bits = parse_integer<uint64_t>(digits, 0, UINT64_MAX, 16)) return *bits;
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
  const auto features = read_features(roots);
  std::vector<Finding> findings = {inspect_kernel(roots), inspect_btf(roots, features)};
  for (const ProbeInfo& probe : kProbes)
    if (!probe.is_iterator())
      findings.push_back(inspect_tracepoint(probe, features ? &*features : nullptr));
  if (features) findings.push_back(inspect_iterators(*features));
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
