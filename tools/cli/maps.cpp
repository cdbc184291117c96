// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/maps.h"

#include "tools/cli/fields.h"
#include "tools/cli/table.h"
#include "tools/cli/units.h"

namespace slogate::cli {
namespace {

// Shares of a map's capacity from which it stands out.
constexpr double kHigh = 0.75, kFull = 0.95;

Cell pressure_cell(const Json& map) {
  // Without a capacity there is nothing to press against.
  if (!number_at(map, "/capacity")) return {"-"};
  const auto pressure = number_at(map, "/pressure");
  const double share = pressure.value_or(0);
  return {to_percent(pressure), share >= kFull ? kRed : share >= kHigh ? kYellow : kPlain};
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
  return table.render(style);
}

Outcome<Report> show_maps(const Fetch& fetch, const Output& output) {
  return show(fetch, "/v1/maps", output, render_maps);
}

}  // namespace slogate::cli
