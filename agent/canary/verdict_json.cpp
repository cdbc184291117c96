// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/verdict_json.h"

#include <fmt/chrono.h>

#include <algorithm>

#include "agent/base/tick_time.h"

namespace slogate {
namespace {

Json level_json(const LevelVerdict& level) {
  return {{"quantile", number(level.quantile)},
          {"log_proof", number(level.log_proof)},
          {"needed", level.needed},
          {"expected_seconds", number(level.expected_seconds)}};
}

Json objective_json(const ObjectiveVerdict& objective) {
  Json levels = Json::array();
  for (const LevelVerdict& level : objective.levels) levels.push_back(level_json(level));
  return {{"objective", objective.objective},
          {"state", kObjectiveStates[static_cast<size_t>(objective.state)]},
          {"log_e", number(objective.log_e)},
          {"log_proof", number(objective.log_proof)},
          {"needed", objective.needed},
          {"levels", std::move(levels)},
          {"expected_seconds", number(objective.expected_seconds)},
          {"canary", number(objective.canary)},
          {"baseline", number(objective.baseline)}};
}

Json lender_json(const LenderStatus& lender) {
  return {{"node", lender.node},
          {"state", kLenderStates[static_cast<size_t>(lender.state)]},
          {"samples", lender.samples},
          {"verdict", kDecisions[static_cast<size_t>(lender.decision)]},
          {"log_e", number(lender.log_e)}};
}

// The place of a name among `names`; throws where it has none, like the library does for what is
// not there.
template <typename Enum, size_t N>
Enum parse_name(const Json& json, const std::array<std::string_view, N>& names) {
  const auto found = std::ranges::find(names, json.get<std::string>());
  if (found == names.end()) throw std::invalid_argument("unknown name");
  return static_cast<Enum>(found - names.begin());
}

std::optional<double> parse_number(const Json& json) {
  return json.is_null() ? std::nullopt : std::optional(json.get<double>());
}

uint64_t parse_count(const Json& json) {
  if (!json.is_number_unsigned()) throw std::invalid_argument("not a count");
  return json.get<uint64_t>();
}

LevelVerdict parse_level(const Json& json) {
  return {.quantile = json.at("quantile").get<double>(),
          .log_proof = parse_number(json.at("log_proof")).value_or(0),
          .needed = json.at("needed").get<bool>(),
          .expected_seconds = parse_number(json.value("expected_seconds", Json()))};
}

ObjectiveVerdict parse_objective(const Json& json) {
  ObjectiveVerdict objective;
  objective.objective = current_objective_name(json.at("objective").get<std::string>());
  objective.state = parse_name<ObjectiveState>(json.at("state"), kObjectiveStates);
  objective.log_e = parse_number(json.at("log_e")).value_or(0);
  objective.log_proof = parse_number(json.at("log_proof")).value_or(0);
  objective.needed = json.at("needed").get<bool>();
  for (const Json& level : json.value("levels", Json::array()))  // newer than others
    objective.levels.push_back(parse_level(level));
  objective.expected_seconds = parse_number(json.value("expected_seconds", Json()));
  objective.canary = parse_number(json.at("canary"));
  objective.baseline = parse_number(json.at("baseline"));
  return objective;
}

LenderStatus parse_lender(const Json& json) {
  return {.node = json.at("node").get<std::string>(),
          .state = parse_name<LenderState>(json.at("state"), kLenderStates),
          .samples = parse_count(json.at("samples")),
          .decision = parse_name<Decision>(json.at("verdict"), kDecisions),
          .log_e = parse_number(json.at("log_e")).value_or(0)};
}

Verdict parse(const Json& json) {
  Verdict verdict;
  verdict.slo = json.at("slo").get<std::string>();
  verdict.decision = parse_name<Decision>(json.at("verdict"), kDecisions);
  verdict.reason = parse_name<Reason>(json.at("reason"), kReasons);
  verdict.message = json.at("message").get<std::string>();
  verdict.traffic_weight = json.at("weight").get<double>();
  for (const Json& objective : json.at("objectives"))
    verdict.objectives.push_back(parse_objective(objective));
  verdict.samples.canary = parse_count(json.at("samples").at("canary"));
  verdict.samples.baseline = parse_count(json.at("samples").at("baseline"));
  // Newer than others.
  verdict.outcomes_known = parse_number(json.value("outcomes_known", Json()));
  verdict.shown = parse_number(json.value("shown", Json()));
  verdict.expected_seconds = parse_number(json.value("expected_seconds", Json()));
  verdict.rate = parse_number(json.value("rate", Json()));
  verdict.log_e = parse_number(json.at("log_e")).value_or(0);
  verdict.threshold = parse_number(json.at("threshold")).value_or(0);
  // Only now and the far past can be told by a wrong clock; what is no time at all is refused.
  const auto since = parse_rfc3339(json.at("since").get<std::string>());
  if (!since) throw std::invalid_argument("\"since\" is not a time");
  verdict.since = *since;
  verdict.rollout = json.at("rollout").get<std::string>();
  verdict.block = std::chrono::nanoseconds(
      static_cast<int64_t>(std::clamp(json.at("block_seconds").get<double>(), 0.0, 3600.0) * 1e9));
  verdict.blocks = parse_count(json.at("blocks"));
  for (const Json& lender : json.value("lenders", Json::array()))  // newer than others
    verdict.lenders.push_back(parse_lender(lender));
  return verdict;
}

}  // namespace

Json verdict_json(const Verdict& verdict) {
  Json objectives = Json::array();
  for (const ObjectiveVerdict& objective : verdict.objectives)
    objectives.push_back(objective_json(objective));
  Json lenders = Json::array();
  for (const LenderStatus& lender : verdict.lenders) lenders.push_back(lender_json(lender));
  return {{"slo", verdict.slo},
          {"verdict", kDecisions[static_cast<size_t>(verdict.decision)]},
          {"reason", kReasons[static_cast<size_t>(verdict.reason)]},
          {"message", verdict.message},
          {"weight", number(verdict.traffic_weight)},
          {"objectives", std::move(objectives)},
          {"samples", {{"canary", verdict.samples.canary}, {"baseline", verdict.samples.baseline}}},
          {"outcomes_known", number(verdict.outcomes_known)},
          {"shown", number(verdict.shown)},
          {"expected_seconds", number(verdict.expected_seconds)},
          {"rate", number(verdict.rate)},
          {"log_e", number(verdict.log_e)},
          {"threshold", number(verdict.threshold)},
          {"since", to_rfc3339_ms(verdict.since)},
          {"rollout", verdict.rollout},
          {"blocks", verdict.blocks},
          {"block_seconds", number(seconds(verdict.block))},
          {"lenders", std::move(lenders)}};
}

Result<Verdict> parse_verdict(const Json& json) {
  try {
    return parse(json);
  } catch (const std::exception& error) {
    return fail(fmt::format("not a verdict: {}", error.what()));
  }
}

}  // namespace slogate
