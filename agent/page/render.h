// SPDX-License-Identifier: Apache-2.0
// The page as a function of a snapshot and of what is remembered of those before it.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/page/history.h"
#include "agent/snapshot.h"

namespace slogate {

// Columns by which the workloads can be sorted; what there is most of comes first.
enum class PageSort { Rate, Name, P50, P90, P99, Errors, ConnectionErrors, Inflight };
inline constexpr std::array<std::string_view, 8> kPageSorts = {
    "rate", "name", "p50", "p90", "p99", "errors", "connection_errors", "inflight"};

// What is asked for in the address.
struct PageQuery {
  PageSort sort = PageSort::Rate;
  std::string match;  // only workloads whose name has this in it
  bool all = false;   // more than kShownWorkloads, and those that are idle
};

// So many workloads are shown unasked, and so many SLOs with charts: with these a page stays below
// 200 KiB.
inline constexpr size_t kShownWorkloads = 100, kDrawnSlos = 10, kShownEvents = 40;

// One line of the table.
struct WorkloadLine {
  const Workload* workload;
  std::string name;     // as shown, not escaped
  WorkloadRates rates;  // with points where a chart is drawn
};

// What of the history is shown: a copy, so that rendering holds up nobody.
struct PageView {
  std::vector<WorkloadLine> workloads;  // sorted; they refer to the snapshot
  size_t matching = 0, idle = 0;        // how many there are, and of these are left out as idle
  size_t steps = 1;                     // that charts of workloads show
  double rate = 0, failed = 0;          // a second, of all workloads that serve
  std::map<std::string, std::vector<VerdictPoint>, std::less<>> verdicts;
  std::array<std::optional<double>, SLOGATE_PROBES> runs;  // a second
};
[[nodiscard]] PageView look(const Snapshot& snapshot, const History& history,
                            const PageQuery& query);

// Who looks: what the API guards is for some, the rest is what /metrics says.
struct PageSight {
  bool evidence = true;  // evidence, messages, events and problems
};

// A piece of the page that changes while it is looked at: the content of the element with this id.
struct PagePart {
  std::string_view id;
  std::string html;  // one line
};
[[nodiscard]] std::vector<PagePart> page_parts(const Snapshot& snapshot, const PageView& view,
                                               PageSight sight);

// All of it. `node` names the node.
[[nodiscard]] std::string page_html(const Snapshot& snapshot, const std::vector<PagePart>& parts,
                                    const PageQuery& query, PageSight sight, std::string_view node);

}  // namespace slogate
