// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/top_view.h"

#include <algorithm>
#include <ranges>

#include "agent/base/figures.h"
#include "tools/cli/table.h"
#include "tools/cli/units.h"

namespace slogate::cli {
namespace {

Cell bad_rate(std::optional<double> rate, std::string_view colour) {
  return {to_rate(rate), rate.value_or(0) > 0 ? colour : kPlain};
}

std::string_view colour_of(std::string_view verdict) {
  return verdict == "veto" ? kRed : verdict == "pass" ? kGreen : kYellow;
}

Cell verdict_cell(const TopFrame& frame, const TopRow& row) {
  const auto found = frame.sample.verdicts.find(row.now.path);
  if (found == frame.sample.verdicts.end()) return {"-"};
  const auto& [verdict, expected] = found->second;
  return {expected ? fmt::format("{}, {}", verdict, about_text(*expected)) : verdict,
          colour_of(verdict)};
}

// So many SLOs have a line of their own; `slogate verdict` has all.
constexpr size_t kMostSayings = 3;

std::string sayings_of(const TopFrame& frame, const Style& style) {
  std::string text;
  for (const Saying& saying : std::views::take(frame.sample.sayings, kMostSayings))
    text +=
        paint(shorten(
                  printable(fmt::format("{}  {}: {}", saying.verdict, saying.slo, saying.message)),
                  style.width, style),
              colour_of(saying.verdict), style) +
        "\n";
  return text;
}

void add_row(Table& table, const TopFrame& frame, const TopRow& row) {
  const bool idle = row.rate.value_or(0) == 0 && row.now.inflight.value_or(0) == 0;
  std::vector<Cell> cells = {
      {row.now.name + (row.now.gone ? " (gone)" : ""), idle ? kDim : kPlain},
      {row.now.role.empty() ? "-" : row.now.role},
      {to_rate(row.rate)},
      {to_duration(row.p50)},
      {to_duration(row.p90)},
      {to_duration(row.p99)},
      {to_duration(row.p999)},
      bad_rate(row.errors, kRed),
      bad_rate(row.connection_errors, kRed),
      bad_rate(row.drops, kYellow),
      bad_rate(row.retransmits, kYellow),
      {to_count(row.now.inflight)},
      {row.now.inflight.value_or(0) > 0 ? to_duration(row.now.oldest) : "-"}};
  if (!frame.sample.verdicts.empty()) cells.push_back(verdict_cell(frame, row));
  table.add(std::move(cells));
}

std::string table_of(const TopFrame& frame, const Style& style) {
  std::vector<Column> columns = {{.title = "CGROUP", .right = false, .elastic = true},
                                 {.title = "ROLE", .right = false, .spare = 1},
                                 {.title = "RATE/s"},
                                 {.title = "P50"},
                                 {.title = "P90", .spare = 5},
                                 {.title = "P99"},
                                 {.title = "P99.9", .spare = 3},
                                 {.title = "ERRORS/s"},
                                 {.title = "CONN ERR/s", .spare = 7},
                                 {.title = "DROPS/s", .spare = 2},
                                 {.title = "RETRANS/s", .spare = 4},
                                 {.title = "IN FLIGHT"},
                                 {.title = "OLDEST", .spare = 6}};
  if (!frame.sample.verdicts.empty()) columns.push_back({.title = "VERDICT", .right = false});
  Table table(std::move(columns));
  for (const TopRow& row : frame.rows) add_row(table, frame, row);
  return table.render(style);
}

std::string title(const TopFrame& frame) {
  const Sample& sample = frame.sample;
  return fmt::format("slogate {}   kernel {}   up {}   {} cgroups   {}", sample.version,
                     sample.kernel, to_duration(sample.uptime), sample.cgroups.size(),
                     frame.seconds ? "last " + to_duration(frame.seconds) : "measuring");
}

// What makes the figures less than complete.
std::string warnings(const TopFrame& frame) {
  std::string text;
  if (frame.sample.lost.value_or(0) > 0)
    text += fmt::format("{} samples lost   ", to_count(frame.sample.lost));
  if (frame.sample.degraded != 0)
    text += fmt::format("{} program{} missing: see slogate probes   ", frame.sample.degraded,
                        frame.sample.degraded == 1 ? "" : "s");
  const size_t hidden = frame.sample.cgroups.size() - frame.rows.size();
  if (hidden != 0) text += fmt::format("{} more cgroups below", hidden);
  return text;
}

}  // namespace

size_t top_header(const TopFrame& frame) {
  return 3 + std::min(kMostSayings, frame.sample.sayings.size());
}

std::string render_top(const TopFrame& frame, const std::string& note, const Style& style) {
  const std::string& second = note.empty() ? warnings(frame) : note;
  const std::string head =
      paint(shorten(printable(title(frame)), style.width, style), kBold, style) + "\n" +
      paint(shorten(printable(second), style.width, style), kYellow, style) + "\n";
  if (!frame.seconds) return head + "The first figures come after the first interval.\n";
  if (frame.rows.empty()) return head + "No cgroup has used TCP since the agent started.\n";
  return head + sayings_of(frame, style) + table_of(frame, style);
}

namespace {

Json known(std::optional<double> value) {
  return value ? Json(*value) : Json(nullptr);
}

}  // namespace

std::string top_json(const TopFrame& frame) {
  Json cgroups = Json::array();
  const auto verdict_of = [&](const TopRow& row) {
    const auto found = frame.sample.verdicts.find(row.now.path);
    return found == frame.sample.verdicts.end() ? Json(nullptr) : Json(found->second.verdict);
  };
  for (const TopRow& row : frame.rows)
    cgroups.push_back({{"id", row.now.id},
                       {"path", row.now.path},
                       {"name", row.now.name},
                       {"role", row.now.role},
                       {"rate", known(row.rate)},
                       {"p50", known(row.p50)},
                       {"p90", known(row.p90)},
                       {"p99", known(row.p99)},
                       {"p999", known(row.p999)},
                       {"errors", known(row.errors)},
                       {"connection_errors", known(row.connection_errors)},
                       {"retransmits", known(row.retransmits)},
                       {"drops", known(row.drops)},
                       {"inflight", known(row.now.inflight)},
                       {"oldest_seconds", known(row.now.oldest)},
                       {"verdict", verdict_of(row)}});
  return to_line({{"seconds", known(frame.seconds)},
                  {"lost", known(frame.sample.lost)},
                  {"cgroups", std::move(cgroups)}});
}

}  // namespace slogate::cli
