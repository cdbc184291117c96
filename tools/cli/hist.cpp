// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/hist.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "agent/base/glob.h"
#include "tools/cli/bars.h"
#include "tools/cli/buckets.h"
#include "tools/cli/fields.h"
#include "tools/cli/table.h"
#include "tools/cli/units.h"

namespace slogate::cli {
namespace {

struct Mark {
  const char* name;
  double q;
};
constexpr std::array<Mark, 4> kMarks = {
    {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}};

// Ids of the cgroups that `matches` takes, the living ones before those that are gone.
struct Matches {
  std::vector<CgroupRow> living, gone;
};

template <typename Predicate>
Matches select(const Json& cgroups, Predicate matches) {
  Matches found;
  for (const Json& cgroup : cgroups) {
    CgroupRow row = parse_cgroup(cgroup);
    if (matches(cgroup.at("path").get<std::string>()))
      (row.gone ? found.gone : found.living).push_back(std::move(row));
  }
  return found;
}

Outcome<uint64_t> only(const Matches& found, const std::string& cgroup) {
  const auto& rows = found.living.empty() ? found.gone : found.living;
  if (rows.size() == 1) return rows.front().id;
  if (rows.empty())
    return fail(kUsage, fmt::format("no cgroup that used TCP matches {}", cgroup),
                "slogate cgroups lists them");
  std::string list;
  for (const CgroupRow& row : rows) list += fmt::format("\n  {}  {}", row.id, printable(row.name));
  return fail(kUsage,
              fmt::format("{} matches {} cgroups; name one of them:{}", cgroup, rows.size(), list));
}

bool is_id(const std::string& text) {
  return !text.empty() && text.size() < 20 &&
         std::all_of(text.begin(), text.end(), [](char c) { return '0' <= c && c <= '9'; });
}

std::string quantiles_text(const Buckets& buckets) {
  std::string text;
  for (const Mark& mark : kMarks)
    text += fmt::format("{}{} {}", text.empty() ? "" : "   ", mark.name,
                        to_duration(quantile(buckets, mark.q)));
  return text;
}

std::string nothing_text(const Json& signals, const std::string& signal) {
  std::string others;
  for (const auto& [name, buckets] : signals.items())
    if (total(parse_buckets(buckets)) > 0) others += (others.empty() ? "" : ", ") + printable(name);
  return others.empty()
             ? "No signal of this cgroup has any value yet.\n"
             : fmt::format("No value of {} yet. There are values of: {}.\n", signal, others);
}

std::string marks_of(const Buckets& buckets, const BarLine& line) {
  std::string text;
  for (const Mark& mark : kMarks) {
    const auto at = quantile_bucket(buckets, mark.q);
    if (at && line.first <= *at && *at <= line.last)
      text += (text.empty() ? "" : " ") + std::string(mark.name);
  }
  return text;
}

std::string draw(const Buckets& buckets, const Style& style) {
  constexpr size_t other_columns = 55;
  const size_t bar_width =
      std::clamp<size_t>(std::max(style.width, other_columns) - other_columns, 10, 50);
  Table table({{.title = "ABOVE"},
               {.title = "UP TO"},
               {.title = "DISTRIBUTION", .right = false},
               {.title = "COUNT"},
               {.title = "CUMULATIVE"},
               {.title = "QUANTILES", .right = false, .spare = 1}});
  const std::vector<BarLine> lines = to_lines(buckets);
  double most = 0;
  for (const BarLine& line : lines) most = std::max(most, line.count);
  const double all = total(buckets);
  for (size_t i = 0; i < lines.size(); ++i) {
    const BarLine& line = lines[i];
    if (line.gap) table.add({{""}, {""}, {"..."}});
    table.add({{to_duration(line.above)},
               {to_duration(line.le)},
               {bar(line.count / most, bar_width, style), ramp(i, lines.size())},
               {to_count(line.count)},
               {to_percent(line.upto / all)},
               {marks_of(buckets, line)}});
  }
  return table.render(style);
}

// One of two.
struct Drawn {
  std::string name;
  Buckets buckets;
};

Drawn parse_drawn(const Json& histograms, const std::string& signal) {
  return {fmt::format("{} (id {})", printable(histograms.at("path").get<std::string>()),
                      histograms.at("id").get<uint64_t>()),
          parse_buckets(histograms.at("signals").value(signal, Json::array()))};
}

std::string legend(std::string_view mark, std::string_view what, const Drawn& of) {
  return fmt::format("{}  {} {}, {} values: {}\n", mark, what, of.name, to_count(total(of.buckets)),
                     quantiles_text(of.buckets));
}

double count_in(const Buckets& buckets, const BarLine& line) {
  double sum = 0;
  for (size_t i = line.first; i <= line.last; ++i) sum += std::max(0.0, buckets[i].count);
  return sum;
}

// Which of the two a quantile is of stands before it.
std::string marks_of(const Buckets& a, const Buckets& b, const BarLine& line) {
  const std::string first = marks_of(a, line), second = marks_of(b, line);
  std::string text;
  if (!first.empty()) text += "1: " + first;
  if (!second.empty()) text += (text.empty() ? "2: " : "  2: ") + second;
  return text;
}

std::string draw_two(const Buckets& a, const Buckets& b, const Style& style) {
  if (a.size() != b.size()) return "The agent changed its buckets in between: try again.\n";
  constexpr size_t other_columns = 62;
  const size_t bar_width =
      std::clamp<size_t>(std::max(style.width, other_columns) - other_columns, 10, 50);
  Buckets both = a;
  for (size_t i = 0; i < both.size(); ++i) both[i].count += b[i].count;
  const std::vector<BarLine> lines = to_lines(both);
  const double all_a = total(a), all_b = total(b);
  double most = 0;
  for (const BarLine& line : lines)
    most = std::max({most, count_in(a, line) / all_a, count_in(b, line) / all_b});
  Table table({{.title = "ABOVE"},
               {.title = "UP TO"},
               {.title = "DISTRIBUTION", .right = false},
               {.title = "1"},
               {.title = "2"},
               {.title = "QUANTILES", .right = false, .spare = 1}});
  for (const BarLine& line : lines) {
    if (line.gap) table.add({{""}, {""}, {"..."}, {""}, {""}, {""}});
    const double share_a = count_in(a, line) / all_a, share_b = count_in(b, line) / all_b;
    table.add({{to_duration(line.above)},
               {to_duration(line.le)},
               {overlaid_bar(share_a / most, share_b / most, bar_width, style)},
               {to_percent(share_a)},
               {to_percent(share_b)},
               {marks_of(a, b, line)}});
  }
  return table.render(style);
}

// Where the histograms of a cgroup are.
Outcome<std::string> find_histograms(const Fetch& fetch, const std::string& cgroup) {
  std::string id = cgroup;
  if (!is_id(cgroup)) {
    const auto cgroups = fetch("/v1/cgroups");
    if (!cgroups) return std::unexpected(cgroups.error());
    const auto found = find_cgroup(*cgroups, cgroup);
    if (!found) return std::unexpected(found.error());
    id = std::to_string(*found);
  }
  return fmt::format("/v1/cgroups/{}/histograms", id);
}

}  // namespace

Outcome<uint64_t> find_cgroup(const Json& cgroups, const std::string& cgroup) {
  // Names that systemd escapes hold backslashes, so a name comes before a pattern.
  const Matches exact = select(cgroups, [&](const std::string& path) { return path == cgroup; });
  if (!exact.living.empty() || !exact.gone.empty()) return only(exact, cgroup);
  const auto glob = Glob::parse(cgroup);
  if (!glob) return std::unexpected(Failure{glob.error(), kUsage});
  return only(select(cgroups, [&](const std::string& path) { return glob->matches(path); }),
              cgroup);
}

std::string render_histogram(const Json& histograms, const std::string& signal,
                             const Style& style) {
  const Json& signals = histograms.at("signals");
  const Buckets buckets = parse_buckets(signals.value(signal, Json::array()));
  const std::string head =
      fmt::format("{} (id {}): {}", printable(histograms.at("path").get<std::string>()),
                  histograms.at("id").get<uint64_t>(), signal);
  if (total(buckets) <= 0) return head + "\n" + nothing_text(signals, signal);
  return fmt::format("{}, {} values\n{}\n\n{}", paint(head, kBold, style), to_count(total(buckets)),
                     quantiles_text(buckets), draw(buckets, style));
}

std::string render_two_histograms(const Json& first, const Json& second, const std::string& signal,
                                  const Style& style) {
  const Drawn a = parse_drawn(first, signal), b = parse_drawn(second, signal);
  for (const auto& [drawn, json] : {std::pair(&a, &first), std::pair(&b, &second)})
    if (total(drawn->buckets) <= 0)
      return fmt::format("{}: {}\n{}", drawn->name, signal,
                         nothing_text(json->at("signals"), signal));
  const OverlaidMarks marks = overlaid_marks(style);
  std::string head = paint(signal, kBold, style) + "\n";
  head += legend(marks.first, "only", a) + legend(marks.second, "only", b);
  head += fmt::format("{}  both\n\n", marks.both);
  return head + draw_two(a.buckets, b.buckets, style);
}

Outcome<Report> show_histogram(const Fetch& fetch, const std::string& cgroup,
                               const std::string& signal, const Output& output) {
  const auto target = find_histograms(fetch, cgroup);
  if (!target) return std::unexpected(target.error());
  return show(fetch, *target, output, [&](const Json& histograms, const Style& style) {
    return render_histogram(histograms, signal, style);
  });
}

Outcome<Report> show_two_histograms(const Fetch& fetch, const std::string& first,
                                    const std::string& second, const std::string& signal,
                                    const Output& output) {
  Json both = Json::array();
  for (const std::string& cgroup : {first, second}) {
    const auto target = find_histograms(fetch, cgroup);
    if (!target) return std::unexpected(target.error());
    auto histograms = fetch(*target);
    if (!histograms) return std::unexpected(histograms.error());
    both.push_back(std::move(*histograms));
  }
  if (output.json) return Report{to_line(both)};
  return Report{render_two_histograms(both[0], both[1], signal, output.style)};
}

}  // namespace slogate::cli
