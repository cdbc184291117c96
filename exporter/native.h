// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <protozero/pbf_writer.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "exporter/body.h"
#include "exporter/sink.h"

namespace slogate {

inline constexpr std::string_view kNativeContentType =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

// The buckets of a native histogram as they are transmitted: runs of consecutive buckets, and each
// bucket's count as the difference to the one before it.
struct NativeBuckets {
  struct Span {
    int32_t offset = 0;  // the first bucket's number; of later spans, how many lie between
    uint32_t length = 0;
    bool operator==(const Span&) const = default;
  };
  uint64_t zero_count = 0;
  std::vector<Span> spans;
  std::vector<int64_t> deltas;
};

// Exact: bucket k of schema 3 ends at 2^(k/8) s, as ours do. Values up to our first edge are in the
// zero bucket, which reaches so far; values above the last edge are in the bucket next to it, as
// the API reads it.
[[nodiscard]] NativeBuckets to_native(const Histogram& histogram);

// Protocol buffers with native histograms (and no classic buckets: Prometheus takes one or the
// other, and native ones are a fiftieth of the bytes): io.prometheus.client.MetricFamily, each
// after its length.
// https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
class NativeSink final : public Sink {
 public:
  explicit NativeSink(Body& body) : body_(body) {}

  [[nodiscard]] std::string encode(const Labels& labels) const override;
  [[nodiscard]] size_t series_of_histogram(size_t) const override { return 1; }

 private:
  void open_family() override;
  void close_family() override;
  void write(std::string_view labels, std::string_view more, double value) override;
  void write(std::string_view labels, std::string_view more, const Histogram& histogram,
             std::span<const size_t> edges) override;

  Body& body_;
  std::string bytes_;  // of the family
  protozero::pbf_writer writer_{bytes_};
};

}  // namespace slogate
