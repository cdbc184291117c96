// SPDX-License-Identifier: Apache-2.0
#include "agent/config/judged.h"

#include <fmt/format.h>

#include <ranges>

namespace slogate {
namespace {

// A term that is misspelt would be a sum of nothing.
constexpr bool is_counted(const CounterTerm& term) {
  return term.family == kDropsFamily ? term.label.empty()
                                     : std::ranges::any_of(kCounters, [&](const CounterInfo& row) {
                                         return term.has(row);
                                       });
}

constexpr bool is_complete(const JudgedSignal& ratio) {
  return ratio.events.size() > 0 && ratio.exposures.size() > 0 &&
         std::ranges::all_of(ratio.events, is_counted) &&
         std::ranges::all_of(ratio.exposures, is_counted) && !ratio.exposures.begin()->subtracted &&
         !ratio.events.begin()->subtracted && is_counted(base_of(ratio));
}

static_assert(std::ranges::all_of(kJudgedRatios, is_complete),
              "a ratio is one of counters that there are");

// As people write "misses( client,redis )".
bool same_but_for_blanks(std::string_view a, std::string_view b) {
  const auto letters = std::views::filter([](char c) { return c != ' '; });
  return std::ranges::equal(a | letters, b | letters);
}

// Up to the first blank that is not between parentheses.
std::string_view signal_name_of(std::string_view objective) {
  const size_t blank = objective.find(' '), open = objective.find('(');
  return objective.substr(0, open < blank ? objective.find(' ', objective.find(')')) : blank);
}

}  // namespace

std::optional<size_t> find_judged(std::string_view name) {
  const auto* found = std::ranges::find_if(kJudged, [&](const JudgedSignal& one) {
    return same_but_for_blanks(one.name, name) || (!name.empty() && one.old_name == name);
  });
  if (found == kJudged.end()) return std::nullopt;
  return static_cast<size_t>(found - kJudged.begin());
}

std::vector<std::string_view> judged_names() {
  std::vector<std::string_view> names;
  for (const JudgedSignal& one : kJudged)
    if (one.protocol.empty()) names.push_back(one.name);
  return names;
}

std::string old_name_note(std::string_view name) {
  const auto signal = find_judged(name);
  if (!signal || kJudged[*signal].name == name) return "";
  return fmt::format("{} is called {} now: the old name will not be understood for ever", name,
                     kJudged[*signal].name);
}

std::optional<size_t> find_judged_in(std::string_view objective) {
  return find_judged(signal_name_of(objective));
}

std::string current_objective_name(std::string_view objective) {
  const std::string_view name = signal_name_of(objective);
  const auto signal = find_judged(name);
  if (!signal) return std::string(objective);
  return fmt::format("{}{}", kJudged[*signal].name, objective.substr(name.size()));
}

}  // namespace slogate
