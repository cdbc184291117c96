// SPDX-License-Identifier: Apache-2.0
#include "exporter/labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace slogate {
namespace {

bool within(char byte, uint8_t low, uint8_t high) {
  const auto value = static_cast<uint8_t>(byte);
  return value >= low && value <= high;
}

// Length of the character that `text` starts with, 0 when that is no valid UTF-8. The bounds of the
// second byte rule out overlong forms, surrogates and what is past U+10FFFF: table 3-7 of the
// Unicode standard.
size_t character_length(std::string_view text) {
  const char first = text.front();
  if (within(first, 0, 0x7f)) return 1;
  const size_t length = within(first, 0xc2, 0xdf)   ? 2
                        : within(first, 0xe0, 0xef) ? 3
                        : within(first, 0xf0, 0xf4) ? 4
                                                    : 0;
  if (length == 0 || text.size() < length) return 0;
  const uint8_t low = within(first, 0xe0, 0xe0) ? 0xa0 : within(first, 0xf0, 0xf0) ? 0x90 : 0x80;
  const uint8_t high = within(first, 0xed, 0xed) ? 0x9f : within(first, 0xf4, 0xf4) ? 0x8f : 0xbf;
  if (!within(text[1], low, high)) return 0;
  for (size_t i = 2; i < length; ++i)
    if (!within(text[i], 0x80, 0xbf)) return 0;
  return length;
}

}  // namespace

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
  if (std::ranges::all_of(text, [](char byte) { return within(byte, 0, 0x7f); }))
    return std::string(text);  // nearly all are, and this is done for each workload in each tick
  std::string value;
  value.reserve(text.size());
  while (!text.empty()) {
    const size_t length = character_length(text);
    if (length == 0)
      value += fmt::format("\\x{:02x}", static_cast<uint8_t>(text.front()));
    else
      value += text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return value;
}

}  // namespace slogate
