// SPDX-License-Identifier: Apache-2.0
// What a scraper is answered: formats, what is chosen, and the limit of series.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>
#include <zlib.h>

#include <cmath>
#include <protozero/pbf_message.hpp>
#include <sstream>
#include <thread>

#include "exporter/exporter.h"
#include "exporter/native.h"
#include "exporter/text.h"
#include "tests/support/exposition.h"

namespace slogate {
namespace {

using namespace support;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Span = NativeBuckets::Span;

// Everything that could be written wrongly.
Snapshot rich() {
  Snapshot snapshot = full();
  Counts idle = with_counter(SLOGATE_COUNTER_resets_in, 1);
  snapshot.workloads.edit().push_back(workload("", busy()));
  snapshot.workloads.edit().push_back(workload("/odd \"\\\n\xff\xe2\x82 \u20ac", busy()));
  snapshot.workloads.edit().push_back(workload("/idle", idle));
  snapshot.workloads.edit().push_back(
      workload("/large", with_counter(SLOGATE_COUNTER_segments_in, (uint64_t{1} << 53) - 1)));
  snapshot.workloads.edit().push_back(workload("/nothing", {}));
  return snapshot;
}

// ---- text ----

std::vector<std::pair<std::string, std::string>> lines_of(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const size_t space = line.starts_with('#') ? line.size() : line.rfind(' ');
    lines.emplace_back(line.substr(0, space), line.substr(space));
  }
  return lines;
}

TEST(TextSink, WritesWhatPrometheusCppWrites) {
  const auto ours = lines_of(text_of(rich()));
  const auto theirs = lines_of(prometheus::TextSerializer().Serialize(model_of(rich())));
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].first, theirs[i].first);
    // They write 16 digits, which is not always the same number.
    if (!ours[i].second.empty()) {
      const double expected = std::stod(theirs[i].second);
      EXPECT_NEAR(std::stod(ours[i].second), expected, 1e-15 * std::abs(expected)) << ours[i].first;
    }
  }
}

TEST(TextSink, NumbersReadBackExactly) {
  for (const double value :
       {0.0, 1.0, 0.1, 1e-9, 1.0 / 3, 2.0 / 3e7, 123456789.0, 0x1p52 + 1, 0x1p60}) {
    Body body(false);
    TextSink sink(body);
    sink.begin_family({"x", "help", MetricType::gauge});
    sink.add("", "", value);
    sink.finish();
    EXPECT_EQ(parse_text(body.finish()).at("x"), value);
  }
}

// ---- native ----

// A message of the native format, read again without the code that wrote it.
struct Read {
  std::string name, help;
  int32_t type = -1;
  struct Metric {
    std::map<std::string, std::string> labels;
    double value = NAN;  // of a counter or a gauge, by its type
    uint64_t count = 0, zero_count = 0;
    double sum = 0, zero_threshold = 0;
    int32_t schema = 0;
    std::map<int32_t, uint64_t> buckets;
  };
  std::vector<Metric> metrics;
};

double read_value(protozero::data_view data) {
  protozero::pbf_reader reader(data);
  return reader.next(1) ? reader.get_double() : NAN;
}

void read_histogram(protozero::data_view data, Read::Metric& to) {
  std::vector<Span> spans;
  std::vector<int64_t> deltas;
  for (protozero::pbf_reader reader(data); reader.next();) {
    switch (reader.tag()) {
      case 1:
        to.count = reader.get_uint64();
        break;
      case 2:
        to.sum = reader.get_double();
        break;
      case 5:
        to.schema = reader.get_sint32();
        break;
      case 6:
        to.zero_threshold = reader.get_double();
        break;
      case 7:
        to.zero_count = reader.get_uint64();
        break;
      case 12: {
        Span span;
        for (auto field = reader.get_message(); field.next();)
          (field.tag() == 1 ? void(span.offset = field.get_sint32())
                            : void(span.length = field.get_uint32()));
        spans.push_back(span);
        break;
      }
      case 13:
        for (const int64_t delta : reader.get_packed_sint64()) deltas.push_back(delta);
        break;
      default:
        FAIL() << "field " << reader.tag();
    }
  }
  int32_t index = 0;
  int64_t count = 0;
  size_t next = 0;
  for (const Span& span : spans) {
    index += span.offset;
    for (uint32_t i = 0; i < span.length; ++i) to.buckets[index++] = count += deltas.at(next++);
  }
  EXPECT_EQ(next, deltas.size());
}

Read::Metric read_metric(protozero::data_view data, int32_t type) {
  Read::Metric metric;
  for (protozero::pbf_reader reader(data); reader.next();) {
    switch (reader.tag()) {
      case 1: {
        auto label = reader.get_message();
        std::string name;
        for (; label.next();) {
          if (label.tag() == 1)
            name = label.get_string();
          else
            EXPECT_TRUE(metric.labels.emplace(name, label.get_string()).second) << name;
        }
        break;
      }
      case 2:
        EXPECT_EQ(type, 1);
        metric.value = read_value(reader.get_view());
        break;
      case 3:
        EXPECT_EQ(type, 0);
        metric.value = read_value(reader.get_view());
        break;
      case 7:
        EXPECT_EQ(type, 4);
        read_histogram(reader.get_view(), metric);
        break;
      default:
        ADD_FAILURE() << "field " << reader.tag();
        reader.skip();
    }
  }
  return metric;
}

std::vector<Read> read_native(const std::string& bytes) {
  std::vector<Read> families;
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  while (at < end) {
    const auto size = protozero::decode_varint(&at, end);
    Read& family = families.emplace_back();
    for (protozero::pbf_reader reader(at, size); reader.next();) {
      if (reader.tag() == 1)
        family.name = reader.get_string();
      else if (reader.tag() == 2)
        family.help = reader.get_string();
      else if (reader.tag() == 3)
        family.type = reader.get_enum();
      else
        family.metrics.push_back(read_metric(reader.get_view(), family.type));
    }
    at += size;
  }
  EXPECT_EQ(at, end);
  return families;
}

std::string native_of(const Snapshot& snapshot) {
  Body body(false);
  NativeSink sink(body);
  write_first(snapshot, sink);
  return body.finish();
}

TEST(NativeSink, HoldsWhatTheTextHolds) {
  const std::vector<Read> families = read_native(native_of(rich()));
  const auto model = model_of(rich());
  ASSERT_EQ(families.size(), model.size());
  for (size_t i = 0; i < model.size(); ++i) {
    SCOPED_TRACE(model[i].name);
    EXPECT_EQ(families[i].name, model[i].name);
    EXPECT_EQ(families[i].help, model[i].help);
    ASSERT_EQ(families[i].metrics.size(), model[i].metric.size());
    for (size_t m = 0; m < model[i].metric.size(); ++m) {
      const Read::Metric& metric = families[i].metrics[m];
      const prometheus::ClientMetric& expected = model[i].metric[m];
      EXPECT_EQ(metric.labels.size(), expected.label.size());
      for (const auto& [name, value] : expected.label) EXPECT_EQ(metric.labels.at(name), value);
      if (model[i].type == prometheus::MetricType::Histogram) {
        EXPECT_EQ(metric.count, expected.histogram.sample_count);
        EXPECT_EQ(metric.sum, expected.histogram.sample_sum);
      } else {
        const bool counter = model[i].type == prometheus::MetricType::Counter;
        EXPECT_EQ(metric.value, counter ? expected.counter.value : expected.gauge.value);
      }
    }
  }
}

// The histogram as it is read again.
Read::Metric sent(const Histogram& histogram) {
  Body body(false);
  NativeSink sink(body);
  sink.begin_family({"h", "help", MetricType::histogram});
  sink.add(sink.encode({{"a", "b"}}), sink.encode({{"c", "d"}}), histogram, {});
  sink.finish();
  return read_native(body.finish()).at(0).metrics.at(0);
}

void expect_sent_exactly(const Histogram& histogram) {
  const Read::Metric metric = sent(histogram);
  EXPECT_EQ(metric.schema, 3);
  EXPECT_EQ(metric.zero_threshold, 0x1p-20);
  EXPECT_EQ(metric.count, count(histogram));
  EXPECT_EQ(metric.labels.size(), 2u);
  uint64_t ours = 0, theirs = metric.zero_count;
  auto next = metric.buckets.begin();
  for (size_t i = 0; i < histogram.size(); ++i) {
    ours += histogram[i];
    const int32_t index = static_cast<int32_t>(i) + SLOGATE_EDGE_FIRST;
    for (; next != metric.buckets.end() && next->first <= index; ++next) theirs += next->second;
    EXPECT_EQ(theirs, ours) << "up to " << bucket_edge(i) << " s";
  }
  EXPECT_EQ(next, metric.buckets.end());
}

TEST(NativeSink, IsExactAtEveryEdge) {
  expect_sent_exactly({});
  expect_sent_exactly(busy().histograms[0]);
  Histogram all, odd{};
  for (size_t i = 0; i < all.size(); ++i) all[i] = 3;
  expect_sent_exactly(all);
  for (size_t i = 0; i < odd.size(); ++i) odd[i] = i % 3 == 0 ? 0 : i << 40;
  expect_sent_exactly(odd);
  for (size_t i = 0; i < odd.size(); ++i) {
    Histogram one{};
    one[i] = 1;
    expect_sent_exactly(one);
  }
}

NativeBuckets native_with(const std::vector<std::pair<size_t, uint64_t>>& counts) {
  Histogram histogram{};
  for (const auto& [bucket, count] : counts) histogram[bucket] = count;
  return to_native(histogram);
}

TEST(NativeBuckets, SpansAndDeltas) {
  EXPECT_THAT(native_with({}).spans, IsEmpty());
  const NativeBuckets run = native_with({{160, 5}, {161, 3}, {162, 3}});
  EXPECT_THAT(run.spans, ElementsAre(Span{0, 3}));  // the bucket that ends at 1 s
  EXPECT_THAT(run.deltas, ElementsAre(5, -2, 0));
  const NativeBuckets gaps = native_with({{10, 4}, {13, 1}, {17, 2}});
  EXPECT_THAT(gaps.spans, ElementsAre(Span{-150, 4}, Span{3, 1}));
  EXPECT_THAT(gaps.deltas, ElementsAre(4, -4, 0, 1, 1));
  const NativeBuckets ends = native_with({{0, 7}, {1, 1}, {SLOGATE_BUCKETS - 1, 2}});
  EXPECT_EQ(ends.zero_count, 7u);
  EXPECT_THAT(ends.spans, ElementsAre(Span{-159, 1}, Span{207, 1}));
  EXPECT_THAT(ends.deltas, ElementsAre(1, 1));
}

// ---- what is chosen ----

TEST(Negotiation, Format) {
  const std::string proto =
      "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
  const std::pair<std::string, Format> rows[] = {
      {"", Format::Text},
      {"*/*", Format::Text},
      {"text/html,application/xhtml+xml,*/*;q=0.8", Format::Text},
      {"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       Format::Text},
      // Prometheus 2.42 with native histograms, and 3.5
      {proto + ",application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,"
               "*/*;q=0.1",
       Format::Native},
      {proto + ";q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
               "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
       Format::Native},
      // Prometheus 3 without: it would take names in UTF-8, of which there are none here.
      {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
       "application/openmetrics-text;version=0.0.1;q=0.5,"
       "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/"
       "*;q=0.2",
       Format::Text},
      {proto + ";escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
       Format::Native},
      {"text/plain;version=0.0.4;q=0.9," + proto + ";q=0.3", Format::Text},
      {"text/plain;version=1.0.0," + proto + ";q=0.3", Format::Native},
      {"text/*;q=0.9, " + proto + " ; q=0.3", Format::Text},
      {proto + ";q=0.5,text/plain;q=0.5", Format::Native},
      {proto + ";q=0", Format::Text},
      {proto + ";q=x", Format::Text},
      {proto + ";q=1.5", Format::Text},
      {"Application/VND.google.protobuf; Proto=io.prometheus.client.MetricFamily; "
       "Encoding=delimited",
       Format::Native},
      {"application/vnd.google.protobuf", Format::Text},
      {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
       Format::Text},
      {"application/vnd.google.protobuf;proto=other;encoding=delimited", Format::Text},
      {",,;q=1;;,=,;", Format::Text},
  };
  for (const auto& [accept, format] : rows) EXPECT_EQ(choose_format(accept), format) << accept;
}

TEST(Negotiation, Gzip) {
  for (const char* header : {"gzip", "deflate, gzip;q=0.5", "GZIP", "*", "x-gzip", "br, *;q=0.1"})
    EXPECT_TRUE(accepts_gzip(header)) << header;
  for (const char* header :
       {"", "identity", "br", "gzip;q=0", "gzip; q=0.0, *", "*;q=0", "gzip;q="})
    EXPECT_FALSE(accepts_gzip(header)) << header;
}

std::string gunzip(const std::string& bytes) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, MAX_WBITS + 16), Z_OK);
  std::string text(size_t{64} << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  EXPECT_EQ(stream.avail_in, 0u);
  text.resize(stream.total_out);
  inflateEnd(&stream);
  return text;
}

TEST(Body, GzipKeepsEveryByte) {
  std::string text;
  Body body(true);
  for (int i = 0; i < 3000; ++i) {
    std::string block(static_cast<size_t>(i), static_cast<char>(i % 251));
    body.write(block);
    text += block;
  }
  EXPECT_EQ(gunzip(body.finish()), text);
  Body nothing(true);
  EXPECT_EQ(gunzip(nothing.finish()), "");
}

// ---- the limit ----

std::vector<std::string> shown(const std::vector<Workload>& workloads, size_t max_series) {
  MetricsSettings settings;
  settings.max_series = max_series;
  std::vector<std::string> paths;
  for (const auto& [name, value] : parse_text(text_of(snapshot_of(workloads), settings)))
    if (name.starts_with("slogate_retransmits_total"))
      paths.push_back(name.substr(name.find('"') + 1, 2));
    else if (name == "slogate_scrape_workloads_left_out")
      paths.push_back(fmt::format("and {}", value));
  return paths;
}

TEST(Limit, LeavesOutTheNewest) {
  const Counts counts = with_counter(SLOGATE_COUNTER_resets_in, 1);
  // Each has retransmits, segments, resets and harmful ones in and out, clients that are gone, and
  // overlapped requests: 9 series.
  const std::vector<Workload> rows = {workload("/c", counts, 1), workload("/a", counts, 2),
                                      workload("/b", counts, 3), workload("/0", {}, 4)};
  EXPECT_THAT(shown(rows, 27), ElementsAre("/a", "/b", "/c", "and 0"));
  EXPECT_THAT(shown(rows, 26), ElementsAre("/a", "/c", "and 1"));
  EXPECT_THAT(shown(rows, 18), ElementsAre("/a", "/c", "and 1"));
  EXPECT_THAT(shown(rows, 17), ElementsAre("/c", "and 2"));
  EXPECT_THAT(shown(rows, 8), ElementsAre("and 3"));
}

TEST(Limit, CountsAsTheFormatDoes) {
  const Snapshot snapshot = snapshot_of({workload("/a", busy()), workload("/b", busy())});
  for (const size_t more : {0, 1}) {
    ModelSink one;
    write_first(snapshot_of({workload("/a", busy())}), one);
    ModelSink agents_own;
    write_first(snapshot_of({}), agents_own);
    MetricsSettings settings;
    settings.max_series = 2 * (one.series() - agents_own.series()) - 1 + more;
    const Series series = parse_text(text_of(snapshot, settings));
    EXPECT_EQ(series.at("slogate_scrape_workloads_left_out"), 1 - static_cast<double>(more));
    EXPECT_EQ(one.series(), parse_text(text_of(snapshot_of({workload("/a", busy())}))).size());
  }
}

// ---- the answer ----

HttpRequest get(std::string accept = "", std::string accept_encoding = "") {
  HttpRequest request;
  request.method = "GET";
  request.path = "/metrics";
  request.accept = std::move(accept);
  request.accept_encoding = std::move(accept_encoding);
  return request;
}

std::string header(const HttpResponse& response, std::string_view name) {
  for (const auto& [key, value] : response.headers)
    if (key == name) return value;
  return "";
}

TEST(Exporter, AnswersInWhatWasAskedFor) {
  const auto snapshot = std::make_shared<const Snapshot>(full());
  Exporter exporter({});
  EXPECT_EQ(exporter.answer(get(), snapshot).status, 503);
  exporter.tick(*snapshot, {});
  EXPECT_EQ(exporter.answer(get(), nullptr).status, 503);
  HttpRequest wrong = get();
  wrong.path = "/";
  EXPECT_EQ(exporter.answer(wrong, snapshot).status, 404);
  wrong = get();
  wrong.method = "POST";
  EXPECT_EQ(exporter.answer(wrong, snapshot).status, 405);

  const HttpResponse text = exporter.answer(get(), snapshot);
  EXPECT_EQ(text.status, 200);
  EXPECT_EQ(text.content_type, kTextContentType);
  EXPECT_EQ(text.body, text_of(*snapshot));
  EXPECT_EQ(header(text, "Content-Encoding"), "");
  EXPECT_EQ(header(text, "Vary"), "Accept, Accept-Encoding");
  const HttpResponse native =
      exporter.answer(get(std::string(kNativeContentType), "gzip"), snapshot);
  EXPECT_EQ(native.content_type, kNativeContentType);
  EXPECT_EQ(header(native, "Content-Encoding"), "gzip");
  EXPECT_EQ(read_native(gunzip(native.body)).front().name, "slogate_request_duration_seconds");
}

TEST(Exporter, SaysWhetherTheAgentTicks) {
  HttpRequest probe = get();
  probe.path = "/healthz";
  Exporter exporter({});
  EXPECT_EQ(exporter.answer(probe, nullptr).status, 503);
  Snapshot snapshot = full();
  snapshot.agent.ticked = std::chrono::steady_clock::now().time_since_epoch();
  EXPECT_EQ(exporter.answer(probe, std::make_shared<const Snapshot>(snapshot)).status, 200);
  snapshot.agent.ticked -= std::chrono::minutes(1);
  EXPECT_EQ(exporter.answer(probe, std::make_shared<const Snapshot>(snapshot)).status, 503);
}

TEST(Exporter, TellsOfItsScrapes) {
  const auto snapshot = std::make_shared<const Snapshot>(full());
  Exporter exporter({});
  exporter.tick(*snapshot, {});
  const HttpResponse before = exporter.answer(get(), snapshot);
  const Series series = parse_text(exporter.answer(get(), snapshot).body);
  EXPECT_EQ(series.at(R"(slogate_scrapes_total{format="text"})"), 1);
  EXPECT_EQ(series.at(R"(slogate_scrapes_total{format="native"})"), 0);
  EXPECT_EQ(series.at(R"(slogate_scrape_bytes{format="text"})"), before.body.size());
  EXPECT_EQ(series.at(R"(slogate_scrape_series{format="text"})"), parse_text(before.body).size());
  EXPECT_GT(series.at(R"(slogate_scrape_seconds_total{format="text"})"), 0);
}

TEST(Exporter, AScrapeLetsWhatIsGoneGo) {
  const auto before = std::make_shared<const Snapshot>(full());
  const auto after = std::make_shared<const Snapshot>(snapshot_of({}));
  Exporter exporter({});
  exporter.tick(*before, {});
  for (int i = 0; i < 3; ++i) exporter.tick(*after, {});
  EXPECT_THAT(exporter.answer(get(), after).body, HasSubstr("/demo/canary"));
  exporter.tick(*after, {});
  EXPECT_THAT(exporter.answer(get(), after).body, Not(HasSubstr("/demo/canary")));
}

// Two workloads, of which one is the canary of an SLO.
Snapshot with_an_arm() {
  Snapshot snapshot = full();
  snapshot.workloads = {workload("/arm", busy(), 1), workload("/other", busy(), 2)};
  SloStatus status;
  status.slo.name = "demo";
  status.canary = {"/arm"};
  Verdicts verdicts;
  verdicts.slos.push_back(std::make_shared<const SloStatus>(std::move(status)));
  verdicts.list.push_back(std::make_shared<const Verdict>(Verdict{.slo = "demo"}));
  snapshot.verdicts = std::make_shared<const Verdicts>(std::move(verdicts));
  return snapshot;
}

TEST(Exporter, ItsPartsAreAllOfItOnce) {
  const Snapshot snapshot = with_an_arm();
  const Series all = parse_text(text_of(snapshot));
  const Series slos = parse_text(text_of(snapshot, {}, Part::Slos));
  Series both = parse_text(text_of(snapshot, {}, Part::Others));
  EXPECT_TRUE(slos.contains(R"(slogate_retransmits_total{cgroup="/arm"})"));
  EXPECT_TRUE(slos.contains(R"(slogate_slo_workload{arm="canary",cgroup="/arm",slo="demo"})"));
  EXPECT_TRUE(slos.contains(R"(slogate_verdict{slo="demo",verdict="hold"})"));
  EXPECT_TRUE(both.contains(R"(slogate_retransmits_total{cgroup="/other"})"));
  EXPECT_TRUE(both.contains("slogate_ticks_total"));
  for (const auto& [name, value] : slos) {
    const bool is_new = both.emplace(name, value).second;
    // Each part has a limit of its own.
    EXPECT_TRUE(is_new || name == "slogate_scrape_workloads_left_out") << name;
  }
  EXPECT_EQ(both, all);
}

HttpRequest get_part(std::string name, std::string value) {
  HttpRequest request = get();
  request.query = {{std::move(name), std::move(value)}};
  return request;
}

TEST(Exporter, RefusesAPartThatIsNone) {
  const auto snapshot = std::make_shared<const Snapshot>(with_an_arm());
  Exporter exporter({});
  exporter.tick(*snapshot, {});
  EXPECT_EQ(exporter.answer(get_part("part", "slos"), snapshot).body,
            text_of(*snapshot, {}, Part::Slos));
  EXPECT_EQ(exporter.answer(get_part("part", "slo"), snapshot).status, 400);
  EXPECT_EQ(exporter.answer(get_part("parts", "slos"), snapshot).status, 400);
  HttpRequest twice = get_part("part", "slos");
  twice.query.emplace_back("part", "others");
  EXPECT_EQ(exporter.answer(twice, snapshot).status, 400);
}

TEST(Exporter, WhatIsGoneStaysUntilBothPartsWereRead) {
  const auto before = std::make_shared<const Snapshot>(with_an_arm());
  const auto after = std::make_shared<const Snapshot>(snapshot_of({}));
  Exporter exporter({});
  const auto others = [&] { return exporter.answer(get_part("part", "others"), after).body; };
  exporter.tick(*before, {});
  for (int i = 0; i < 3; ++i) {
    exporter.tick(*after, {});
    EXPECT_EQ(exporter.answer(get_part("part", "slos"), after).status, 200);
  }
  EXPECT_THAT(others(), HasSubstr("/other"));
  exporter.tick(*after, {});
  EXPECT_THAT(others(), Not(HasSubstr("/other")));
}

TEST(Exporter, TakesNewSettings) {
  const auto snapshot = std::make_shared<const Snapshot>(full());
  Exporter exporter({});
  exporter.tick(*snapshot, {});
  MetricsSettings settings;
  settings.buckets.fill({160});
  exporter.apply(settings);
  const std::string text = exporter.answer(get(), snapshot).body;
  EXPECT_THAT(text, HasSubstr("le=\"1\""));
  EXPECT_THAT(text, Not(HasSubstr("le=\"2\"")));
}

// For ThreadSanitizer: tools/test --tsan.
TEST(Exporter, AnswersWhileTheAgentTicks) {
  const auto snapshot = std::make_shared<const Snapshot>(full());
  Exporter exporter({});
  exporter.tick(*snapshot, {});
  const std::jthread agent([&exporter, &snapshot](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      exporter.tick(*snapshot, {});
      exporter.apply({});
    }
  });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(exporter.answer(get(), snapshot).status, 200);
}

}  // namespace
}  // namespace slogate
