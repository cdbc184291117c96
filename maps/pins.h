// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "maps/error.h"
#include "maps/fd.h"

namespace slogate {

// A directory on bpffs in which maps and links outlive the agent. Holding one excludes every other
// agent from it.
class PinDir {
 public:
  // Creates the directory, mode 0700, if it is missing. Refuses one that is not on a BPF file
  // system, is not a directory, belongs to somebody else, or is held by another agent.
  static Result<PinDir> open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool has(std::string_view name) const;

  // Whether the path still leads here: somebody may remove the directory, or unmount what it is on.
  [[nodiscard]] bool is_reachable() const;
  // Makes the directory anew, and holds that one from now on. Refuses one that has pins in it: they
  // are somebody else's.
  Result<void> make_anew();

  // The pinned object as a new descriptor.
  [[nodiscard]] Result<Fd> get(std::string_view name) const;
  // Does nothing in a directory that is not reachable: its pins are lost, and whoever uses the
  // objects goes on.
  Result<void> pin(int fd, std::string_view name) const;
  // Pins each object that has lost its pin.
  Result<void> keep(int fd, std::string_view name) const;
  // Gives a pin another name, in one step; a pin of that name is replaced.
  Result<void> rename(std::string_view from, std::string_view to) const;
  void unpin(std::string_view name) const;
  // Removes every pin, and the directory.
  Result<void> remove_all() const;

 private:
  PinDir(std::string path, Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  [[nodiscard]] std::string file(std::string_view name) const;
  std::string path_;
  Fd lock_;  // the directory itself, locked
};

}  // namespace slogate
