// SPDX-License-Identifier: Apache-2.0
#include "exporter/workloads.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include "exporter/classic_histogram.h"

namespace slogate {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// What a workload did at all, and in which role.
struct Activity {
  bool any = false, server = false, client = false;

  void note(std::string_view role) {
    any = true;
    if (role == "server") server = true;
    if (role == "client") client = true;
  }
  [[nodiscard]] bool in(std::string_view role) const {
    return role == "server" ? server : role == "client" ? client : any;
  }
};

// One label set's sum, ready to be written.
struct Entry {
  const Labels* labels;
  const WorkloadSum* sum;
  Activity activity;
};

std::string_view role_of(const CounterInfo& counter) {
  return counter.label == "role" ? counter.value : counter.label2 == "role" ? counter.value2 : "";
}

Activity activity_of(const WorkloadSum& sum) {
  Activity activity;
  for (size_t i = 0; i < kSignals.size(); ++i)
    if (count(sum.counts->histograms[i]) != 0) activity.note(kSignals[i].role);
  for (size_t i = 0; i < kCounters.size(); ++i)
    if (sum.counts->counters[i] != 0) activity.note(role_of(kCounters[i]));
  if (std::any_of(sum.counts->drops.begin(), sum.counts->drops.end(), std::identity()))
    activity.note("");
  if (sum.server.requests != 0) activity.note("server");
  if (sum.client.requests != 0) activity.note("client");
  return activity;
}

void merge(Inflight& to, const Inflight& from) {
  to.requests += from.requests;
  to.oldest = std::max(to.oldest, from.oldest);
}

// `labels` with one more; none where the name is "".
Labels with(Labels labels, std::string_view name, std::string_view value) {
  if (!name.empty()) labels.push_back({std::string(name), label_value(value)});
  return labels;
}

ClientMetric series(Labels labels) {
  ClientMetric metric;
  metric.label = std::move(labels);
  return metric;
}

ClientMetric counter(Labels labels, uint64_t value) {
  ClientMetric metric = series(std::move(labels));
  metric.counter.value = static_cast<double>(value);
  return metric;
}

// The family of that name: the last one, as rows of a family stand together, or a new one.
MetricFamily& family_of(std::vector<MetricFamily>& families, std::string name, std::string help,
                        MetricType type) {
  if (families.empty() || families.back().name != name)
    families.push_back({std::move(name), std::move(help), type, {}});
  return families.back();
}

void add_histograms(std::vector<MetricFamily>& families, const std::vector<Entry>& entries) {
  for (size_t i = 0; i < kSignals.size(); ++i) {
    const SignalInfo& signal = kSignals[i];
    auto& family = family_of(
        families, std::string(signal.metric),
        fmt::format("{} The sum is an estimate, within 4.5 % between 1 us and 64 s.", signal.help),
        MetricType::Histogram);
    for (const Entry& entry : entries) {
      const Histogram& histogram = entry.sum->counts->histograms[i];
      if (count(histogram) == 0) continue;
      const std::string_view label = signal.role.empty() ? "" : "role";
      ClientMetric& metric =
          family.metric.emplace_back(series(with(*entry.labels, label, signal.role)));
      metric.histogram = to_classic(histogram);
    }
  }
}

void add_counters(std::vector<MetricFamily>& families, const std::vector<Entry>& entries) {
  for (size_t i = 0; i < kCounters.size(); ++i) {
    const CounterInfo& row = kCounters[i];
    auto& family = family_of(families, fmt::format("slogate_{}_total", row.family),
                             std::string(row.help), MetricType::Counter);
    for (const Entry& entry : entries) {
      if (!entry.activity.in(role_of(row))) continue;
      Labels labels = with(with(*entry.labels, row.label, row.value), row.label2, row.value2);
      family.metric.push_back(counter(std::move(labels), entry.sum->counts->counters[i]));
    }
  }
}

// Word 0 holds the reasons of subsystems and those past the end of the table.
std::string_view reason_name(const std::vector<std::string>& names, size_t reason) {
  if (reason == 0) return "OTHER";
  return reason < names.size() ? std::string_view(names[reason]) : "";
}

MetricFamily drops(const std::vector<Entry>& entries, const std::vector<std::string>& names) {
  MetricFamily family{"slogate_drops_total",
                      "Packets of the workload's sockets that the kernel dropped, by the running "
                      "kernel's name of the reason; OTHER are reasons of its subsystems.",
                      MetricType::Counter,
                      {}};
  for (const Entry& entry : entries) {
    for (size_t reason = 0; reason < SLOGATE_DROP_REASONS; ++reason) {
      const uint64_t value = entry.sum->counts->drops[reason];
      const std::string_view name = reason_name(names, reason);
      if (value != 0 && !name.empty())
        family.metric.push_back(counter(with(*entry.labels, "reason", name), value));
    }
  }
  return family;
}

// A gauge of each role's open requests.
MetricFamily inflight(std::string name, std::string help, const std::vector<Entry>& entries,
                      double (*value)(const Inflight&)) {
  MetricFamily family{std::move(name), std::move(help), MetricType::Gauge, {}};
  for (const Entry& entry : entries) {
    for (const std::string_view role : {"client", "server"}) {
      if (!entry.activity.in(role)) continue;
      const Inflight& open = role == "client" ? entry.sum->client : entry.sum->server;
      family.metric.emplace_back(series(with(*entry.labels, "role", role))).gauge.value =
          value(open);
    }
  }
  return family;
}

}  // namespace

WorkloadSums sum_by_labels(const std::vector<Workload>& workloads) {
  WorkloadSums sums;
  for (const Workload& workload : workloads) {
    WorkloadSum& sum = sums[workload_labels(workload)];
    if (sum.counts) {
      auto both = std::make_shared<Counts>(*sum.counts);
      *both += *workload.service;
      sum.counts = std::move(both);
    } else {
      sum.counts = workload.service;  // most labels have one owner: 10 KB less to copy
    }
    merge(sum.server, workload.server);
    merge(sum.client, workload.client);
  }
  return sums;
}

std::vector<MetricFamily> to_workload_families(const WorkloadSums& sums,
                                               const std::vector<std::string>& drop_reasons) {
  std::vector<Entry> entries;
  entries.reserve(sums.size());
  for (const auto& [labels, sum] : sums) entries.push_back({&labels, &sum, activity_of(sum)});

  std::vector<MetricFamily> families;
  add_histograms(families, entries);
  add_counters(families, entries);
  families.push_back(drops(entries, drop_reasons));
  families.push_back(
      inflight("slogate_inflight_requests", "Requests that have begun and have no answer yet.",
               entries, [](const Inflight& open) { return static_cast<double>(open.requests); }));
  families.push_back(inflight(
      "slogate_inflight_oldest_seconds",
      "Age of the oldest request without an answer, 0 when there is none.", entries,
      [](const Inflight& open) { return std::chrono::duration<double>(open.oldest).count(); }));
  return families;
}

}  // namespace slogate
