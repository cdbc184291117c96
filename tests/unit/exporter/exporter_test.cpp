// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <locale>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/canary/tally.h"
#include "exporter/text.h"
#include "tests/support/exposition.h"

namespace slogate {
namespace {

using namespace support;
using prometheus::MetricFamily;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const MetricFamily* find(const std::vector<MetricFamily>& families, std::string_view name) {
  const auto found = std::ranges::find(families, name, &MetricFamily::name);
  return found == families.end() ? nullptr : &*found;
}

Series series_of(const Snapshot& snapshot) {
  return parse_text(text_of(snapshot));
}

// Those of one family.
Series series_of(const Snapshot& snapshot, std::string_view family) {
  auto values = series_of(snapshot);
  std::erase_if(values, [&](const auto& entry) {
    return entry.first != family && !entry.first.starts_with(std::string(family) + '{');
  });
  return values;
}

// The classic buckets of a text by their edges, as it stands.
Series classic_of(const Histogram& histogram, const ClassicEdges& edges = octaves()) {
  Body body(false);
  TextSink sink(body);
  sink.begin_family({"h", "help", MetricType::histogram});
  sink.add("", "", histogram, edges);
  sink.finish();
  return parse_text(body.finish());
}

std::string bucket(double edge) {
  return fmt::format("h_bucket{{le=\"{}\"}}", edge);
}
constexpr const char* kInfinity = "h_bucket{le=\"+Inf\"}";

TEST(ClassicHistogram, EdgesAreWholePowersOfTwo) {
  const Series classic = classic_of({});
  EXPECT_EQ(classic.size(), 18u + 3);
  for (int i = -13; i <= 4; ++i) EXPECT_TRUE(classic.contains(bucket(std::ldexp(1, i)))) << i;
  for (const auto& [name, value] : classic) EXPECT_EQ(value, 0) << name;
}

TEST(ClassicHistogram, CountsAreExactToTheNanosecond) {
  // What lies on an edge is in its bucket, one nanosecond more is not.
  for (int octave = -13; octave < 4; ++octave) {
    const auto edge = static_cast<uint64_t>(std::ldexp(1e9, octave));
    Histogram histogram{};
    ++histogram[slogate_bucket(edge)];
    ++histogram[slogate_bucket(edge + 1)];
    const Series classic = classic_of(histogram);
    if (octave > -13) {
      EXPECT_EQ(classic.at(bucket(std::ldexp(1, octave - 1))), 0) << edge;
    }
    EXPECT_EQ(classic.at(bucket(std::ldexp(1, octave))), 1) << edge;
    EXPECT_EQ(classic.at(bucket(std::ldexp(1, octave + 1))), 2) << edge;
  }
}

TEST(ClassicHistogram, TheEndsTakeTheRest) {
  Histogram histogram{};
  histogram[0] = 3;                             // about 1 us and less
  histogram[SLOGATE_BUCKETS - 1] = 5;           // more than 64 s
  ++histogram[slogate_bucket(20'000'000'000)];  // past the last classic edge
  const Series classic = classic_of(histogram);
  EXPECT_EQ(classic.at(bucket(0x1p-13)), 3);
  EXPECT_EQ(classic.at(bucket(16)), 3);
  EXPECT_EQ(classic.at(kInfinity), 9);
  EXPECT_EQ(classic.at("h_count"), 9);
  EXPECT_EQ(classic.at("h_sum"), sum(histogram));
}

TEST(ClassicHistogram, HasTheEdgesThatAreAskedFor) {
  Histogram histogram{};
  for (size_t i = 0; i < histogram.size(); ++i) histogram[i] = 1;
  ClassicEdges all(SLOGATE_EDGES);
  std::iota(all.begin(), all.end(), size_t{0});
  const Series classic = classic_of(histogram, all);
  for (const size_t edge : all) EXPECT_EQ(classic.at(bucket(bucket_edge(edge))), edge + 1) << edge;
  EXPECT_EQ(classic_of(histogram, {}).size(), 3u);
  EXPECT_EQ(classic_of(histogram, {}).at(kInfinity), SLOGATE_BUCKETS);
}

TEST(ExporterLabels, KeepWhatIsUtf8AndEscapeTheRest) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"", ""},
      {"/kubepods.slice/dev\\x2ddisk", "/kubepods.slice/dev\\x2ddisk"},
      {"/a b\"\n", "/a b\"\n"},  // the serializer escapes these
      {"\u00e9\u20ac\U0001f600", "\u00e9\u20ac\U0001f600"},
      {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
      {"/a\xff/b", "/a\\xff/b"},
      {"\x80", "\\x80"},
      {"\xc0\xaf", "\\xc0\\xaf"},                    // overlong
      {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},           //
      {"\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf"},  //
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},           // a surrogate
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},  // past U+10FFFF
      {"\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80"},
      {"\xe2\x82", "\\xe2\\x82"},    // cut off
      {"\xe2\x82x", "\\xe2\\x82x"},  //
      {"\xc3\xa9\xc3", "\u00e9\\xc3"},
  };
  for (const auto& [text, value] : rows) EXPECT_EQ(label_value(text), value);
}

TEST(ExporterLabels, AWorkloadWithoutPathIsUnknown) {
  EXPECT_THAT(workload_labels(workload("/a", {})), ElementsAre(Label{"cgroup", "/a"}));
  EXPECT_THAT(workload_labels(workload("", {})), ElementsAre(Label{"cgroup", "unknown"}));
}

TEST(ExporterFamilies, AreThoseOfTheContract) {
  std::vector<std::string> names;
  for (const MetricFamily& family : model_of(full())) names.push_back(family.name);
  EXPECT_THAT(
      names,
      ElementsAre("slogate_request_duration_seconds", "slogate_queue_duration_seconds",
                  "slogate_connect_duration_seconds", "slogate_rtt_seconds",
                  "slogate_failed_request_duration_seconds", "slogate_answer_duration_seconds",
                  "slogate_connections_total", "slogate_used_connections_total",
                  "slogate_unmeasured_connections_total", "slogate_connection_errors_total",
                  "slogate_retransmits_total", "slogate_segments_total", "slogate_resets_total",
                  "slogate_harmful_resets_total", "slogate_unanswered_requests_total",
                  "slogate_client_gone_total", "slogate_overlapped_requests_total",
                  "slogate_listener_gaps_total", "slogate_answers_total",
                  "slogate_tls_handshakes_total", "slogate_streams_reset_total",
                  "slogate_streams_missed_total", "slogate_goaways_total", "slogate_drops_total",
                  "slogate_inflight_requests", "slogate_inflight_oldest_seconds",
                  "slogate_scrape_workloads_left_out", "slogate_lost_samples_total",
                  "slogate_cpu_ratio", "slogate_bpf_map_entries", "slogate_bpf_map_capacity",
                  "slogate_bpf_map_bytes", "slogate_bpf_map_pressure_ratio",
                  "slogate_bpf_map_resizes_total", "slogate_bpf_program_attached",
                  "slogate_bpf_program_runs_total", "slogate_bpf_program_skipped_runs_total",
                  "slogate_bpf_program_missed_runs_total", "slogate_bpf_program_run_seconds_total",
                  "slogate_ticks_total", "slogate_tick_seconds_total", "slogate_cpu_budget_ratio",
                  "slogate_watched_connections_ratio", "slogate_refused_system_calls_total",
                  "slogate_scrapes_total", "slogate_scrape_seconds_total", "slogate_scrape_bytes",
                  "slogate_scrape_series", "slogate_build_info", "slogate_slos_invalid"));
}

TEST(ExporterFamilies, AllHaveOneLineOfHelp) {
  for (const MetricFamily& family : model_of(full())) {
    EXPECT_THAT(family.help, Not(IsEmpty())) << family.name;
    // The serializer writes help as it stands.
    EXPECT_EQ(family.help.find_first_of("\n\\"), std::string::npos) << family.name;
  }
}

TEST(ExporterFamilies, OfNothingAreTheAgentsOwn) {
  EXPECT_THAT(series_of(snapshot_of({workload("/idle", {})})),
              testing::ContainerEq(Series{
                  {"slogate_build_info{version=\"0.1.0\",kernel=\"6.18.44\"}", 1},
                  {"slogate_slos_invalid", 0},
                  {"slogate_lost_samples_total{site=\"index_full\"}", 0},
                  {"slogate_lost_samples_total{site=\"no_name\"}", 0},
                  {"slogate_lost_samples_total{site=\"no_roll\"}", 0},
                  {"slogate_lost_samples_total{site=\"no_slot\"}", 0},
                  {"slogate_lost_samples_total{site=\"no_stream\"}", 0},
                  {"slogate_lost_samples_total{site=\"no_storage\"}", 0},
                  {"slogate_scrape_bytes{format=\"native\"}", 0},
                  {"slogate_scrape_bytes{format=\"text\"}", 0},
                  {"slogate_scrape_seconds_total{format=\"native\"}", 0},
                  {"slogate_scrape_seconds_total{format=\"text\"}", 0},
                  {"slogate_scrape_series{format=\"native\"}", 0},
                  {"slogate_scrape_series{format=\"text\"}", 0},
                  {"slogate_scrape_workloads_left_out", 0},
                  {"slogate_scrapes_total{format=\"native\"}", 0},
                  {"slogate_scrapes_total{format=\"text\"}", 0},
                  {"slogate_refused_system_calls_total", 0},
                  {"slogate_tick_seconds_total", 0},
                  {"slogate_ticks_total", 0},
                  {"slogate_cpu_ratio{part=\"agent\"}", 0},
                  {"slogate_cpu_ratio{part=\"programs\"}", 0},
                  {"slogate_cpu_budget_ratio", 1},
                  {"slogate_watched_connections_ratio", 1},
              }));
}

TEST(ExporterFamilies, AreInOneOrder) {
  Snapshot there = full(), back = there;
  std::ranges::reverse(back.workloads.edit());
  std::ranges::reverse(back.maps);
  std::ranges::reverse(back.probes);
  EXPECT_EQ(text_of(there), text_of(back));
  for (const MetricFamily& family : model_of(back))
    EXPECT_TRUE(std::ranges::is_sorted(family.metric, {}, &prometheus::ClientMetric::label))
        << family.name;
}

TEST(ExporterFamilies, HoldFiniteNumbers) {
  for (const auto& [name, value] : series_of(full())) EXPECT_TRUE(std::isfinite(value)) << name;
}

TEST(ExporterHistograms, ReadBackExactly) {
  Counts counts;
  Histogram& histogram = counts.histograms[SLOGATE_SIGNAL_client_request];
  histogram[slogate_bucket(1'000'000)] = 3;
  histogram[slogate_bucket(3'000'000'000)] = 2;
  const Snapshot snapshot = snapshot_of({workload("/a", counts)});
  const auto buckets = series_of(snapshot, "slogate_request_duration_seconds_bucket");
  ASSERT_EQ(buckets.size(), 19u);
  std::set<double> edges;
  for (const auto& [name, value] : buckets) {
    const std::string prefix =
        R"(slogate_request_duration_seconds_bucket{cgroup="/a",role="client",le=")";
    ASSERT_TRUE(name.starts_with(prefix)) << name;
    std::string edge = name.substr(prefix.size());
    edge.resize(edge.find('"'));
    const double le =
        edge == "+Inf" ? std::numeric_limits<double>::infinity() : std::strtod(edge.c_str(), {});
    edges.insert(le);
    EXPECT_EQ(value, (le >= 0x1p-9 ? 3 : 0) + (le >= 4 ? 2 : 0)) << name;
  }
  for (int octave = -13; octave <= 4; ++octave) EXPECT_TRUE(edges.contains(std::ldexp(1, octave)));

  const std::string labels = R"({cgroup="/a",role="client"})";
  EXPECT_EQ(series_of(snapshot, "slogate_request_duration_seconds_count"),
            (Series{{"slogate_request_duration_seconds_count" + labels, 5}}));
  const auto sums = series_of(snapshot, "slogate_request_duration_seconds_sum");
  ASSERT_EQ(sums.size(), 1u);
  EXPECT_DOUBLE_EQ(sums.begin()->second, sum(histogram));
}

TEST(ExporterHistograms, WithoutAValueHaveNoSeries) {
  Counts counts;
  counts.histograms[SLOGATE_SIGNAL_rtt][9] = 1;
  const auto families = model_of(snapshot_of({workload("/a", counts)}));
  EXPECT_NE(find(families, "slogate_rtt_seconds"), nullptr);
  EXPECT_EQ(find(families, "slogate_request_duration_seconds"), nullptr);
  EXPECT_EQ(find(families, "slogate_queue_duration_seconds"), nullptr);
}

TEST(ExporterCounters, OfARoleComeTogetherWithItsFirstSign) {
  const Series server = {
      {R"(slogate_connection_errors_total{cgroup="/a",role="server",error="listen_overflow"})", 0},
      {R"(slogate_connection_errors_total{cgroup="/a",role="server",error="other"})", 0},
      {R"(slogate_connection_errors_total{cgroup="/a",role="server",error="refused"})", 0},
      {R"(slogate_connection_errors_total{cgroup="/a",role="server",error="reset"})", 0},
      {R"(slogate_connection_errors_total{cgroup="/a",role="server",error="timed_out"})", 0},
      {R"(slogate_connection_errors_total{cgroup="/a",role="server",error="unreachable"})", 0},
  };
  const auto errors = [](const Workload& row) {
    return series_of(snapshot_of({row}), "slogate_connection_errors_total");
  };
  Counts answered;
  answered.histograms[SLOGATE_SIGNAL_request][50] = 1;
  Workload hung = workload("/a", {});
  hung.server.requests = 1;
  EXPECT_EQ(errors(workload("/a", with_counter(SLOGATE_COUNTER_connections_server, 1))), server);
  EXPECT_EQ(errors(workload("/a", with_counter(SLOGATE_COUNTER_unanswered_server, 1))), server);
  EXPECT_EQ(errors(workload("/a", answered)), server);
  EXPECT_EQ(errors(hung), server);
  EXPECT_THAT(errors(workload("/a", with_counter(SLOGATE_COUNTER_segments_in, 1))), IsEmpty());

  const auto refused = errors(workload("/a", with_counter(SLOGATE_COUNTER_client_refused, 4)));
  EXPECT_EQ(refused.size(), 5u);
  EXPECT_EQ(
      refused.at(R"(slogate_connection_errors_total{cgroup="/a",role="client",error="refused"})"),
      4);
}

TEST(ExporterCounters, WithoutRoleComeWithAnySign) {
  const Series retransmits = {{R"(slogate_retransmits_total{cgroup="/a"})", 0}};
  Counts dropped;
  dropped.drops[3] = 1;
  for (const Counts& counts : {dropped, with_counter(SLOGATE_COUNTER_resets_in, 1)}) {
    const Snapshot snapshot = snapshot_of({workload("/a", counts)});
    EXPECT_EQ(series_of(snapshot, "slogate_retransmits_total"), retransmits);
    EXPECT_EQ(series_of(snapshot, "slogate_segments_total").size(), 2u);
    EXPECT_THAT(series_of(snapshot, "slogate_connections_total"), IsEmpty());
  }
}

TEST(ExporterCounters, LostSamplesAreTheAgentsBySite) {
  EXPECT_EQ(series_of(full(), "slogate_lost_samples_total"),
            (Series{{R"(slogate_lost_samples_total{site="index_full"})", 0},
                    {R"(slogate_lost_samples_total{site="no_name"})", 0},
                    {R"(slogate_lost_samples_total{site="no_roll"})", 0},
                    {R"(slogate_lost_samples_total{site="no_slot"})", 0},
                    {R"(slogate_lost_samples_total{site="no_storage"})", 7},
                    {R"(slogate_lost_samples_total{site="no_stream"})", 0}}));
}

// What the rules for Prometheus sum by family and label is what a node judges.
TEST(ExporterCounters, MakeTheRatiosThatANodeJudges) {
  Counts counts;
  // No two sums of a few of them are the same.
  for (size_t i = 0; i < counts.counters.size(); ++i) counts.counters[i] = 1000 + i * i * i;
  counts.drops[0] = 7;    // of a subsystem
  counts.drops[3] = 700;  // named
  const Series series = series_of(snapshot_of({workload("/a", counts)}));
  const auto sum = [&](const CounterSum& terms) {
    double total = 0;
    for (const CounterTerm& term : terms)
      for (const auto& [name, value] : series) {
        const auto has = [&](std::string_view label, std::string_view of) {
          return label.empty() || name.contains(fmt::format("{}=\"{}\"", label, of));
        };
        if (name.starts_with(fmt::format("slogate_{}_total{{", term.family)) &&
            std::ranges::all_of(term.labels(),
                                [&](const auto& one) { return has(one.name, one.value); }))
          total += term.subtracted ? -value : value;
      }
    return total;
  };
  for (size_t i = 0; i < kJudgedRatios.size(); ++i) {
    const RatioTally ratio = to_ratio(counts, static_cast<RatioSignal>(i));
    const double events = sum(kJudgedRatios[i].events);
    EXPECT_EQ(static_cast<double>(ratio.events), events) << kJudgedRatios[i].name;
    EXPECT_EQ(static_cast<double>(ratio.exposures),
              std::max(events, sum(kJudgedRatios[i].exposures)))
        << kJudgedRatios[i].name;
  }
}

// Most of these rows no workload ever has: those of a role and protocol come together, with the
// first of them.
TEST(ExporterCounters, AnswersAreThoseOfTheProtocolsInUse) {
  Counts counts;
  counts.counters[SLOGATE_COUNTER_server_redis_miss] = 3;
  const Series series = series_of(snapshot_of({workload("/a", counts)}));
  std::map<std::string, double> found;
  for (const auto& [name, value] : series)
    if (name.starts_with("slogate_answers_total") || name.starts_with("slogate_tls_handshakes"))
      found.emplace(name, value);
  EXPECT_EQ(found.size(), 6U);
  for (const auto& [name, value] : found) {
    EXPECT_THAT(name, HasSubstr(R"(role="server")"));
    EXPECT_THAT(name, HasSubstr(R"(protocol="redis")"));
    EXPECT_EQ(value, name.contains(R"(outcome="miss")") ? 3 : 0) << name;
  }
  counts.counters[SLOGATE_COUNTER_client_tls_failed] = 1;
  const Series more = series_of(snapshot_of({workload("/a", counts)}));
  EXPECT_EQ(
      std::ranges::count_if(
          more, [](const auto& one) { return one.first.starts_with("slogate_tls_handshakes"); }),
      3);
}

TEST(ExporterDrops, HaveTheKernelsNames) {
  Counts counts;
  counts.drops[0] = 1;                         // of a subsystem
  counts.drops[3] = 2;                         // named
  counts.drops[4] = 3;                         // does not count as a drop
  counts.drops[SLOGATE_DROP_REASONS - 1] = 4;  // past the names
  EXPECT_EQ(series_of(snapshot_of({workload("/a", counts)}), "slogate_drops_total"),
            (Series{{R"(slogate_drops_total{cgroup="/a",reason="OTHER"})", 1},
                    {R"(slogate_drops_total{cgroup="/a",reason="NO_SOCKET"})", 2}}));
}

TEST(ExporterWorkloads, OfOneLabelSetAreSummed) {
  const Counts one = busy();
  Workload a = workload("", one, 1), b = workload("", one, 2);
  a.server = {.requests = 2, .oldest = milliseconds(250)};
  b.server = {.requests = 3, .oldest = milliseconds(1500)};
  b.gone = true;
  const auto values =
      series_of(snapshot_of({a, b}));  // parse_text() throws at a repeated label set
  EXPECT_EQ(values.at(R"(slogate_request_duration_seconds_count{cgroup="unknown",role="server"})"),
            2 * count(one.histograms[SLOGATE_SIGNAL_request]));
  EXPECT_EQ(values.at(R"(slogate_retransmits_total{cgroup="unknown"})"),
            2 * one.counters[SLOGATE_COUNTER_retransmits]);
  EXPECT_EQ(values.at(R"(slogate_drops_total{cgroup="unknown",reason="NO_SOCKET"})"), 4);
  EXPECT_EQ(values.at(R"(slogate_inflight_requests{cgroup="unknown",role="server"})"), 5);
  EXPECT_EQ(values.at(R"(slogate_inflight_oldest_seconds{cgroup="unknown",role="server"})"), 1.5);
  EXPECT_EQ(*a.service, one) << "the snapshot must not change";
}

TEST(ExporterWorkloads, HaveOnlyTheirServiceInTheMetrics) {
  const auto probe = std::make_shared<const Counts>(busy());
  Workload row = workload("/a", with_counter(SLOGATE_COUNTER_connections_server, 1));
  row.others.emplace_back(SLOGATE_CLASS_probe, probe);
  Workload without = row;
  without.others.clear();
  EXPECT_EQ(series_of(snapshot_of({row})), series_of(snapshot_of({without})));
}

TEST(ExporterInflight, FollowsTheRoles) {
  Workload row = workload("/a", with_counter(SLOGATE_COUNTER_connections_client, 1));
  row.server = {.requests = 2, .oldest = milliseconds(1500)};
  EXPECT_EQ(series_of(snapshot_of({row}), "slogate_inflight_requests"),
            (Series{{R"(slogate_inflight_requests{cgroup="/a",role="client"})", 0},
                    {R"(slogate_inflight_requests{cgroup="/a",role="server"})", 2}}));
  EXPECT_EQ(series_of(snapshot_of({row}), "slogate_inflight_oldest_seconds"),
            (Series{{R"(slogate_inflight_oldest_seconds{cgroup="/a",role="client"})", 0},
                    {R"(slogate_inflight_oldest_seconds{cgroup="/a",role="server"})", 1.5}}));
}

TEST(ExporterAgent, TellsOfItsMapsProgramsAndTicks) {
  const auto values = series_of(full());
  EXPECT_EQ(values.at(R"(slogate_bpf_map_entries{map="slogate_slab"})"), 16);
  EXPECT_EQ(values.at(R"(slogate_bpf_map_capacity{map="slogate_slab"})"), 64);
  EXPECT_EQ(values.at(R"(slogate_bpf_map_pressure_ratio{map="slogate_slab"})"), 0.25);
  EXPECT_EQ(values.at(R"(slogate_bpf_map_resizes_total{map="slogate_slab"})"), 1);
  EXPECT_EQ(values.at(R"(slogate_bpf_map_bytes{map="slogate_events"})"), 262144);
  EXPECT_FALSE(values.contains(R"(slogate_bpf_map_capacity{map="slogate_events"})"));
  EXPECT_FALSE(values.contains(R"(slogate_bpf_map_pressure_ratio{map="slogate_events"})"));
  EXPECT_EQ(values.at(R"(slogate_bpf_program_attached{program="set_state"})"), 1);
  EXPECT_EQ(values.at(R"(slogate_bpf_program_attached{program="data_ready"})"), 0);
  EXPECT_EQ(values.at(R"(slogate_bpf_program_runs_total{program="set_state"})"), 4000);
  EXPECT_DOUBLE_EQ(values.at(R"(slogate_bpf_program_run_seconds_total{program="set_state"})"),
                   600e-9 * 1024);
  EXPECT_EQ(values.at(R"(slogate_bpf_program_run_seconds_total{program="data_ready"})"), 0);
  EXPECT_EQ(values.at("slogate_ticks_total"), 12);
  EXPECT_EQ(values.at("slogate_tick_seconds_total"), 0.003);
}

TEST(ExporterAgent, SaysWhatItCostsAndLeavesOut) {
  Snapshot snapshot = full();
  snapshot.agent.cpu = {
      .budget = 0.005, .agent = 0.002, .programs = 0.01, .step = 2, .watched = 0.5};
  snapshot.probes.front().skipped = 5;
  snapshot.probes.front().missed = 3;
  const auto values = parse_text(text_of(snapshot));
  EXPECT_EQ(values.at("slogate_cpu_budget_ratio"), 0.005);
  EXPECT_EQ(values.at("slogate_watched_connections_ratio"), 0.5);
  EXPECT_EQ(values.at(R"(slogate_cpu_ratio{part="agent"})"), 0.002);
  EXPECT_EQ(values.at(R"(slogate_cpu_ratio{part="programs"})"), 0.01);
  EXPECT_EQ(values.at(R"(slogate_bpf_program_skipped_runs_total{program="set_state"})"), 5);
  EXPECT_EQ(values.at(R"(slogate_bpf_program_missed_runs_total{program="set_state"})"), 3);
  EXPECT_FALSE(values.contains(R"(slogate_bpf_program_missed_runs_total{program="data_ready"})"));
}

TEST(ExporterAgent, RunTimeNeverFallsWhenAQuickRunLowersTheMean) {
  Snapshot snapshot = full();
  const auto run_seconds = [&] {
    return series_of(snapshot, "slogate_bpf_program_run_seconds_total")
        .at(R"(slogate_bpf_program_run_seconds_total{program="set_state"})");
  };
  ProbeStatus& probe = snapshot.probes.front();
  probe.runs = 2047, probe.timed = 1, probe.timed_total = std::chrono::nanoseconds(1000);
  const double before = run_seconds();
  probe.runs = 2048, probe.timed = 2, probe.timed_total = std::chrono::nanoseconds(1010);
  EXPECT_GT(run_seconds(), before);
}

TEST(ExporterText, WritesLargeCountsInFull) {
  const uint64_t large = (uint64_t{1} << 53) - 1;
  const Snapshot snapshot =
      snapshot_of({workload("/a", with_counter(SLOGATE_COUNTER_segments_in, large))});
  EXPECT_THAT(
      text_of(snapshot),
      HasSubstr("slogate_segments_total{cgroup=\"/a\",direction=\"in\"} 9007199254740991\n"));
}

TEST(ExporterText, KeepsAHostilePathInItsLabel) {
  const Snapshot snapshot = snapshot_of(
      {workload("/a\"} 1\nevil_total{x=\"\\\xff", with_counter(SLOGATE_COUNTER_retransmits, 1))});
  const std::string text = text_of(snapshot);
  EXPECT_THAT(text,
              HasSubstr(R"(slogate_retransmits_total{cgroup="/a\"} 1\nevil_total{x=\"\\\\xff"} 1)"
                        "\n"));
  EXPECT_THAT(text, Not(HasSubstr("\nevil_total")));
}

// Some locale with a comma, whichever are installed.
struct Comma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST(ExporterText, DoesNotDependOnTheLocale) {
  const std::string before = text_of(full());
  const std::locale saved = std::locale::global(std::locale(std::locale::classic(), new Comma));
  const std::string after = text_of(full());
  std::locale::global(saved);
  EXPECT_EQ(before, after);
}

// A file for as long as a test needs it.
class TempFile {
 public:
  explicit TempFile(const std::string& text)
      : path_(testing::TempDir() + "slogate_exporter_test." + std::to_string(getpid())) {
    std::ofstream(path_) << text;
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  ~TempFile() { (void)std::remove(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// What a shell command writes, and its exit status.
std::pair<std::string, int> run(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {"popen failed", -1};
  std::string output;
  std::array<char, 4096> block;
  while (const size_t got = fread(block.data(), 1, block.size(), pipe))
    output.append(block.data(), got);
  const int status = pclose(pipe);
  return {output, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
}

TEST(ExporterText, IsCleanForPromtool) {
  if (run("command -v promtool").second != 0) GTEST_SKIP() << "promtool is not installed";
  Snapshot snapshot = full();
  snapshot.workloads.edit().push_back(workload("", busy()));
  snapshot.workloads.edit().push_back(workload("/odd \"\\\n\xff\xe2\x82 \u20ac", busy()));
  const TempFile file(text_of(snapshot));
  const auto [output, status] = run("promtool check metrics < '" + file.path() + "'");
  EXPECT_EQ(status, 0) << output;
  EXPECT_EQ(output, "");
}

}  // namespace
}  // namespace slogate
