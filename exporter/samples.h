// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "exporter/sink.h"

namespace slogate {

// A family of few series, which may be collected in any order.
struct Samples {
  Family family;
  std::vector<std::pair<Labels, double>> values = {};
};

// Writes the family, its series by their labels, each once.
inline void write_samples(Samples samples, Sink& sink) {
  std::ranges::sort(samples.values);
  const auto again = std::ranges::unique(samples.values);
  samples.values.erase(again.begin(), again.end());
  sink.begin_family(std::move(samples.family));
  for (const auto& [labels, value] : samples.values) sink.add(sink.encode(labels), "", value);
}

}  // namespace slogate
