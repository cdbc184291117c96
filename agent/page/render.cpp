// SPDX-License-Identifier: Apache-2.0
// What is looked up and in which order; render_parts.cpp writes it down.
#include "agent/page/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <tuple>
#include <unordered_set>

namespace slogate {
namespace {

std::string name_of(const Workload& workload) {
  const PodContainer& of = workload.pod;
  if (of.pod) return fmt::format("{}/{} {}", of.pod->namespace_, of.pod->name, of.container);
  return workload.path.empty() ? fmt::format("cgroup {}", workload.id) : workload.path;
}

double sorted_by(const WorkloadLine& line, PageSort sort) {
  const WorkloadRates& rates = line.rates;
  switch (sort) {
    case PageSort::P50:
      return rates.p50.value_or(-1);
    case PageSort::P90:
      return rates.p90.value_or(-1);
    case PageSort::P99:
      return rates.p99.value_or(-1);
    case PageSort::Errors:
      return rates.errors;
    case PageSort::ConnectionErrors:
      return rates.connection_errors;
    case PageSort::Inflight:
      return static_cast<double>(line.workload->server.requests + line.workload->client.requests);
    case PageSort::Rate:
    case PageSort::Name:
      break;
  }
  return rates.rate;
}

using Paths = std::unordered_set<std::string_view>;

Paths paths_in_arms(const Verdicts& verdicts) {
  Paths paths;
  for (const auto& slo : verdicts.slos)
    for (const auto* arm : {&slo->canary, &slo->baseline}) paths.insert(arm->begin(), arm->end());
  return paths;
}

// What does nothing is in the way, unless it was asked for; of a canary it is news.
bool is_left_out(const WorkloadLine& line, const PageQuery& query, const Paths& in_arms) {
  const Workload& workload = *line.workload;
  return line.rates.idle && !query.all && query.match.empty() && workload.server.requests == 0 &&
         workload.client.requests == 0 && !in_arms.contains(workload.path);
}

}  // namespace

PageView look(const Snapshot& snapshot, const History& history, const PageQuery& query) {
  PageView view;
  const Paths in_arms = paths_in_arms(*snapshot.verdicts);
  for (const Workload& workload : snapshot.workloads) {
    WorkloadLine line{&workload, name_of(workload),
                      history.rates(workload.id, false).value_or(WorkloadRates{})};
    // What one workload asks of another is one request, and fails once.
    if (!line.rates.client) {
      view.rate += line.rates.rate;
      view.failed += line.rates.errors;
    }
    view.failed += line.rates.connection_errors;
    if (!line.name.contains(query.match)) continue;
    ++view.matching;
    if (is_left_out(line, query, in_arms))
      ++view.idle;
    else
      view.workloads.push_back(std::move(line));
  }
  // Three minutes at the least: before, a line would be a few strokes.
  view.steps = std::max<size_t>(36, history.steps());
  const auto before = [&](const WorkloadLine& a, const WorkloadLine& b) {
    if (query.sort == PageSort::Name) return a.name < b.name;
    const auto busyness = [&](const WorkloadLine& line) {
      return std::tuple(sorted_by(line, query.sort), line.rates.rate);
    };
    return busyness(a) != busyness(b) ? busyness(a) > busyness(b) : a.name < b.name;
  };
  std::ranges::sort(view.workloads, before);
  if (!query.all && view.workloads.size() > kShownWorkloads) view.workloads.resize(kShownWorkloads);
  for (size_t i = 0; i < std::min(kShownWorkloads, view.workloads.size()); ++i)
    if (auto rates = history.rates(view.workloads[i].workload->id, true))
      view.workloads[i].rates = std::move(*rates);
  for (const auto& verdict : snapshot.verdicts->list)
    view.verdicts.emplace(verdict->slo, history.verdicts(verdict->slo));
  for (size_t probe = 0; probe < view.runs.size(); ++probe)
    view.runs[probe] = history.runs(static_cast<slogate_probe>(probe));
  return view;
}

}  // namespace slogate
