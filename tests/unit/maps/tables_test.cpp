// SPDX-License-Identifier: Apache-2.0
// What every row of signals.def must keep to, so that metrics, JSON and CLI can follow from it.
#include "maps/tables.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace slogate {
namespace {

constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kNameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789_";

// Labels that Prometheus gives a meaning of its own, and those that name a workload.
constexpr std::array<std::string_view, 9> kTakenLabels = {
    "le", "quantile", "job", "instance", "cgroup", "namespace", "pod", "container", "class"};

// Stricter than Prometheus, which also allows capitals and, in metrics, colons; a leading
// underscore may be one of the two that Prometheus keeps for itself.
bool is_name(std::string_view text) {
  return !text.empty() && kLetters.contains(text.front()) &&
         text.find_first_not_of(kNameCharacters) == std::string_view::npos;
}

bool is_label(std::string_view text) {
  return is_name(text) && std::ranges::find(kTakenLabels, text) == kTakenLabels.end();
}

// One line that says something, as a sentence or as a note.
bool is_help(std::string_view text) {
  return text.size() > 3 && text.find_first_of("\n\\") == std::string_view::npos &&
         text.front() != ' ' && text.back() != ' ';
}

template <typename Table>
void expect_unique_names(const Table& table) {
  std::set<std::string_view> seen;
  for (const auto& row : table) {
    EXPECT_TRUE(is_name(row.name)) << row.name;
    EXPECT_TRUE(seen.insert(row.name).second) << row.name << " comes twice";
  }
}

// Rows that share a key must be neighbours: whoever walks a table opens a family once.
template <typename Table, typename Key>
void expect_together(const Table& table, Key key) {
  std::set<std::string> closed;
  std::string open;
  for (const auto& row : table) {
    const std::string next(key(row));
    if (next == open) continue;
    EXPECT_FALSE(closed.contains(next)) << next << " is in two places";
    closed.insert(std::exchange(open, next));
  }
}

TEST(Tables, NamesAreUniqueAndLegal) {
  expect_unique_names(kSignals);
  expect_unique_names(kCounters);
  expect_unique_names(kSites);
  expect_unique_names(kProbes);
  EXPECT_EQ(std::set(kClasses.begin(), kClasses.end()).size(), kClasses.size());
  for (const std::string_view name : kClasses) EXPECT_TRUE(is_name(name)) << name;
}

TEST(Tables, EveryRowHasHelp) {
  for (const SignalInfo& row : kSignals) EXPECT_TRUE(is_help(row.help)) << row.name;
  for (const CounterInfo& row : kCounters) EXPECT_TRUE(is_help(row.help)) << row.name;
  for (const SiteInfo& row : kSites) EXPECT_TRUE(is_help(row.help)) << row.name;
  for (const ProbeInfo& row : kProbes) EXPECT_TRUE(is_help(row.what)) << row.name;
}

TEST(Signals, MetricsAreLegalAndInSeconds) {
  for (const SignalInfo& row : kSignals) {
    EXPECT_TRUE(is_name(row.metric)) << row.metric;
    EXPECT_TRUE(row.metric.starts_with("slogate_") && row.metric.ends_with("_seconds"))
        << row.metric;
    EXPECT_TRUE(row.role.empty() || row.role == "server" || row.role == "client") << row.name;
  }
}

TEST(Signals, RowsOfAFamilyStandTogetherAndDifferInRoleOnly) {
  expect_together(kSignals, [](const SignalInfo& row) { return row.metric; });
  std::set<std::tuple<std::string_view, std::string_view>> seen;
  for (const SignalInfo& row : kSignals) {
    EXPECT_TRUE(seen.emplace(row.metric, row.role).second) << row.name;
    for (const SignalInfo& other : kSignals) {
      if (other.metric != row.metric) continue;
      EXPECT_EQ(other.help, row.help) << row.name;
      EXPECT_EQ(other.role.empty(), row.role.empty()) << row.name;
    }
  }
}

TEST(Counters, FamiliesAndLabelsAreLegal) {
  for (const CounterInfo& row : kCounters) {
    EXPECT_TRUE(is_name(row.family)) << row.family;
    for (const std::string_view unwanted : {"_total", "_count", "_sum", "_bucket"})
      EXPECT_FALSE(row.family.ends_with(unwanted)) << row.family;
    std::set<std::string_view> names;
    for (const CounterLabel& label : row.labels) {
      if (label.name.empty()) continue;
      EXPECT_TRUE(is_label(label.name)) << row.name;
      EXPECT_TRUE(names.insert(label.name).second) << row.name;
    }
  }
}

// The drops are no rows, but they stand beside the families in JSON and in the metrics.
TEST(Counters, NoFamilyIsCalledDrops) {
  for (const CounterInfo& row : kCounters) EXPECT_NE(row.family, "drops");
}

TEST(Counters, RowsOfAFamilyShareHelpAndLabelNames) {
  expect_together(kCounters, [](const CounterInfo& row) { return row.family; });
  for (const CounterInfo& row : kCounters) {
    for (const CounterInfo& other : kCounters) {
      if (other.family != row.family) continue;
      EXPECT_EQ(other.help, row.help) << row.name;
      for (size_t i = 0; i < row.labels.size(); ++i)
        EXPECT_EQ(other.labels[i].name, row.labels[i].name) << row.name;
    }
  }
}

TEST(Counters, NestInJson) {
  std::set<std::vector<std::string_view>> seen;
  for (const CounterInfo& row : kCounters) {
    std::vector<std::string_view> place = {row.family};
    bool ended = false;
    for (const CounterLabel& label : row.labels) {
      EXPECT_EQ(label.name.empty(), label.value.empty()) << row.name;
      EXPECT_FALSE(ended && !label.name.empty()) << row.name << " skips a level";
      ended = label.name.empty();
      EXPECT_TRUE(ended || is_name(label.value)) << row.name;
      place.push_back(label.value);
    }
    EXPECT_TRUE(seen.insert(place).second) << row.name << " has the place of another";
  }
}

// Objects are written as one run of rows each.
TEST(Counters, WithOneFirstValueStandTogether) {
  expect_together(kCounters, [](const CounterInfo& row) {
    return std::string(row.family) + '/' + std::string(row.labels[0].value);
  });
}

// That its object has its programs: tests/unit/measure/program_objects_test.cpp.
TEST(Probes, AreLegal) {
  std::set<std::string_view> tracepoints;
  for (const ProbeInfo& row : kProbes) {
    EXPECT_TRUE(is_name(row.object)) << row.name;
    if (row.is_iterator()) continue;
    EXPECT_TRUE(is_name(row.tracepoint)) << row.tracepoint;
    EXPECT_TRUE(tracepoints.insert(row.tracepoint).second) << row.tracepoint << " has two programs";
    EXPECT_EQ(row.since.find_first_not_of("0123456789."), row.since.npos) << row.name;
    std::istringstream functions{std::string(row.functions)};
    for (std::string name; functions >> name;) EXPECT_TRUE(is_name(name)) << row.name;
  }
}

TEST(Probes, OnlyTracepointsAreNeeded) {
  const auto is_needed = [](const ProbeInfo& row) { return row.need == Need::needed; };
  EXPECT_TRUE(std::ranges::any_of(kProbes, is_needed));
  // An iterator can be done without, and no budget leaves it out: the agent decides when it runs.
  for (const ProbeInfo& row : kProbes)
    EXPECT_TRUE(!row.is_iterator() || row.need == Need::wanted) << row.name;
}

TEST(Probes, StandInForOneThatCanBeMissing) {
  size_t spares = 0;
  for (const ProbeInfo& row : kProbes) {
    const ProbeInfo* const other = stood_in_for(row);
    if (other == nullptr) continue;
    ++spares;
    EXPECT_NE(other, &row) << row.name;
    EXPECT_EQ(other->is_iterator(), row.is_iterator()) << row.name;
    if (row.is_iterator()) continue;  // whose state is in the maps
    EXPECT_EQ(row.object, other->object) << row.name << " shares its state with " << other->name;
  }
  EXPECT_GT(spares, 0u);
}

}  // namespace
}  // namespace slogate
