// SPDX-License-Identifier: Apache-2.0
// What follows from the evidence.
#include <algorithm>
#include <array>
#include <cmath>

#include "agent/base/figures.h"
#include "agent/canary/judge.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// How long after the last loss of samples no verdict is trusted.
constexpr auto kLossMemory = 30s;
// More than this share of requests that overlap others: HTTP/2 or the like. Where there is a
// baseline it alone tells: clients that do not wait for an answer overlap more on a slow canary,
// and that must not excuse it. For the same reason a canary alone may have more.
constexpr double kMostOverlapped = 0.03, kMostOverlappedAlone = 0.1;
// Requests that their clients gave up, beyond twice the baseline's share; and of a canary alone. A
// connection for one request is at most one goodbye in three exchanges: a greeting, the request,
// the goodbye.
constexpr double kMoreAbandoned = 0.01, kMostAbandonedAlone = 0.4;
// A canary that answered so often that this many more answers are missed is silent, not idle: a
// chance of exp(-10) for independent requests. Never sooner than 2 s, never later than a minute.
constexpr double kMissedAnswers = 10;
constexpr std::chrono::nanoseconds kShortestSilence = 2s, kLongestSilence = 60s;
// Nothing completed for this long, and requests are open for longer than ordinary ones take.
constexpr std::chrono::nanoseconds kHang = 1500ms;
// A canary that went away and came back does not pass before so long without another time: five
// minutes are the longest that Kubernetes makes a container wait that keeps ending.
constexpr std::chrono::nanoseconds kGapMemory = 5min;
// So many blocks in a row.
constexpr size_t kBreachingBlocks = 4;
// Who has to wait for longer hears what takes less.
constexpr double kLongWait = 15 * 60;  // seconds

constexpr std::string_view kSooner = "absolute objectives or synthetic load take less time";
constexpr std::string_view kNoTraffic =
    "without traffic nobody knows when it passes: synthetic load makes some";

std::string figure(const Hypothesis& hypothesis, std::optional<double> value) {
  if (!value) return "no samples";
  return is_latency(hypothesis.signal) ? duration_text(*value) : share_text(*value);
}

std::string subject(const Hypothesis& hypothesis) {
  const std::string_view name = kJudged[hypothesis.signal].name;
  if (!is_latency(hypothesis.signal)) return std::string(name);
  const double quantile = hypothesis.implied ? 0.99 : hypothesis.levels.front().quantile;
  return fmt::format("{} of {}", quantile_text(quantile), name);
}

std::string allowed(const Hypothesis& hypothesis, std::optional<double> baseline) {
  if (hypothesis.absolute) return "allowed " + figure(hypothesis, hypothesis.bound);
  const double margin = hypothesis.node_margin;
  const std::string usual =
      figure(hypothesis, baseline) + (margin > 1 ? fmt::format(" x {:g}", margin) : "");
  if (hypothesis.implied && is_latency(hypothesis.signal)) {
    const double stretch = std::exp2(kVetoStretch / 8.0), least = least_increase(hypothesis.signal);
    return baseline.value_or(0) * (std::max(stretch, margin) - margin) < least
               ? fmt::format("allowed {} + {}", usual, duration_text(least))
               : fmt::format("allowed {} x {:.2f}", figure(hypothesis, baseline), stretch);
  }
  return fmt::format("allowed {} + {}", usual,
                     figure(hypothesis, hypothesis.implied ? kVetoIncrease : hypothesis.bound));
}

// How much slower a canary may still be that is shown not to be: of fast services that is no
// factor.
std::string shown_text(const Hypothesis& hypothesis, const std::optional<LevelEdge>& edge) {
  const size_t shown = edge ? proof_edge(hypothesis, edge->at) : 0;
  const double factor = edge ? bucket_edge(shown) / bucket_edge(edge->at) : 1;
  return factor > std::exp2(kPassStretch / 8.0) * hypothesis.node_margin * (1 + 1e-9)
             ? duration_text(bucket_edge(shown) - bucket_edge(edge->at))
             : fmt::format("{:.2f} times", factor);
}

}  // namespace

// Of what nobody asked for, a pass needs the time of requests, and that they fail no more, where
// that can be known: a service whose connections are all kept will never have enough of them to
// prove anything by.
// Where a canary that passed has all the traffic nothing is compared any more, and what earned it
// that is not asked for again.
bool Judge::is_needed(const Hypothesis& hypothesis) const {
  if (is_let_go() && !hypothesis.absolute) return false;
  if (!hypothesis.implied || hypothesis.signal == main_signal()) return true;
  return hypothesis.signal == judged(RatioSignal::Errors) && are_known(rollout_.judged_canary) &&
         are_known(rollout_.judged_baseline);
}

Verdict Judge::draft(const Observation& seen) const {
  Verdict next = *facts_;
  next.log_e = log_e();
  Conclusion found = decide(seen, *facts_);
  next.decision = found.decision;
  next.reason = found.reason;
  next.message = std::move(found.message);
  next.expected_seconds = found.expected_seconds;
  for (ObjectiveVerdict& objective : next.objectives)
    objective.state = objective.log_e >= threshold_            ? ObjectiveState::Against
                      : objective.log_proof >= kProofThreshold ? ObjectiveState::Proven
                                                               : ObjectiveState::Open;
  return next;
}

void Judge::settle(Verdict verdict, TickTime now) {
  if (rollout_.veto) return;
  auto next = std::make_shared<Verdict>(std::move(verdict));
  const bool same =
      verdict_ && verdict_->decision == next->decision && verdict_->reason == next->reason;
  next->since = same ? verdict_->since : now.system;
  rollout_.traffic_weight.update(standing(*next), slo_.alpha, now.monotonic);
  next->traffic_weight = rollout_.traffic_weight.percent();
  rollout_.passed = rollout_.passed || next->decision == Decision::Pass;
  // One lender alone vetoes nothing.
  if (next->decision == Decision::Veto && beside_ == Beside::OwnNode) rollout_.veto = next;
  verdict_ = std::move(next);
}

// What is not believed in a verdict is not believed here either; all other evidence against a
// canary lowers its weight, whatever the verdict waits for.
Standing Judge::standing(const Verdict& verdict) const {
  if (verdict.decision == Decision::Veto) return Standing::Vetoed;
  if (verdict.decision == Decision::Pass) return Standing::Passed;
  const bool doubtful =
      verdict.reason == Reason::NoCanary || verdict.reason == Reason::SamplesLost ||
      verdict.reason == Reason::Multiplexed || (slo_.baseline && !aa_test_.quiet());
  if (doubtful) return Standing::Held;
  if (verdict.log_e >= kSuspicion) return Standing::Suspected;
  if (verdict.reason == Reason::Stalled) return Standing::Stalled;
  return verdict.reason == Reason::InsufficientSamples ? Standing::Open : Standing::Held;
}

Judge::Conclusion Judge::decide(const Observation& seen, const Verdict& facts) const {
  if (seen.canary.cgroups == 0)
    return {Decision::Hold, Reason::NoCanary, "nothing of the canary is running on this node"};
  if (auto doubt = find_doubt(seen)) return std::move(*doubt);
  if (auto veto = find_veto(facts)) return std::move(*veto);
  if (auto restart = find_restart(seen, facts)) return std::move(*restart);
  if (auto silence = find_silence(seen)) return std::move(*silence);
  if (auto abandoned = find_abandoned()) return std::move(*abandoned);
  if (auto unknown = find_unknown()) return std::move(*unknown);
  if (auto gap = find_gap(seen, facts)) return std::move(*gap);
  return {
      Decision::Pass, Reason::Proven,
      fmt::format("every objective is shown to hold: {} canary samples{}{}{}",
                  count_text(static_cast<double>(facts.samples.canary)),
                  facts.outcomes_known ? fmt::format(", the outcome of {} of its answers is known",
                                                     share_text(*facts.outcomes_known))
                                       : "",
                  praise(facts), alone_text(seen.now.monotonic))};
}

// Up to which quantile what carries the load was compared, and what of the tail is left.
std::string Judge::praise(const Verdict& facts) const {
  std::string text;
  for (const Hypotheses::Entry& of : hypotheses_.entries()) {
    const auto& [hypothesis, number, components] = of;
    if (!hypothesis.implied || hypothesis.signal != main_signal()) continue;
    const std::vector<LevelVerdict>& levels = facts.objectives[number].levels;
    const auto open = std::ranges::find_if(
        levels, [](const LevelVerdict& level) { return level.log_proof < kProofThreshold; });
    if (open == levels.begin()) continue;
    const auto farthest = static_cast<size_t>(std::prev(open) - levels.begin());
    text += fmt::format("; {} is not more than {} slower up to {}", kJudged[hypothesis.signal].name,
                        shown_text(hypothesis, edges_[number][farthest]),
                        quantile_text(std::prev(open)->quantile));
    if (open == levels.end()) continue;
    const auto samples = static_cast<double>(exposures(rollout_.judged_canary, hypothesis.signal));
    const double about = kProofSamples / (1 - open->quantile);
    text += fmt::format(", {} is not shown", quantile_text(open->quantile));
    if (samples < about)
      text += fmt::format(": {} of about {} samples", count_text(samples), count_text(about));
  }
  return text;
}

// At 100 % of the traffic a canary has no baseline any more. What was shown beside it stays so.
std::string Judge::alone_text(std::chrono::nanoseconds now) const {
  if (!is_alone(now)) return "";
  const bool bounded = std::ranges::any_of(hypotheses_.all(), &Hypothesis::absolute);
  const bool seen = baseline_seen_ != std::chrono::nanoseconds(0);
  return fmt::format("; the baseline has had no traffic{}, so {}",
                     seen ? " for " + duration_text(seconds(now - baseline_seen_)) : "",
                     bounded ? "objectives that bound the canary alone are judged, and no others"
                             : "nothing is judged any more");
}

// Where counts are not what they seem, neither side can be believed.
std::optional<Judge::Conclusion> Judge::find_doubt(const Observation& seen) const {
  if (lost_at_ && seen.now.monotonic - *lost_at_ < kLossMemory)
    return Conclusion{Decision::Hold, Reason::SamplesLost,
                      "samples of the canary or its baseline found no room: see slogate maps"};
  const bool compared = exposures(recent_baseline_, judged(SLOGATE_SIGNAL_request)) != 0;
  const Tally& arm = compared ? recent_baseline_ : recent_canary_;
  const auto requests = static_cast<double>(exposures(arm, judged(SLOGATE_SIGNAL_request)));
  const double share = static_cast<double>(arm.overlapped) / std::max(1.0, requests);
  if (requests >= kLeastSamples && share > (compared ? kMostOverlapped : kMostOverlappedAlone))
    return Conclusion{
        Decision::Hold, Reason::Multiplexed,
        fmt::format("{} of the {}'s requests overlap others on their connection, as HTTP/2 and "
                    "gRPC do: their times cannot be told",
                    share_text(share), compared ? "baseline" : "canary")};
  return std::nullopt;
}

std::optional<Judge::Conclusion> Judge::find_veto(const Verdict& facts) const {
  if (!rollout_.evidence || log_e() < threshold_ || facts.samples.canary < kLeastSamples ||
      facts.blocks_against < kLeastBlocks)
    return std::nullopt;
  if (slo_.baseline && !aa_test_.quiet()) return std::nullopt;
  const auto& [hypothesis, number, components] = worst(facts);
  return Conclusion{
      Decision::Veto, hypothesis.absolute ? Reason::Exceeded : Reason::Regressed,
      fmt::format("{}; {}", accuse(hypothesis, facts.objectives[number]), odds_text(log_e()))};
}

std::string Judge::accuse(const Hypothesis& hypothesis, const ObjectiveVerdict& facts) const {
  std::string text =
      fmt::format("{}: canary {}", subject(hypothesis), figure(hypothesis, facts.canary));
  if (slo_.baseline) text += ", baseline " + figure(hypothesis, facts.baseline);
  return text + ", " + allowed(hypothesis, facts.baseline);
}

std::optional<Judge::Conclusion> Judge::find_restart(const Observation& seen,
                                                     const Verdict& facts) const {
  constexpr std::array<std::string_view, 3> names = {"listener", "cgroup", "container"};
  if (!rollout_.gap) return std::nullopt;
  const auto [what, when] = *rollout_.gap;
  const auto since = seen.now.monotonic - when;
  if (since >= kGapMemory) return std::nullopt;
  return Conclusion{
      Decision::Hold, Reason::Restarting,
      fmt::format("a {} of the canary went away and came back {} ago: a pass needs {} "
                  "without that",
                  names[static_cast<size_t>(what)], duration_text(seconds(since)),
                  duration_text(seconds(kGapMemory))),
      facts.expected_seconds
          ? std::optional(std::max(*facts.expected_seconds, seconds(kGapMemory - since)))
          : std::nullopt};
}

std::optional<Judge::Conclusion> Judge::find_silence(const Observation& seen) const {
  const auto hold = [](Reason reason, std::string message) {
    return Conclusion{Decision::Hold, reason, std::move(message)};
  };
  if (seen.canary.warming == seen.canary.cgroups)
    return hold(Reason::WarmingUp,
                fmt::format("the canary has run for less than {}: its first requests do not count",
                            duration_text(seconds(slo_.warmup))));
  const auto now = seen.now.monotonic;
  const auto since = now - rollout_.last_sample.value_or(rollout_.began);
  const Tally& usual = slo_.baseline ? history_ : canary_.tally();
  const double slow = tally_quantile(usual, main_signal(), 0.999).value_or(0);
  if (since >= kHang && seen.canary.overdue > 0 && seconds(seen.canary.oldest) > 2 * slow)
    return hold(Reason::Stalled,
                fmt::format("the canary has answered nothing for {}, and {} requests wait, one of "
                            "them for {}",
                            duration_text(seconds(since)),
                            count_text(static_cast<double>(seen.canary.overdue)),
                            duration_text(seconds(seen.canary.oldest))));
  if (!rollout_.last_sample) return std::nullopt;  // too few samples, if any
  const double rate = static_cast<double>(rollout_.answered) /
                      std::max(1.0, seconds(*rollout_.last_sample - rollout_.began));
  const std::chrono::nanoseconds patience(
      static_cast<int64_t>(1e9 * std::min(kMissedAnswers / rate, 60.0)));
  if (since < std::clamp(patience, kShortestSilence, kLongestSilence)) return std::nullopt;
  // Of a baseline without traffic nobody expects any.
  const bool both = slo_.baseline && !is_let_go() && now - baseline_seen_ >= since;
  return hold(
      both ? Reason::InsufficientSamples : Reason::Stalled,
      fmt::format("{} answered {} request for {}{}",
                  both ? "neither canary nor baseline has" : "the canary has", both ? "a" : "no",
                  duration_text(seconds(since)), both ? fmt::format("; {}", kNoTraffic) : ""));
}

// A request that its client gave up has no time, so no histogram shows a canary that answers a part
// of its requests never. Goodbyes look the same, but to both arms alike.
std::optional<Judge::Conclusion> Judge::find_abandoned() const {
  const auto asked = [](const Tally& arm) {
    return static_cast<double>(exposures(arm, judged(SLOGATE_SIGNAL_request)) + arm.abandoned);
  };
  const auto share = [&](const Tally& arm) {
    return static_cast<double>(arm.abandoned) / std::max(1.0, asked(arm));
  };
  const bool compared = slo_.baseline && asked(recent_baseline_) != 0;
  const double most = compared ? 2 * share(recent_baseline_) + kMoreAbandoned : kMostAbandonedAlone;
  if (asked(recent_canary_) < kLeastSamples || share(recent_canary_) <= most) return std::nullopt;
  return Conclusion{
      Decision::Hold, Reason::Stalled,
      fmt::format(
          "the clients of {} of the canary's requests left before an answer{}",
          share_text(share(recent_canary_)),
          compared ? fmt::format(", of {} of the baseline's", share_text(share(recent_baseline_)))
                   : "")};
}

// An error that nobody can read is no sign of health. Where nothing was ever known and nothing is
// stated, as of a service that speaks TLS, the rest is judged all the same.
std::optional<Judge::Conclusion> Judge::find_unknown() const {
  const auto hold = [](std::string message) {
    return Conclusion{Decision::Hold, Reason::OutcomesUnknown, std::move(message)};
  };
  for (const Hypothesis& hypothesis : hypotheses_.all()) {
    const JudgedSignal& signal = kJudged[hypothesis.signal];
    // Of some answers it is enough that there were any: a cache may be asked now and then.
    const Tally& canary = signal.least_known > 0 ? recent_canary_ : rollout_.judged_canary;
    const auto covered = coverage(canary, hypothesis.signal);
    if (hypothesis.implied || !covered || covered->answers < kFewRequests) continue;
    if (covered->known > 0 && covered->known >= signal.least_known) continue;
    return hold(
        fmt::format("{} is stated, and {} of the canary's answers tell of it: the rest is "
                    "encrypted, of another protocol, or not read on this node (slogate doctor)",
                    signal.name, share_text(covered->known)));
  }
  const auto covered = coverage(recent_canary_, judged(RatioSignal::Errors));
  if (!covered || covered->answers < kFewRequests || covered->known >= kLeastKnown)
    return std::nullopt;
  const bool of_baseline = are_known(history_) || are_known(recent_baseline_);
  if (!of_baseline && !rollout_.outcomes_known) return std::nullopt;
  return hold(fmt::format("the outcome of {} of the canary's answers is known, {}",
                          share_text(covered->known),
                          of_baseline ? "and of the baseline's more than half were"
                                      : "and it was more than half before"));
}

// What a pass lacks.
std::optional<Judge::Conclusion> Judge::find_gap(const Observation& seen,
                                                 const Verdict& facts) const {
  const auto hold = [](Reason reason, std::string message) {
    return Conclusion{Decision::Hold, reason, std::move(message)};
  };
  if (slo_.baseline && !aa_test_.quiet())
    return hold(Reason::BaselineUnstable,
                "the baseline differs from itself as much as a bad canary would: it is watched "
                "with longer blocks until it has been quiet for a while");
  if (rollout_.breaching >= kBreachingBlocks)
    return hold(Reason::BaselineBreaching,
                "the baseline itself is beyond an objective's bound: what is shared may be slow");
  // Where all the traffic is the canary's, the baseline may leave.
  if (slo_.baseline && seen.baseline[0].cgroups + seen.baseline[1].cgroups == 0 && !is_let_go())
    return hold(Reason::NoBaseline,
                fmt::format("nothing of the baseline is running {}",
                            beside_ == Beside::OwnNode ? "on this node" : "there any more"));
  // Where other nodes' baselines earned a canary all the traffic, there was never one beside it.
  const bool compared = slo_.baseline && !is_let_go();
  if (compared && facts.samples.canary >= kLeastSamples && facts.samples.baseline == 0)
    return hold(Reason::NoBaseline, "the baseline has had no traffic beside the canary's");
  if (facts.samples.canary < kLeastSamples || facts.blocks < kLeastBlocks)
    return find_lack(
        facts, fmt::format("{} canary samples in {} blocks; at least {} in {} are needed",
                           count_text(static_cast<double>(facts.samples.canary)), facts.blocks,
                           kLeastSamples, kLeastBlocks));
  if (compared && exposures(history_, main_signal()) == 0)
    return hold(Reason::NoBaseline, "the baseline has had no request to compare with");
  if (facts.log_e >= kSuspicion)
    return hold(Reason::InsufficientSamples,
                fmt::format("something is against it, too little for a veto: {}{}",
                            odds_text(facts.log_e), connections_text()));
  for (const ObjectiveVerdict& objective : facts.objectives)
    if (objective.needed && objective.log_proof < kProofThreshold)
      return find_lack(
          facts,
          fmt::format("not shown to hold yet: {} ({:.1f} of {:.1f} nats of proof, {} "
                      "canary samples{})",
                      objective.objective, std::max(0.0, objective.log_proof), kProofThreshold,
                      count_text(static_cast<double>(facts.samples.canary)), connections_text()));
  return std::nullopt;
}

// Why times say nothing against a canary, and perhaps why they do not say anything for it.
std::string Judge::connections_text() const {
  const size_t signal = main_signal();
  if (!is_latency(signal)) return "";
  const FirstShares firsts = rollout_.firsts.told()[signal];
  if (first_margin(firsts, 1 - kAlwaysShown)) return "";
  return fmt::format(
      "; the canary's connections are new for {} of its requests, the baseline's for {}",
      share_text(firsts.canary), share_text(firsts.baseline));
}

// Time alone brings it.
Judge::Conclusion Judge::find_lack(const Verdict& facts, std::string what) const {
  return {Decision::Hold, Reason::InsufficientSamples, std::move(what) + time_text(facts),
          facts.expected_seconds};
}

std::string Judge::time_text(const Verdict& facts) const {
  if (facts.rate.value_or(0) <= 0) return fmt::format("; {}", kNoTraffic);
  const std::string rate =
      fmt::format("{} {}/s", rate_text(*facts.rate),
                  main_signal() == judged(SLOGATE_SIGNAL_request) ? "requests" : "samples");
  const auto known = static_cast<double>(exposures(history_, main_signal()));
  if (!facts.expected_seconds && slo_.baseline && known * (1 - kAlwaysShown) < kTailSamples)
    return fmt::format(
        "; no time can be told before more is known of the baseline ({}, {} samples)", rate,
        count_text(known));
  if (!facts.expected_seconds)
    return fmt::format("; no time can be told: at {} its proof does not grow", rate);
  const std::string time =
      fmt::format(": {} more at {}", about_text(*facts.expected_seconds), rate);
  return *facts.expected_seconds < kLongWait ? time : fmt::format("{}; {}", time, kSooner);
}

}  // namespace slogate
