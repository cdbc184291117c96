// SPDX-License-Identifier: Apache-2.0
// Objectives: { signal: LATENCY, quantile, max and/or max_increase } or
// { signal: RATIO, max_ratio and/or max_increase }.
#include <algorithm>
#include <map>
#include <tuple>

#include "agent/config/config_fields.h"
#include "maps/counts.h"

namespace slogate {
namespace {

using std::chrono::nanoseconds;

Result<double> parse_share(std::string_view text) {
  return parse_ratio(text);
}

// Between braces a comma ends the value: only in quotes it belongs to the name.
Error unknown_signal(std::string_view name) {
  Error error = unknown_name("signal", name, judged_names());
  if (name.contains('(') && !name.contains(')'))
    error.remedy = fmt::format("put it in quotes: signal: \"{}, redis)\"", name);
  return error;
}

// Reads the objectives of one SLO and remembers what each of them bounds, to find those that speak
// of the same.
class ObjectiveReader {
 public:
  ObjectiveReader(bool has_baseline, ConfigProblems& problems, std::vector<std::string>& notes)
      : has_baseline_(has_baseline), problems_(problems), notes_(notes) {}

  std::optional<Objective> read(const YamlNode& item);

 private:
  LatencyObjective read_latency(const YamlNode& item, slogate_signal signal);
  RatioObjective read_ratio(const YamlNode& item, RatioSignal signal);
  void note_old_name(const YamlNode& signal);
  void check_keys(const YamlNode& item);
  void check_bounds(const YamlNode& item, std::string_view absolute);
  template <typename T>
  void note(const YamlNode& item, std::string_view bound, size_t signal, double quantile,
            const std::optional<T>& value);

  // A bound of one quantity that an objective has stated.
  struct Stated {
    int line;
    double value;
  };

  bool has_baseline_;
  ConfigProblems& problems_;
  std::vector<std::string>& notes_;
  std::map<std::tuple<size_t, std::string_view, double>, Stated> stated_;
};

std::optional<Objective> ObjectiveReader::read(const YamlNode& item) {
  const YamlNode* signal = item.find("signal");
  if (!signal || signal->kind != YamlNode::Kind::Scalar) {
    check_keys(item);
    return std::nullopt;
  }
  const auto found = find_judged(signal->text);
  if (!found) {
    problems_.add(*signal, unknown_signal(signal->text));
    check_keys(item);
    return std::nullopt;
  }
  note_old_name(*signal);
  if (is_latency(*found)) return read_latency(item, static_cast<slogate_signal>(*found));
  return read_ratio(item, to_ratio_signal(*found));
}

void ObjectiveReader::note_old_name(const YamlNode& signal) {
  const auto note = old_name_note(signal.text);
  if (note.empty() || std::ranges::find(notes_, note) != notes_.end()) return;
  problems_.warn(signal, note);
  notes_.push_back(note);
}

// Where the form is not known, a key is right if any form has it.
void ObjectiveReader::check_keys(const YamlNode& item) {
  const auto ignore = [](const YamlNode&) {};
  const bool is_map =
      read_fields(item, "an objective", problems_,
                  {{"signal", [&](const YamlNode& v) { (void)is_scalar(v, problems_); }},
                   {"quantile", ignore},
                   {"max", ignore},
                   {"max_ratio", ignore},
                   {"max_increase", ignore}});
  if (is_map) require_key(item, "signal", "an objective", problems_);
}

LatencyObjective ObjectiveReader::read_latency(const YamlNode& item, slogate_signal signal) {
  constexpr std::string_view what = "an objective for a latency";
  LatencyObjective objective{.signal = signal};
  read_fields(
      item, what, problems_,
      {{"signal", [](const YamlNode&) {}},
       {"quantile",
        [&](const YamlNode& v) { read_value(v, problems_, objective.quantile, parse_quantile); }},
       {"max", [&](const YamlNode& v) { read_value(v, problems_, objective.max, parse_latency); }},
       {"max_increase", [&](const YamlNode& v) {
          read_value(v, problems_, objective.max_increase, parse_latency);
        }}});
  require_key(item, "quantile", what, problems_);
  check_bounds(item, "max");
  if (objective.quantile == 0) return objective;
  note(item, "max", judged(signal), objective.quantile, objective.max);
  note(item, "max_increase", judged(signal), objective.quantile, objective.max_increase);
  return objective;
}

RatioObjective ObjectiveReader::read_ratio(const YamlNode& item, RatioSignal signal) {
  RatioObjective objective{.signal = signal};
  read_fields(
      item, "an objective for a ratio", problems_,
      {{"signal", [](const YamlNode&) {}},
       {"max_ratio",
        [&](const YamlNode& v) { read_value(v, problems_, objective.max_ratio, parse_share); }},
       {"max_increase", [&](const YamlNode& v) {
          read_value(v, problems_, objective.max_increase, parse_share);
        }}});
  check_bounds(item, "max_ratio");
  note(item, "max_ratio", judged(signal), 0, objective.max_ratio);
  note(item, "max_increase", judged(signal), 0, objective.max_increase);
  return objective;
}

void ObjectiveReader::check_bounds(const YamlNode& item, std::string_view absolute) {
  const YamlNode* increase = item.find("max_increase");
  if (!item.find(absolute) && !increase)
    problems_.add(item, "an objective that bounds nothing",
                  fmt::format("give it {} or max_increase", absolute));
  if (increase && !has_baseline_)
    problems_.add(*increase, "max_increase in an SLO without a baseline",
                  fmt::format("add a baseline, or use {}", absolute));
}

template <typename T>
void ObjectiveReader::note(const YamlNode& item, std::string_view bound, size_t signal,
                           double quantile, const std::optional<T>& value) {
  if (!value) return;
  double number = 0;
  if constexpr (std::is_same_v<T, double>)
    number = *value;
  else
    number = static_cast<double>(value->count());
  const YamlNode& at = *item.find(bound);
  const auto [first, is_new] =
      stated_.try_emplace({signal, bound, quantile}, Stated{at.line, number});
  if (is_new) return;
  const bool same = first->second.value == number;
  problems_.add(at,
                fmt::format("this {} {} line {}", bound, same ? "repeats" : "contradicts",
                            first->second.line),
                "an SLO states each bound of a signal once: remove one");
}

}  // namespace

Result<nanoseconds> parse_latency(std::string_view text) {
  auto latency = parse_duration(text);
  if (!latency) return latency;
  const double longest = bucket_edge(SLOGATE_EDGES - 1);
  if (latency->count() == 0)
    return fail(fmt::format("duration {} is not above zero", in_quotes(text)), "at least 1ns");
  if (std::chrono::duration<double>(*latency).count() > longest)
    return fail(fmt::format("duration {} is beyond what is measured", in_quotes(text)),
                fmt::format("latencies are told apart up to {} s", longest));
  return latency;
}

void read_objectives(const YamlNode& node, bool has_baseline, ConfigProblems& problems, Slo& to) {
  to.objectives.clear();
  ObjectiveReader reader(has_baseline, problems, to.notes);
  if (node.kind == YamlNode::Kind::Sequence && node.items.empty())
    problems.add(node, "no objectives",
                 "add one, like { signal: request, quantile: 0.99, max: 15ms }");
  read_list(node, problems, kMaxObjectives, [&](const YamlNode& item) {
    if (auto objective = reader.read(item)) to.objectives.push_back(*objective);
  });
}

}  // namespace slogate
