// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <ranges>
#include <unordered_map>

#include "agent/base/figures.h"
#include "agent/base/html.h"
#include "agent/canary/judge.h"
#include "agent/config/judged.h"
#include "agent/page/assets.h"
#include "agent/page/charts.h"
#include "agent/page/render.h"
#include "maps/tables.h"

namespace slogate {
namespace {

constexpr std::string_view kNothing = "<span class=\"none\">–</span>";

// ---- figures ----

std::string rate_cell(double per_second) {
  return per_second <= 0 ? "0" : rate_text(per_second);
}

std::string time_cell(std::optional<double> seconds) {
  return seconds ? duration_text(*seconds) : std::string(kNothing);
}

// How long something has been so.
std::string span_text(double seconds) {
  struct Unit {
    double below, unit;
    std::string_view name;
  };
  constexpr std::array<Unit, 4> units = {
      {{120, 1, "s"}, {7200, 60, "min"}, {172'800, 3600, "h"}, {1e18, 86'400, "days"}}};
  const auto* unit = std::ranges::find_if(units, [&](const Unit& u) { return seconds < u.below; });
  return fmt::format("{:.0f} {}", std::floor(std::max(0.0, seconds) / unit->unit), unit->name);
}

std::string bytes_text(double bytes) {
  if (bytes < 1024) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1 << 20) return fmt::format("{:.0f} KiB", bytes / 1024);
  return fmt::format("{:.1f} MiB", bytes / (1 << 20));
}

std::string percent_text(double share) {
  return fmt::format("{:.{}f} %", 100 * share, share < 0.1 && share > 0 ? 2 : 0);
}

std::string clock_text(std::chrono::system_clock::time_point time) {
  return to_rfc3339(time).substr(11, 8);
}

std::string plural(size_t n, std::string_view one) {
  return fmt::format("{} {}{}", count_text(static_cast<double>(n)), one, n == 1 ? "" : "s");
}

std::string_view name_of(Decision decision) {
  return kDecisions[static_cast<size_t>(decision)];
}

// ---- at a glance ----

std::string figure(std::string_view name, std::string_view value, std::string_view kind = "") {
  return fmt::format("<div{}><dt>{}</dt><dd>{}</dd></div>",
                     kind.empty() ? "" : fmt::format(" class=\"{}\"", kind), name, value);
}

std::string verdicts_figure(const Verdicts& verdicts) {
  std::array<size_t, kDecisions.size()> n{};
  for (const auto& verdict : verdicts.list) ++n[static_cast<size_t>(verdict->decision)];
  std::string text;
  for (const Decision decision : {Decision::Veto, Decision::Hold, Decision::Pass})
    if (const size_t count = n[static_cast<size_t>(decision)]; count != 0)
      text += fmt::format("{}<span class=\"{}\">{} {}</span>", text.empty() ? "" : " · ",
                          name_of(decision), count, name_of(decision));
  return text.empty() ? "none" : text;
}

std::string at_a_glance(const Snapshot& snapshot, const PageView& view) {
  const AgentStatus& agent = snapshot.agent;
  uint64_t lost = 0;
  for (const uint64_t n : agent.lost) lost += n;
  const double cost = agent.cpu.agent + agent.cpu.programs;
  return figure("Verdicts", verdicts_figure(*snapshot.verdicts)) +
         figure("Requests served", rate_cell(view.rate) + " /s") +
         figure("Failed", rate_cell(view.failed) + " /s", view.failed > 0 ? "bad" : "") +
         figure("Workloads", count_text(static_cast<double>(snapshot.workloads.size()))) +
         figure("Cost", fmt::format("{} <small>of all CPUs{}</small>", percent_text(cost),
                                    agent.cpu.budget < 1
                                        ? fmt::format(", budget {}", percent_text(agent.cpu.budget))
                                        : "")) +
         figure("Samples lost", count_text(static_cast<double>(lost)), lost > 0 ? "bad" : "");
}

// What makes the rest less than complete.
std::string notices(const Snapshot& snapshot) {
  std::string list;
  const auto add = [&](std::string_view text) {
    list += fmt::format("<li>{}</li>", escaped(text));
  };
  for (const auto& [subject, problem] : snapshot.agent.problems)
    if (!problem.empty()) add(fmt::format("{}: {}", subject, problem));
  if (snapshot.kubernetes && !snapshot.kubernetes->trouble.empty())
    add(snapshot.kubernetes->trouble);
  if (snapshot.agent.cpu.watched < 1)
    add(fmt::format("to keep its budget the agent counts {} of the connections",
                    share_text(snapshot.agent.cpu.watched)));
  for (const ProbeStatus& probe : snapshot.probes)
    if (probe.degraded) add(fmt::format("{}: {}", kProbes[probe.probe].name, probe.reason));
  for (const SloProblem& problem : snapshot.verdicts->problems)
    add(fmt::format("{} is not judged: {}", problem.slo, problem.message));
  for (const std::string& note : snapshot.agent.notes) add(note);
  return list;
}

// ---- verdicts ----

std::string badge(Decision decision) {
  return fmt::format("<span class=\"badge {0}\">{0}</span>", name_of(decision));
}

std::string measured(const ObjectiveVerdict& objective, std::optional<double> value) {
  if (!value) return std::string(kNothing);
  const auto signal = find_judged_in(objective.objective);
  return signal && !is_latency(*signal) ? share_text(*value) : duration_text(*value);
}

// How far the proof is, which of the quantiles lack it, and how long that takes.
std::string proof_text(const ObjectiveVerdict& objective) {
  if (!objective.needed) return "not needed";
  if (objective.log_proof >= kProofThreshold) return "shown";
  return objective.expected_seconds ? about_text(*objective.expected_seconds)
                                    : std::string("time not known");
}

std::string levels_text(const ObjectiveVerdict& objective) {
  if (objective.levels.size() < 2) return "";
  std::string text;
  for (const LevelVerdict& level : objective.levels) {
    const double share = std::clamp(level.log_proof / kProofThreshold, 0.0, 1.0);
    if (share < 1 && !level.needed) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : " · ", quantile_text(level.quantile),
                        share >= 1 ? "shown" : fmt::format("{:.0f} %", 100 * share));
  }
  return fmt::format("<small>{}</small>", text);
}

// The table has a column for the baseline.
std::string_view short_name(std::string_view objective) {
  constexpr std::string_view implied = " against the baseline";
  if (objective.ends_with(implied)) objective.remove_suffix(implied.size());
  return objective;
}

// Of what a comparison looks at unasked, much does not happen on most services.
bool is_silent(const ObjectiveVerdict& objective) {
  return !objective.canary && !objective.baseline && objective.state == ObjectiveState::Open &&
         objective.log_e < 1;
}

std::string objective_row(const ObjectiveVerdict& objective, double threshold) {
  const double against = threshold > 0 ? objective.log_e / threshold : 0;
  return fmt::format(
      "<tr><th scope=\"row\">{}{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td>"
      "<td class=\"m\">{}<span class=\"n\">{:.0f} %</span></td><td "
      "class=\"m\">{}<span>{}</span></td></tr>",
      escaped(short_name(objective.objective)), levels_text(objective),
      measured(objective, objective.canary), measured(objective, objective.baseline),
      meter(against, "against"), 100 * std::clamp(against, 0.0, 9.99),
      objective.needed ? meter(objective.log_proof / kProofThreshold, "proof") : "",
      proof_text(objective));
}

std::string objectives_table(const Verdict& verdict) {
  std::string rows;
  size_t silent = 0;
  for (const ObjectiveVerdict& objective : verdict.objectives)
    if (is_silent(objective))
      ++silent;
    else
      rows += objective_row(objective, verdict.threshold);
  if (rows.empty()) return "";
  const std::string rest =
      silent == 0 ? ""
                  : fmt::format("<p class=\"meta\">{} that nothing happened to {} not shown.</p>",
                                plural(silent, "objective"), silent == 1 ? "is" : "are");
  return fmt::format(
      "<table class=\"objectives\"><thead><tr><th scope=\"col\">Objective</th><th scope=\"col\" "
      "class=\"n\">Canary</th><th scope=\"col\" class=\"n\">Baseline</th><th scope=\"col\">Against "
      "it</th><th scope=\"col\">For a pass</th></tr></thead><tbody>{}</tbody></table>{}",
      rows, rest);
}

std::string comparison_figure(const Verdict& verdict) {
  if (!verdict.comparison) return "";
  return fmt::format(
      "<figure><figcaption>Time of <b>{}</b> of late: <span class=\"key canary\">canary</span> "
      "<span class=\"key baseline\">baseline</span> <span class=\"key limit\">worse "
      "beyond</span></figcaption>{}</figure>",
      escaped(verdict.comparison->signal), comparison_chart(*verdict.comparison));
}

std::string evidence_figure(const std::vector<VerdictPoint>& points) {
  if (std::ranges::all_of(
          points, [](const VerdictPoint& point) { return point.against == VerdictPoint::kNone; }))
    return "";
  return fmt::format(
      "<figure><figcaption>Evidence: <span class=\"key against\">against, of a veto</span> "
      "<span class=\"key proof\">for, of a pass</span></figcaption>{}</figure>",
      evidence_chart(points));
}

std::string facts_of(const Verdict& verdict, const Snapshot& snapshot) {
  const double lasted = seconds(snapshot.agent.now - verdict.since);
  std::string text =
      fmt::format("{} · for {} · {} and {} samples", kReasons[static_cast<size_t>(verdict.reason)],
                  span_text(lasted), count_text(static_cast<double>(verdict.samples.canary)),
                  count_text(static_cast<double>(verdict.samples.baseline)));
  if (verdict.rate) text += fmt::format(" · {} /s", rate_text(*verdict.rate));
  if (verdict.decision == Decision::Hold && verdict.expected_seconds)
    text += fmt::format(" · a pass takes {} more", about_text(*verdict.expected_seconds));
  if (verdict.outcomes_known)
    text += fmt::format(" · outcome known of {}", share_text(*verdict.outcomes_known));
  if (!verdict.rollout.empty()) text += fmt::format(" · rollout {}", verdict.rollout);
  return escaped(text);
}

// The nodes whose baselines stand in for one that is not beside the canary.
std::string lenders_line(const Verdict& verdict) {
  std::string text;
  for (const LenderStatus& lender : verdict.lenders) {
    text += fmt::format("{}{} {}", text.empty() ? "" : " · ", lender.node,
                        kLenderStates[static_cast<size_t>(lender.state)]);
    if (lender.samples != 0)
      text += fmt::format(", {} of {} samples", name_of(lender.decision),
                          count_text(static_cast<double>(lender.samples)));
  }
  return text.empty()
             ? ""
             : fmt::format("<p class=\"meta\">Baselines of other nodes: {}</p>", escaped(text));
}

// What is done to the canary's connections, where something may be.
std::string breaker_line(const Snapshot& snapshot, std::string_view slo) {
  const BreakerStatus* status = snapshot.breakers ? snapshot.breakers->find(slo) : nullptr;
  if (status == nullptr) return "";
  const BreakerCounts& counts = status->counts;
  const uint64_t counted = status->dry_run ? counts.would_refuse : counts.refused;
  std::string text = "Breaker: closed";
  if (status->open)
    text = fmt::format(
        "Breaker: open until {} UTC; new connections to {} {}, those that were open go on",
        status->until ? clock_text(*status->until) : "-", fmt::join(status->targets, ", "),
        status->dry_run ? "would be refused" : "are refused");
  if (status->open || counted != 0)
    text += fmt::format(" · {} {}", count_text(static_cast<double>(counted)),
                        status->dry_run ? "would have been refused" : "were refused");
  if (!status->note.empty()) text += fmt::format(" · {}", status->note);
  return fmt::format("<p class=\"meta\">{}</p>", escaped(text));
}

std::string card(const Verdict& verdict, const Snapshot& snapshot, const PageView& view,
                 PageSight sight, bool drawn) {
  const std::string head =
      fmt::format("<h3>{} <bdi>{}</bdi></h3>", badge(verdict.decision), escaped(verdict.slo));
  const std::string_view kind = name_of(verdict.decision);
  if (!sight.evidence)
    return fmt::format("<article class=\"slo {}\">{}<p class=\"meta\">{}</p></article>", kind, head,
                       kReasons[static_cast<size_t>(verdict.reason)]);
  const std::string text = fmt::format("{}<p class=\"why\">{}</p><p class=\"meta\">{}</p>", head,
                                       escaped(verdict.message), facts_of(verdict, snapshot)) +
                           breaker_line(snapshot, verdict.slo) + lenders_line(verdict);
  if (!drawn) return fmt::format("<article class=\"slo {}\">{}</article>", kind, text);
  const auto points = view.verdicts.find(verdict.slo);
  return fmt::format(
      "<article class=\"slo {}\"><div class=\"says\">{}{}</div><div "
      "class=\"drawn\">{}{}</div></article>",
      kind, text, objectives_table(verdict), comparison_figure(verdict),
      points == view.verdicts.end() ? "" : evidence_figure(points->second));
}

// What is worst first, and among equals what changed last.
std::string verdict_cards(const Snapshot& snapshot, const PageView& view, PageSight sight) {
  std::vector<const Verdict*> all;
  for (const auto& verdict : snapshot.verdicts->list) all.push_back(verdict.get());
  std::ranges::stable_sort(all, [](const Verdict* a, const Verdict* b) {
    return a->decision != b->decision ? a->decision > b->decision : a->since > b->since;
  });
  if (all.empty())
    return "<p class=\"empty\">No SLO is judged on this node: the configuration or a pod's "
           "annotation names one.</p>";
  std::string html;
  for (size_t i = 0; i < all.size(); ++i)
    html += card(*all[i], snapshot, view, sight, i < kDrawnSlos);
  return html;
}

// ---- workloads ----

// Which arm a path is in; the canary's goes first.
using ArmsOfPaths = std::unordered_map<std::string_view, std::string_view>;

ArmsOfPaths arms_of(const Verdicts& verdicts) {
  ArmsOfPaths arms;
  for (const auto& slo : verdicts.slos)
    for (const std::string& path : slo->canary) arms.emplace(path, "canary");
  for (const auto& slo : verdicts.slos)
    for (const std::string& path : slo->baseline) arms.emplace(path, "baseline");
  return arms;
}

std::string failed_cell(double rate) {
  return rate > 0 ? fmt::format("<b class=\"bad\">{}</b>", rate_text(rate)) : "0";
}

std::string inflight_cell(const Inflight& inflight) {
  if (inflight.requests == 0) return "0";
  return fmt::format("{} <small>{}</small>", count_text(static_cast<double>(inflight.requests)),
                     duration_text(seconds(inflight.oldest)));
}

std::string workload_row(const WorkloadLine& line, const ArmsOfPaths& arms, size_t steps) {
  const WorkloadRates& rates = line.rates;
  const auto arm = arms.find(line.workload->path);
  const bool drawn = !rates.points.empty();
  return fmt::format(
      "<tr{}><th scope=\"row\"><bdi>{}</bdi>{}{}</th><td>{}</td><td class=\"n\">{}</td><td "
      "class=\"c\">{}</td><td class=\"n o\">{}</td><td class=\"n o\">{}</td><td "
      "class=\"n\">{}</td><td class=\"c o\">{}</td><td class=\"n\">{}</td><td class=\"n "
      "o\">{}</td><td class=\"n o\">{}</td></tr>",
      rates.rate <= 0 ? " class=\"idle\"" : "", escaped(line.name),
      arm == arms.end() ? "" : fmt::format(" <span class=\"key {0}\">{0}</span>", arm->second),
      line.workload->gone ? " <small>gone</small>" : "", rates.client ? "client" : "server",
      rate_cell(rates.rate), drawn ? rate_chart(rates.points, steps) : "", time_cell(rates.p50),
      time_cell(rates.p90), time_cell(rates.p99), drawn ? latency_chart(rates.points, steps) : "",
      failed_cell(rates.errors), failed_cell(rates.connection_errors),
      inflight_cell(rates.client ? line.workload->client : line.workload->server));
}

std::string workload_rows(const Snapshot& snapshot, const PageView& view) {
  const ArmsOfPaths arms = arms_of(*snapshot.verdicts);
  std::string rows;
  for (const WorkloadLine& line : view.workloads) rows += workload_row(line, arms, view.steps);
  return rows;
}

std::string workload_count(const Snapshot& snapshot, const PageView& view) {
  const size_t all = snapshot.workloads.size();
  if (all == 0) return "No cgroup has used TCP since the agent started.";
  std::string text = plural(view.workloads.size(), "workload");
  if (view.workloads.size() + view.idle < view.matching)
    text += fmt::format(" of {}", count_text(static_cast<double>(view.matching - view.idle)));
  if (view.idle != 0)
    text +=
        fmt::format("; {} idle for 15 min not shown", count_text(static_cast<double>(view.idle)));
  if (view.matching < all)
    text += fmt::format(", {} on the node", count_text(static_cast<double>(all)));
  return text;
}

// ---- maps, programs, events ----

std::string map_rows(const Snapshot& snapshot) {
  std::string rows;
  for (const MapStatus& map : snapshot.maps) {
    const double pressure = map.pressure();
    rows += fmt::format(
        "<tr><th scope=\"row\">{}</th><td class=\"n\">{}{}</td><td class=\"m\">{}</td><td "
        "class=\"n\">{}</td><td class=\"n o\">{}</td><td class=\"n\">{}</td></tr>",
        escaped(map.name), count_text(static_cast<double>(map.entries)),
        map.capacity == 0
            ? ""
            : fmt::format(" <small>of {}</small>", count_text(static_cast<double>(map.capacity))),
        map.capacity == 0
            ? ""
            : meter(pressure, pressure > 0.9 && !map.site.empty() ? "against" : "used"),
        bytes_text(static_cast<double>(map.bytes)), map.resizes,
        map.lost > 0
            ? fmt::format("<b class=\"bad\">{}</b>", count_text(static_cast<double>(map.lost)))
            : "0");
  }
  return rows;
}

// What a program takes of one CPU, in percent.
std::string cost_cell(std::optional<double> runs, std::optional<double> ns) {
  if (!runs || !ns) return std::string(kNothing);
  return fmt::format("{:.3f} %", *runs * *ns / 1e7);
}

std::string probe_state(const ProbeStatus& probe) {
  if (probe.attached) return escaped(probe.attached_to);
  return fmt::format("<span class=\"{}\">{}</span>", probe.degraded ? "bad" : "none",
                     probe.degraded ? "missing" : "not needed");
}

std::string probe_rows(const Snapshot& snapshot, const PageView& view) {
  std::string rows;
  for (const ProbeStatus& probe : snapshot.probes) {
    const auto runs = view.runs[probe.probe];
    const auto ns = probe.ns_per_run();
    rows += fmt::format(
        "<tr><th scope=\"row\">{}</th><td class=\"o\">{}</td><td class=\"n\">{}</td><td "
        "class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
        kProbes[probe.probe].name, probe_state(probe),
        runs ? rate_cell(*runs) : std::string(kNothing),
        ns ? fmt::format("{:.0f} ns", *ns) : std::string(kNothing), cost_cell(runs, ns));
  }
  return rows;
}

std::string event_list(const Snapshot& snapshot) {
  std::string list;
  size_t shown = 0;
  for (const Event& event : std::views::reverse(*snapshot.events)) {
    if (shown++ == kShownEvents) break;
    const std::string change =
        event.from == event.to
            ? event.to
            : fmt::format("{}{}{}", event.from, event.from.empty() ? "" : " → ", event.to);
    list += fmt::format(
        "<li><time datetime=\"{}\">{}</time> <span class=\"kind\">{}</span> <b><bdi>{}</bdi></b> "
        "{} <span class=\"what\">{}</span></li>",
        to_rfc3339_ms(event.time), clock_text(event.time), escaped(event.type),
        escaped(event.subject), escaped(change), escaped(event.message));
  }
  return list.empty() ? "<li class=\"empty\">Nothing has happened yet.</li>" : list;
}

std::string as_of(const Snapshot& snapshot) {
  return fmt::format("<time datetime=\"{}\">{} UTC</time>", to_rfc3339(snapshot.agent.now),
                     clock_text(snapshot.agent.now));
}

// ---- the page around them ----

struct Column {
  std::string_view title, kind;       // `kind`: classes of its cells
  std::optional<PageSort> sort = {};  // nothing where nobody sorts by it
};
constexpr std::array<Column, 11> kColumns = {{
    {"Workload", "", PageSort::Name},
    {"Role", ""},
    {"Requests/s", "n", PageSort::Rate},
    {"Up to 15 min", "c"},
    {"p50", "n o", PageSort::P50},
    {"p90", "n o", PageSort::P90},
    {"p99", "n", PageSort::P99},
    {"p50, p99", "c o"},
    {"Errors/s", "n", PageSort::Errors},
    {"Conn. errors/s", "n o", PageSort::ConnectionErrors},
    {"In flight", "n o", PageSort::Inflight},
}};

// A value in an address.
std::string percent_encoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (plain)
      encoded += c;
    else
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

std::string address(const PageQuery& query) {
  std::string text;
  const auto add = [&](std::string_view name, std::string_view value) {
    text += fmt::format("{}{}={}", text.empty() ? "?" : "&amp;", name, percent_encoded(value));
  };
  if (query.sort != PageSort::Rate) add("sort", kPageSorts[static_cast<size_t>(query.sort)]);
  if (!query.match.empty()) add("match", query.match);
  if (query.all) add("all", "1");
  return text.empty() ? "./" : text;
}

std::string column_head(const Column& column, const PageQuery& query) {
  const std::string kind = column.kind.empty() ? "" : fmt::format(" class=\"{}\"", column.kind);
  if (!column.sort) return fmt::format("<th scope=\"col\"{}>{}</th>", kind, column.title);
  PageQuery other = query;
  other.sort = *column.sort;
  const bool sorted = query.sort == *column.sort;
  return fmt::format("<th scope=\"col\"{}{}><a href=\"{}#workloads\">{}</a></th>", kind,
                     !sorted                          ? ""
                     : *column.sort == PageSort::Name ? " aria-sort=\"ascending\""
                                                      : " aria-sort=\"descending\"",
                     address(other), column.title);
}

std::string column_heads(const PageQuery& query) {
  std::string heads;
  for (const Column& column : kColumns) heads += column_head(column, query);
  return heads;
}

std::string search_form(const PageQuery& query) {
  std::string form = "<form method=\"get\" action=\"./\" role=\"search\">";
  if (query.sort != PageSort::Rate)
    form += fmt::format("<input type=\"hidden\" name=\"sort\" value=\"{}\">",
                        kPageSorts[static_cast<size_t>(query.sort)]);
  PageQuery other = query;
  other.all = !query.all;
  return form + fmt::format(
                    "<label for=\"match\">Name has</label> <input id=\"match\" name=\"match\" "
                    "type=\"search\" maxlength=\"200\" value=\"{}\"> <button>Show</button> <a "
                    "href=\"{}#workloads\">{}</a></form>",
                    escaped(query.match), address(other), query.all ? "only the busiest" : "all");
}

std::string section(std::string_view id, std::string_view title, std::string_view content) {
  return fmt::format("<section aria-labelledby=\"{0}\"><h2 id=\"{0}\">{1}</h2>{2}</section>\n", id,
                     title, content);
}

std::string table(std::string_view label, std::string_view kind, std::string_view heads,
                  std::string_view id, std::string_view rows) {
  return fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
      "aria-label=\"Table of {0}\"><table class=\"{1}\"><thead><tr>{2}</tr></thead><tbody "
      "id=\"{3}\">{4}</tbody></table></div>",
      label, kind, heads, id, rows);
}

constexpr std::string_view kMapHeads =
    "<th scope=\"col\">Map</th><th scope=\"col\" class=\"n\">Entries</th><th "
    "scope=\"col\">Pressure</th><th scope=\"col\" class=\"n\">Memory</th><th scope=\"col\" "
    "class=\"n o\">Resizes</th><th scope=\"col\" class=\"n\">Lost</th>";
constexpr std::string_view kProbeHeads =
    "<th scope=\"col\">Program</th><th scope=\"col\" class=\"o\">Attached to</th><th scope=\"col\" "
    "class=\"n\">Runs/s</th><th scope=\"col\" class=\"n\">A run</th><th scope=\"col\" "
    "class=\"n\">Of one CPU</th>";
// An icon of its own, or each visit would ask for one that is not there.
constexpr std::string_view kIcon =
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath "
    "d='M1 15C4 15 4 3 6 3s2 12 5 12' fill='%233b6ea5'/%3E%3Cpath d='M5 15c3 0 3-8 5-8s2 8 5 8' "
    "fill='%23c2570c' fill-opacity='.8'/%3E%3C/svg%3E";

}  // namespace

std::vector<PagePart> page_parts(const Snapshot& snapshot, const PageView& view, PageSight sight) {
  std::vector<PagePart> parts = {{"as-of", as_of(snapshot)},
                                 {"glance", at_a_glance(snapshot, view)},
                                 {"cards", verdict_cards(snapshot, view, sight)},
                                 {"count", workload_count(snapshot, view)},
                                 {"rows", workload_rows(snapshot, view)},
                                 {"map-rows", map_rows(snapshot)},
                                 {"program-rows", probe_rows(snapshot, view)}};
  if (sight.evidence) {
    parts.push_back({"notices", notices(snapshot)});
    parts.push_back({"event-list", event_list(snapshot)});
  }
  return parts;
}

std::string page_html(const Snapshot& snapshot, const std::vector<PagePart>& parts,
                      const PageQuery& query, PageSight sight, std::string_view node) {
  const auto part = [&](std::string_view id) -> std::string_view {
    const auto found = std::ranges::find(parts, id, &PagePart::id);
    return found == parts.end() ? std::string_view() : found->html;
  };
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
      "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta "
      "name=\"color-scheme\" content=\"light dark\">\n<title>{} · slogate</title>\n<link "
      "rel=\"icon\" href=\"{}\">\n<style>{}</style>\n</head>\n<body>\n",
      escaped(node), kIcon, kPageStyle);
  html += fmt::format(
      "<a class=\"skip\" href=\"#verdicts\">To the verdicts</a>\n<header><h1><b>slogate</b> "
      "<bdi>{}</bdi></h1><p><span id=\"live\" role=\"status\"></span> <span "
      "id=\"as-of\">{}</span></p><p class=\"meta\">version {} · kernel {} · up "
      "{}</p></header>\n<main>\n",
      escaped(node), part("as-of"), escaped(snapshot.agent.version), escaped(snapshot.agent.kernel),
      span_text(seconds(snapshot.agent.ticked - snapshot.agent.began)));
  html += fmt::format("<dl id=\"glance\">{}</dl>\n", part("glance"));
  if (sight.evidence) html += fmt::format("<ul id=\"notices\">{}</ul>\n", part("notices"));
  html += section("verdicts", "Verdicts", fmt::format("<div id=\"cards\">{}</div>", part("cards")));
  html +=
      section("workloads", "Workloads",
              fmt::format("<div class=\"bar\"><p class=\"meta\" id=\"count\">{}</p>{}</div>{}<p "
                          "class=\"meta\">Rates are of 5 s, quantiles of the last 10 s or so, "
                          "charts of 15 min.</p>",
                          part("count"), search_form(query),
                          table("workloads", "work", column_heads(query), "rows", part("rows"))));
  html += fmt::format(
      "<div class=\"two\">{}{}</div>\n",
      section("maps", "Maps", table("maps", "", kMapHeads, "map-rows", part("map-rows"))),
      section("programs", "Programs",
              table("programs", "", kProbeHeads, "program-rows", part("program-rows"))));
  if (sight.evidence)
    html += section("events", "Events",
                    fmt::format("<ol id=\"event-list\">{}</ol>", part("event-list")));
  return html + fmt::format(
                    "</main>\n<noscript><p class=\"meta\">Without JavaScript this page "
                    "stays as it is until it is loaded again.</p></noscript>\n"
                    "<script>{}</script>\n</body>\n</html>\n",
                    kPageScript);
}

}  // namespace slogate
