// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/cli/text.h"

namespace slogate::cli {

struct Cell {
  std::string text;
  std::string_view colour = kPlain;
};

struct Column {
  std::string title;
  bool right = true;     // aligned to the right, as numbers are
  bool elastic = false;  // its text may be shortened
  unsigned spare = 0;    // where there is no room, columns go, highest first; 0 stays
};

// Rows under titled columns.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // `cells` has one for each column, made printable here.
  void add(std::vector<Cell> cells);

  // Titles and rows, each with its line end. A terminal that is too narrow loses spare columns
  // first, then the middle of elastic text, then the ends of lines.
  [[nodiscard]] std::string render(const Style& style) const;

 private:
  [[nodiscard]] std::vector<size_t> widths() const;
  [[nodiscard]] std::string line(const std::vector<Cell>& cells, const std::vector<size_t>& widths,
                                 const Style& style) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace slogate::cli
