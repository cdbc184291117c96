// SPDX-License-Identifier: Apache-2.0
// slogate hist: one latency histogram, or two over each other, drawn.
#pragma once

#include <string>

#include "tools/cli/run.h"

namespace slogate::cli {

// `cgroup` is an id, a path, or a glob that matches exactly one cgroup; `signal` a name of
// signals.def.
Outcome<Report> show_histogram(const Fetch& fetch, const std::string& cgroup,
                               const std::string& signal, const Output& output);

// Two cgroups, drawn over each other as shares of their own values; as JSON, a list of the two.
Outcome<Report> show_two_histograms(const Fetch& fetch, const std::string& first,
                                    const std::string& second, const std::string& signal,
                                    const Output& output);

// The id that `cgroup` means among those of /v1/cgroups. A cgroup that is gone counts only where
// no other has the same path.
[[nodiscard]] Outcome<uint64_t> find_cgroup(const Json& cgroups, const std::string& cgroup);

// One signal of /v1/cgroups/{id}/histograms.
[[nodiscard]] std::string render_histogram(const Json& histograms, const std::string& signal,
                                           const Style& style);
[[nodiscard]] std::string render_two_histograms(const Json& first, const Json& second,
                                                const std::string& signal, const Style& style);

}  // namespace slogate::cli
