// SPDX-License-Identifier: Apache-2.0
#include "agent/api/api.h"

#include <algorithm>

#include "agent/api/controllers.h"
#include "agent/api/views_json.h"
#include "agent/base/glob.h"
#include "agent/canary/verdict_json.h"
#include "maps/integer.h"

namespace slogate {
namespace {

// Matching takes pattern x path steps for each cgroup on the thread that answers everyone, and a
// request of 8 KiB could ask for seconds of it. No path of a pod comes near this.
constexpr size_t kPatternLimit = 512;

// More than any map could ever need, and far from overflowing anything.
constexpr uint64_t kMostEntries = 1u << 20;

// One request on its way to its row.
struct Call {
  const HttpRequest& request;
  const Snapshot& snapshot;
  const ApiActions& actions;
  std::string_view argument;  // the part of the path that stood for "{}"
};

HttpResponse ok(const Json& json) {
  return {.body = dump(json)};
}

HttpResponse get_status(const Call& call) {
  return ok(status_json(call.snapshot));
}

Result<Glob> parse_match(const Pairs& query) {
  if (query.empty()) return Glob::parse("/**");
  const std::string& pattern = query.front().second;
  if (pattern.size() > kPatternLimit)
    return fail(fmt::format("the pattern is longer than {} bytes", kPatternLimit));
  return Glob::parse(pattern);
}

HttpResponse get_cgroups(const Call& call) {
  const auto match = parse_match(call.request.query);
  if (!match) return error_response(400, match.error().line());
  Json json = Json::array();
  for (const Workload& workload : call.snapshot.workloads)
    if (call.request.query.empty() || match->matches(workload.path))
      json.push_back(cgroup_json(workload, *call.snapshot.drop_reasons));
  return ok(json);
}

HttpResponse get_histograms(const Call& call) {
  const auto id = parse_integer<uint64_t>(call.argument);
  if (!id) return error_response(400, "the id of a cgroup is a number");
  const auto& workloads = call.snapshot.workloads;
  const auto found = std::ranges::find(workloads, *id, &Workload::id);
  if (found == workloads.end()) return error_response(404, fmt::format("no cgroup has id {}", *id));
  return ok(histograms_json(*found));
}

HttpResponse get_maps(const Call& call) {
  Json json = Json::array();
  for (const MapStatus& map : call.snapshot.maps)
    json.push_back(map_json(map, call.snapshot.resizes));
  return ok(json);
}

HttpResponse get_probes(const Call& call) {
  Json json = Json::array();
  for (const ProbeStatus& probe : call.snapshot.probes) json.push_back(probe_json(probe));
  return ok(json);
}

HttpResponse get_map(const Call& call) {
  const std::string map(call.argument);
  if (std::ranges::find(call.snapshot.maps, map, &MapStatus::name) == call.snapshot.maps.end())
    return error_response(404, "no such map");
  if (!call.actions.contents)
    return error_response(403, "what lies in a map is only told on the Unix socket");
  const auto contents = call.actions.contents(map);
  if (!contents) return error_response(400, contents.error().line());
  return ok(contents_json(map, *contents));
}

bool may_change(const Call& call) {
  const auto& peer = call.request.peer;
  return peer && (peer->uid == 0 || std::ranges::count(call.actions.admins, peer->uid) != 0);
}

// Why a change is not made, if it is not. `possible`: whether it is over this address at all.
std::optional<HttpResponse> refuse_change(const Call& call, bool possible) {
  if (!possible) return error_response(403, "nothing can be changed over this address");
  if (!may_change(call))
    return error_response(403, "only root and the uids in admin_uids may change anything");
  return std::nullopt;
}

// {"entries": N}, and nothing else.
Result<size_t> parse_entries(std::string_view body) {
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object() || json.size() != 1 || !json.contains("entries") ||
      !json["entries"].is_number_unsigned())
    return fail("the body is not {\"entries\": N} with a whole number N");
  const auto entries = json["entries"].get<uint64_t>();
  if (entries > kMostEntries)
    return fail(fmt::format("no map can have more than {} entries", kMostEntries));
  return entries;
}

HttpResponse post_resize(const Call& call) {
  if (auto refused = refuse_change(call, call.actions.resize != nullptr))
    return std::move(*refused);
  const std::string map(call.argument);
  if (std::ranges::find(call.snapshot.maps, map, &MapStatus::name) == call.snapshot.maps.end())
    return error_response(404, "no such map");
  const auto entries = parse_entries(call.request.body);
  if (!entries) return error_response(400, entries.error().line());
  const auto done = call.actions.resize(map, *entries);
  if (!done) return error_response(400, done.error().line());
  return ok(Json{{"map", map}, {"done", *done}});
}

HttpResponse no_slo(std::string_view name) {
  return error_response(404, fmt::format("no SLO is named \"{}\"", name));
}

// With what the verdict rests on, the share of the connections that are counted, and with what is
// done about it.
Json shown(const Verdict& verdict, const Snapshot& snapshot) {
  Json json = verdict_json(verdict);
  json["watched"] = number(snapshot.agent.cpu.watched);
  json["breaker"] = breaker_json(snapshot.breakers.get(), verdict.slo);
  return json;
}

HttpResponse get_slos(const Call& call) {
  const Verdicts& verdicts = *call.snapshot.verdicts;
  Json json = Json::array();
  for (size_t i = 0; i < verdicts.slos.size(); ++i) {
    json.push_back(slo_json(*verdicts.slos[i], *verdicts.list[i]));
    json.back()["breaker"] = breaker_json(call.snapshot.breakers.get(), verdicts.list[i]->slo);
  }
  for (const SloProblem& problem : verdicts.problems)
    json.push_back({{"name", problem.slo}, {"error", problem.message}});
  return ok(json);
}

HttpResponse get_verdicts(const Call& call) {
  Json json = Json::array();
  for (const auto& verdict : call.snapshot.verdicts->list)
    json.push_back(shown(*verdict, call.snapshot));
  return ok(json);
}

// On the Unix socket, where scripts rely on it, an unknown SLO is an error; a controller elsewhere
// holds.
HttpResponse get_verdict(const Call& call) {
  if (call.request.peer && !call.snapshot.verdicts->find(call.argument))
    return no_slo(call.argument);
  const Pairs& query = call.request.query;
  const auto revision = query.empty() ? std::nullopt : std::optional(query.front().second);
  return ok(shown(verdict_for_controller(call.snapshot, call.argument, revision), call.snapshot));
}

HttpResponse post_flagger(const Call& call) {
  return answer_flagger(call.argument, call.request.body, call.snapshot);
}

// 412 and not 5xx: controllers try the latter again and lose what the body says.
HttpResponse get_gate(const Call& call) {
  const Verdict* verdict = call.snapshot.verdicts->find(call.argument);
  if (!verdict) return no_slo(call.argument);
  const bool allow_hold = !call.request.query.empty();
  if (allow_hold && call.request.query.front().second != "hold")
    return error_response(400, "allow takes \"hold\" and nothing else");
  const bool open =
      verdict->decision == Decision::Pass || (allow_hold && verdict->decision == Decision::Hold);
  return {.status = open ? 200 : 412, .body = dump(gate_json(*verdict, open))};
}

HttpResponse post_reset(const Call& call) {
  if (auto refused = refuse_change(call, call.actions.reset != nullptr)) return std::move(*refused);
  if (!call.snapshot.verdicts->find(call.argument)) return no_slo(call.argument);
  const auto done = call.actions.reset(std::string(call.argument));
  if (!done) return error_response(400, done.error().line());
  return ok(Json{{"slo", call.argument}, {"done", *done}});
}

// Refusing is more than an admin of this API is trusted with.
HttpResponse set_breaker(const Call& call, bool open) {
  if (call.actions.breaker == nullptr)
    return error_response(403, "nothing can be changed over this address");
  if (!call.request.peer || call.request.peer->uid != 0)
    return error_response(403, "only root may open or close a breaker");
  if (!call.snapshot.verdicts->find(call.argument)) return no_slo(call.argument);
  const auto done = call.actions.breaker(std::string(call.argument), open);
  if (!done) return error_response(400, done.error().line());
  return ok(Json{{"slo", call.argument}, {"done", *done}});
}

HttpResponse post_open(const Call& call) {
  return set_breaker(call, true);
}

HttpResponse post_close(const Call& call) {
  return set_breaker(call, false);
}

// Whoever follows for longer asks again: a client that is gone without a word must not stay.
constexpr std::chrono::minutes kLongestFollow{60};

HttpResponse get_events(const Call& call) {
  const Pairs& query = call.request.query;
  if (!query.empty() && query.front().second != "0" && query.front().second != "1")
    return error_response(400, "follow is 0 or 1");
  uint64_t last = 0;
  HttpResponse response{.content_type = "application/x-ndjson",
                        .body = event_lines(*call.snapshot.events, last)};
  if (query.empty() || query.front().second == "0" || !call.actions.latest) return response;
  const auto end = std::chrono::steady_clock::now() + kLongestFollow;
  response.more = [latest = call.actions.latest, last,
                   end]() mutable -> std::optional<std::string> {
    if (std::chrono::steady_clock::now() >= end) return std::nullopt;
    return event_lines(*latest()->events, last);
  };
  return response;
}

// One endpoint.
struct Route {
  std::string_view method;
  std::string_view path;       // "{}" stands for one part, which may not be empty
  std::string_view parameter;  // the one query parameter it takes, "" for none
  HttpResponse (*answer)(const Call&);
};

// A new endpoint is a function above and a row here.
constexpr Route kRoutes[] = {
    {"GET", "/v1/status", "", get_status},
    {"GET", "/v1/cgroups", "match", get_cgroups},
    {"GET", "/v1/cgroups/{}/histograms", "", get_histograms},
    {"GET", "/v1/maps", "", get_maps},
    {"GET", "/v1/maps/{}", "", get_map},
    {"GET", "/v1/probes", "", get_probes},
    {"POST", "/v1/maps/{}/resize", "", post_resize},
    {"GET", "/v1/slos", "", get_slos},
    {"GET", "/v1/verdicts", "", get_verdicts},
    {"GET", "/v1/verdicts/{}", "revision", get_verdict},
    {"GET", "/v1/gate/{}", "allow", get_gate},
    // Flagger's webhooks post. Nothing is changed.
    {"POST", "/v1/gate/{}", "allow", get_gate},
    {"POST", "/flagger/{}", "", post_flagger},
    {"POST", "/v1/slos/{}/reset", "", post_reset},
    {"POST", "/v1/slos/{}/breaker/open", "", post_open},
    {"POST", "/v1/slos/{}/breaker/close", "", post_close},
    {"GET", "/v1/events", "follow", get_events},
};

// The part of `path` that stands for "{}" ("" where the pattern has none), or nothing when the path
// is another one.
std::optional<std::string_view> match_path(std::string_view pattern, std::string_view path) {
  const size_t hole = pattern.find("{}");
  if (hole == std::string_view::npos)
    return pattern == path ? std::optional(std::string_view()) : std::nullopt;
  const std::string_view before = pattern.substr(0, hole), after = pattern.substr(hole + 2);
  if (path.size() <= before.size() + after.size() || !path.starts_with(before) ||
      !path.ends_with(after))
    return std::nullopt;
  path.remove_prefix(before.size());
  path.remove_suffix(after.size());
  if (path.contains('/')) return std::nullopt;
  return path;
}

// What is wrong with the query, if anything: a misspelt parameter must not change the answer in
// silence.
std::optional<HttpResponse> refuse_query(const Route& route, const Pairs& query) {
  for (const auto& [name, value] : query)
    if (name != route.parameter || name.empty())
      return error_response(400, fmt::format("unknown query parameter \"{}\"", name));
  if (query.size() > 1)
    return error_response(400, fmt::format("\"{}\" is given more than once", route.parameter));
  return std::nullopt;
}

}  // namespace

HttpResponse answer(const HttpRequest& request, const Snapshot& snapshot,
                    const ApiActions& actions) {
  std::string allow;
  for (const Route& route : kRoutes) {
    const auto argument = match_path(route.path, request.path);
    if (!argument) continue;
    if (route.method == request.method) {
      if (auto refused = refuse_query(route, request.query)) return std::move(*refused);
      return route.answer({request, snapshot, actions, *argument});
    }
    allow += allow.empty() ? "" : ", ";
    allow += route.method == "GET" ? "GET, HEAD" : route.method;
  }
  if (allow.empty()) return error_response(404, "no such path");
  return method_not_allowed(allow);
}

}  // namespace slogate
