// SPDX-License-Identifier: Apache-2.0
#include "agent/measure/pod_path.h"

#include <algorithm>
#include <array>

namespace slogate {
namespace {

constexpr size_t kContainerDigits = 64;

// What runtimes put before the id of a container; what else they do, like CRI-O's monitor in
// "crio-conmon-<id>", is not the container.
constexpr std::array<std::string_view, 4> kScopes = {"cri-containerd-", "crio-", "docker-", ""};

bool is_hex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string_view without_suffix(std::string_view text) {
  for (const std::string_view suffix : {".slice", ".scope"})
    if (text.ends_with(suffix)) return text.substr(0, text.size() - suffix.size());
  return text;
}

std::string_view container_of(std::string_view component) {
  for (const std::string_view scope : kScopes) {
    if (!component.starts_with(scope)) continue;
    const std::string_view id = component.substr(scope.size());
    if (id.size() == kContainerDigits && is_hex(id)) return id;
  }
  return {};
}

// A UUID, or the 32 digits that static pods have. "-" is "_" in names of systemd's slices, where it
// would be another level.
std::string uid_of(std::string_view text) {
  std::string uid(text);
  std::ranges::replace(uid, '_', '-');
  constexpr std::array<size_t, 4> dashes = {8, 13, 18, 23};
  std::string digits = uid;
  std::erase(digits, '-');
  if (digits.size() != 32 || !is_hex(digits)) return {};
  if (uid.size() == 32) return uid;
  const bool is_uuid = uid.size() == 36 &&
                       std::ranges::all_of(dashes, [&](size_t place) { return uid[place] == '-'; });
  return is_uuid ? uid : std::string();
}

std::string pod_of(std::string_view component) {
  // "kubepods-besteffort-pod<uid>", with more before it where the kubelet has a cgroup of its own,
  // or "pod<uid>"
  const bool is_slice = component.find("kubepods-") != std::string_view::npos;
  const size_t at = is_slice ? component.rfind("-pod") : 0;
  if (at == std::string_view::npos) return {};
  const std::string_view rest = component.substr(at == 0 ? 0 : at + 1);
  return rest.starts_with("pod") ? uid_of(rest.substr(3)) : std::string();
}

}  // namespace

std::vector<PodPath> parse_pod_path(std::string_view path) {
  std::vector<PodPath> found;
  while (!path.empty()) {
    path.remove_prefix(1);  // "/"
    const std::string_view component = without_suffix(path.substr(0, path.find('/')));
    path.remove_prefix(std::min(path.find('/'), path.size()));
    if (std::string uid = pod_of(component); !uid.empty()) {
      found.push_back({std::move(uid), ""});
    } else if (const auto id = container_of(component); !id.empty()) {
      if (found.empty() || !found.back().container_id.empty()) found.emplace_back();
      found.back().container_id = id;
    }
  }
  return found;
}

}  // namespace slogate
