// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/maps.h"

#include <algorithm>
#include <cctype>

#include "tools/cli/fields.h"
#include "tools/cli/table.h"
#include "tools/cli/units.h"

namespace slogate::cli {
namespace {

// Changes of size below the table.
constexpr size_t kResizesShown = 8;

// Shares of a map's capacity from which it stands out.
constexpr double kHigh = 0.75, kFull = 0.95;

Cell pressure_cell(const Json& map) {
  // Without a capacity there is nothing to press against.
  if (!number_at(map, "/capacity")) return {"-"};
  const auto pressure = number_at(map, "/pressure");
  const double share = pressure.value_or(0);
  return {to_percent(pressure), share >= kFull ? kRed : share >= kHigh ? kYellow : kPlain};
}

std::string to_title(std::string name) {
  std::ranges::transform(name, name.begin(), [](unsigned char c) {
    return c == '_' ? ' ' : static_cast<char>(std::toupper(c));
  });
  return name;
}

std::string to_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>().empty() ? "-" : value.get<std::string>();
  return value.dump();
}

// The latest changes of all maps, in the order of time.
std::string render_resizes(const Json& maps, const Style& style) {
  struct Line {
    std::string time, map;
    Json resize;
  };
  std::vector<Line> lines;
  for (const Json& map : maps)
    for (const Json& resize : map.value("latest_resizes", Json::array()))
      lines.push_back({resize.value("time", ""), map.at("name").get<std::string>(), resize});
  if (lines.empty()) return "";
  std::ranges::stable_sort(lines, {}, &Line::time);
  if (lines.size() > kResizesShown) lines.erase(lines.begin(), lines.end() - kResizesShown);
  Table table({{.title = "RESIZED", .right = false},
               {.title = "MAP", .right = false},
               {.title = "FROM"},
               {.title = "TO"},
               {.title = "REASON", .right = false, .elastic = true}});
  for (const Line& line : lines)
    table.add({{line.time},
               {line.map},
               {to_count(number_at(line.resize, "/from"))},
               {to_count(number_at(line.resize, "/to"))},
               {line.resize.value("reason", "")}});
  return "\n" + table.render(style);
}

}  // namespace

std::string render_maps(const Json& maps, const Style& style) {
  Table table({{.title = "MAP", .right = false, .elastic = true},
               {.title = "TYPE", .right = false, .spare = 2},
               {.title = "ENTRIES"},
               {.title = "CAPACITY"},
               {.title = "PRESSURE"},
               {.title = "MEMORY"},
               {.title = "RESIZES", .spare = 1},
               {.title = "LOST"}});
  for (const Json& map : maps) {
    const auto lost = number_at(map, "/lost");
    table.add({{map.at("name").get<std::string>()},
               {map.value("type", "-")},
               {to_count(number_at(map, "/entries"))},
               {to_count(number_at(map, "/capacity"))},
               pressure_cell(map),
               {to_bytes(number_at(map, "/bytes"))},
               {to_count(number_at(map, "/resizes"))},
               {to_count(lost), lost.value_or(0) > 0 ? kRed : kPlain}});
  }
  return table.render(style) + render_resizes(maps, style);
}

std::string render_map(const Json& map, const Style& style) {
  const Json& entries = map.at("entries");
  std::vector<Column> columns;
  for (const Json& name : map.at("columns")) {
    const auto title = name.get<std::string>();
    const bool number = !entries.empty() && entries.front().at(title).is_number();
    columns.push_back({.title = to_title(title), .right = number, .elastic = title == "path"});
  }
  Table table(std::move(columns));
  for (const Json& entry : entries) {
    std::vector<Cell> cells;
    for (const Json& name : map.at("columns"))
      cells.push_back({to_text(entry.at(name.get<std::string>()))});
    table.add(std::move(cells));
  }
  std::string text = entries.empty() ? "The map is empty.\n" : table.render(style);
  if (const auto left_out = number_at(map, "/left_out"); left_out.value_or(0) > 0)
    text += fmt::format("\n... and {} more\n", to_count(left_out));
  return text;
}

Outcome<Report> show_maps(const Fetch& fetch, const Output& output) {
  return show(fetch, "/v1/maps", output, render_maps);
}

Outcome<Report> show_map(const Fetch& fetch, const std::string& name, const Output& output) {
  return show(fetch, "/v1/maps/" + percent_encode(name), output, render_map);
}

Outcome<Report> resize_map(const Post& post, const std::string& name, uint64_t entries,
                           const Output& output) {
  const auto answer =
      post(fmt::format("/v1/maps/{}/resize", percent_encode(name)), Json{{"entries", entries}});
  if (!answer) return std::unexpected(answer.error());
  return Report{output.json ? to_line(*answer)
                            : printable(answer->at("done").get<std::string>()) + "\n"};
}

}  // namespace slogate::cli
