// SPDX-License-Identifier: Apache-2.0
#include "tests/support/model.h"

#include <limits>
#include <utility>

namespace slogate::support {
namespace {

using prometheus::ClientMetric;

std::string_view take(std::string_view& text) {
  const std::string_view piece = text.substr(0, text.find('\0'));
  text.remove_prefix(piece.size() + 1);
  return piece;
}

void decode(std::string_view text, std::vector<ClientMetric::Label>& to) {
  while (!text.empty()) {
    ClientMetric::Label& label = to.emplace_back();
    label.name = take(text);
    label.value = take(text);
  }
}

}  // namespace

std::string ModelSink::encode(const Labels& labels) const {
  std::string text;
  for (const auto& [name, value] : labels) {
    text.append(name).push_back('\0');
    text.append(value).push_back('\0');
  }
  return text;
}

void ModelSink::open_family() {
  constexpr prometheus::MetricType types[] = {prometheus::MetricType::Counter,
                                              prometheus::MetricType::Gauge,
                                              prometheus::MetricType::Histogram};
  families_.push_back(
      {family().name, family().help, types[static_cast<size_t>(family().type)], {}});
}

ClientMetric& ModelSink::add_metric(std::string_view labels, std::string_view more) {
  ClientMetric& metric = families_.back().metric.emplace_back();
  decode(labels, metric.label);
  decode(more, metric.label);
  return metric;
}

void ModelSink::write(std::string_view labels, std::string_view more, double value) {
  ClientMetric& metric = add_metric(labels, more);
  (family().type == MetricType::counter ? metric.counter.value : metric.gauge.value) = value;
}

void ModelSink::write(std::string_view labels, std::string_view more, const Histogram& histogram,
                      std::span<const size_t> edges) {
  ClientMetric::Histogram& model = add_metric(labels, more).histogram;
  model.sample_count = count(histogram);
  model.sample_sum = sum(histogram);
  for (const size_t edge : edges) {
    uint64_t seen = 0;
    for (size_t i = 0; i <= edge; ++i) seen += histogram[i];
    model.bucket.push_back({seen, bucket_edge(edge)});
  }
  model.bucket.push_back({model.sample_count, std::numeric_limits<double>::infinity()});
}

}  // namespace slogate::support
