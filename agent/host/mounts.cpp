// SPDX-License-Identifier: Apache-2.0
#include "agent/host/mounts.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace slogate {
namespace {

// The part of `text` before `separator`, which is taken off it together with the separator.
std::string_view take(std::string_view& text, char separator) {
  const size_t at = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return part;
}

bool is_octal(char c) {
  return '0' <= c && c <= '7';
}

// The kernel writes blanks, backslashes and line ends of a path as \ and three octal digits.
std::string unescape(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) &&
                        is_octal(text[i + 2]) && is_octal(text[i + 3]);
    if (!escape) {
      plain += text[i];
      continue;
    }
    plain +=
        static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return plain;
}

}  // namespace

std::vector<Mount> parse_mounts(std::string_view text) {
  std::vector<Mount> mounts;
  while (!text.empty()) {
    std::string_view line = take(text, '\n');
    take(line, ' ');
    Mount mount{
        .point = unescape(take(line, ' ')), .type = std::string(take(line, ' ')), .options = {}};
    for (std::string_view options = take(line, ' '); !options.empty();)
      mount.options.emplace_back(take(options, ','));
    if (!mount.point.empty() && !mount.type.empty()) mounts.push_back(std::move(mount));
  }
  return mounts;
}

// Every cgroup has a cgroup.type but the root of the whole tree.
bool is_private_view(const std::string& cgroup2) {
  return ::access((cgroup2 + "/cgroup.type").c_str(), F_OK) == 0;
}

std::optional<std::string> find_cgroup2(const std::vector<Mount>& mounts) {
  std::optional<std::string> first;
  for (const Mount& mount : mounts) {
    if (mount.type != "cgroup2") continue;
    if (!is_private_view(mount.point)) return mount.point;
    if (!first) first = mount.point;
  }
  return first;
}

std::optional<std::string> find_v1_memory(const std::vector<Mount>& mounts) {
  const auto found = std::ranges::find_if(mounts, [](const Mount& mount) {
    return mount.type == "cgroup" &&
           std::ranges::find(mount.options, "memory") != mount.options.end();
  });
  return found == mounts.end() ? std::nullopt : std::optional(found->point);
}

bool has_v1_controllers(const std::vector<Mount>& mounts) {
  return std::any_of(mounts.begin(), mounts.end(), [](const Mount& mount) {
    return mount.type == "cgroup" &&
           std::any_of(mount.options.begin(), mount.options.end(), [](const std::string& option) {
             return option == "cpu" || option == "memory" || option == "pids";
           });
  });
}

}  // namespace slogate
