// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cstdio>

namespace {

constexpr const char* kBpffs = "/sys/fs/bpf";

// A machine without bpffs gets one that only this process sees, so that none stays behind.
bool have_bpffs() {
  struct statfs status {};
  if (statfs(kBpffs, &status) == 0 && status.f_type == BPF_FS_MAGIC) return true;
  return unshare(CLONE_NEWNS) == 0 &&
         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("bpf", kBpffs, "bpf", 0, nullptr) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (geteuid() != 0 && !GTEST_FLAG_GET(list_tests)) {
    std::puts("loading BPF programs needs root");
    return 77;  // for ctest: skipped
  }
  // Before any other thread, which would not see the mount. Tests that need it fail without.
  if (!have_bpffs()) std::perror("cannot mount bpffs");
  return RUN_ALL_TESTS();
}
