// SPDX-License-Identifier: Apache-2.0
// The families as prometheus-cpp models them: what our text is checked against and measured by.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "exporter/sink.h"

namespace slogate::support {

class ModelSink final : public Sink {
 public:
  // Names and values must not hold the zero byte.
  [[nodiscard]] std::string encode(const Labels& labels) const override;
  [[nodiscard]] size_t series_of_histogram(size_t edges) const override { return edges + 3; }

  [[nodiscard]] const std::vector<prometheus::MetricFamily>& families() const { return families_; }

 private:
  void open_family() override;
  void close_family() override {}
  void write(std::string_view labels, std::string_view more, double value) override;
  void write(std::string_view labels, std::string_view more, const Histogram& histogram,
             std::span<const size_t> edges) override;
  prometheus::ClientMetric& add_metric(std::string_view labels, std::string_view more);

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace slogate::support
