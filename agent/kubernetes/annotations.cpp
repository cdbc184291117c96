// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/annotations.h"

#include <algorithm>
#include <array>
#include <set>

#include "agent/config/config_fields.h"
#include "agent/kubernetes/cluster.h"
#include "maps/counts.h"

namespace slogate {
namespace {

constexpr std::string_view kExample =
    "p99(request) < 15ms; p99(request) < baseline + 50ms; errors < baseline + 0.5%";

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank = " \t\r\n";
  const size_t first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

// The part of `text` before `separator`, without blanks; `text` is left with what follows.
std::string_view take_until(std::string_view& text, char separator) {
  const size_t at = text.find(separator);
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return trimmed(part);
}

// What stands right of "<": a bound of its own, or one above the baseline's.
struct Bound {
  std::string_view value;
  bool above_baseline = false;
};

Result<Bound> parse_bound(std::string_view text) {
  if (text.starts_with('=')) text.remove_prefix(1);
  text = trimmed(text);
  constexpr std::string_view baseline = "baseline";
  if (!text.starts_with(baseline)) return Bound{text};
  text = trimmed(text.substr(baseline.size()));
  if (!text.starts_with('+'))
    return fail("the baseline alone is not a bound", "say how far above: baseline + 50ms");
  return Bound{trimmed(text.substr(1)), true};
}

// "p99.9", "p50"
Result<double> parse_percentile(std::string_view text) {
  if (text.starts_with('p'))
    if (const auto quantile = parse_quantile(fmt::format("{}%", text.substr(1)))) return *quantile;
  return fail(fmt::format("{} is not a quantile", in_quotes(text)), "like p50, p99 or p99.9");
}

Result<slogate_signal> parse_signal(std::string_view text) {
  const auto* found = std::ranges::find(kSignals, text, &SignalInfo::name);
  if (found != kSignals.end()) return static_cast<slogate_signal>(found - kSignals.begin());
  std::vector<std::string_view> names;
  std::ranges::transform(kSignals, std::back_inserter(names), &SignalInfo::name);
  return fail(unknown_name("signal", text, names));
}

Result<Objective> parse_latency_objective(std::string_view left, const Bound& bound) {
  const std::string_view quantile = take_until(left, '(');
  const std::string_view signal = take_until(left, ')');
  if (!trimmed(left).empty())
    return fail(fmt::format("{} is left over", in_quotes(left)), "write p99(request) < 15ms");
  LatencyObjective objective;
  const auto parsed_quantile = parse_percentile(quantile);
  if (!parsed_quantile) return fail(parsed_quantile.error());
  objective.quantile = *parsed_quantile;
  const auto parsed_signal = parse_signal(signal);
  if (!parsed_signal) return fail(parsed_signal.error());
  objective.signal = *parsed_signal;
  const auto latency = parse_latency(bound.value);
  if (!latency) return fail(latency.error());
  (bound.above_baseline ? objective.max_increase : objective.max) = *latency;
  return objective;
}

std::optional<size_t> find_ratio(std::string_view name) {
  const auto found = find_judged(name);
  return found && !is_latency(*found) ? found : std::nullopt;
}

std::vector<std::string_view> ratio_names() {
  std::vector<std::string_view> names;
  for (const JudgedSignal& ratio : kJudgedRatios)
    if (ratio.protocol.empty()) names.push_back(ratio.name);
  return names;
}

Result<Objective> parse_ratio_objective(std::string_view left, const Bound& bound) {
  const auto found = find_ratio(left);
  if (!found) {
    Error error = unknown_name("ratio", left, ratio_names());
    error.remedy += "; a latency is written like p99(request)";
    return fail(std::move(error));
  }
  RatioObjective objective{.signal = to_ratio_signal(*found)};
  const auto share = parse_ratio(bound.value);
  if (!share) return fail(share.error());
  (bound.above_baseline ? objective.max_increase : objective.max_ratio) = *share;
  return objective;
}

// "misses(client)" bounds a ratio, "p99(request)" a latency; "errors(clients)" would be a ratio.
bool is_of_ratio(std::string_view left) {
  const std::string_view name = trimmed(left.substr(0, left.find('(')));
  return name.size() == left.size() || find_ratio(name);
}

Result<Objective> parse_objective(std::string_view text) {
  std::string_view rest = text;
  const std::string_view left = take_until(rest, '<');
  if (left.size() == text.size())
    return fail("nothing is bounded", fmt::format("write {}", kExample));
  const auto bound = parse_bound(rest);
  if (!bound) return fail(bound.error());
  return is_of_ratio(left) ? parse_ratio_objective(left, *bound)
                           : parse_latency_objective(left, *bound);
}

// What of an objective can stand only once.
std::string quantity_of(const Objective& objective) {
  if (const auto* latency = std::get_if<LatencyObjective>(&objective))
    return fmt::format("{} {} {}", kSignals[latency->signal].name, latency->quantile,
                       latency->max ? "max" : "increase");
  const auto& ratio = std::get<RatioObjective>(objective);
  return fmt::format("{} {}", kJudged[judged(ratio.signal)].name,
                     ratio.max_ratio ? "max" : "increase");
}

Result<std::string> parse_track(std::string_view text) {
  constexpr std::array<std::string_view, 2> tracks = {"canary", "stable"};
  if (std::ranges::find(tracks, text) == tracks.end())
    return fail(unknown_name("track", text, tracks));
  return std::string(text);
}

Result<std::string> parse_workload(std::string_view text) {
  return parse_name(text, 63, "-.", "a name",
                    "at most 63 of a-z, 0-9 and, inside, \"-\" and \".\"");
}

// One annotation, its value handed to `parse`.
template <typename T, typename Parse>
Result<void> read(const std::string& key, const std::string& value, T& to, const Parse& parse) {
  auto parsed = parse(trimmed(value));
  if (!parsed) return fail(parsed.error().within(fmt::format("{}{}", kAnnotationPrefix, key)));
  to = std::move(*parsed);
  return {};
}

// What is said of the names of ratios that are old.
std::vector<std::string> old_names(std::string_view text) {
  std::vector<std::string> notes;
  while (!text.empty()) {
    std::string_view part = take_until(text, ';');
    std::string note = old_name_note(take_until(part, '<'));
    if (!note.empty() && std::ranges::find(notes, note) == notes.end())
      notes.push_back(std::move(note));
  }
  return notes;
}

Result<void> read_step(std::string_view part, WeightSteps& to) {
  const auto space = std::min(part.find(' '), part.size());
  const std::string_view key = part.substr(0, space), text = trimmed(part.substr(space));
  const auto percent = [text](double& value) -> Result<void> {
    const auto parsed = parse_percent(text);
    if (!parsed) return fail(parsed.error());
    value = *parsed;
    return {};
  };
  if (key == "from") return percent(to.from);
  if (key == "step") return percent(to.step);
  if (key == "most") return percent(to.most);
  if (key != "every") {
    constexpr std::array<std::string_view, 4> known = {"from", "step", "every", "most"};
    return fail(unknown_name("part of a weight", key, known));
  }
  const auto pace = parse_pace(text);
  if (!pace) return fail(pace.error());
  to.every = *pace;
  return {};
}

// "from 5; step 5; every 30s; most 100", or a part of it.
Result<WeightSteps> parse_weight(std::string_view text) {
  WeightSteps steps;
  std::set<std::string_view> stated;
  do {
    const std::string_view part = take_until(text, ';');
    if (auto done = read_step(part, steps); !done)
      return fail(done.error().within(in_quotes(part)));
    if (!stated.insert(part.substr(0, part.find(' '))).second)
      return fail(fmt::format("{} says something for the second time", in_quotes(part)),
                  "remove one");
  } while (!trimmed(text).empty());
  if (auto possible = check_weight(steps); !possible) return fail(possible.error());
  return steps;
}

Result<void> read_one(const std::string& key, const std::string& value, PodAnnotations& to) {
  if (key == "slo") {
    to.slo.notes = old_names(value);
    return read(key, value, to.slo.objectives, parse_objectives);
  }
  if (key == "alpha") return read(key, value, to.slo.alpha, parse_alpha);
  if (key == "warmup") return read(key, value, to.slo.warmup, parse_duration);
  if (key == "pass-within") return read(key, value, to.slo.pass_within, parse_duration);
  if (key == "node-margin") return read(key, value, to.slo.node_margin, parse_node_margin);
  if (key == "weight") return read(key, value, to.slo.weight, parse_weight);
  if (key == "enforce") return read(key, value, to.slo.enforce, parse_enforce);
  if (key == "port") return read(key, value, to.slo.port, parse_port);
  if (key == "container") return read(key, value, to.slo.container, parse_container);
  if (key == "track") return read(key, value, to.track, parse_track);
  if (key == "workload") return read(key, value, to.workload, parse_workload);
  constexpr std::array<std::string_view, 11> known = {
      "slo",     "alpha", "warmup",    "pass-within", "node-margin", "weight",
      "enforce", "port",  "container", "track",       "workload"};
  return fail(unknown_name("annotation", fmt::format("{}{}", kAnnotationPrefix, key), known));
}

}  // namespace

Result<std::vector<Objective>> parse_objectives(std::string_view text) {
  std::vector<Objective> objectives;
  std::map<std::string, std::string> stated;
  while (!trimmed(text).empty()) {
    const std::string_view part = take_until(text, ';');
    if (part.empty()) return fail("an objective is empty", "remove one \";\"");
    auto objective = parse_objective(part);
    if (!objective) return fail(objective.error().within(in_quotes(part)));
    if (const auto [first, is_new] = stated.emplace(quantity_of(*objective), part); !is_new)
      return fail(
          fmt::format("{} bounds the same as {}", in_quotes(part), in_quotes(first->second)),
          "remove one");
    objectives.push_back(*objective);
    if (objectives.size() > kMaxObjectives)
      return fail(fmt::format("more than {} objectives", kMaxObjectives), "use fewer");
  }
  if (objectives.empty()) return fail("no objectives", fmt::format("write {}", kExample));
  return objectives;
}

Result<std::optional<PodAnnotations>> parse_annotations(
    const std::map<std::string, std::string>& annotations) {
  if (!annotations.contains("slo")) return std::nullopt;
  PodAnnotations result;
  for (const auto& [key, value] : annotations)
    if (auto done = read_one(key, value, result); !done) return fail(done.error());
  if (result.track.empty() != result.workload.empty())
    return fail(fmt::format("{0}track and {0}workload go together", kAnnotationPrefix),
                "name the workload that canary and stable pods are the arms of");
  return result;
}

}  // namespace slogate
