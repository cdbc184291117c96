// SPDX-License-Identifier: Apache-2.0
// Renders scrapes of a node whose workloads do everything there is, and prints a line of JSON for
// each format: bytes, and CPU time as the median of the rounds, in which the formats take turns;
// and one for what the ledger takes of a tick in which all of them counted something. Usage:
// bench_scrape WORKLOADS ROUNDS
#include <fmt/format.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <random>

#include "exporter/native.h"
#include "exporter/text.h"
#include "tests/support/exposition.h"

namespace slogate {
namespace {

// Lognormal latencies fill 30 or so buckets.
void fill(Histogram& histogram, double median_seconds, std::minstd_rand& random) {
  std::lognormal_distribution<double> latency(std::log(median_seconds), 0.5);
  for (int i = 0; i < 3000; ++i)
    ++histogram[slogate_bucket(static_cast<uint64_t>(latency(random) * 1e9))];
}

Snapshot node(size_t workloads) {
  std::minstd_rand random(20'261'121);
  Snapshot snapshot = support::full();
  snapshot.workloads.edit().clear();
  for (size_t i = 0; i < workloads; ++i) {
    Counts counts;
    for (size_t s = 0; s < SLOGATE_SIGNALS; ++s)
      fill(counts.histograms[s], 1e-3 * static_cast<double>(s + 1), random);
    for (uint64_t& counter : counts.counters) counter = random() % 100'000;
    for (size_t reason : {0, 3, 5}) counts.drops[reason] = 1 + random() % 100;
    const std::string path = fmt::format(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{:08x}.slice/"
        "cri-containerd-{:016x}.scope",
        random(), uint64_t{random()} << 32 | random());
    snapshot.workloads.edit().push_back(support::workload(path, counts, i + 1));
  }
  return snapshot;
}

double cpu_ms() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

// One way to answer a scrape.
struct Way {
  const char* name;
  bool gzip;
  std::string (*render)(const Snapshot&, const Sheet&, const MetricsSettings&, bool gzip);
  std::vector<double> ms = {};
  size_t bytes = 0;
};

template <typename SinkOfFormat>
std::string render(const Snapshot& snapshot, const Sheet& sheet, const MetricsSettings& settings,
                   bool gzip) {
  Body body(gzip);
  SinkOfFormat sink(body);
  write_families(snapshot, sheet, settings, {}, Part::All, sink);
  return body.finish();
}

std::string render_by_prometheus_cpp(const Snapshot& snapshot, const Sheet& sheet,
                                     const MetricsSettings& settings, bool gzip) {
  support::ModelSink sink;
  write_families(snapshot, sheet, settings, {}, Part::All, sink);
  Body body(gzip);
  body.write(prometheus::TextSerializer().Serialize(sink.families()));
  return body.finish();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return (values[values.size() / 2] + values[(values.size() - 1) / 2]) / 2;
}

// The same node when each workload has counted one more of something.
void count_on(Snapshot& snapshot) {
  for (Workload& workload : snapshot.workloads.edit()) {
    auto counts = std::make_shared<Counts>(*workload.service);
    ++counts->counters.back();
    workload.service = std::move(counts);
  }
}

void run(size_t workloads, size_t rounds) {
  Snapshot snapshot = node(workloads);
  Ledger ledger;
  std::vector<double> ticks;
  MetricsSettings settings;
  settings.max_series = SIZE_MAX;
  Way ways[] = {{"text by prometheus-cpp", false, render_by_prometheus_cpp},
                {"text by prometheus-cpp", true, render_by_prometheus_cpp},
                {"text", false, render<TextSink>},
                {"text", true, render<TextSink>},
                {"native", false, render<NativeSink>},
                {"native", true, render<NativeSink>}};
  for (size_t round = 0; round < rounds; ++round) {
    count_on(snapshot);
    const double tick = cpu_ms();
    const auto sheet = ledger.tick(snapshot, 0, {});
    ticks.push_back(cpu_ms() - tick);
    for (Way& way : ways) {
      const double begin = cpu_ms();
      way.bytes = way.render(snapshot, *sheet, settings, way.gzip).size();
      way.ms.push_back(cpu_ms() - begin);
    }
  }
  for (const Way& way : ways)
    fmt::print(
        "{{\"format\": \"{}\", \"gzip\": {}, \"workloads\": {}, \"rounds\": {}, \"bytes\": {}, "
        "\"cpu_ms\": {:.2f}, \"worst_cpu_ms\": {:.2f}}}\n",
        way.name, way.gzip, workloads, rounds, way.bytes, median(way.ms), std::ranges::max(way.ms));
  fmt::print("{{\"ledger_cpu_ms\": {:.2f}}}\n", median(ticks));
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  const size_t workloads = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1000;
  const size_t rounds = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 11;
  if (workloads == 0 || rounds == 0) {
    fmt::print(stderr, "usage: bench_scrape WORKLOADS ROUNDS\n");
    return 64;
  }
  slogate::run(workloads, rounds);
}
