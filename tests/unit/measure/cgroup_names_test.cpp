// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/cgroup_names.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace slogate {
namespace {

namespace fs = std::filesystem;

// A tree of cgroups as directories.
class NamesTest : public ::testing::Test {
 protected:
  NamesTest() {
    std::string name = (fs::temp_directory_path() / "slogate-cgroups-XXXXXX").string();
    root_ = ::mkdtemp(name.data()) != nullptr ? name : "";
  }
  ~NamesTest() override { fs::remove_all(root_); }
  // Its id.
  [[nodiscard]] uint64_t make(const std::string& path) const {
    fs::create_directories(root_ + path);
    struct stat status {};
    return ::stat((root_ + path).c_str(), &status) == 0 ? status.st_ino : 0;
  }
  std::string root_;
};

TEST_F(NamesTest, AWalkFindsWhatIsThere) {
  const uint64_t a = make("/a"), b = make("/a/b");
  CgroupNames names(root_);
  ASSERT_TRUE(names.scan());
  EXPECT_EQ(names.path(a), "/a");
  EXPECT_EQ(names.path(b), "/a/b");
  EXPECT_TRUE(names.exists(b));
  fs::remove(root_ + "/a/b");
  EXPECT_FALSE(names.exists(b));
  EXPECT_EQ(names.path(b), "/a/b");
}

TEST_F(NamesTest, AWalkFindsWhatStaysWhileOthersGo) {
  std::vector<uint64_t> stay;
  for (int i = 0; i < 30; ++i) stay.push_back(make("/stay" + std::to_string(i)));
  const std::jthread churn([this](const std::stop_token& stop) {
    while (!stop.stop_requested())
      for (int i = 0; i < 30; ++i) {
        fs::create_directories(root_ + "/go" + std::to_string(i) + "/deep/er");
        fs::remove_all(root_ + "/go" + std::to_string((i + 15) % 30));
      }
  });
  for (int walk = 0; walk < 100; ++walk) {
    CgroupNames names(root_);
    ASSERT_TRUE(names.scan());
    for (const uint64_t id : stay) ASSERT_NE(names.path(id), "") << "in walk " << walk;
  }
}

TEST_F(NamesTest, OfThoseThatAreNotAskedForAreForgotten) {
  const uint64_t a = make("/a"), b = make("/b");
  CgroupNames names(root_);
  ASSERT_TRUE(names.scan());
  names.keep_only({a});
  EXPECT_EQ(names.path(a), "/a");
  EXPECT_EQ(names.path(b), "");
}

// The kernel gives ids of 64 bits and none twice. If it did:
TEST_F(NamesTest, AnIdThatIsUsedAgainIsAnotherCgroup) {
  const uint64_t id = make("/new");
  CgroupNames names(root_);
  names.learn(id, "/old");
  EXPECT_FALSE(names.exists(id)) << "under its old name it is gone, and so its slot is freed";
  names.learn(id, "/new");
  EXPECT_TRUE(names.exists(id));
  EXPECT_EQ(names.path(id), "/new");
}

TEST_F(NamesTest, WhetherTheTreeIsStillTheSame) {
  const uint64_t a = make("/tree/a");
  CgroupNames names(root_ + "/tree");
  ASSERT_TRUE(names.check_root());
  fs::rename(root_ + "/tree", root_ + "/elsewhere");
  EXPECT_FALSE(names.check_root());
  (void)make("/tree");
  EXPECT_FALSE(names.check_root());
  fs::remove(root_ + "/tree");
  fs::rename(root_ + "/elsewhere", root_ + "/tree");
  EXPECT_TRUE(names.check_root());
  ASSERT_TRUE(names.scan());
  EXPECT_EQ(names.path(a), "/a");
}

}  // namespace
}  // namespace slogate
