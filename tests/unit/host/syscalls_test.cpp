// SPDX-License-Identifier: Apache-2.0
// Each test restricts a child: there is no way back.
#include "agent/host/syscalls.h"

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <linux/bpf.h>
#include <netdb.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <latch>
#include <string>
#include <thread>

#include "maps/fd.h"

namespace slogate {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What became of a child, and what it wrote to standard error.
struct End {
  int status = 0;
  std::string log = {};

  [[nodiscard]] int exit_code() const { return WIFEXITED(status) ? WEXITSTATUS(status) : -1; }
  [[nodiscard]] int signal() const { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }
};

End in_child(const std::function<int()>& work) {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Fd reader(ends[0]), writer(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(writer.get(), STDERR_FILENO);
    ::_exit(work());
  }
  writer.reset();
  End end;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(reader.get(), buffer, sizeof buffer)) > 0;)
    end.log.append(buffer, static_cast<size_t>(n));
  EXPECT_EQ(::waitpid(child, &end.status, 0), child);
  return end;
}

// `work` in a child that can do no more than an agent that serves.
End when_restricted(const std::function<int()>& work) {
  return in_child([&] { return restrict_system_calls() ? work() : 100; });
}

struct Forbidden {
  const char* name;
  long (*call)();
};

constexpr int kNone = -1;

const Forbidden kForbidden[] = {
    {"execve", [] { return ::syscall(SYS_execve, "/bin/true", nullptr, nullptr); }},
    {"execveat", [] { return ::syscall(SYS_execveat, kNone, "/bin/true", nullptr, nullptr, 0); }},
    {"clone", [] { return ::syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr); }},
    {"unshare", [] { return ::syscall(SYS_unshare, CLONE_NEWUSER); }},
    {"setns", [] { return ::syscall(SYS_setns, kNone, 0); }},
    {"ptrace", [] { return ::syscall(SYS_ptrace, 0, 0, nullptr, nullptr); }},
    {"process_vm_readv",
     [] { return ::syscall(SYS_process_vm_readv, 1, nullptr, 0, nullptr, 0, 0); }},
    {"pidfd_getfd", [] { return ::syscall(SYS_pidfd_getfd, kNone, 0, 0); }},
    {"kill", [] { return ::syscall(SYS_kill, ::getpid(), 0); }},
    {"tgkill", [] { return ::syscall(SYS_tgkill, 1, 1, 0); }},
    {"mount", [] { return ::syscall(SYS_mount, "none", "/", "tmpfs", 0, nullptr); }},
    {"fsopen", [] { return ::syscall(SYS_fsopen, "tmpfs", 0); }},
    {"chroot", [] { return ::syscall(SYS_chroot, "/"); }},
    {"init_module", [] { return ::syscall(SYS_init_module, nullptr, 0, ""); }},
    {"finit_module", [] { return ::syscall(SYS_finit_module, kNone, "", 0); }},
    {"kexec_load", [] { return ::syscall(SYS_kexec_load, 0, 0, nullptr, 0); }},
    {"open_by_handle_at", [] { return ::syscall(SYS_open_by_handle_at, kNone, nullptr, 0); }},
    {"setuid", [] { return ::syscall(SYS_setuid, 0); }},
    {"capset", [] { return ::syscall(SYS_capset, nullptr, nullptr); }},
    {"keyctl", [] { return ::syscall(SYS_keyctl, 0, 0); }},
    {"io_uring_setup", [] { return ::syscall(SYS_io_uring_setup, 1, nullptr); }},
    {"perf_event_open", [] { return ::syscall(SYS_perf_event_open, nullptr, 0, 0, kNone, 0); }},
    {"userfaultfd", [] { return ::syscall(SYS_userfaultfd, 0); }},
    {"memfd_create", [] { return ::syscall(SYS_memfd_create, "", 0); }},
    {"listen", [] { return ::syscall(SYS_listen, kNone, 1); }},
    // By their arguments.
    {"bpf", [] { return ::syscall(SYS_bpf, BPF_PROG_LOAD, nullptr, 0); }},
    {"bpf", [] { return ::syscall(SYS_bpf, BPF_LINK_CREATE, nullptr, 0); }},
    {"bpf", [] { return ::syscall(SYS_bpf, BPF_MAP_GET_FD_BY_ID, nullptr, 0); }},
    {"socket", [] { return ::syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0); }},
    {"socket", [] { return ::syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 12); }},  // netfilter
    {"socket", [] { return ::syscall(SYS_socket, AF_VSOCK, SOCK_STREAM, 0); }},
    {"mmap",
     [] {
       return ::syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS, kNone, 0);
     }},
    {"mprotect", [] { return ::syscall(SYS_mprotect, nullptr, 4096, PROT_READ | PROT_EXEC); }},
    {"ioctl", [] { return ::syscall(SYS_ioctl, 0, 0x5412, "x"); }},  // TIOCSTI
    {"prctl", [] { return ::syscall(SYS_prctl, 4 /* PR_SET_DUMPABLE */, 1, 0, 0, 0); }},
};

TEST(SystemCalls, OthersAreRefusedCountedAndNamed) {
  const End end = when_restricted([] {
    uint64_t calls = 0;
    for (const Forbidden& one : kForbidden) {
      if (one.call() != -1 || errno != ENOSYS) return 1;
      if (refused_system_calls() != ++calls) return 2;
    }
    return 0;
  });
  EXPECT_EQ(end.exit_code(), 0) << end.log;
  for (const Forbidden& one : kForbidden)
    EXPECT_THAT(end.log, HasSubstr(std::string("the system call ") + one.name + ","));
}

// What refuses connections attaches a program that it has, and that is all it may do more.
TEST(SystemCalls, WhoMayAttachMayNeitherLoadNorEnterANamespace) {
  const End end = in_child([] {
    if (!restrict_system_calls(true)) return 100;
    if (::syscall(SYS_bpf, BPF_LINK_CREATE, nullptr, 0) != -1 || errno == ENOSYS) return 1;
    uint64_t calls = 0;
    for (const Forbidden& one : kForbidden) {
      if (one.call() != -1) return 2;
      calls += errno == ENOSYS ? 1 : 0;
    }
    return calls == std::size(kForbidden) - 1 && refused_system_calls() == calls ? 0 : 3;
  });
  EXPECT_EQ(end.exit_code(), 0) << end.log;
}

TEST(SystemCalls, AreNamedOnce) {
  const End end = when_restricted([] {
    for (int i = 0; i < 1000; ++i) ::syscall(SYS_setuid, 0);
    return refused_system_calls() == 1000 ? 0 : 1;
  });
  EXPECT_EQ(end.exit_code(), 0);
  EXPECT_EQ(std::ranges::count(end.log, '\n'), 1) << end.log;
}

// One that is there already and one that comes later.
TEST(SystemCalls, AreThoseOfAllThreads) {
  const End end = in_child([] {
    std::latch restricted(1);
    std::atomic<int> refused = 0;
    const auto try_it = [&] {
      leave_signals_to_main();
      restricted.wait();
      if (::syscall(SYS_setuid, 0) == -1 && errno == ENOSYS) ++refused;
    };
    std::thread before(try_it);
    if (!restrict_system_calls()) return 100;
    restricted.count_down();
    std::thread(try_it).join();
    before.join();
    return refused == 2 ? 0 : 1;
  });
  EXPECT_EQ(end.exit_code(), 0) << end.log;
}

TEST(SystemCalls, OfAnotherArchitectureEndTheProcess) {
#ifdef __x86_64__
  const End end = when_restricted([] {
    std::signal(SIGSEGV,
                SIG_DFL);  // which it is where the kernel has none; a sanitizer would take it
    long number = 20;      // getpid
    asm volatile("int $0x80" : "+a"(number) : : "memory");
    return 0;
  });
  EXPECT_NE(end.signal(), 0) << "it returned";
#else
  GTEST_SKIP() << "no such calls here";
#endif
}

TEST(SystemCalls, AbortingIsAllowed) {
  const auto abort = [] {
    std::signal(SIGABRT, SIG_DFL);  // a sanitizer's would say why
    std::abort();
    return 0;
  };
  EXPECT_EQ(when_restricted(abort).signal(), SIGABRT);
}

// What libraries do on our behalf, and tests of the agent may not come to: names of servers
// are asked of files, name servers and the kernel.
TEST(SystemCalls, NamesAndAddressesAreFound) {
  const End end = when_restricted([] {
    for (const char* name : {"localhost", "slogate.invalid"}) {
      addrinfo* found = nullptr;
      const addrinfo hints{.ai_flags = AI_ADDRCONFIG, .ai_socktype = SOCK_STREAM};
      if (::getaddrinfo(name, "443", &hints, &found) == 0) ::freeaddrinfo(found);
    }
    ifaddrs* addresses = nullptr;
    if (::getifaddrs(&addresses) != 0) return 1;
    ::freeifaddrs(addresses);
    return refused_system_calls() == 0 ? 0 : 2;
  });
  EXPECT_EQ(end.exit_code(), 0) << end.log;
  EXPECT_THAT(end.log, IsEmpty());
}

}  // namespace
}  // namespace slogate
