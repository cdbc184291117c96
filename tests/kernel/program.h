// SPDX-License-Identifier: Apache-2.0
// Programs from packages, run by a test: each in a cgroup, with files of its own.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/kernel/world.h"
#include "tests/support/process.h"

namespace slogate {

// The path of a program that is installed here, "" when it is not.
std::string find_program(const std::string& name);

// A directory that goes with the object.
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  [[nodiscard]] const std::string& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const;
  void give_to(const std::string& user) const;

 private:
  std::string path_;
};

// A running program. It is ended, by its pid, at the latest with the object.
class Program {
 public:
  // `user`: whose rights it has, "" for this process's.
  Program(const TestCgroup& cgroup, const std::vector<std::string>& argv,
          const std::string& user = "");

  // Waits for its end, which must be a good one; what it printed, errors included.
  std::string finish(std::chrono::seconds within = std::chrono::seconds(60));
  // Returns when it listens on 127.0.0.1.
  void wait_until_listening(uint16_t port);
  // Returns when it prints a line that starts so.
  void wait_for_line(const std::string& prefix);
  // Asks it to end with a signal, and waits.
  void stop(int signal);

 private:
  std::string name_;
  support::Process process_;
};

// A port of 127.0.0.1 that nobody uses.
uint16_t free_port();

// The number that follows `before` in a text; throws when there is none.
uint64_t number_after(const std::string& text, const std::string& before);

}  // namespace slogate
