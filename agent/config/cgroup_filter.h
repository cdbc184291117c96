// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "agent/base/glob.h"

namespace slogate {

// Which cgroups the views show: those that an include pattern matches and no exclude pattern.
struct CgroupFilter {
  std::vector<Glob> include = {*Glob::parse("/**")};
  std::vector<Glob> exclude = {};

  // A cgroup without a known name is shown: hiding it would hide its traffic.
  [[nodiscard]] bool shows(std::string_view path) const;

  bool operator==(const CgroupFilter&) const = default;
};

}  // namespace slogate
