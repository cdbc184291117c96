// SPDX-License-Identifier: Apache-2.0
#include "agent/api/controllers.h"

#include <algorithm>
#include <array>

#include "agent/api/views_json.h"

namespace slogate {
namespace {

Verdict hold(std::string_view slo, std::chrono::system_clock::time_point since,
             std::string message) {
  return {.slo = std::string(slo),
          .decision = Decision::Hold,
          .reason = Reason::NoCanary,
          .message = std::move(message),
          .since = since};
}

// In Kubernetes a rollout is named by the hash of its pod template and a number.
bool is_of_revision(std::string_view rollout, std::string_view revision) {
  return !revision.empty() && rollout.starts_with(revision) &&
         (rollout.size() == revision.size() || rollout[revision.size()] == '-');
}

// ---- Flagger ----

// To which verdicts a type of webhook answers 200, and what it says to the others: never a status
// that is tried again, because Flagger then loses the reason.
struct Hook {
  std::string_view name;
  bool pass, hold, veto;
  int otherwise;
};

constexpr Hook kHooks[] = {
    // Asked on each tick: what is refused while a rollout runs would put it into the phase Waiting,
    // in which nobody asks for a rollback. And before it runs there is no evidence about it.
    {"confirm-rollout", true, true, true, 412},
    // Before the first traffic; a refusal counts towards the threshold of a rollback.
    {"pre-rollout", true, true, true, 412},
    {"rollout", true, true, false, 412},
    {"confirm-traffic-increase", true, false, false, 412},
    {"confirm-promotion", true, false, false, 412},
    {"rollback", false, false, true, 409},
    // Nothing follows from the answer.
    {"post-rollout", true, true, true, 412},
    {"event", true, true, true, 412},
};

bool agrees(const Hook& hook, Decision decision) {
  switch (decision) {
    case Decision::Pass:
      return hook.pass;
    case Decision::Hold:
      return hook.hold;
    case Decision::Veto:
      return hook.veto;
  }
  return false;
}

// Flagger shows the text of a refusal in an event of the canary.
HttpResponse refuse(int status, std::string reason) {
  return {.status = status, .content_type = "text/plain; charset=utf-8", .body = std::move(reason)};
}

bool is_name(const Json& json) {
  if (!json.is_string()) return false;
  const auto& text = json.get_ref<const std::string&>();
  // Refusals are one line and may quote it.
  return !text.empty() &&
         std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// The SLO that a body is about; `metadata` of the webhook's configuration goes first.
Result<std::string> parse_subject(std::string_view body, const Verdicts& verdicts) {
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object()) return fail("the body is not a JSON object");
  for (const char* key : {"name", "namespace"})
    if (!json.contains(key) || !is_name(json[key]))
      return fail(fmt::format("\"{}\" is not a name", key));
  const Json metadata = json.value("metadata", Json());
  if (!metadata.is_null() && !metadata.is_object()) return fail("\"metadata\" is not an object");
  if (metadata.contains("slo")) {
    if (!is_name(metadata["slo"])) return fail("\"metadata.slo\" is not the name of an SLO");
    return metadata["slo"].get<std::string>();
  }
  const auto name = json["name"].get<std::string>();
  const std::string full = fmt::format("{}.{}", json["namespace"].get<std::string>(), name);
  return !verdicts.find(full) && verdicts.find(name) ? name : full;
}

}  // namespace

Verdict verdict_for_controller(const Snapshot& snapshot, std::string_view slo,
                               std::optional<std::string_view> revision) {
  const Verdict* verdict = snapshot.verdicts->find(slo);
  if (!verdict)
    return hold(slo, snapshot.agent.now, fmt::format("no SLO is named \"{}\" on this node", slo));
  if (!revision || is_of_revision(verdict->rollout, *revision)) return *verdict;
  Verdict other = hold(slo, verdict->since,
                       fmt::format("no canary of revision \"{}\" is judged on this node: the "
                                   "rollout is \"{}\"",
                                   *revision, verdict->rollout));
  other.rollout = verdict->rollout;
  return other;
}

HttpResponse answer_flagger(std::string_view hook, std::string_view body,
                            const Snapshot& snapshot) {
  const auto* found = std::ranges::find(kHooks, hook, &Hook::name);
  if (found == std::end(kHooks)) return error_response(404, "no such webhook");
  const auto slo = parse_subject(body, *snapshot.verdicts);
  if (!slo) return refuse(400, slo.error().line());
  const Verdict verdict = verdict_for_controller(snapshot, *slo, std::nullopt);
  if (agrees(*found, verdict.decision)) return {.body = dump(gate_json(verdict, true))};
  return refuse(
      found->otherwise,
      fmt::format("{}: {}", kDecisions[static_cast<size_t>(verdict.decision)], verdict.message));
}

}  // namespace slogate
