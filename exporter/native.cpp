// SPDX-License-Identifier: Apache-2.0
#include "exporter/native.h"

#include <protozero/varint.hpp>

#include <array>
#include <iterator>

namespace slogate {
namespace {

using protozero::pbf_tag_type;
using protozero::pbf_writer;

// Numbers of the fields in metrics.proto.
constexpr pbf_tag_type kFamilyName = 1, kFamilyHelp = 2, kFamilyType = 3, kFamilyMetric = 4;
constexpr pbf_tag_type kMetricLabel = 1, kMetricGauge = 2, kMetricCounter = 3, kMetricHistogram = 7;
constexpr pbf_tag_type kLabelName = 1, kLabelValue = 2;
constexpr pbf_tag_type kValue = 1;  // of a gauge and of a counter
constexpr pbf_tag_type kSampleCount = 1, kSampleSum = 2, kSchema = 5, kZeroThreshold = 6,
                       kZeroCount = 7, kPositiveSpan = 12, kPositiveDelta = 13;
constexpr pbf_tag_type kSpanOffset = 1, kSpanLength = 2;

constexpr int32_t kOurSchema = 3;  // 2^3 buckets per octave

// So many empty buckets are transmitted rather than a span of their own, which is longer.
constexpr size_t kLongestGap = 2;

constexpr std::array<int32_t, 3> kTypes = {0, 1, 4};  // COUNTER, GAUGE, HISTOGRAM

}  // namespace

NativeBuckets to_native(const Histogram& histogram) {
  NativeBuckets native{.zero_count = histogram[0]};
  int64_t before = 0;
  const auto add = [&](uint64_t count) {
    const auto value = static_cast<int64_t>(count);
    native.deltas.push_back(value - before);
    before = value;
    ++native.spans.back().length;
  };
  size_t end = 0;  // the bucket after the last one that was added
  for (size_t i = 1; i < histogram.size(); ++i) {
    if (histogram[i] == 0) continue;
    if (native.spans.empty())
      native.spans.push_back({.offset = static_cast<int32_t>(i) + SLOGATE_EDGE_FIRST});
    else if (i - end > kLongestGap)
      native.spans.push_back({.offset = static_cast<int32_t>(i - end)});
    else
      for (; end < i; ++end) add(0);
    add(histogram[i]);
    end = i + 1;
  }
  return native;
}

std::string NativeSink::encode(const Labels& labels) const {
  std::string bytes;
  pbf_writer writer(bytes);
  for (const auto& [name, value] : labels) {
    pbf_writer label(writer, kMetricLabel);
    label.add_string(kLabelName, name);
    label.add_string(kLabelValue, value);
  }
  return bytes;
}

void NativeSink::open_family() {
  writer_.add_string(kFamilyName, family().name);
  writer_.add_string(kFamilyHelp, family().help);
  writer_.add_enum(kFamilyType, kTypes[static_cast<size_t>(family().type)]);
}

void NativeSink::close_family() {
  std::string length;
  protozero::write_varint(std::back_inserter(length), bytes_.size());
  body_.write(length);
  body_.write(bytes_);
  bytes_.clear();
}

// Encoded labels are whole fields, so they are appended as they are.
void NativeSink::write(std::string_view labels, std::string_view more, double value) {
  pbf_writer metric(writer_, kFamilyMetric);
  bytes_.append(labels).append(more);
  pbf_writer(metric, family().type == MetricType::counter ? kMetricCounter : kMetricGauge)
      .add_double(kValue, value);
}

void NativeSink::write(std::string_view labels, std::string_view more, const Histogram& histogram,
                       std::span<const size_t>) {
  const NativeBuckets native = to_native(histogram);
  pbf_writer metric(writer_, kFamilyMetric);
  bytes_.append(labels).append(more);
  pbf_writer to(metric, kMetricHistogram);
  to.add_uint64(kSampleCount, count(histogram));
  to.add_double(kSampleSum, sum(histogram));
  to.add_sint32(kSchema, kOurSchema);
  to.add_double(kZeroThreshold, bucket_edge(0));
  to.add_uint64(kZeroCount, native.zero_count);
  for (const NativeBuckets::Span& span : native.spans) {
    pbf_writer field(to, kPositiveSpan);
    field.add_sint32(kSpanOffset, span.offset);
    field.add_uint32(kSpanLength, span.length);
  }
  to.add_packed_sint64(kPositiveDelta, native.deltas.begin(), native.deltas.end());
}

}  // namespace slogate
