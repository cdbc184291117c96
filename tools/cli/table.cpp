// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/table.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace slogate::cli {
namespace {

constexpr std::string_view kGap = "  ";
constexpr size_t kMinElastic = 16;

// The widths of columns; 0 marks one that is not shown.
using Widths = std::vector<size_t>;

size_t line_width(const Widths& widths) {
  const auto hidden = static_cast<size_t>(std::count(widths.begin(), widths.end(), size_t{0}));
  const size_t shown = widths.size() - hidden;
  return std::accumulate(widths.begin(), widths.end(), shown == 0 ? 0 : (shown - 1) * kGap.size());
}

// The line's width with elastic columns as narrow as they can be.
size_t least_width(Widths widths, const std::vector<Column>& columns) {
  for (size_t i = 0; i < widths.size(); ++i)
    if (columns[i].elastic) widths[i] = std::min(widths[i], kMinElastic);
  return line_width(widths);
}

std::optional<size_t> most_spare(const Widths& widths, const std::vector<Column>& columns) {
  std::optional<size_t> most;
  for (size_t i = 0; i < widths.size(); ++i)
    if (widths[i] != 0 && columns[i].spare > (most ? columns[*most].spare : 0)) most = i;
  return most;
}

// Makes the line as narrow as `width` if the columns allow it.
void fit(Widths& widths, const std::vector<Column>& columns, size_t width) {
  while (least_width(widths, columns) > width) {
    const auto spare = most_spare(widths, columns);
    if (!spare) break;
    widths[*spare] = 0;
  }
  for (size_t i = 0; i < widths.size(); ++i) {
    const size_t now = line_width(widths);
    if (!columns[i].elastic || now <= width || widths[i] <= kMinElastic) continue;
    widths[i] -= std::min(now - width, widths[i] - kMinElastic);
  }
}

}  // namespace

void Table::add(std::vector<Cell> cells) {
  for (Cell& cell : cells) cell.text = printable(cell.text);
  cells.resize(columns_.size());
  rows_.push_back(std::move(cells));
}

std::vector<size_t> Table::widths() const {
  Widths widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    widths.push_back(columns_of(columns_[i].title));
    for (const auto& row : rows_) widths[i] = std::max(widths[i], columns_of(row[i].text));
  }
  return widths;
}

std::string Table::line(const std::vector<Cell>& cells, const Widths& widths,
                        const Style& style) const {
  std::string line;
  size_t room = style.width;
  size_t blanks = 0;  // owed before the next text, so that no line ends in blanks
  for (size_t i = 0; i < cells.size(); ++i) {
    if (widths[i] == 0) continue;
    if (room <= blanks) break;
    const size_t width = std::min(widths[i], room - blanks);
    const std::string text = shorten(cells[i].text, width, style);
    const size_t rest = width - columns_of(text);
    if (text.empty()) {
      blanks += width + kGap.size();
      continue;
    }
    const size_t before = blanks + (columns_[i].right ? rest : 0);
    line += std::string(before, ' ') + paint(text, cells[i].colour, style);
    room -= before + columns_of(text);
    blanks = (columns_[i].right ? 0 : rest) + kGap.size();
  }
  return line + "\n";
}

std::string Table::render(const Style& style) const {
  Widths fitting = widths();
  fit(fitting, columns_, style.width);
  std::vector<Cell> titles;
  titles.reserve(columns_.size());
  for (const Column& column : columns_) titles.push_back({column.title, kBold});
  std::string text = line(titles, fitting, style);
  for (const auto& row : rows_) text += line(row, fitting, style);
  return text;
}

}  // namespace slogate::cli
