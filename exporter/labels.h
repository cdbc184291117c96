// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "agent/snapshot.h"

namespace slogate {

// The value is valid UTF-8: see label_value().
struct Label {
  std::string name, value;

  auto operator<=>(const Label&) const = default;
};
using Labels = std::vector<Label>;

// The labels that name a workload in every series about it; nothing else decides on them. They are
// container, namespace and pod where its pod is known; else its cgroup's path, "unknown" while that
// is not known either.
[[nodiscard]] Labels workload_labels(const Workload& workload);

// Whether it would give these, without making them; false also where that takes a closer look.
[[nodiscard]] bool are_labels_of(const Labels& labels, const Workload& workload);

// The text as a label value. A path may hold any bytes, but one label that is not UTF-8 makes
// Prometheus refuse the whole scrape: each byte that is no part of valid UTF-8 becomes `\xhh`, as
// systemd writes the bytes it escapes in unit names.
[[nodiscard]] std::string label_value(std::string_view text);

}  // namespace slogate
