// SPDX-License-Identifier: Apache-2.0
#include "agent/http/listen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace slogate {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// A directory of its own for each test.
class Listen : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "slogate-listen-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  [[nodiscard]] std::string path(const std::string& name = "agent.sock") const {
    return (directory_ / name).string();
  }

  // A socket of `type` bound to `at` by nobody who listens.
  static Fd bound(const std::string& at, int type = SOCK_STREAM) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    at.copy(address.sun_path, at.size());
    Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    if (!fd) throw std::runtime_error("no socket");
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }

  static mode_t mode(const std::string& of) {
    struct stat seen {};
    EXPECT_EQ(::lstat(of.c_str(), &seen), 0);
    return seen.st_mode & 07777;
  }

  static std::string error(const std::string& at) {
    const auto socket = listen_unix(at, "");
    EXPECT_FALSE(socket.has_value());
    return socket ? "" : socket.error().line();
  }

  fs::path directory_;
};

TEST_F(Listen, ModeIs0660WhateverTheUmask) {
  for (const mode_t mask : {0000, 0022, 0077, 0177, 0777}) {
    const mode_t before = ::umask(mask);
    const auto socket = listen_unix(path(), "");
    ::umask(before);
    ASSERT_TRUE(socket.has_value()) << socket.error().line();
    EXPECT_EQ(mode(path()), 0660u) << mask;
  }
}

TEST_F(Listen, GivesTheSocketToAGroupThatExists) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  const auto socket = listen_unix(path(), "daemon");
  ASSERT_TRUE(socket.has_value()) << socket.error().line();
  struct stat seen {};
  ASSERT_EQ(::lstat(path().c_str(), &seen), 0);
  EXPECT_EQ(seen.st_gid, 1u);
}

TEST_F(Listen, AGroupThatDoesNotExistChangesNothing) {
  const auto socket = listen_unix(path(), "no-such-group-here");
  ASSERT_TRUE(socket.has_value()) << socket.error().line();
  struct stat seen {};
  ASSERT_EQ(::lstat(path().c_str(), &seen), 0);
  EXPECT_EQ(seen.st_gid, ::getegid());
}

TEST_F(Listen, CreatesTheDirectory) {
  const mode_t before = ::umask(0077);
  const auto socket = listen_unix(path("run/agent.sock"), "");
  ::umask(before);
  ASSERT_TRUE(socket.has_value()) << socket.error().line();
  EXPECT_EQ(mode(path("run")), 0755u);
}

TEST_F(Listen, LeavesADirectoryThatExistsAsItIs) {
  fs::create_directory(path("run"));
  fs::permissions(path("run"), fs::perms::owner_all);
  ASSERT_TRUE(listen_unix(path("run/agent.sock"), "").has_value());
  EXPECT_EQ(mode(path("run")), 0700u);
}

TEST_F(Listen, OneDirectoryAndNoMore) {
  EXPECT_THAT(error(path("a/b/agent.sock")), HasSubstr("cannot create"));
  EXPECT_FALSE(fs::exists(path("a")));
}

TEST_F(Listen, TheFileGoesWithTheSocket) {
  { ASSERT_TRUE(listen_unix(path(), "").has_value()); }
  EXPECT_FALSE(fs::exists(fs::symlink_status(path())));
}

TEST_F(Listen, AFileThatTookItsPlaceStays) {
  {
    const auto socket = listen_unix(path(), "");
    ASSERT_TRUE(socket.has_value());
    // A second name keeps the inode number from being given out again.
    fs::rename(path(), path("old"));
    std::ofstream(path()) << "another";
  }
  EXPECT_TRUE(fs::is_regular_file(path()));
}

TEST_F(Listen, TakesThePlaceOfAStaleSocket) {
  bound(path()).reset();
  ASSERT_TRUE(fs::is_socket(path()));
  EXPECT_TRUE(listen_unix(path(), "").has_value());
}

TEST_F(Listen, RefusesToReplaceAnAgentThatAnswers) {
  const auto first = listen_unix(path(), "");
  ASSERT_TRUE(first.has_value());
  EXPECT_THAT(error(path()), HasSubstr("another agent is listening on " + path()));
  EXPECT_TRUE(fs::is_socket(path()));
}

TEST_F(Listen, AFullBacklogIsAnAgentToo) {
  const Fd busy = bound(path());
  ASSERT_EQ(::listen(busy.get(), 0), 0);
  // With a backlog of 0 one connection fits; ours and this one do not.
  const auto connect = [this] {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, path().size());
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    (void)::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    return fd;
  };
  const Fd first = connect(), second = connect();
  EXPECT_THAT(error(path()), HasSubstr("another agent is listening"));
}

TEST_F(Listen, DoesNotFollowASymbolicLink) {
  // To a stale socket, to a file, and to nothing: all stay as they are.
  bound(path("stale")).reset();
  std::ofstream(path("file")) << "precious";
  for (const char* name : {"stale", "file", "nothing"}) {
    fs::create_symlink(path(name), path());
    EXPECT_THAT(error(path()), HasSubstr("is not a socket")) << name;
    EXPECT_TRUE(fs::is_symlink(path())) << name;
    fs::remove(path());
  }
  EXPECT_TRUE(fs::is_socket(path("stale")));
  EXPECT_TRUE(fs::is_regular_file(path("file")));
}

TEST_F(Listen, LeavesOtherFilesAlone) {
  std::ofstream(path()) << "precious";
  EXPECT_THAT(error(path()), HasSubstr("is not a socket"));
  EXPECT_TRUE(fs::is_regular_file(path()));
  fs::create_directory(path("directory"));
  EXPECT_THAT(error(path("directory")), HasSubstr("is not a socket"));
}

TEST_F(Listen, LeavesASocketOfAnotherKindAlone) {
  const Fd datagram = bound(path(), SOCK_DGRAM);
  EXPECT_THAT(error(path()), HasSubstr("is in use"));
  EXPECT_TRUE(fs::is_socket(path()));
}

TEST_F(Listen, LeavesAStaleSocketOfAnotherUserAlone) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to make another user's socket";
  bound(path()).reset();
  ASSERT_EQ(::chown(path().c_str(), 12345, 12345), 0);
  EXPECT_THAT(error(path()), HasSubstr("stale socket of uid 12345"));
  EXPECT_TRUE(fs::is_socket(path()));
}

TEST_F(Listen, RefusesAPathThatDoesNotFit) {
  EXPECT_THAT(error(path(std::string(120, 'x'))), HasSubstr("1 to 107 bytes"));
  EXPECT_THAT(error(""), HasSubstr("1 to 107 bytes"));
}

TEST(ListenTcp, ChoosesAPort) {
  const auto socket = listen_tcp("127.0.0.1", 0);
  ASSERT_TRUE(socket.has_value()) << socket.error().line();
  EXPECT_NE(socket->local_port(), 0);
}

TEST(ListenTcp, APortInUseIsAnErrorWithARemedy) {
  const auto first = listen_tcp("127.0.0.1", 0);
  ASSERT_TRUE(first.has_value());
  const auto second = listen_tcp("127.0.0.1", first->local_port());
  ASSERT_FALSE(second.has_value());
  EXPECT_THAT(second.error().line(), HasSubstr("choose another port"));
}

TEST(ListenTcp, AnAddressThatIsNoneIsAnError) {
  for (const char* host : {"256.0.0.1", "localhost", "::1::"}) {
    const auto socket = listen_tcp(host, 0);
    ASSERT_FALSE(socket.has_value()) << host;
    EXPECT_THAT(socket.error().line(), HasSubstr("write an IP address")) << host;
  }
}

}  // namespace
}  // namespace slogate
