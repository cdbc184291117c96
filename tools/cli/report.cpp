// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include "agent/base/html.h"
#include "agent/base/json.h"
#include "agent/base/tick_time.h"
#include "tools/cli/table.h"
#include "tools/cli/units.h"

namespace slogate::cli {
namespace {

using std::chrono::nanoseconds;
using std::chrono::system_clock;

// The agent keeps 1 MiB and one file before it; a merged one may be of many nodes.
constexpr size_t kMostBytes = size_t{256} << 20;

// ---- reading ----

// How lines about breakers begin, which say nothing of verdicts.
constexpr std::string_view kOfBreaker = "{\"breaker\":";

std::vector<std::string> files_of(const std::string& log) {
  std::error_code error;
  if (!std::filesystem::is_directory(log, error)) return {log};
  std::vector<std::string> files;
  for (const char* name : {"/audit.jsonl.1", "/audit.jsonl"})
    if (std::filesystem::exists(log + name, error)) files.push_back(log + name);
  return files;
}

struct Node {
  std::vector<AuditLine> lines;
  size_t unreadable = 0;
};

Outcome<void> read_file(const std::string& path, Node& node) {
  std::error_code error;
  if (const auto size = std::filesystem::file_size(path, error); !error && size > kMostBytes)
    return fail(kFailed, fmt::format("{}: it has more than {} bytes", path, kMostBytes));
  std::ifstream file(path);
  if (!file)
    return fail(kFailed, system_error(fmt::format("cannot read {}", path), errno).line(),
                "the audit log is root's, in the agent's state_dir");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.starts_with(kOfBreaker)) continue;
    if (auto parsed = parse_audit_line(line))
      node.lines.push_back(std::move(*parsed));
    else
      ++node.unreadable;
  }
  if (file.bad()) return fail(kFailed, fmt::format("cannot read {}", path));
  return {};
}

Outcome<Node> read_log(const std::string& log) {
  Node node;
  const auto files = files_of(log);
  if (files.empty())
    return fail(kFailed, fmt::format("{} has no audit log", log),
                "an agent with SLOs writes one into its state_dir: name that, or the file");
  for (const std::string& file : files)
    if (auto done = read_file(file, node); !done) return std::unexpected(done.error());
  std::ranges::stable_sort(node.lines, {}, &AuditLine::time);
  return node;
}

// ---- summing up ----

// What a log has of one rollout.
using OfRollout = std::vector<const AuditLine*>;
using Key = std::pair<std::string, std::string>;  // SLO, rollout

void add_line(RolloutSummary& summary, const AuditLine& line) {
  if (line.from.empty() && (!summary.began || line.time < *summary.began))
    summary.began = line.time;
  if (line.to == "pass" && (!summary.passed || line.time < *summary.passed))
    summary.passed = line.time;
  if (line.from == "pass" && line.to == "hold") ++summary.taken_back;
  const bool first_veto = line.to == "veto" && (!summary.vetoed || line.time < *summary.vetoed);
  if (first_veto) summary.vetoed = line.time;
  if (first_veto || !summary.vetoed) {
    summary.reason = line.reason;
    summary.message = line.message;
    summary.judged_seconds = line.judged_seconds;
  }
}

void add_held(RolloutSummary& summary, const OfRollout& lines, system_clock::time_point end) {
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i]->to != "hold") continue;
    const auto until = i + 1 < lines.size() ? lines[i + 1]->time : std::max(end, lines[i]->time);
    Held& held = summary.held[lines[i]->reason];
    held.times += lines[i]->from != "hold";
    held.duration += until - lines[i]->time;
  }
}

// When the node began to speak of another rollout of the SLO.
system_clock::time_point holds_until(const std::vector<AuditLine>& node, const AuditLine& last,
                                     system_clock::time_point until) {
  for (const AuditLine& line : node)
    if (line.slo == last.slo && line.rollout != last.rollout && line.time >= last.time)
      return line.time;
  return until;
}

double quantile_of(std::vector<double> values, double quantile) {
  std::ranges::sort(values);
  const auto at = static_cast<size_t>(quantile * static_cast<double>(values.size() - 1) + 0.5);
  return values[at];
}

}  // namespace

nanoseconds RolloutSummary::held_in_all() const {
  nanoseconds all{0};
  for (const auto& [why, one] : held) all += one.duration;
  return all;
}

std::optional<AuditLine> parse_audit_line(std::string_view text) try {
  const Json json = Json::parse(text);
  const Json& verdict = json.at("verdict");
  const auto time = parse_rfc3339(verdict.at("since").get<std::string>());
  if (!time) return std::nullopt;
  return AuditLine{.time = *time,
                   .slo = verdict.at("slo").get<std::string>(),
                   .rollout = verdict.at("rollout").get<std::string>(),
                   .from = json.at("from").get<std::string>(),
                   .to = verdict.at("verdict").get<std::string>(),
                   .reason = verdict.at("reason").get<std::string>(),
                   .message = verdict.at("message").get<std::string>(),
                   .canary_samples = verdict.at("samples").at("canary").get<double>(),
                   .judged_seconds = verdict.at("blocks").get<double>() *
                                     verdict.at("block_seconds").get<double>()};
} catch (const Json::exception&) {
  return std::nullopt;
}

std::vector<RolloutSummary> summarize(const std::vector<std::vector<AuditLine>>& nodes,
                                      std::optional<system_clock::time_point> since,
                                      system_clock::time_point until) {
  std::vector<RolloutSummary> summaries;
  std::map<Key, size_t> places;
  for (const auto& node : nodes) {
    std::map<Key, OfRollout> rollouts;
    for (const AuditLine& line : node) rollouts[{line.slo, line.rollout}].push_back(&line);
    for (const auto& [key, lines] : rollouts) {
      if (since && lines.back()->time < *since) continue;
      const auto [place, fresh] = places.emplace(key, summaries.size());
      if (fresh) summaries.push_back({.slo = key.first, .rollout = key.second});
      RolloutSummary& summary = summaries[place->second];
      for (const AuditLine* line : lines) add_line(summary, *line);
      add_held(summary, lines, holds_until(node, *lines.back(), until));
      // After its veto a canary is judged no more.
      const auto veto = std::ranges::find(lines, "veto", &AuditLine::to);
      summary.canary_samples += (veto != lines.end() ? *veto : lines.back())->canary_samples;
    }
  }
  const auto heard = [](const RolloutSummary& one) {
    return one.began.value_or(system_clock::time_point::min());
  };
  std::ranges::stable_sort(summaries, {}, heard);
  return summaries;
}

namespace {

// ---- figures ----

// How a rollout ended, or stands.
enum class End { Passed, Vetoed, Undecided };

End end_of(const RolloutSummary& one) {
  if (one.vetoed) return End::Vetoed;
  return one.passed ? End::Passed : End::Undecided;
}
constexpr std::string_view kEndNames[] = {"pass", "veto", "hold"};

std::optional<nanoseconds> time_to(const RolloutSummary& one,
                                   const std::optional<system_clock::time_point>& what) {
  if (!one.began || !what) return std::nullopt;
  return *what - *one.began;
}

struct Spread {
  double median = 0, high = 0;  // seconds; `high` is the 90 % quantile
};

struct Totals {
  size_t passed = 0, vetoed = 0, undecided = 0, taken_back = 0;
  std::optional<Spread> to_pass, to_veto;
  double samples_before_veto = 0;
  nanoseconds held{0};
  std::map<std::string, Held> held_by_reason;

  [[nodiscard]] size_t all() const { return passed + vetoed + undecided; }
  // Of the rollouts that were decided; nothing where none was.
  [[nodiscard]] std::optional<double> rollback_rate() const {
    if (passed + vetoed == 0) return std::nullopt;
    return static_cast<double>(vetoed) / static_cast<double>(passed + vetoed);
  }
};

std::optional<Spread> spread_of(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  return Spread{quantile_of(values, 0.5), quantile_of(values, 0.9)};
}

Totals total(const std::vector<RolloutSummary>& rollouts) {
  Totals totals;
  std::vector<double> passes, vetoes;
  for (const RolloutSummary& one : rollouts) {
    const End end = end_of(one);
    totals.passed += end == End::Passed;
    totals.vetoed += end == End::Vetoed;
    totals.undecided += end == End::Undecided;
    totals.taken_back += one.taken_back;
    if (const auto time = time_to(one, one.passed)) passes.push_back(seconds(*time));
    if (const auto time = time_to(one, one.vetoed)) vetoes.push_back(seconds(*time));
    if (one.vetoed) totals.samples_before_veto += one.canary_samples;
    totals.held += one.held_in_all();
    for (const auto& [reason, held] : one.held) {
      totals.held_by_reason[reason].times += held.times;
      totals.held_by_reason[reason].duration += held.duration;
    }
  }
  totals.to_pass = spread_of(passes);
  totals.to_veto = spread_of(vetoes);
  return totals;
}

// Incidents that did not happen, less what rollbacks and waiting cost; nothing where no cost was
// said.
struct Balance {
  std::optional<double> avoided, rollbacks, waiting;

  [[nodiscard]] std::optional<double> net() const {
    if (!avoided && !rollbacks && !waiting) return std::nullopt;
    return avoided.value_or(0) - rollbacks.value_or(0) - waiting.value_or(0);
  }
};

Balance balance_of(const Totals& totals, const Costs& costs) {
  const auto times = [](std::optional<double> cost, double number) {
    return cost ? std::optional(*cost * number) : std::nullopt;
  };
  const auto vetoed = static_cast<double>(totals.vetoed);
  return {.avoided = times(costs.incident, vetoed),
          .rollbacks = times(costs.rollback, vetoed),
          .waiting = times(costs.held_hour, seconds(totals.held) / 3600)};
}

// ---- as text ----

std::string span_text(nanoseconds span) {
  const double all = seconds(span);
  if (all < 120) return fmt::format("{:.{}f} s", all, all < 10 ? 1 : 0);
  if (all < 7200) return fmt::format("{:.0f} min", all / 60);
  return all < 172800 ? fmt::format("{:.1f} h", all / 3600)
                      : fmt::format("{:.1f} days", all / 86400);
}
std::string span_text(double span) {
  return span_text(std::chrono::duration_cast<nanoseconds>(std::chrono::duration<double>(span)));
}
template <typename T>
std::string span_text(const std::optional<T>& span) {
  return span ? span_text(*span) : "-";
}
std::string spread_text(const std::optional<Spread>& spread) {
  return spread ? fmt::format("median {}, 90 % within {}", span_text(spread->median),
                              span_text(spread->high))
                : "-";
}
std::string time_text(const std::optional<system_clock::time_point>& time) {
  return time ? fmt::format("{:%F %T}", std::chrono::floor<std::chrono::seconds>(*time)) : "before";
}

// Name and value of each figure, for text and HTML alike.
std::vector<std::pair<std::string, std::string>> figures_of(const Totals& totals,
                                                            const Costs& costs) {
  std::vector<std::pair<std::string, std::string>> figures = {
      {"rollouts", fmt::format("{}: {} passed, {} vetoed, {} neither", totals.all(), totals.passed,
                               totals.vetoed, totals.undecided)},
      {"rollback rate", to_percent(totals.rollback_rate())},
      {"time to a pass", spread_text(totals.to_pass)},
      {"time to a veto", spread_text(totals.to_veto)},
      {"requests of canaries before their veto", fmt::format("{:.0f}", totals.samples_before_veto)},
      {"passes taken back", fmt::format("{}", totals.taken_back)},
      {"time on hold", span_text(totals.held)}};
  const Balance balance = balance_of(totals, costs);
  const auto add = [&](const char* name, const std::optional<double>& value) {
    if (value) figures.emplace_back(name, fmt::format("{:.6g}", *value));
  };
  add("incidents avoided, cost", balance.avoided);
  add("rollbacks, cost", balance.rollbacks);
  add("waiting, cost", balance.waiting);
  add("net", balance.net());
  return figures;
}

std::string render_text(const std::vector<RolloutSummary>& rollouts, const Costs& costs,
                        const Style& style) {
  const Totals totals = total(rollouts);
  std::string text;
  for (const auto& [name, value] : figures_of(totals, costs))
    text += fmt::format("{:<40}{}\n", name, value);
  if (rollouts.empty()) return text;
  Table holds({{"HOLD", false}, {"TIMES"}, {"IN ALL"}});
  for (const auto& [reason, held] : totals.held_by_reason)
    holds.add({{reason}, {fmt::format("{}", held.times)}, {span_text(held.duration)}});
  text += "\n" + holds.render(style) + "\n";
  Table table({{"BEGAN (UTC)", false},
               {"SLO", false, true},
               {"ROLLOUT", false, true, 1},
               {"END", false},
               {"AFTER"},
               {"REQUESTS"},
               {"WHY", false, true}});
  for (const RolloutSummary& one : rollouts) {
    const End end = end_of(one);
    const std::string_view colour = end == End::Vetoed   ? kRed
                                    : end == End::Passed ? kGreen
                                                         : kYellow;
    table.add({{time_text(one.began)},
               {one.slo},
               {one.rollout},
               {std::string(kEndNames[static_cast<size_t>(end)]), colour},
               {span_text(time_to(one, one.vetoed ? one.vetoed : one.passed))},
               {fmt::format("{:.0f}", one.canary_samples)},
               {one.vetoed ? one.message : one.reason}});
  }
  return text + table.render(style);
}

// ---- as JSON ----

Json optional_seconds(const std::optional<nanoseconds>& span) {
  return span ? Json(seconds(*span)) : Json(nullptr);
}
Json optional_time(const std::optional<system_clock::time_point>& time) {
  return time ? Json(to_rfc3339_ms(*time)) : Json(nullptr);
}
Json spread_json(const std::optional<Spread>& spread) {
  return spread ? Json{{"median", spread->median}, {"p90", spread->high}} : Json(nullptr);
}
Json held_json(const std::map<std::string, Held>& held) {
  Json json = Json::object();
  for (const auto& [reason, one] : held)
    json[reason] = {{"times", one.times}, {"seconds", seconds(one.duration)}};
  return json;
}

std::string render_json(const std::vector<RolloutSummary>& rollouts, const Costs& costs) {
  const Totals totals = total(rollouts);
  const Balance balance = balance_of(totals, costs);
  Json list = Json::array();
  for (const RolloutSummary& one : rollouts)
    list.push_back({{"slo", one.slo},
                    {"rollout", one.rollout},
                    {"end", kEndNames[static_cast<size_t>(end_of(one))]},
                    {"began", optional_time(one.began)},
                    {"passed", optional_time(one.passed)},
                    {"vetoed", optional_time(one.vetoed)},
                    {"seconds_to_pass", optional_seconds(time_to(one, one.passed))},
                    {"seconds_to_veto", optional_seconds(time_to(one, one.vetoed))},
                    {"judged_seconds", one.judged_seconds},
                    {"canary_requests", one.canary_samples},
                    {"passes_taken_back", one.taken_back},
                    {"reason", one.reason},
                    {"message", one.message},
                    {"holds", held_json(one.held)}});
  return to_line({{"rollouts", totals.all()},
                  {"passed", totals.passed},
                  {"vetoed", totals.vetoed},
                  {"undecided", totals.undecided},
                  {"rollback_rate", number(totals.rollback_rate())},
                  {"seconds_to_pass", spread_json(totals.to_pass)},
                  {"seconds_to_veto", spread_json(totals.to_veto)},
                  {"canary_requests_before_veto", totals.samples_before_veto},
                  {"passes_taken_back", totals.taken_back},
                  {"holds", held_json(totals.held_by_reason)},
                  {"cost",
                   {{"incidents_avoided", number(balance.avoided)},
                    {"rollbacks", number(balance.rollbacks)},
                    {"waiting", number(balance.waiting)},
                    {"net", number(balance.net())}}},
                  {"list", std::move(list)}});
}

// ---- as one HTML file ----

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>slogate report</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 0 0 2rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.veto, .pass, .hold { font-weight: 600; }
.veto { color: light-dark(#b3261e, #ff8a80); }
.pass { color: light-dark(#1b6e33, #7bd88f); }
.hold { color: light-dark(#7a5900, #e6c15a); }
</style>
)";

std::string render_html(const std::vector<RolloutSummary>& rollouts, const Costs& costs,
                        const std::string& span) {
  const Totals totals = total(rollouts);
  std::string html(kHead);
  html += fmt::format("<h1>What became of rollouts</h1>\n<p>{}</p>\n<table>\n", escaped(span));
  for (const auto& [name, value] : figures_of(totals, costs))
    html += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escaped(name),
                        escaped(value));
  html +=
      "</table>\n<h2>Holds</h2>\n<table>\n<tr><th>reason</th><th class=\"n\">times</th><th "
      "class=\"n\">in all</th></tr>\n";
  for (const auto& [reason, held] : totals.held_by_reason)
    html += fmt::format("<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
                        escaped(reason), held.times, span_text(held.duration));
  html +=
      "</table>\n<h2>Rollouts</h2>\n<table>\n<tr><th>began "
      "(UTC)</th><th>SLO</th><th>rollout</th><th>end</th>"
      "<th class=\"n\">after</th><th class=\"n\">requests</th><th>why</th></tr>\n";
  for (const RolloutSummary& one : rollouts) {
    const std::string_view end = kEndNames[static_cast<size_t>(end_of(one))];
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"{}\">{}</td><td class=\"n\">{}</td>"
        "<td class=\"n\">{:.0f}</td><td>{}</td></tr>\n",
        time_text(one.began), escaped(one.slo), escaped(one.rollout), end, end,
        span_text(time_to(one, one.vetoed ? one.vetoed : one.passed)), one.canary_samples,
        escaped(one.message));
  }
  return html + "</table>\n</html>\n";
}

}  // namespace

Outcome<Report> show_report(const ReportOptions& options, const Output& output,
                            system_clock::time_point now) {
  std::vector<std::vector<AuditLine>> nodes;
  size_t unreadable = 0;
  for (const std::string& log : options.logs) {
    auto node = read_log(log);
    if (!node) return std::unexpected(node.error());
    unreadable += node->unreadable;
    nodes.push_back(std::move(node->lines));
  }
  std::optional<system_clock::time_point> since;
  if (options.since)
    since = now - std::chrono::duration_cast<system_clock::duration>(*options.since);
  const auto rollouts = summarize(nodes, since, now);
  Report report;
  if (unreadable != 0)
    report.warnings = fmt::format(
        "slogate: {} lines of the audit log cannot be read, and are left out\n", unreadable);
  const std::string span = fmt::format(
      "{} to {} (UTC)", since ? time_text(since) : "The beginning of the log", time_text(now));
  switch (output.json ? ReportForm::JsonText : options.form) {
    case ReportForm::JsonText:
      report.text = render_json(rollouts, options.costs);
      break;
    case ReportForm::HtmlFile:
      report.text = render_html(rollouts, options.costs, span);
      break;
    case ReportForm::Table:
      report.text = span + "\n" + render_text(rollouts, options.costs, output.style);
  }
  return report;
}

}  // namespace slogate::cli
