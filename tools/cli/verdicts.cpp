// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/verdicts.h"

#include <cmath>

#include "agent/base/figures.h"
#include "agent/canary/judge.h"
#include "tools/cli/fields.h"
#include "tools/cli/gate_progress.h"
#include "tools/cli/table.h"
#include "tools/cli/units.h"

namespace slogate::cli {
namespace {

// A verdict is at most so old, so looking more often says nothing new.
constexpr std::chrono::milliseconds kLook{250};

std::string text_at(const Json& json, const char* key) {
  return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

std::string_view colour_of(std::string_view word) {
  if (word == "pass" || word == "proven") return kGreen;
  if (word == "veto" || word == "against") return kRed;
  return kYellow;
}

// Evidence as the odds it gives: how often chance alone would look like this.
std::string odds(std::optional<double> log_e) {
  if (!log_e) return "-";
  if (*log_e < std::log(2)) return "none";
  return "1 : " + to_count(std::floor(std::exp(std::min(*log_e, 27.0))));
}

std::string joined(const Json& list) {
  std::string text;
  for (const Json& one : list) text += (text.empty() ? "" : ", ") + one.get<std::string>();
  return text.empty() ? "-" : text;
}

// Seconds for a latency, a share for the rest: the signal that an objective's name begins with
// tells.
std::string figure(const std::string& objective, std::optional<double> value) {
  const auto signal = find_judged_in(objective);
  return signal && !is_latency(*signal) ? to_percent(value) : to_duration(value);
}

Outcome<Json> find_slo(const Fetch& fetch, const std::string& slo) {
  auto verdicts = fetch("/v1/verdicts");
  if (!verdicts) return std::unexpected(verdicts.error());
  for (const Json& one : *verdicts)
    if (text_at(one, "slo") == slo) return one;
  return fail(kUsage, fmt::format("no SLO is named \"{}\"", printable(slo)),
              "slogate slos lists them");
}

// What the evidence rests on, where that is not everything.
std::string watched(const Json& verdict) {
  const double share = number_at(verdict, "/watched").value_or(1);
  if (share >= 1) return "";
  return fmt::format("only {} of the connections are watched: the agent's CPU budget is exceeded\n",
                     to_percent(share));
}

// Errors of answers that cannot be read are judged by nobody.
std::string coverage(const Json& verdict) {
  const auto known = number_at(verdict, "/outcomes_known");
  if (!known) return "";
  return fmt::format("the outcome of {} of the canary's answers is known\n", to_percent(known));
}

// "12:00:00" of a time of today or any other day: who asks knows which.
std::string clock_of(const std::string& rfc3339) {
  const size_t at = rfc3339.find('T');
  return at == std::string::npos ? rfc3339 : rfc3339.substr(at + 1, 8) + " UTC";
}

// What is done to the canary's connections, where something may be.
std::string breaker(const Json& of) {
  const Json state = of.value("breaker", Json());
  if (!state.is_object()) return "";
  const bool open = text_at(state, "state") == "open", dry = state.value("dry_run", false);
  std::string text = "breaker: ";
  if (open)
    text += fmt::format("open until {}: new connections to {} {}; connections that were open go on",
                        clock_of(text_at(state, "until")),
                        joined(state.value("targets", Json::array())),
                        dry ? "would be refused" : "are refused");
  else
    text += "closed";
  const uint64_t counted = state.value(dry ? "would_refuse" : "refused", uint64_t{0});
  if (open || counted > 0)
    text += fmt::format("; {} {}", to_count(static_cast<double>(counted)),
                        dry ? "would have been refused" : "were refused");
  if (const std::string note = text_at(state, "note"); !note.empty()) text += "; " + note;
  return printable(text) + "\n";
}

std::string sentence(const Json& verdict) {
  return fmt::format("{}: {}: {}\n", printable(text_at(verdict, "slo")),
                     printable(text_at(verdict, "verdict")),
                     printable(text_at(verdict, "message")));
}

// Who lends a baseline, and how the canary stands beside each.
std::string render_lenders(const Json& verdict, const Style& style) {
  const Json lenders = verdict.value("lenders", Json::array());
  if (lenders.empty()) return "";
  Table table({{.title = "LENDER", .right = false, .elastic = true},
               {.title = "STATE", .right = false},
               {.title = "SAMPLES"},
               {.title = "BESIDE IT", .right = false},
               {.title = "AGAINST THE CANARY"}});
  for (const Json& lender : lenders) {
    const std::string decision = text_at(lender, "verdict"), state = text_at(lender, "state");
    table.add({{text_at(lender, "node")},
               {state, state == "lends" ? kGreen : kYellow},
               {to_count(number_at(lender, "/samples"))},
               {decision, colour_of(decision)},
               {odds(number_at(lender, "/log_e"))}});
  }
  return "\n" + table.render(style);
}

// How long a pass takes, of a verdict or a part of it.
std::string pass_in(const Json& of) {
  const auto expected = number_at(of, "/expected_seconds");
  return expected ? about_text(*expected) : "-";
}

std::string shown_text(const Json& verdict) {
  const auto shown = number_at(verdict, "/shown");
  if (!shown) return "no quantile of request latency is shown to hold yet\n";
  return fmt::format("request latency is shown to hold up to {}\n", quantile_text(*shown));
}

// One row of what a pass needs: an objective, or one quantile of it.
void explain_row(Table& table, const std::string& name, const Json& of, bool needed,
                 std::optional<double> rate, const char* unneeded) {
  const double proof = number_at(of, "/log_proof").value_or(0);
  const auto expected = number_at(of, "/expected_seconds");
  const bool shown = proof >= kProofThreshold;
  const bool against = text_at(of, "state") == "against";
  const std::string state = against ? "against" : shown ? "shown" : needed ? "not shown" : unneeded;
  const bool lacks = needed && !shown && !against;
  table.add(
      {{name},
       {state, against  ? kRed
               : shown  ? kGreen
               : needed ? kYellow
                        : kPlain},
       {fmt::format("{:.1f} of {:.1f}", std::max(0.0, proof), kProofThreshold)},
       {lacks && expected && rate ? fmt::format("about {}", rate_text(*expected * *rate)) : "-"},
       {!lacks     ? "-"
        : expected ? about_text(*expected)
                   : "not known"}});
}

Exit exit_of(const Json& verdict) {
  const std::string decision = text_at(verdict, "verdict");
  return decision == "pass" ? kOk : decision == "veto" ? kVeto : kHold;
}

constexpr const char* kNoSlos = "There are no SLOs, neither in the configuration nor of pods.\n";

}  // namespace

std::string render_slos(const Json& slos, const Style& style) {
  if (slos.empty()) return kNoSlos;
  Table table({{.title = "SLO", .right = false},
               {.title = "CANARY", .right = false, .elastic = true},
               {.title = "BASELINE", .right = false, .elastic = true, .spare = 1},
               {.title = "ALPHA", .spare = 2},
               {.title = "VERDICT", .right = false}});
  std::string below;
  for (const Json& slo : slos) {
    const std::string verdict = text_at(slo, "verdict"), baseline = text_at(slo, "baseline");
    table.add({{text_at(slo, "name")},
               {text_at(slo, "canary")},
               {baseline.empty() ? "-" : baseline},
               {fmt::format("{:g}", number_at(slo, "/alpha").value_or(0))},
               {verdict.empty() ? "-" : verdict, colour_of(verdict)}});
    below += fmt::format("\n{}\n", printable(text_at(slo, "name")));
    if (const std::string error = text_at(slo, "error"); !error.empty()) {
      below += fmt::format("  not judged: {}\n", printable(error));
      continue;
    }
    for (const Json& objective : slo.value("objectives", Json::array()))
      below += fmt::format("  {}\n", printable(objective.get<std::string>()));
    const Json cgroups = slo.value("cgroups", Json::object());
    below += fmt::format("  canary now: {}\n  baseline now: {}\n",
                         printable(joined(cgroups.value("canary", Json::array()))),
                         printable(joined(cgroups.value("baseline", Json::array()))));
    if (const std::string line = breaker(slo); !line.empty()) below += "  " + line;
    for (const Json& note : slo.value("notes", Json::array()))
      below += fmt::format("  note: {}\n", printable(note.get<std::string>()));
  }
  return table.render(style) + below;
}

std::string render_verdicts(const Json& verdicts, const Style& style) {
  if (verdicts.empty()) return kNoSlos;
  Table table({{.title = "SLO", .right = false, .elastic = true},
               {.title = "VERDICT", .right = false},
               {.title = "REASON", .right = false, .spare = 1},
               {.title = "AGAINST IT"},
               {.title = "CANARY"},
               {.title = "BASELINE", .spare = 3},
               {.title = "WEIGHT", .spare = 2},
               {.title = "PASS IN", .right = false, .spare = 3},
               {.title = "SINCE", .right = false, .spare = 4}});
  std::string below;
  for (const Json& verdict : verdicts) {
    const std::string decision = text_at(verdict, "verdict");
    table.add({{text_at(verdict, "slo")},
               {decision, colour_of(decision)},
               {text_at(verdict, "reason")},
               {odds(number_at(verdict, "/log_e"))},
               {to_count(number_at(verdict, "/samples/canary"))},
               {to_count(number_at(verdict, "/samples/baseline"))},
               {fmt::format("{:g} %", number_at(verdict, "/weight").value_or(0))},
               {pass_in(verdict)},
               {text_at(verdict, "since")}});
    below += sentence(verdict);
  }
  return table.render(style) + "\n" + below;
}

std::string render_verdict(const Json& verdict, const Style& style) {
  Table table({{.title = "OBJECTIVE", .right = false, .elastic = true},
               {.title = "STATE", .right = false},
               {.title = "AGAINST IT"},
               {.title = "PROOF", .spare = 1},
               {.title = "CANARY"},
               {.title = "BASELINE"}});
  for (const Json& objective : verdict.value("objectives", Json::array())) {
    const std::string name = text_at(objective, "objective"), state = text_at(objective, "state");
    const bool needed = objective.value("needed", false);
    table.add({{name},
               {state, state == "open" ? kPlain : colour_of(state)},
               {odds(number_at(objective, "/log_e"))},
               {needed ? odds(number_at(objective, "/log_proof")) : "not needed"},
               {figure(name, number_at(objective, "/canary"))},
               {figure(name, number_at(objective, "/baseline"))}});
  }
  return sentence(verdict) + breaker(verdict) + watched(verdict) + coverage(verdict) +
         fmt::format("{} blocks of {} since rollout {}; a veto needs odds of {}\n\n",
                     to_count(number_at(verdict, "/blocks")),
                     to_duration(number_at(verdict, "/block_seconds")),
                     printable(text_at(verdict, "rollout")),
                     odds(number_at(verdict, "/threshold").value_or(0) + 1e-9)) +
         table.render(style) + render_lenders(verdict, style);
}

std::string render_explanation(const Json& verdict, const Style& style) {
  Table table({{.title = "A PASS NEEDS", .right = false, .elastic = true},
               {.title = "STATE", .right = false},
               {.title = "NATS OF PROOF", .spare = 1},
               {.title = "SAMPLES MORE"},
               {.title = "AT THIS RATE", .right = false}});
  const auto rate = number_at(verdict, "/rate");
  for (const Json& objective : verdict.value("objectives", Json::array())) {
    const bool needed = objective.value("needed", false);
    explain_row(table, text_at(objective, "objective"), objective, needed, rate, "not needed");
    const Json levels = objective.value("levels", Json::array());
    if (!needed || levels.size() < 2) continue;
    for (const Json& level : levels)
      explain_row(table, "  " + quantile_text(number_at(level, "/quantile").value_or(0)), level,
                  level.value("needed", true), rate, "not needed at this rate");
  }
  return sentence(verdict) + watched(verdict) + shown_text(verdict) +
         (rate ? fmt::format("{} canary samples/s of late\n", rate_text(*rate)) : "") + "\n" +
         table.render(style);
}

Outcome<Report> show_slos(const Fetch& fetch, const Output& output) {
  return show(fetch, "/v1/slos", output, render_slos);
}

Outcome<Report> show_verdicts(const Fetch& fetch, const std::string& slo, const Output& output) {
  if (slo.empty()) return show(fetch, "/v1/verdicts", output, render_verdicts);
  const auto verdict = find_slo(fetch, slo);
  if (!verdict) return std::unexpected(verdict.error());
  return Report{output.json ? to_line(*verdict) : render_verdict(*verdict, output.style)};
}

Outcome<Report> reset_slo(const Fetch& fetch, const Post& post, const std::string& slo,
                          const Output& output) {
  if (const auto known = find_slo(fetch, slo); !known) return std::unexpected(known.error());
  const auto answer = post(fmt::format("/v1/slos/{}/reset", percent_encode(slo)), Json::object());
  if (!answer) return std::unexpected(answer.error());
  return Report{output.json ? to_line(*answer) : printable(text_at(*answer, "done")) + "\n"};
}

Outcome<Report> set_breaker(const Fetch& fetch, const Post& post, const std::string& slo, bool open,
                            const Output& output) {
  if (const auto known = find_slo(fetch, slo); !known) return std::unexpected(known.error());
  const auto answer =
      post(fmt::format("/v1/slos/{}/breaker/{}", percent_encode(slo), open ? "open" : "close"),
           Json::object());
  if (!answer) return std::unexpected(answer.error());
  return Report{output.json ? to_line(*answer) : printable(text_at(*answer, "done")) + "\n"};
}

Outcome<Report> pass_gate(const Fetch& fetch, const GateOptions& options, const Output& output,
                          const std::function<void(std::chrono::milliseconds)>& sleep,
                          const std::function<void(std::string_view)>& note) {
  const auto begin = std::chrono::steady_clock::now();
  GateProgress progress(options.pace);
  for (;;) {
    auto verdict = find_slo(fetch, options.slo);
    // An answer that makes no sense is no veto: 1 is what scripts read as one.
    if (!verdict && verdict.error().exit == kFailed) verdict.error().exit = kUnreachable;
    if (!verdict && verdict.error().exit == kUsage) return std::unexpected(verdict.error());
    const auto waited = std::chrono::steady_clock::now() - begin;
    const bool over = !options.wait || waited >= options.timeout;
    if (verdict && (over || exit_of(*verdict) != kHold))
      return Report{output.json       ? to_line(*verdict)
                    : options.explain ? render_explanation(*verdict, output.style)
                                      : sentence(*verdict),
                    exit_of(*verdict)};
    if (over) return std::unexpected(verdict.error());
    if (verdict && !options.quiet)
      if (const std::string lines = progress.look(*verdict, waited, options.timeout - waited);
          !lines.empty())
        note(lines);
    sleep(kLook);
  }
}

}  // namespace slogate::cli
