// SPDX-License-Identifier: Apache-2.0
#include "exporter/sink.h"

#include <utility>

namespace slogate {

void Sink::begin_family(Family family) {
  finish();
  family_ = std::move(family);
}

void Sink::finish() {
  if (std::exchange(open_, false)) close_family();
}

void Sink::add(std::string_view labels, std::string_view more, double value) {
  begin_series(1);
  write(labels, more, value);
}

void Sink::add(std::string_view labels, std::string_view more, const Histogram& histogram,
               std::span<const size_t> edges) {
  begin_series(series_of_histogram(edges.size()));
  write(labels, more, histogram, edges);
}

void Sink::begin_series(size_t series) {
  series_ += series;
  if (!std::exchange(open_, true)) open_family();
}

}  // namespace slogate
