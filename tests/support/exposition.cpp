// SPDX-License-Identifier: Apache-2.0
#include "tests/support/exposition.h"

#include <charconv>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "exporter/text.h"

namespace slogate::support {

using std::chrono::milliseconds;

Snapshot snapshot_of(std::vector<Workload> workloads) {
  Snapshot snapshot;
  snapshot.agent.version = "0.1.0";
  snapshot.agent.kernel = "6.18.44";
  snapshot.workloads = std::move(workloads);
  snapshot.drop_reasons = std::make_shared<const std::vector<std::string>>(
      std::vector<std::string>{"", "", "", "NO_SOCKET", "", "TCP_CSUM"});
  return snapshot;
}

Workload workload(std::string path, const Counts& counts, uint64_t id) {
  Workload row;
  row.id = id != 0 ? id : std::hash<std::string>()(path);
  row.path = std::move(path);
  row.service = std::make_shared<const Counts>(counts);
  return row;
}

Counts with_counter(slogate_counter counter, uint64_t value) {
  Counts counts;
  counts.counters[counter] = value;
  return counts;
}

Counts busy() {
  Counts counts;
  for (Histogram& histogram : counts.histograms)
    for (uint64_t ns = 1000; ns < 40'000'000'000; ns *= 3) ++histogram[slogate_bucket(ns)];
  for (size_t i = 0; i < counts.counters.size(); ++i) counts.counters[i] = i + 1;
  counts.drops[0] = 1;
  counts.drops[3] = 2;
  return counts;
}

Snapshot full() {
  Workload row = workload("/demo/canary", busy());
  row.server = {.requests = 2, .oldest = milliseconds(1500)};
  Snapshot snapshot = snapshot_of({row, workload("/demo/stable", busy())});
  snapshot.agent.ticks = 12;
  snapshot.agent.total_ticks = milliseconds(3);
  snapshot.agent.lost[SLOGATE_SITE_no_storage] = 7;
  snapshot.maps.resize(2);
  snapshot.maps[0].name = "slogate_slab";
  snapshot.maps[0].entries = 16;
  snapshot.maps[0].capacity = 64;
  snapshot.maps[0].resizes = 1;
  snapshot.maps[1].name = "slogate_events";
  snapshot.maps[1].bytes = 262144;
  snapshot.probes.resize(2);
  snapshot.probes[0].probe = SLOGATE_PROBE_set_state;
  snapshot.probes[0].attached = true;
  snapshot.probes[0].missed = 0;
  snapshot.probes[0].runs = 4000;
  snapshot.probes[0].timed = 3;
  snapshot.probes[0].timed_total = std::chrono::nanoseconds(600);
  snapshot.probes[1].probe = SLOGATE_PROBE_data_ready;
  return snapshot;
}

void write_first(const Snapshot& snapshot, Sink& sink, const MetricsSettings& settings, Part part) {
  write_families(snapshot, *Ledger().tick(snapshot, 0, {}), settings, {}, part, sink);
}

std::string text_of(const Snapshot& snapshot, const MetricsSettings& settings, Part part) {
  Body body(false);
  TextSink sink(body);
  write_first(snapshot, sink, settings, part);
  return body.finish();
}

std::vector<prometheus::MetricFamily> model_of(const Snapshot& snapshot) {
  ModelSink sink;
  write_first(snapshot, sink);
  return sink.families();
}

Series parse_text(const std::string& text) {
  Series values;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#')) continue;
    const size_t space = line.rfind(' ');
    const std::string number = line.substr(space + 1);
    double value = 0;
    const auto done = std::from_chars(number.data(), number.data() + number.size(), value);
    if (done.ptr != number.data() + number.size()) throw std::runtime_error("no number: " + line);
    if (!values.emplace(line.substr(0, space), value).second)
      throw std::runtime_error("twice: " + line);
  }
  return values;
}

}  // namespace slogate::support
