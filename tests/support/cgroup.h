// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "maps/error.h"

namespace slogate::support {

// The first cgroup2 mount point in the text of /proc/self/mounts.
Result<std::string> parse_cgroup2_mount(std::string_view mounts);

// The same of this process.
Result<std::string> find_cgroup_root();

// A cgroup of the test's own, /slogate-test-<pid>-<n>, removed with all below it at the end.
class TestCgroup {
 public:
  // `root` is the cgroup2 mount point. Needs root.
  static Result<TestCgroup> make(const std::string& root);
  static Result<TestCgroup> make();
  // A cgroup below this one; `name` has no slash. Either may go first.
  [[nodiscard]] Result<TestCgroup> child(std::string_view name) const;

  TestCgroup(TestCgroup&& other) noexcept;
  TestCgroup& operator=(TestCgroup&& other) noexcept;
  TestCgroup(const TestCgroup&) = delete;
  TestCgroup& operator=(const TestCgroup&) = delete;
  // Waits up to 5 s for the processes in it to end, after killing those that are children of this
  // one; complains on stderr when it cannot be removed.
  ~TestCgroup();

  // The kernel's id: the inode of the directory.
  [[nodiscard]] uint64_t id() const { return id_; }
  // Relative to the root: "/slogate-test-12-1/child".
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string directory() const { return root_ + path_; }

  // Moves a process into it; 0 is the caller.
  [[nodiscard]] Result<void> enter(pid_t pid) const;

 private:
  TestCgroup(std::string root, std::string path, uint64_t id)
      : root_(std::move(root)), path_(std::move(path)), id_(id) {}
  static Result<TestCgroup> make_at(const std::string& root, std::string path);
  void remove();

  std::string root_;
  std::string path_;  // empty: moved from
  uint64_t id_ = 0;
};

// Like fork(), with flags of clone3(), but the child is born in the cgroup at `directory`: moving
// it there takes the kernel a hundred times as long. 0 in the child.
Result<pid_t> fork_into(const std::string& directory, uint64_t flags = 0);

// Moves a process (0: the caller) into the cgroup at `directory`.
Result<void> enter_cgroup(const std::string& directory, pid_t pid);

}  // namespace slogate::support
