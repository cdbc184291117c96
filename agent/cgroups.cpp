// SPDX-License-Identifier: Apache-2.0
#include "agent/cgroups.h"

#include <sys/stat.h>

#include <filesystem>

#include "agent/mounts.h"

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

bool CgroupNames::shows_all() const {
  return !is_private_view(root_);
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

Result<void> CgroupNames::scan() {
  namespace fs = std::filesystem;
  std::error_code error;
  if (auto readable = check_root(); !readable) return readable;
  learn(root_id_, "/");
  fs::recursive_directory_iterator at(root_, fs::directory_options::skip_permission_denied, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    std::error_code gone;
    if (!at->is_directory(gone)) continue;
    const std::string& directory = at->path().native();
    if (const uint64_t id = cgroup_id(directory); id != 0)
      learn(id, directory.substr(root_.size()));
  }
  return {};
}

}  // namespace slogate
