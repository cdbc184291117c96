// SPDX-License-Identifier: Apache-2.0
#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

// glibc 2.36 declares its functions without C linkage.
extern "C" {
#include <sys/pidfd.h>
}

namespace slogate::support {
namespace {

constexpr auto kPatience = std::chrono::seconds(5);
constexpr int kThrew = 125;
constexpr int kNotStarted = 127;

// Tells the parent why the child could not begin, through a pipe that exec closes.
[[noreturn]] void give_up(int report) {
  const int error = errno;
  (void)!::write(report, &error, sizeof error);
  ::_exit(kNotStarted);
}

// Between fork and the body: only what is safe while another thread may hold a lock.
void prepare_child(pid_t parent, int procs, int out, int report) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) give_up(report);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (procs >= 0 && ::write(procs, "0", 1) != 1) give_up(report);
  if (::dup2(out, STDOUT_FILENO) < 0) give_up(report);
}

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(system_error("pipe", errno));
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

int to_status(const siginfo_t& info) {
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

int to_milliseconds(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
}

}  // namespace

// `body` returns an exit code, or -1 with errno set when it could not begin.
Result<Process> Process::start(const TestCgroup* cgroup, const std::function<int(int)>& body) {
  auto out = make_pipe(), report = make_pipe();
  if (!out) return fail(out.error());
  if (!report) return fail(report.error());
  Fd procs;
  if (cgroup) {
    procs.reset(::open((cgroup->directory() + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (!procs) return fail(system_error(cgroup->directory(), errno));
  }

  // Or the child's _exit writes it, too, as that of ThreadSanitizer flushes.
  (void)std::fflush(stdout);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail(system_error("fork", errno));
  if (pid == 0) {
    prepare_child(parent, procs.get(), out->write.get(), report->write.get());
    const int code = body(report->write.get());
    if (code < 0) give_up(report->write.get());
    ::_exit(code);
  }

  Process process(pid, Fd(::pidfd_open(pid, 0)), std::move(out->read));
  ::fcntl(process.out_.get(), F_SETFL, O_NONBLOCK);
  out->write.reset();
  report->write.reset();
  int error = 0;
  if (::read(report->read.get(), &error, sizeof error) == sizeof error)
    return fail(system_error("cannot start the process", error));
  return process;
}

Result<Process> Process::spawn(const std::vector<std::string>& argv, const TestCgroup* cgroup) {
  if (argv.empty()) return fail("no program to start");
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  auto process =
      start(cgroup, [&arguments](int) { return ::execvp(arguments[0], arguments.data()); });
  if (!process) return fail(process.error().within(argv[0]));
  return process;
}

Result<Process> Process::run(const std::function<int(int)>& function, const TestCgroup* cgroup) {
  return start(cgroup, [&function](int report) {
    ::close(report);  // says that it has begun
    try {
      return function(STDOUT_FILENO) & 0xff;
    } catch (...) {
      return kThrew;
    }
  });
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      out_(std::move(other.out_)),
      output_(std::move(other.output_)),
      looked_at_(other.looked_at_),
      status_(other.status_) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  if (pid_ > 0) (void)terminate();
  pid_ = std::exchange(other.pid_, -1);
  pidfd_ = std::move(other.pidfd_);
  out_ = std::move(other.out_);
  output_ = std::move(other.output_);
  looked_at_ = other.looked_at_;
  status_ = other.status_;
  return *this;
}

Process::~Process() {
  if (pid_ > 0) (void)terminate();
}

// By pidfd: a pid may be somebody else's once its process has been waited for.
void Process::signal(int number) const {
  if (pid_ > 0) (void)::pidfd_send_signal(pidfd_.get(), number, nullptr, 0);
}

// Returns false when there is nothing to read now; closes out_ at the end of the output.
bool Process::read_some() {
  std::array<char, 4096> buffer{};
  const ssize_t n = ::read(out_.get(), buffer.data(), buffer.size());
  if (n > 0) output_.append(buffer.data(), static_cast<size_t>(n));
  if (n == 0) out_.reset();
  return n > 0;
}

// Returns false when the time is over.
bool Process::wait_readable(bool also_end, Deadline deadline) {
  pollfd both[] = {{.fd = out_.get(), .events = POLLIN, .revents = 0},
                   {.fd = also_end ? pidfd_.get() : -1, .events = POLLIN, .revents = 0}};
  return ::poll(both, 2, to_milliseconds(deadline)) != 0 || Clock::now() < deadline;
}

Result<std::string> Process::wait_for_line(std::string_view prefix, Deadline deadline) {
  for (;;) {
    for (size_t end = 0; (end = output_.find('\n', looked_at_)) != std::string::npos;) {
      std::string line = output_.substr(looked_at_, end - looked_at_);
      looked_at_ = end + 1;
      if (line.starts_with(prefix)) return line;
    }
    if (!out_) return fail(fmt::format("the output ended without a line \"{}...\"", prefix));
    if (!wait_readable(false, deadline))
      return fail(fmt::format("no line \"{}...\" in time", prefix));
    read_some();
  }
}

Result<int> Process::wait(Deadline deadline) {
  while (!status_) {
    siginfo_t info{};
    if (::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG) != 0)
      return fail(system_error("waitid", errno));
    if (info.si_pid != 0) {
      status_ = to_status(info);
      pid_ = -1;
    } else if (!wait_readable(true, deadline)) {
      return fail("the process has not ended in time");
    }
    while (out_ && read_some()) {
    }
  }
  return *status_;
}

Result<int> Process::terminate() {
  signal(SIGTERM);
  if (auto status = wait(within(kPatience))) return status;
  signal(SIGKILL);
  return wait(within(kPatience));
}

Result<Ran> run_in(const TestCgroup& cgroup, const std::function<int(int)>& function,
                   Deadline deadline) {
  auto process = Process::run(function, &cgroup);
  if (!process) return fail(process.error());
  const auto code = process->wait(deadline);
  if (!code) return fail(code.error());
  return Ran{.exit_code = *code, .output = process->output()};
}

std::string load_program() {
  return SLOGATE_LOAD_PROGRAM;
}

}  // namespace slogate::support
