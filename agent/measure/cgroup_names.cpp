// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/cgroup_names.h"

#include <sys/stat.h>

#include <filesystem>
#include <vector>

#include "agent/host/mounts.h"

namespace slogate {
namespace {

// The id of a cgroup is the inode number of its directory; 0 when there is none.
uint64_t cgroup_id(const std::string& directory) {
  struct stat status {};
  return ::stat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode) ? status.st_ino : 0;
}

}  // namespace

std::string CgroupNames::path(uint64_t id) const {
  const auto found = paths_.find(id);
  return found == paths_.end() ? "" : found->second;
}

bool CgroupNames::exists(uint64_t id) const {
  const auto found = paths_.find(id);
  return found != paths_.end() && cgroup_id(root_ + found->second) == id;
}

void CgroupNames::keep_only(const std::unordered_set<uint64_t>& ids) {
  std::erase_if(paths_, [&ids](const auto& entry) { return !ids.contains(entry.first); });
}

Result<void> CgroupNames::check_root() {
  const uint64_t id = cgroup_id(root_);
  if (root_id_ == 0) root_id_ = id;
  if (id != 0 && id == root_id_) return {};
  return fail(fmt::format("cannot read the cgroup tree at {}", root_),
              "mount cgroup2 there or name its mount with --cgroup-root");
}

// One directory after the other, as recursive_directory_iterator ends at the first that vanishes.
Result<void> CgroupNames::scan() {
  namespace fs = std::filesystem;
  if (auto readable = check_root(); !readable) return readable;
  learn(root_id_, "/");
  saw_all_ = !is_private_view(root_);
  std::vector<std::string> unread = {""};
  while (!unread.empty()) {
    const std::string path = std::move(unread.back());
    unread.pop_back();
    std::error_code error;
    fs::directory_iterator at(root_ + path, error);
    for (; !error && at != fs::directory_iterator(); at.increment(error)) {
      std::string child = fmt::format("{}/{}", path, at->path().filename().native());
      std::error_code unknown;
      if (!at->is_directory(unknown)) continue;
      if (const uint64_t id = cgroup_id(root_ + child); id != 0) {
        learn(id, child);
        unread.push_back(std::move(child));
      }
    }
    const bool vanished =
        error == std::errc::no_such_file_or_directory || error == std::errc::no_such_device;
    if (error && !vanished) saw_all_ = false;
  }
  return {};
}

}  // namespace slogate
