// SPDX-License-Identifier: Apache-2.0
#include "agent/host/syscalls.h"

#include <linux/bpf.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace slogate {
namespace {

// Calls that may be made with any argument, by what needs them; libseccomp passes over those that
// an architecture does not have. A test that comes to one that is missing fails and names it: each
// end-to-end test looks for refused calls when it ends.
constexpr std::string_view kAllowed[] = {
    // Memory, time and the end.
    "brk madvise mremap munmap clock_gettime clock_nanosleep gettimeofday exit exit_group",
    // Threads and signals.
    "futex rseq set_robust_list sched_yield sched_getaffinity getpid gettid",
    "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall",
    // The loops, and what wakes them.
    "poll ppoll epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 pipe2",
    "timerfd_create timerfd_settime",
    // Files: configuration, state, log, the service account, cgroups, /proc, pins.
    "openat close read readv pread64 write writev lseek fcntl fsync fdatasync",
    "fstat stat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 getdents64",
    "mkdir mkdirat rmdir chmod fchmodat rename renameat unlink unlinkat flock ftruncate",
    // The API, the scrapes, the API server and its name.
    "accept4 bind connect shutdown getpeername getsockname getsockopt setsockopt",
    "recvfrom recvmsg sendto sendmsg sendmmsg getrandom uname sysinfo",
    "getuid geteuid getgid getegid",
};

// A call that may be made where all of these hold of its arguments.
struct Rule {
  int call;
  std::vector<scmp_arg_cmp> arguments;
};

scmp_arg_cmp is(unsigned argument, scmp_datum_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp has_of(unsigned argument, scmp_datum_t mask, scmp_datum_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

// No program is loaded or attached any more, no object looked up by its number.
constexpr bpf_cmd kBpf[] = {
    BPF_MAP_CREATE,         BPF_MAP_LOOKUP_ELEM,  BPF_MAP_UPDATE_ELEM,  BPF_MAP_DELETE_ELEM,
    BPF_MAP_GET_NEXT_KEY,   BPF_MAP_LOOKUP_BATCH, BPF_MAP_UPDATE_BATCH, BPF_OBJ_PIN,
    BPF_OBJ_GET_INFO_BY_FD, BPF_ITER_CREATE,      BPF_PROG_TEST_RUN,
};

std::vector<Rule> rules(bool may_attach) {
  const auto self = static_cast<scmp_datum_t>(::getpid());
  constexpr scmp_datum_t namespaces = CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS |
                                      CLONE_NEWPID | CLONE_NEWUSER | CLONE_NEWUTS;
  std::vector<Rule> rules = {
      // Threads, no processes.
      {SCMP_SYS(clone), {has_of(0, CLONE_THREAD | namespaces, CLONE_THREAD)}},
      // No memory that is code and can be written; libraries may still be loaded, for names.
      {SCMP_SYS(mmap), {has_of(2, PROT_EXEC, 0)}},
      {SCMP_SYS(mmap), {has_of(2, PROT_EXEC | PROT_WRITE, PROT_EXEC)}},
      {SCMP_SYS(mprotect), {has_of(2, PROT_EXEC, 0)}},
      {SCMP_SYS(prctl), {is(0, PR_SET_NAME)}},
      // Limits are read, of ourselves.
      {SCMP_SYS(prlimit64), {is(0, 0), is(2, 0)}},
      // abort()
      {SCMP_SYS(tgkill), {is(0, self)}},
      {SCMP_SYS(ioctl), {is(1, FIONBIO)}},
      {SCMP_SYS(ioctl), {is(1, FIONREAD)}},
      // This node's addresses.
      {SCMP_SYS(socket), {is(0, AF_NETLINK), is(2, NETLINK_ROUTE)}},
      {SCMP_SYS(socketpair), {is(0, AF_UNIX)}},
  };
  for (const int family : {AF_UNIX, AF_INET, AF_INET6})
    rules.push_back({SCMP_SYS(socket), {is(0, static_cast<scmp_datum_t>(family))}});
  for (const bpf_cmd command : kBpf) rules.push_back({SCMP_SYS(bpf), {is(0, command)}});
  if (may_attach) rules.push_back({SCMP_SYS(bpf), {is(0, BPF_LINK_CREATE)}});
  return rules;
}

using Filter = std::unique_ptr<void, decltype(&seccomp_release)>;

// These return 0 or a negative errno.

int allow(scmp_filter_ctx to, const std::string& names) {
  std::istringstream words(names);
  int error = 0;
  for (std::string name; error == 0 && words >> name;) {
    const int call = seccomp_syscall_resolve_name(name.c_str());
    error = call == __NR_SCMP_ERROR ? -EINVAL : seccomp_rule_add(to, SCMP_ACT_ALLOW, call, 0);
  }
  return error;
}

int fill(const Filter& filter, bool may_attach) {
  scmp_filter_ctx to = filter.get();
  // Of all threads; and by a tree instead of a list, where the kernel has to look at all.
  int error = seccomp_attr_set(to, SCMP_FLTATR_CTL_TSYNC, 1);
  if (error == 0) error = seccomp_attr_set(to, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (error == 0) error = seccomp_attr_set(to, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  // Its flags lie behind a pointer, and the C library goes on to clone().
  if (error == 0) error = seccomp_rule_add(to, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
  for (const std::string_view names : kAllowed)
    if (error == 0) error = allow(to, std::string(names));
  for (const Rule& rule : rules(may_attach))
    if (error == 0)
      error = seccomp_rule_add_array(to, SCMP_ACT_ALLOW, rule.call,
                                     static_cast<unsigned>(rule.arguments.size()),
                                     rule.arguments.data());
  return error;
}

// ---- what is refused ----

std::atomic<uint64_t> refused = 0;

// By number; more than there are. A handler of signals may read and add, and nothing else.
struct Call {
  std::string name;
  std::atomic<bool> seen = false;
};
std::array<Call, 600> calls;

void learn_names() {
  for (size_t i = 0; i < calls.size(); ++i) {
    const std::unique_ptr<char, decltype(&std::free)> name(
        seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(i)), &std::free);
    calls[i].name = "slogate-agent: refused itself the system call " +
                    (name ? std::string(name.get()) : std::to_string(i)) +
                    ", which serving does not take\n";
  }
}

constexpr int kFromSeccomp = 1;  // SYS_SECCOMP, which this C library does not name

void set_result(ucontext_t& context, int result) {
#if defined(__x86_64__)
  context.uc_mcontext.gregs[REG_RAX] = result;
#elif defined(__aarch64__)
  context.uc_mcontext.regs[0] = static_cast<unsigned long long>(result);
#else
#error "say where this architecture has the result of a system call"
#endif
}

// On the thread that made the call, and in its place.
void on_refused(int, siginfo_t* info, void* context) {
  if (info->si_code != kFromSeccomp) return;  // somebody's kill()
  const int before = errno;
  ++refused;
  const auto number = static_cast<size_t>(info->si_syscall);
  if (number < calls.size() && !calls[number].seen.exchange(true)) {
    const std::string& line = calls[number].name;
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
  }
  set_result(*static_cast<ucontext_t*>(context), -ENOSYS);
  errno = before;
}

}  // namespace

Result<void> restrict_system_calls(bool may_attach) {
  learn_names();
  struct sigaction action {};
  action.sa_sigaction = on_refused;
  action.sa_flags = SA_SIGINFO;
  if (::sigaction(SIGSYS, &action, nullptr) != 0)
    return fail(system_error("cannot handle SIGSYS", errno));
  const Filter filter(seccomp_init(SCMP_ACT_TRAP), &seccomp_release);
  if (!filter) return fail("cannot make a filter of system calls");
  int error = fill(filter, may_attach);
  if (error == 0) error = seccomp_load(filter.get());
  if (error != 0) {
    Error cause = system_error("cannot restrict its own system calls", error);
    cause.remedy =
        "the kernel needs CONFIG_SECCOMP_FILTER, and a filter around us must allow seccomp(2)";
    return fail(std::move(cause));
  }
  return {};
}

uint64_t refused_system_calls() {
  return refused;
}

void leave_signals_to_main() {
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGSYS);
  (void)pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

}  // namespace slogate
