// SPDX-License-Identifier: Apache-2.0
#include "agent/host/host.h"

#include <bpf/btf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>

#include "agent/host/mounts.h"
#include "maps/tables.h"

namespace slogate {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kAllCapabilities = "000001ffffffffff";

// A host made of a few files, with nothing wrong but what a test takes away.
bool fentry = false, packets = true;  // whether the host allows it

class FakeHost : public testing::Test {
 protected:
  FakeHost() {
    std::string name = (fs::temp_directory_path() / "slogate-host-XXXXXX").string();
    root_ = ::mkdtemp(name.data()) != nullptr ? name : "";
    release("6.18.0-test");
    capabilities(kAllCapabilities);
    fs::create_directories(root_ + "/sys/kernel/btf");
    fs::create_directories(cgroup2());
    mounts("cgroup2 " + cgroup2() + " cgroup2 rw 0 0\nbpf " + bpffs() + " bpf rw 0 0\n");
  }
  ~FakeHost() override { fs::remove_all(root_); }

  [[nodiscard]] HostRoots roots() const {
    return {root_ + "/proc",
            root_ + "/sys",
            {[](const KernelFeatures&) { return std::string(fentry ? "" : "fentry is refused"); },
             [](const KernelFeatures&) { return std::string(packets ? "" : "refused"); }}};
  }
  [[nodiscard]] std::string cgroup2() const { return root_ + "/sys/fs/cgroup"; }
  [[nodiscard]] std::string bpffs() const { return root_ + "/sys/fs/bpf"; }

  void write(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  void release(const std::string& text) const { write("/proc/sys/kernel/osrelease", text + "\n"); }
  void mounts(const std::string& text) const { write("/proc/self/mounts", text); }
  void capabilities(const std::string& bits) const {
    write("/proc/self/status", "Name:\ttest\nCapPrm:\t0000000000000000\nCapEff:\t" + bits + "\n");
  }

  [[nodiscard]] Finding find(const std::string& name) const {
    const auto findings = inspect_host(roots());
    const auto found = std::find_if(findings.begin(), findings.end(),
                                    [&](const Finding& each) { return each.name == name; });
    EXPECT_NE(found, findings.end()) << name;
    return found == findings.end() ? Finding{} : *found;
  }

 private:
  std::string root_;
};

TEST(Mounts, AreReadWithTheirEscapes) {
  const auto mounts = parse_mounts(
      "proc /proc proc rw,relatime 0 0\n"
      "\n"
      "half\n"
      "bpf /a\\040b\\134c bpf rw 0 0\n"
      "odd /end\\04 odd");
  ASSERT_EQ(mounts.size(), 3u);
  EXPECT_EQ(mounts[0].point, "/proc");
  EXPECT_EQ(mounts[0].type, "proc");
  EXPECT_THAT(mounts[0].options, ElementsAre("rw", "relatime"));
  EXPECT_EQ(mounts[1].point, "/a b\\c");
  EXPECT_EQ(mounts[2].point, "/end\\04");
}

TEST(KernelRelease, GivesTheFirstTwoNumbers) {
  for (const char* text : {"6.1", "6.1.0-18-amd64", "6.1-rc3\n"})
    EXPECT_EQ(parse_kernel_release(text).value(), (KernelVersion{6, 1})) << text;
  EXPECT_EQ(parse_kernel_release("6.18.44-x").value(), (KernelVersion{6, 18}));
  for (const char* text : {"", "6", "6.", "six.one", "-6.1", "99999999999999999999.1"})
    EXPECT_FALSE(parse_kernel_release(text).has_value()) << text;
  EXPECT_LT((KernelVersion{5, 19}), kOldestKernel);
  EXPECT_GT((KernelVersion{6, 10}), (KernelVersion{6, 9}));
}

TEST(CapEff, IsTheEffectiveSet) {
  EXPECT_EQ(parse_cap_eff("Name:\tx\nCapEff:\t000000c000001000\nCapBnd:\tff\n").value(),
            0xc000001000u);
  for (const char* text : {"", "Name:\tx\n", "Name:\tx\nCapEff:\n", "Name:\tx\nCapEff:\txyz\n",
                           "Name:\tCapEff:\t1\n", "Name:\tx\nCapEff:\t1ffffffffffffffff\n"})
    EXPECT_FALSE(parse_cap_eff(text).has_value()) << text;
}

TEST_F(FakeHost, EveryThingSlogateNeedsIsListed) {
  size_t expected = 2 + 2 + 2;  // kernel, BTF; capabilities; cgroup2, bpffs
  for (const ProbeInfo& probe : kProbes) expected += probe.is_iterator() ? 0 : 1;
  EXPECT_EQ(inspect_host(roots()).size(), expected);
}

TEST_F(FakeHost, OldKernelIsRefused) {
  release("5.10.0-30-amd64");
  const Finding finding = find("kernel");
  EXPECT_EQ(finding.state, FindingState::Missing);
  EXPECT_THAT(finding.detail, HasSubstr("5.10.0-30-amd64 is too old: it lacks what programs "
                                        "remember of sockets (since 5.11), atomic operations"));
  EXPECT_EQ(finding.remedy, "boot a kernel of at least 6.1");
  release("6.1.0");
  EXPECT_EQ(find("kernel").state, FindingState::Ok);
}

TEST_F(FakeHost, WithoutBtfNothingCanBeMeasured) {
  EXPECT_EQ(find("BTF").state, FindingState::Missing);
  EXPECT_THAT(find("BTF").detail, HasSubstr("No such file"));
  EXPECT_THAT(find("tracepoint sk_data_ready").detail, HasSubstr("unknown without BTF"));
  const auto required = require_host(inspect_host(roots()));
  ASSERT_FALSE(required.has_value());
  EXPECT_THAT(required.error().line(), HasSubstr("CONFIG_DEBUG_INFO_BTF=y"));
  EXPECT_EQ(required.error().line().find('\n'), std::string::npos);
}

TEST_F(FakeHost, DamagedBtfIsSaidToBeUnreadable) {
  write("/sys/kernel/btf/vmlinux", "not BTF at all");
  EXPECT_EQ(find("BTF").state, FindingState::Missing);
}

TEST_F(FakeHost, BtfOfThisKernelHasItsTracepoints) {
  if (!fs::exists("/sys/kernel/btf/vmlinux")) GTEST_SKIP() << "this kernel has no BTF";
  fs::create_symlink("/sys/kernel/btf/vmlinux", roots().sys + "/kernel/btf/vmlinux");
  EXPECT_EQ(find("BTF").state, FindingState::Ok);
  // As old as the tracepoints themselves, so in every kernel that has BTF.
  EXPECT_EQ(find("tracepoint inet_sock_set_state").state, FindingState::Ok);
}

// BTF with these tracepoints and functions, none of which takes an argument.
std::string types_of(std::span<const std::string_view> tracepoints,
                     std::span<const std::string_view> functions) {
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__new_empty(), btf__free);
  const int prototype = btf__add_func_proto(types.get(), 0);
  const int pointer = btf__add_ptr(types.get(), prototype);
  for (const std::string_view name : tracepoints)
    btf__add_typedef(types.get(), fmt::format("btf_trace_{}", name).c_str(), pointer);
  for (const std::string_view name : functions)
    btf__add_func(types.get(), std::string(name).c_str(), BTF_FUNC_GLOBAL, prototype);
  __u32 size = 0;
  const void* data = btf__raw_data(types.get(), &size);
  return {static_cast<const char*>(data), size};
}

TEST_F(FakeHost, FunctionsStandInForTracepoints) {
  constexpr std::array<std::string_view, 1> tracepoints = {"inet_sock_set_state"};
  constexpr std::array<std::string_view, 2> functions = {"sock_def_readable", "tcp_sendmsg_locked"};
  write("/sys/kernel/btf/vmlinux", types_of(tracepoints, functions));
  fentry = true;
  EXPECT_EQ(find("tracepoint sk_data_ready").state, FindingState::Ok);
  EXPECT_EQ(find("tracepoint sk_data_ready").detail,
            "not in this kernel; fentry/sock_def_readable stands in for data_ready");
  EXPECT_EQ(find("tracepoint tcp_sendmsg_locked").state, FindingState::Ok);
  EXPECT_EQ(find("tracepoint sock_send_length").state, FindingState::Ok);
  EXPECT_EQ(find("tracepoint kfree_skb").state, FindingState::Degraded);

  fentry = false;
  EXPECT_EQ(find("tracepoint sk_data_ready").state, FindingState::Missing);
  EXPECT_EQ(find("tracepoint sk_data_ready").detail,
            "this kernel has no tracepoint sk_data_ready, and fentry is refused; lost without it: "
            "request, queue and client_request");
  EXPECT_EQ(find("tracepoint tcp_sendmsg_locked").state, FindingState::Degraded);
  EXPECT_EQ(find("tracepoint tcp_sendmsg_locked").remedy, "kernels since 6.16 have it");
  EXPECT_EQ(find("tracepoint sock_send_length").state, FindingState::Degraded);
  EXPECT_EQ(find("tracepoint kfree_skb").remedy,
            "boot a kernel built with CONFIG_INET=y and CONFIG_TRACEPOINTS=y");
}

TEST_F(FakeHost, PacketsThatNoProgramMayReadAreSaid) {
  constexpr std::array<std::string_view, 1> tracepoints = {"tcp_probe"};
  write("/sys/kernel/btf/vmlinux", types_of(tracepoints, {}));
  EXPECT_EQ(find("tracepoint tcp_probe").state, FindingState::Ok);
  packets = false;
  EXPECT_EQ(find("tracepoint tcp_probe").state, FindingState::Degraded);
  EXPECT_EQ(find("tracepoint tcp_probe").detail,
            fmt::format("this kernel lets no program read packets: refused; lost without it: {}",
                        kProbes[SLOGATE_PROBE_answer_arrived].what));
  EXPECT_EQ(find("tracepoint tcp_probe").remedy, "kernels since 6.12 have it");
  packets = true;
}

TEST_F(FakeHost, CapabilitiesAreNamedOneByOne) {
  capabilities("0000008000000000");  // CAP_BPF
  EXPECT_EQ(find("CAP_BPF").state, FindingState::Ok);
  EXPECT_EQ(find("CAP_PERFMON").state, FindingState::Missing);
  EXPECT_EQ(find("CAP_PERFMON").remedy, "run as root or grant CAP_PERFMON");

  capabilities("0000000000200000");  // CAP_SYS_ADMIN
  EXPECT_EQ(find("CAP_BPF").detail, "CAP_SYS_ADMIN stands in");
  EXPECT_EQ(find("CAP_PERFMON").state, FindingState::Ok);
}

TEST_F(FakeHost, UnifiedTreeIsFound) {
  EXPECT_EQ(find_cgroup2(roots()).value(), cgroup2());
  EXPECT_EQ(find("cgroup2").state, FindingState::Ok);
}

TEST_F(FakeHost, HybridTreeHidesPods) {
  mounts("cgroup /x/memory cgroup rw,memory 0 0\ncgroup2 " + cgroup2() + " cgroup2 rw 0 0\n");
  const Finding finding = find("cgroup2");
  EXPECT_EQ(finding.state, FindingState::Degraded);
  EXPECT_THAT(finding.detail, HasSubstr("pods are invisible"));
  EXPECT_THAT(finding.remedy, HasSubstr("systemd.unified_cgroup_hierarchy=1"));
}

TEST_F(FakeHost, NamedOrNetworkHierarchiesOfV1HideNothing) {
  mounts("cgroup /x/net_cls cgroup rw,net_cls 0 0\ncgroup2 " + cgroup2() + " cgroup2 rw 0 0\n");
  EXPECT_EQ(find("cgroup2").state, FindingState::Ok);
}

TEST_F(FakeHost, WithoutCgroup2ThereIsNothingToBookTo) {
  mounts("cgroup /x/memory cgroup rw,memory 0 0\n");
  EXPECT_EQ(find("cgroup2").state, FindingState::Missing);
  EXPECT_EQ(find_cgroup2(roots()).error().line(),
            "cgroup2 is not mounted (boot with systemd.unified_cgroup_hierarchy=1)");
  mounts("");
  EXPECT_EQ(find_cgroup2(roots()).error().line(),
            "cgroup2 is not mounted (mount -t cgroup2 none /sys/fs/cgroup)");
}

TEST_F(FakeHost, WholeTreeIsPreferredToTheViewOfAContainer) {
  write("/sys/fs/cgroup/cgroup.type", "domain\n");
  EXPECT_EQ(find("cgroup2").state, FindingState::Degraded);
  EXPECT_THAT(find("cgroup2").detail, HasSubstr("private view"));

  const std::string whole = roots().sys + "/whole";
  fs::create_directories(whole);
  mounts("cgroup2 " + cgroup2() + " cgroup2 rw 0 0\ncgroup2 " + whole + " cgroup2 rw 0 0\n");
  EXPECT_EQ(find_cgroup2(roots()).value(), whole);
}

TEST_F(FakeHost, BpffsIsOnlyAWarning) {
  EXPECT_EQ(find("bpffs").state, FindingState::Ok);
  mounts("bpf " + bpffs() + " bpf rw 0 0\ntmpfs " + bpffs() + " tmpfs rw 0 0\n");
  const Finding finding = find("bpffs");
  EXPECT_EQ(finding.state, FindingState::Degraded);
  EXPECT_EQ(finding.remedy, "mount -t bpf bpf " + bpffs());
}

TEST_F(FakeHost, BpffsMayBeElsewhere) {
  mounts("bpf /bpf bpf rw 0 0\n");
  EXPECT_EQ(find("bpffs").state, FindingState::Ok);
  EXPECT_EQ(find("bpffs").detail, "/bpf, for --pin-dir /bpf/...");
}

// One of the two tells of refused connections, never both.
TEST(KernelFeatures, DropsTellOfRefusedConnectionsWhereResetsDoNot) {
  KernelFeatures features;
  EXPECT_EQ(refusing_drop_reason(features), 0u);
  features.drop_reasons = {"NOT_SPECIFIED", "NO_SOCKET"};
  EXPECT_EQ(refusing_drop_reason(features), 1u);
  features.resets_without_socket = true;
  EXPECT_EQ(refusing_drop_reason(features), 1u) << "it has not the tracepoint";
  features.tracepoints.insert("tcp_send_reset");
  EXPECT_EQ(refusing_drop_reason(features), 0u);
}

TEST(RequireHost, TakesTheFirstThatIsMissing) {
  const std::vector<Finding> findings = {
      {.name = "kernel", .detail = "6.18"},
      {.name = "bpffs", .state = FindingState::Degraded, .detail = "not mounted"},
      {.name = "BTF", .state = FindingState::Missing, .detail = "none", .remedy = "boot"},
      {.name = "cgroup2", .state = FindingState::Missing, .detail = "none"}};
  EXPECT_EQ(require_host(findings).error().line(), "BTF: none (boot)");
  EXPECT_TRUE(require_host(std::span(findings).first(2)).has_value());
}

}  // namespace
}  // namespace slogate
