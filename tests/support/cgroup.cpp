// SPDX-License-Identifier: Apache-2.0
#include "tests/support/cgroup.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <thread>
#include <vector>

#include "maps/fd.h"
#include "maps/file.h"
#include "tests/support/clock.h"

namespace slogate::support {
namespace {

constexpr auto kPatience = std::chrono::seconds(5);

// "" of one that has gone.
std::string read_text(const std::string& path) {
  return read_file(path).value_or("");
}

// A space in a mount point is written \040 there.
std::string to_unescaped(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// A child that was not waited for keeps its pid, so killing by it hits nobody else.
bool is_own_child(pid_t pid) {
  const std::string stat = read_text(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return false;
  std::istringstream rest(stat.substr(name_end + 1));
  char state = 0;
  pid_t parent = 0;
  return (rest >> state >> parent) && parent == ::getpid();
}

void kill_own_children(const std::string& directory) {
  std::istringstream pids(read_text(directory + "/cgroup.procs"));
  for (pid_t pid = 0; pids >> pid;)
    if (is_own_child(pid)) ::kill(pid, SIGKILL);
}

// The cgroups below `directory`, deepest first, and itself last.
std::vector<std::string> list_bottom_up(const std::string& directory) {
  std::vector<std::string> all;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    if (entry.is_directory(error))
      for (std::string& below : list_bottom_up(entry.path().string()))
        all.push_back(std::move(below));
  all.push_back(directory);
  return all;
}

// EBUSY while a process is still in it.
int remove_patiently(const std::string& directory) {
  const Deadline deadline = within(kPatience);
  for (;;) {
    if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return 0;
    if (errno != EBUSY || Clock::now() >= deadline) return errno;
    kill_own_children(directory);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace

Result<std::string> parse_cgroup2_mount(std::string_view mounts) {
  std::istringstream lines{std::string(mounts)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string device, point, type;
    if (fields >> device >> point >> type && type == "cgroup2") return to_unescaped(point);
  }
  return fail("no cgroup2 is mounted", "mount -t cgroup2 none /sys/fs/cgroup/unified");
}

Result<std::string> find_cgroup_root() {
  return parse_cgroup2_mount(read_text("/proc/self/mounts"));
}

Result<pid_t> fork_into(const std::string& directory, uint64_t flags) {
  Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(system_error("cannot open " + directory, errno));
  clone_args arguments{};
  arguments.flags = CLONE_INTO_CGROUP | flags;
  arguments.exit_signal = SIGCHLD;
  arguments.cgroup = static_cast<__u64>(fd.get());
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof(arguments)));
  if (pid < 0) return fail(system_error("cannot start a process in " + directory, errno));
  // With shared descriptors it is the parent's to close: by then the number may be another's.
  if (pid == 0 && (flags & CLONE_FILES) != 0) (void)fd.release();
  return pid;
}

Result<void> enter_cgroup(const std::string& directory, pid_t pid) {
  const Fd procs(::open((directory + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (!procs) return fail(system_error(directory + "/cgroup.procs", errno));
  const std::string text = std::to_string(pid);
  if (::write(procs.get(), text.data(), text.size()) < 0)
    return fail(system_error("cannot enter " + directory, errno));
  return {};
}

Result<TestCgroup> TestCgroup::make_at(const std::string& root, std::string path) {
  const std::string directory = root + path;
  if (::mkdir(directory.c_str(), 0755) != 0) return fail(system_error("mkdir " + directory, errno));
  struct stat facts {};
  if (::stat(directory.c_str(), &facts) != 0) {
    const int error = errno;
    ::rmdir(directory.c_str());
    return fail(system_error("stat " + directory, error));
  }
  return TestCgroup(root, std::move(path), facts.st_ino);
}

Result<TestCgroup> TestCgroup::make(const std::string& root) {
  static std::atomic<int> number{0};
  return make_at(root, fmt::format("/slogate-test-{}-{}", ::getpid(), ++number));
}

Result<TestCgroup> TestCgroup::make() {
  const auto root = find_cgroup_root();
  if (!root) return fail(root.error());
  return make(*root);
}

Result<TestCgroup> TestCgroup::child(std::string_view name) const {
  return make_at(root_, fmt::format("{}/{}", path_, name));
}

TestCgroup::TestCgroup(TestCgroup&& other) noexcept
    : root_(std::move(other.root_)), path_(std::exchange(other.path_, {})), id_(other.id_) {}

TestCgroup& TestCgroup::operator=(TestCgroup&& other) noexcept {
  if (this == &other) return *this;
  remove();
  root_ = std::move(other.root_);
  path_ = std::exchange(other.path_, {});
  id_ = other.id_;
  return *this;
}

TestCgroup::~TestCgroup() {
  remove();
}

void TestCgroup::remove() {
  if (path_.empty()) return;
  for (const std::string& directory : list_bottom_up(directory()))
    if (const int error = remove_patiently(directory); error != 0)
      fmt::print(stderr, "{}\n", system_error("rmdir " + directory, error).line());
}

Result<void> TestCgroup::enter(pid_t pid) const {
  return enter_cgroup(directory(), pid);
}

}  // namespace slogate::support
