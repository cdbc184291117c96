// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "maps/fd.h"
#include "tests/support/cgroup.h"
#include "tests/support/clock.h"

namespace slogate::support {

// A child of this process, ended and reaped at the latest when this object goes. It also dies with
// the thread that started it. Its stdout is read here, its stderr is the parent's.
class Process {
 public:
  // Runs a program; argv[0] is looked up in PATH. It is in `cgroup` before it is executed, so that
  // every socket it makes belongs there.
  static Result<Process> spawn(const std::vector<std::string>& argv,
                               const TestCgroup* cgroup = nullptr);

  // Runs a function in a fork of this process, in `cgroup` if one is given. It gets the descriptor
  // to write to (also its stdout: write with dprintf, stdio is not flushed), and returns the exit
  // code; 125 when it throws. No thread but the caller exists there.
  static Result<Process> run(const std::function<int(int out)>& function,
                             const TestCgroup* cgroup = nullptr);

  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  // Valid until the exit status has been taken.
  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;

  // The first line that starts with `prefix`, without its end; lines that were returned or passed
  // over before are not looked at again. Fails when the output or the time ends first.
  Result<std::string> wait_for_line(std::string_view prefix, Deadline deadline);

  // The exit code, or 128 + the signal that ended it. All output is there afterwards.
  Result<int> wait(Deadline deadline);

  // SIGTERM, after 5 s SIGKILL; then as wait().
  Result<int> terminate();

  // All of its stdout so far.
  [[nodiscard]] const std::string& output() const { return output_; }

 private:
  Process(pid_t pid, Fd pidfd, Fd out)
      : pid_(pid), pidfd_(std::move(pidfd)), out_(std::move(out)) {}
  static Result<Process> start(const TestCgroup* cgroup, const std::function<int(int)>& body);
  bool read_some();
  bool wait_readable(bool also_end, Deadline deadline);

  pid_t pid_ = -1;
  Fd pidfd_;
  Fd out_;  // closed at the end of the output
  std::string output_;
  size_t looked_at_ = 0;
  std::optional<int> status_;
};

// What a function that ran in a process of its own came to.
struct Ran {
  int exit_code = 0;
  std::string output;
};

// Process::run and wait in one.
Result<Ran> run_in(const TestCgroup& cgroup, const std::function<int(int out)>& function,
                   Deadline deadline);

// The path of the slogate-load of this build.
std::string load_program();

}  // namespace slogate::support
