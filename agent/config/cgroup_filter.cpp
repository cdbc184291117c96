// SPDX-License-Identifier: Apache-2.0
#include "agent/config/cgroup_filter.h"

#include <algorithm>

namespace slogate {
namespace {

bool any_matches(const std::vector<Glob>& globs, std::string_view path) {
  return std::any_of(globs.begin(), globs.end(),
                     [path](const Glob& glob) { return glob.matches(path); });
}

}  // namespace

bool CgroupFilter::shows(std::string_view path) const {
  return path.empty() || (any_matches(include, path) && !any_matches(exclude, path));
}

}  // namespace slogate
