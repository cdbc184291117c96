// SPDX-License-Identifier: Apache-2.0
#include "agent/config/config_fields.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

namespace slogate {
namespace {

// Levenshtein's distance: how many characters to insert, remove or replace.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// The known name that `name` was probably meant to be, "" when none is near.
std::string_view nearest(std::string_view name, std::span<const std::string_view> known) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string_view candidate : known) {
    if (name.size() > 2 * candidate.size()) continue;
    const size_t distance = edit_distance(name, candidate);
    if (distance >= std::min(best_distance, candidate.size())) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

const Field* find_field(std::span<const Field> fields, std::string_view key) {
  const auto found = std::ranges::find(fields, key, &Field::key);
  return found == fields.end() ? nullptr : &*found;
}

Error unknown_key(std::string_view what, std::string_view key, std::span<const Field> fields) {
  std::vector<std::string_view> known;
  std::ranges::transform(fields, std::back_inserter(known), &Field::key);
  return unknown_name(fmt::format("key in {}:", what), key, known);
}

}  // namespace

void ConfigProblems::add(const YamlNode& at, std::string message, std::string remedy) {
  problems_.push_back({.file = file_,
                       .line_number = at.line,
                       .column = at.column,
                       .message = std::move(message),
                       .remedy = std::move(remedy)});
}

void ConfigProblems::add(const YamlNode& at, Error error) {
  add(at, std::move(error.message), std::move(error.remedy));
}

void ConfigProblems::warn(const YamlNode& at, std::string message) {
  if (std::ranges::find(warnings_, message, &ConfigProblem::message) != warnings_.end()) return;
  warnings_.push_back({.file = file_,
                       .line_number = at.line,
                       .column = at.column,
                       .message = std::move(message),
                       .remedy = {}});
}

std::vector<ConfigProblem> ConfigProblems::take() {
  std::ranges::stable_sort(problems_, {}, [](const ConfigProblem& problem) {
    return std::tuple(problem.line_number, problem.column);
  });
  return std::exchange(problems_, {});
}

Error unknown_name(std::string_view what, std::string_view name,
                   std::span<const std::string_view> known) {
  const std::string_view near = nearest(name, known);
  const std::string hint = near.empty() ? "" : fmt::format("did you mean \"{}\"? ", near);
  return {fmt::format("unknown {} {}", what, in_quotes(name)),
          fmt::format("{}known: {}", hint, fmt::join(known, ", "))};
}

bool is_scalar(const YamlNode& node, ConfigProblems& problems) {
  if (node.kind == YamlNode::Kind::Scalar) return true;
  problems.add(node, fmt::format("{} where a single value belongs", node.kind_name()));
  return false;
}

bool read_fields(const YamlNode& node, std::string_view what, ConfigProblems& problems,
                 std::span<const Field> fields) {
  if (node.kind != YamlNode::Kind::Map) {
    problems.add(node, fmt::format("{} where {} belongs", node.kind_name(), what),
                 "write keys and values, like key: value");
    return false;
  }
  std::map<std::string_view, int> lines;
  for (size_t i = 0; i < node.keys.size(); ++i) {
    const YamlNode& key = node.keys[i];
    if (!is_scalar(key, problems)) continue;
    const auto [first, is_new] = lines.emplace(key.text, key.line);
    const Field* field = find_field(fields, key.text);
    if (!field)
      problems.add(key, unknown_key(what, key.text, fields));
    else if (!is_new)
      problems.add(key, fmt::format("key {} stands twice", in_quotes(key.text)),
                   fmt::format("it is also in line {}: remove one", first->second));
    else if (node.items[i].kind == YamlNode::Kind::Null)
      problems.add(key, fmt::format("key {} has no value", in_quotes(key.text)),
                   "give it one, or remove the key");
    else
      field->read(node.items[i]);
  }
  return true;
}

void require_key(const YamlNode& map, std::string_view key, std::string_view what,
                 ConfigProblems& problems) {
  if (!map.find(key)) problems.add(map, fmt::format("{} without \"{}\"", what, key), "add it");
}

bool is_name(std::string_view text, size_t most, std::string_view inner, bool upper) {
  const auto is_outer = [upper](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (upper && c >= 'A' && c <= 'Z');
  };
  return !text.empty() && text.size() <= most && is_outer(text.front()) && is_outer(text.back()) &&
         std::ranges::all_of(text, [&](char c) { return is_outer(c) || inner.contains(c); });
}

Result<std::string> parse_name(std::string_view text, size_t most, std::string_view inner,
                               std::string_view what, std::string_view remedy) {
  if (!is_name(text, most, inner))
    return fail(fmt::format("{} is not {}", in_quotes(text), what), std::string(remedy));
  return std::string(text);
}

void read_list(const YamlNode& node, ConfigProblems& problems, size_t most,
               const std::function<void(const YamlNode&)>& read) {
  if (node.kind != YamlNode::Kind::Sequence) {
    problems.add(node, fmt::format("{} where a list belongs", node.kind_name()),
                 "put it in [ ], or start each item with \"- \"");
    return;
  }
  if (node.items.size() > most)
    problems.add(node.items[most], fmt::format("more than {} items", most), "remove some");
  for (size_t i = 0; i < std::min(node.items.size(), most); ++i) read(node.items[i]);
}

void read_globs(const YamlNode& node, ConfigProblems& problems, std::vector<Glob>& to) {
  to.clear();
  const auto read_one = [&](const YamlNode& item) {
    if (!is_scalar(item, problems)) return;
    if (auto glob = Glob::parse(item.text))
      to.push_back(std::move(*glob));
    else
      problems.add(item, std::move(glob.error()));
  };
  if (node.kind == YamlNode::Kind::Scalar)
    read_one(node);
  else
    read_list(node, problems, kMaxGlobs, read_one);
}

}  // namespace slogate
