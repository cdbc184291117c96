// SPDX-License-Identifier: Apache-2.0
#include "agent/host/memory_limit.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace slogate {
namespace {

namespace fs = std::filesystem;

// A tree of cgroups as files.
class Tree {
 public:
  Tree() {
    std::string name = (fs::temp_directory_path() / "slogate-memory-XXXXXX").string();
    root_ = ::mkdtemp(name.data()) != nullptr ? name : "";
  }
  ~Tree() { fs::remove_all(root_); }
  void set(const std::string& path, const std::string& limit,
           const std::string& file = "/memory.max") const {
    fs::create_directories(root_ + path);
    std::ofstream(root_ + path + file) << limit << "\n";
  }
  [[nodiscard]] const std::string& root() const { return root_; }

 private:
  std::string root_;
};

TEST(OwnCgroup, IsTheLineOfCgroup2) {
  EXPECT_EQ(parse_own_cgroup("1:name=systemd:/x\n0::/kubepods/pod1/c\n"), "/kubepods/pod1/c");
  EXPECT_EQ(parse_own_cgroup("0::/"), "/");
  EXPECT_EQ(parse_own_cgroup("12:memory:/a\n"), "");
  EXPECT_EQ(parse_own_cgroup("1:name=systemd:/x\n12:memory:/a\n0::/b\n", "memory"), "/a");
  EXPECT_EQ(parse_own_cgroup("1:memory:relative\n", "memory"), "");
  EXPECT_EQ(parse_own_cgroup(""), "");
}

TEST(MemoryLimit, IsTheSmallestOnTheWayUp) {
  const Tree tree;
  tree.set("/pods/agent", "max");
  EXPECT_EQ(read_memory_limit(tree.root(), "/pods/agent"), std::nullopt);
  tree.set("/pods", "67108864");
  EXPECT_EQ(read_memory_limit(tree.root(), "/pods/agent"), 67108864u);
  tree.set("/pods/agent", "134217728");
  EXPECT_EQ(read_memory_limit(tree.root(), "/pods/agent"), 67108864u);
  // Inside a container the root is the container's own cgroup.
  tree.set("", "1048576");
  EXPECT_EQ(read_memory_limit(tree.root(), "/"), 1048576u);
  EXPECT_EQ(read_memory_limit(tree.root(), "/gone"), 1048576u);
  EXPECT_EQ(read_memory_limit("/nowhere", "/a"), std::nullopt);
  tree.set("/v1", "4096", "/memory.limit_in_bytes");
  EXPECT_EQ(read_memory_limit(tree.root(), "/v1", "memory.limit_in_bytes"), 4096u);
}

TEST(MemoryLimit, LeavesTheAgentItsOwn) {
  EXPECT_EQ(memory_for_maps(uint64_t{256} << 20), uint64_t{208} << 20);
  EXPECT_EQ(memory_for_maps(uint64_t{64} << 20), uint64_t{32} << 20);
}

}  // namespace
}  // namespace slogate
