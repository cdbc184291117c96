// SPDX-License-Identifier: Apache-2.0
// slogate report: the rollouts of a time span and their ends, from audit logs; needs no agent.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/cli/run.h"

namespace slogate::cli {

// The reader's costs, in any one unit; nothing where the reader gave none. No figure is made up.
struct Costs {
  std::optional<double> incident;   // a bad release that reaches all users
  std::optional<double> rollback;   // a release that is rolled back
  std::optional<double> held_hour;  // an hour in which a rollout waits
};

enum class ReportForm { Table, JsonText, HtmlFile };

struct ReportOptions {
  // State directories, or files of an audit log: of one node or of several.
  std::vector<std::string> logs = {"/var/lib/slogate"};
  std::optional<std::chrono::nanoseconds> since;  // how far back; all there is where it is missing
  Costs costs;
  ReportForm form = ReportForm::Table;
};

// One line of an audit log, as far as a report needs it.
struct AuditLine {
  std::chrono::system_clock::time_point time;
  std::string slo, rollout, from, to, reason, message;
  double canary_samples = 0;  // that were judged until then
  double judged_seconds = 0;  // how much time its blocks of evidence span
};

// Nothing where the line is none: an agent that died may have left half of one.
[[nodiscard]] std::optional<AuditLine> parse_audit_line(std::string_view text);

// How often rollouts waited for a reason, and how long.
struct Held {
  size_t times = 0;
  std::chrono::nanoseconds duration{0};
};

// One rollout, over all nodes whose logs were read.
struct RolloutSummary {
  std::string slo, rollout;
  std::optional<std::chrono::system_clock::time_point> began;  // where the log goes back so far
  std::optional<std::chrono::system_clock::time_point> passed, vetoed;  // for the first time
  std::string reason, message;  // of the veto, else of what was said last
  double canary_samples = 0;    // judged until the veto, else until what was said last
  double judged_seconds = 0;    // the same, of the node that decided
  size_t taken_back = 0;        // passes
  std::map<std::string, Held> held;

  [[nodiscard]] std::chrono::nanoseconds held_in_all() const;
};

// By the time they began or were first heard of. `lines` are one list for each node, by time; what
// is said last of a rollout holds until the next rollout of its SLO there, or `until`.
[[nodiscard]] std::vector<RolloutSummary> summarize(
    const std::vector<std::vector<AuditLine>>& nodes,
    std::optional<std::chrono::system_clock::time_point> since,
    std::chrono::system_clock::time_point until);

// A log that cannot be read is a failure; lines that cannot be are counted in a warning.
Outcome<Report> show_report(const ReportOptions& options, const Output& output,
                            std::chrono::system_clock::time_point now);

}  // namespace slogate::cli
