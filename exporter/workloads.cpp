// SPDX-License-Identifier: Apache-2.0
#include "exporter/workloads.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "agent/base/tick_time.h"

namespace slogate {
namespace {

constexpr std::array<std::string_view, 2> kRoles = {"client", "server"};

// One gauge of each role's open requests.
struct InflightMetric {
  std::string_view name, help;
  double (*value)(const Inflight&);
};
constexpr std::array<InflightMetric, 2> kInflightMetrics = {{
    {"slogate_inflight_requests", "Requests that have begun and have no answer yet.",
     [](const Inflight& open) { return static_cast<double>(open.requests); }},
    {"slogate_inflight_oldest_seconds",
     "Age of the oldest request without an answer, 0 when there is none.",
     [](const Inflight& open) { return seconds(open.oldest); }},
}};

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

// Of these families most workloads have few rows or none: those of one role and protocol are
// written together, once one of them has counted.
constexpr bool is_sparse(const CounterInfo& counter) {
  return counter.family == "answers" || counter.family == "tls_handshakes" ||
         counter.family == "streams_reset" || counter.family == "streams_missed" ||
         counter.family == "goaways";
}

// Alike but for the last label that they have.
constexpr bool are_together(const CounterInfo& a, const CounterInfo& b) {
  if (a.family != b.family) return false;
  for (size_t i = 0; i + 1 < a.labels.size() && !a.labels[i + 1].name.empty(); ++i)
    if (a.labels[i] != b.labels[i]) return false;
  return true;
}

// For each counter the first of those that are written with it; itself where it is written alone.
constexpr std::array<size_t, kCounters.size()> find_groups() {
  std::array<size_t, kCounters.size()> groups{};
  for (size_t i = 0; i < kCounters.size(); ++i) {
    groups[i] = i;
    for (size_t other = 0; is_sparse(kCounters[i]) && other < i; ++other)
      if (are_together(kCounters[i], kCounters[other])) {
        groups[i] = groups[other];
        break;
      }
  }
  return groups;
}
constexpr std::array<size_t, kCounters.size()> kGroups = find_groups();

// One row of the sheet, ready to be written.
struct Entry {
  const SheetRow* row;
  std::array<bool, SLOGATE_SIGNALS> measured{};  // signals with at least one value
  std::array<bool, kCounters.size()> counted{};  // by group
  Activity activity;
  std::string labels;
};

std::string_view role_of(const CounterInfo& counter) {
  return counter.value_of("role");
}

Entry to_entry(const SheetRow& row) {
  const auto is_set = [](uint64_t count) { return count != 0; };
  Entry entry{.row = &row};
  Activity& activity = entry.activity;
  for (size_t i = 0; i < kSignals.size(); ++i) {
    entry.measured[i] = !row.counts->histograms[i].is_zero();
    if (entry.measured[i]) activity.note(kSignals[i].role);
  }
  for (size_t i = 0; i < kCounters.size(); ++i) {
    if (!is_set(row.counts->counters[i])) continue;
    activity.note(role_of(kCounters[i]));
    entry.counted[kGroups[i]] = true;
  }
  if (!row.counts->drops.is_zero()) activity.note("");
  if (row.server.requests != 0) activity.note("server");
  if (row.client.requests != 0) activity.note("client");
  return entry;
}

bool is_shown(const Entry& entry, size_t counter) {
  return is_sparse(kCounters[counter]) ? entry.counted[kGroups[counter]]
                                       : entry.activity.in(role_of(kCounters[counter]));
}

// A drop reason that counts as one.
struct DropReason {
  size_t number;
  std::string_view name;
};

// By name. Word 0 holds the reasons of subsystems and those past the end of the table.
std::vector<DropReason> sorted_reasons(const std::vector<std::string>& names) {
  std::vector<DropReason> reasons = {{0, "OTHER"}};
  for (size_t i = 1; i < std::min<size_t>(names.size(), SLOGATE_DROP_REASONS); ++i)
    if (!names[i].empty()) reasons.push_back({i, names[i]});
  std::ranges::sort(reasons, {}, &DropReason::name);
  return reasons;
}

// How many series the functions below write of one workload.
size_t series_of(const Entry& entry, std::span<const DropReason> reasons,
                 const MetricsSettings& settings, const Sink& sink) {
  size_t series = 0;
  for (size_t i = 0; i < kSignals.size(); ++i)
    if (entry.measured[i]) series += sink.series_of_histogram(settings.buckets[i].size());
  for (size_t i = 0; i < kCounters.size(); ++i) series += is_shown(entry, i) ? 1 : 0;
  for (const DropReason& reason : reasons) series += entry.row->counts->drops[reason.number] != 0;
  for (const std::string_view role : kRoles)
    series += entry.activity.in(role) ? kInflightMetrics.size() : 0;
  return series;
}

// Those that the limit allows, in their order. Where it does not allow all, those stay that were
// seen first: a newcomer pushes nobody out, and whoever is left out stays so until there is room.
std::vector<Entry> within_limit(std::vector<Entry> entries, std::span<const DropReason> reasons,
                                const MetricsSettings& settings, const Sink& sink) {
  std::vector<std::pair<uint64_t, size_t>> sizes;
  sizes.reserve(entries.size());
  for (const Entry& entry : entries)
    sizes.emplace_back(entry.row->number, series_of(entry, reasons, settings, sink));
  std::ranges::sort(sizes);
  size_t series = 0;
  const auto first_out = std::ranges::find_if(
      sizes, [&](const auto& size) { return (series += size.second) > settings.max_series; });
  if (first_out != sizes.end())
    std::erase_if(entries,
                  [&](const Entry& entry) { return entry.row->number >= first_out->first; });
  return entries;
}

// Rows of a table that make up one family, with their labels: in the order of these, as the series
// of each workload are.
struct Column {
  size_t row;
  std::string labels;
};

template <typename Row>
std::vector<Column> columns_of(std::span<const Row> rows, size_t first, size_t end,
                               Labels (*labels_of)(const Row&), const Sink& sink) {
  std::vector<std::pair<Labels, size_t>> sorted;
  for (size_t i = first; i < end; ++i) sorted.emplace_back(labels_of(rows[i]), i);
  std::ranges::sort(sorted);
  std::vector<Column> columns;
  columns.reserve(sorted.size());
  for (const auto& [labels, row] : sorted) columns.push_back({row, sink.encode(labels)});
  return columns;
}

// The row after those that are of the same family as `first`; these stand together.
template <typename Row>
size_t family_end(std::span<const Row> rows, size_t first, std::string_view Row::*family) {
  size_t end = first;
  while (end < rows.size() && rows[end].*family == rows[first].*family) ++end;
  return end;
}

Labels label(std::string_view name, std::string_view value) {
  if (name.empty()) return {};
  return {{std::string(name), label_value(value)}};
}

Labels signal_labels(const SignalInfo& signal) {
  return label(signal.role.empty() ? "" : "role", signal.role);
}

Labels counter_labels(const CounterInfo& counter) {
  Labels labels;
  for (const CounterLabel& one : counter.labels)
    for (Label& next : label(one.name, one.value)) labels.push_back(std::move(next));
  return labels;
}

void write_histograms(std::span<const Entry> entries, const MetricsSettings& settings, Sink& sink) {
  const std::span<const SignalInfo> rows = kSignals;
  for (size_t first = 0, end = 0; first < rows.size(); first = end) {
    end = family_end(rows, first, &SignalInfo::metric);
    const auto columns = columns_of(rows, first, end, signal_labels, sink);
    sink.begin_family({std::string(rows[first].metric),
                       fmt::format("{} The sum is an estimate, within 4.5 % between 1 us and 64 s.",
                                   rows[first].help),
                       MetricType::histogram});
    for (const Entry& entry : entries)
      for (const auto& [row, labels] : columns)
        if (entry.measured[row])
          sink.add(entry.labels, labels, entry.row->counts->histograms[row], settings.buckets[row]);
  }
}

void write_counters(std::span<const Entry> entries, Sink& sink) {
  const std::span<const CounterInfo> rows = kCounters;
  for (size_t first = 0, end = 0; first < rows.size(); first = end) {
    end = family_end(rows, first, &CounterInfo::family);
    const auto columns = columns_of(rows, first, end, counter_labels, sink);
    sink.begin_family({fmt::format("slogate_{}_total", rows[first].family),
                       std::string(rows[first].help), MetricType::counter});
    for (const Entry& entry : entries)
      for (const auto& [row, labels] : columns)
        if (is_shown(entry, row))
          sink.add(entry.labels, labels, static_cast<double>(entry.row->counts->counters[row]));
  }
}

void write_drops(std::span<const Entry> entries, std::span<const DropReason> reasons, Sink& sink) {
  std::vector<Column> columns;
  columns.reserve(reasons.size());
  for (const DropReason& reason : reasons)
    columns.push_back({reason.number, sink.encode(label("reason", reason.name))});
  sink.begin_family({"slogate_drops_total",
                     "Packets of the workload's sockets that the kernel dropped, by the running "
                     "kernel's name of the reason; OTHER are reasons of its subsystems.",
                     MetricType::counter});
  for (const Entry& entry : entries)
    for (const auto& [reason, labels] : columns)
      if (const uint64_t drops = entry.row->counts->drops[reason]; drops != 0)
        sink.add(entry.labels, labels, static_cast<double>(drops));
}

void write_inflight(std::span<const Entry> entries, Sink& sink) {
  for (const InflightMetric& metric : kInflightMetrics) {
    sink.begin_family({std::string(metric.name), std::string(metric.help), MetricType::gauge});
    for (const Entry& entry : entries)
      for (const std::string_view role : kRoles)
        if (entry.activity.in(role))
          sink.add(entry.labels, sink.encode(label("role", role)),
                   metric.value(role == "client" ? entry.row->client : entry.row->server));
  }
}

}  // namespace

size_t write_workload_families(std::span<const SheetRow> rows,
                               const std::vector<std::string>& drop_reasons,
                               const MetricsSettings& settings, Sink& sink) {
  const std::vector<DropReason> reasons = sorted_reasons(drop_reasons);
  std::vector<Entry> active;
  active.reserve(rows.size());
  for (const SheetRow& row : rows)
    if (Entry entry = to_entry(row); entry.activity.any) active.push_back(std::move(entry));
  const size_t all = active.size();
  std::vector<Entry> entries = within_limit(std::move(active), reasons, settings, sink);
  for (Entry& entry : entries) entry.labels = sink.encode(*entry.row->labels);

  write_histograms(entries, settings, sink);
  write_counters(entries, sink);
  write_drops(entries, reasons, sink);
  write_inflight(entries, sink);
  return all - entries.size();
}

}  // namespace slogate
