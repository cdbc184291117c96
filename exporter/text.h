// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <string_view>
#include <vector>

namespace slogate {

// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
inline constexpr std::string_view kTextContentType = "text/plain; version=0.0.4; charset=utf-8";

// The families in Prometheus's text format, whatever the locale. "" when that failed for want of
// memory; a snapshot's families are never empty, so nothing else reads as "".
[[nodiscard]] std::string to_text(const std::vector<prometheus::MetricFamily>& families);

}  // namespace slogate
