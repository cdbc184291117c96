// SPDX-License-Identifier: Apache-2.0
#include "exporter/labels.h"

#include <fmt/format.h>
#include <utf8.h>

#include <cstdint>

namespace slogate {
Labels workload_labels(const Workload& workload) {
  if (const Pod* pod = workload.pod.pod.get())
    return {{"container", label_value(workload.pod.container)},
            {"namespace", label_value(pod->namespace_)},
            {"pod", label_value(pod->name)}};
  return {{"cgroup", workload.path.empty() ? "unknown" : label_value(workload.path)}};
}

bool are_labels_of(const Labels& labels, const Workload& workload) {
  if (const Pod* pod = workload.pod.pod.get())
    return labels.size() == 3 && labels[0].value == workload.pod.container &&
           labels[1].value == pod->namespace_ && labels[2].value == pod->name;
  return labels.size() == 1 && labels[0].value == workload.path;
}

std::string label_value(std::string_view text) {
  size_t valid = utf8::find_invalid(text);
  if (valid == std::string_view::npos) return std::string(text);  // nearly all are
  std::string value;
  value.reserve(text.size());
  for (; valid != std::string_view::npos; valid = utf8::find_invalid(text)) {
    value += text.substr(0, valid);
    value += fmt::format("\\x{:02x}", static_cast<uint8_t>(text[valid]));
    text.remove_prefix(valid + 1);
  }
  return value += text;
}

}  // namespace slogate
