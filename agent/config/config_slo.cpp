// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cmath>
#include <map>
#include <set>

#include "agent/config/config_fields.h"

namespace slogate {
namespace {

constexpr std::string_view kWhat = "an SLO";
// What a weight is rounded to.
constexpr double kLeastPercent = 0.1;
constexpr double kMostNodeMargin = 10;

Result<std::string> parse_slo_name(std::string_view text) {
  return parse_name(text, 63, "-.", "the name of an SLO",
                    "at most 63 of a-z, 0-9 and, inside, \"-\" and \".\"");
}

std::set<std::string> patterns(const std::vector<Glob>& globs) {
  std::set<std::string> result;
  for (const Glob& glob : globs) result.insert(glob.pattern());
  return result;
}

bool same(const Selector& a, const Selector& b) {
  if (const auto* pods = std::get_if<PodSelector>(&a)) {
    const auto* other = std::get_if<PodSelector>(&b);
    return other && *pods == *other;
  }
  const auto* other = std::get_if<std::vector<Glob>>(&b);
  return other && patterns(std::get<std::vector<Glob>>(a)) == patterns(*other);
}

void read_weight(const YamlNode& node, ConfigProblems& problems, WeightSteps& to) {
  const auto percent = [&](double& value) {
    return [&](const YamlNode& v) { read_value(v, problems, value, parse_percent); };
  };
  const size_t before = problems.size();
  const bool is_map = read_fields(
      node, "a weight", problems,
      {{"from", percent(to.from)},
       {"step", percent(to.step)},
       {"most", percent(to.most)},
       {"every", [&](const YamlNode& v) { read_value(v, problems, to.every, parse_pace); }}});
  if (!is_map || problems.size() != before) return;
  if (auto possible = check_weight(to); !possible) problems.add(node, possible.error());
}

void check_arms(const YamlNode& node, const std::optional<Selector>& canary,
                const std::optional<Selector>& baseline, ConfigProblems& problems) {
  if (canary && baseline && same(*canary, *baseline))
    problems.add(*node.find("baseline"), "the baseline is the same as the canary",
                 "select the stable version, or remove the baseline");
}

void check_complete(const YamlNode& node, ConfigProblems& problems) {
  require_key(node, "name", kWhat, problems);
  require_key(node, "canary", kWhat, problems);
  // With a baseline the relative objectives are on without being named.
  if (!node.find("objectives") && !node.find("baseline"))
    problems.add(node, "an SLO with neither objectives nor a baseline",
                 "add an objective, like { signal: request, quantile: 0.99, max: 15ms }");
}

Slo read_slo(const YamlNode& node, ConfigProblems& problems) {
  Slo slo;
  std::optional<Selector> canary;
  const bool has_baseline = node.find("baseline") != nullptr;
  const bool is_map = read_fields(
      node, kWhat, problems,
      {{"name", [&](const YamlNode& v) { read_value(v, problems, slo.name, parse_slo_name); }},
       {"port", [&](const YamlNode& v) { read_value(v, problems, slo.port, parse_port); }},
       {"container",
        [&](const YamlNode& v) { read_value(v, problems, slo.container, parse_container); }},
       {"canary", [&](const YamlNode& v) { canary = read_selector(v, problems); }},
       {"baseline", [&](const YamlNode& v) { slo.baseline = read_selector(v, problems); }},
       {"objectives", [&](const YamlNode& v) { read_objectives(v, has_baseline, problems, slo); }},
       {"alpha", [&](const YamlNode& v) { read_value(v, problems, slo.alpha, parse_alpha); }},
       {"warmup", [&](const YamlNode& v) { read_value(v, problems, slo.warmup, parse_duration); }},
       {"pass_within",
        [&](const YamlNode& v) { read_value(v, problems, slo.pass_within, parse_duration); }},
       {"node_margin",
        [&](const YamlNode& v) { read_value(v, problems, slo.node_margin, parse_node_margin); }},
       {"weight", [&](const YamlNode& v) { read_weight(v, problems, slo.weight); }},
       {"enforce", [&](const YamlNode& v) { read_enforce_terms(v, problems, slo.enforce); }}});
  if (is_map) check_complete(node, problems);
  check_arms(node, canary, slo.baseline, problems);
  if (canary) slo.canary = std::move(*canary);
  return slo;
}

}  // namespace

Result<std::string> parse_container(std::string_view text) {
  return parse_name(text, 63, "-", "the name of a container",
                    "at most 63 of a-z, 0-9 and, inside, \"-\"");
}

Result<double> parse_alpha(std::string_view text) {
  return parse_ratio(text, 0.5);
}

Result<double> parse_node_margin(std::string_view text) {
  const char* remedy = "write a factor from 1 to 10, like 1.25";
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.begin(), text.end(), value, std::chars_format::fixed);
  if (error != std::errc{} || end != text.end() || !std::isfinite(value))
    return fail(fmt::format("{} is not a factor", in_quotes(text)), remedy);
  if (value < 1 || value > kMostNodeMargin)
    return fail(fmt::format("{} is out of range", in_quotes(text)), remedy);
  return value;
}

Result<double> parse_percent(std::string_view text) {
  const std::string remedy =
      fmt::format("write a percentage of the traffic, from {} to 100, like 5", kLeastPercent);
  std::string_view digits = text;
  if (digits.ends_with('%')) digits.remove_suffix(1);
  double value = 0;
  const auto [end, error] =
      std::from_chars(digits.begin(), digits.end(), value, std::chars_format::fixed);
  if (error != std::errc{} || end != digits.end() || !std::isfinite(value))
    return fail(fmt::format("{} is not a percentage", in_quotes(text)), remedy);
  if (value < kLeastPercent || value > 100)
    return fail(fmt::format("{} is out of range", in_quotes(text)), remedy);
  return value;
}

Result<std::chrono::nanoseconds> parse_pace(std::string_view text) {
  auto pace = parse_duration(text);
  if (pace && *pace < std::chrono::seconds(1))
    return fail(fmt::format("a step every {} is too often", in_quotes(text)), "at least 1s");
  return pace;
}

Result<void> check_weight(const WeightSteps& steps) {
  if (steps.from <= steps.most) return {};
  return fail(fmt::format("the weight begins at {:g} and ends at {:g}", steps.from, steps.most),
              "let \"from\" be at most \"most\"");
}

std::vector<Slo> read_slos(const YamlNode& node, ConfigProblems& problems) {
  std::vector<Slo> slos;
  std::map<std::string, int> lines;
  read_list(node, problems, kMaxSlos, [&](const YamlNode& item) {
    Slo& slo = slos.emplace_back(read_slo(item, problems));
    if (slo.name.empty()) return;
    const YamlNode& name = *item.find("name");
    const auto [first, is_new] = lines.try_emplace(slo.name, name.line);
    if (!is_new)
      problems.add(name, fmt::format("a second SLO {}", in_quotes(slo.name)),
                   fmt::format("the first is in line {}: rename one", first->second));
  });
  return slos;
}

}  // namespace slogate
