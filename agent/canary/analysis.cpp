// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/analysis.h"

#include <fmt/format.h>

#include <algorithm>

namespace slogate {
namespace {

// More than a node has pods, several times over.
constexpr size_t kMostAside = 1000;
// Readings of an SLO that wait to be taken for lending: a quarter of a minute.
constexpr size_t kMostLendable = 60;

// A rollout of cgroups has no name of its own: when it began tells it from others.
std::string rollout_name(const Slo& slo, TickTime now) {
  return slo.rollout.empty() ? to_rfc3339_ms(now.system) : slo.rollout;
}

// The evidence that begins with a reset is not what other nodes call by the name.
std::string reset_name(const Slo& slo, TickTime now) {
  return slo.rollout.empty() ? to_rfc3339_ms(now.system)
                             : fmt::format("{}-{}", slo.rollout, to_rfc3339_ms(now.system));
}

std::vector<std::string> names_of(const std::vector<Hypothesis>& hypotheses) {
  std::vector<std::string> names;
  names.reserve(hypotheses.size());
  for (const Hypothesis& hypothesis : hypotheses) names.push_back(hypothesis.name);
  return names;
}

std::string text_of(const std::optional<Selector>& selector) {
  return selector ? selector_text(*selector) : "";
}

bool same_question(const Slo& a, const Slo& b) {
  return text_of(a.baseline) == text_of(b.baseline) && a.alpha == b.alpha && a.warmup == b.warmup &&
         a.node_margin == b.node_margin && a.port == b.port && a.objectives == b.objectives;
}

// One rollout after the other of one workload: what is known of its baseline holds on.
bool same_workload(const Slo& a, const Slo& b) {
  return a.name == b.name && !a.rollout.empty() && !b.rollout.empty();
}

bool same_canary(const Slo& a, const Slo& b) {
  return a.name == b.name && selector_text(a.canary) == selector_text(b.canary);
}

LentQuestion question_of(const Slo& slo) {
  if (!slo.baseline) return {.slo = slo.name, .baseline = "", .rollout = slo.rollout};
  return {.slo = slo.name,
          .baseline =
              fmt::format("{}; port {}; container {}; warm-up {} ns", selector_text(*slo.baseline),
                          slo.port.value_or(0), slo.container.value_or(""), slo.warmup.count()),
          .rollout = slo.rollout};
}

std::vector<std::string> notes_of(const Slo& slo, bool pods_known) {
  std::vector<std::string> notes = slo.notes;
  if (selects_pods(slo) && !pods_known)
    notes.emplace_back("pods and containers are not known without an API server: select cgroups");
  return notes;
}

}  // namespace

void CanaryAnalysis::set_slos(const std::vector<Slo>& slos, TickTime now) {
  std::vector<std::unique_ptr<Case>> before = std::exchange(cases_, {});
  for (const Slo& slo : slos) {
    const auto old = std::ranges::find_if(before, [&](const auto& one) {
      return one && (same_canary(one->slo, slo) || same_workload(one->slo, slo));
    });
    if (old != before.end() && same_question((*old)->slo, slo)) {
      const bool next = !same_canary((*old)->slo, slo);
      cases_.push_back(std::move(*old));
      cases_.back()->slo.notes = slo.notes;
      cases_.back()->slo.weight = slo.weight;
      cases_.back()->slo.enforce = slo.enforce;
      cases_.back()->slo.pass_within = slo.pass_within;
      cases_.back()->judge.set_weight_steps(slo.weight);
      cases_.back()->judge.set_pass_within(slo.pass_within);
      if (next) begin_next(*cases_.back(), slo, now);
      continue;
    }
    auto& fresh = cases_.emplace_back(std::make_unique<Case>(slo, rollout_name(slo, now), now));
    // A bound that is loosened does not lift a veto: reset() does.
    if (old != before.end()) {
      put_aside(**old);
      if (same_canary((*old)->slo, slo)) fresh->judge.go_on_with_weight_of((*old)->judge);
    }
    if (!take_up(*fresh)) note(*fresh, now);
  }
  for (const auto& one : cases_) {
    one->question = question_of(one->slo);
    one->judge.know_peers(peers_known_);
  }
  for (const auto& old : before)
    if (old && !old->slo.rollout.empty()) put_aside(*old);
  for (const auto& one : cases_) describe(*one);
}

void CanaryAnalysis::begin_next(Case& one, const Slo& slo, TickTime now) {
  put_aside(one);
  one.slo = slo;
  one.arms = Arms(slo);
  one.judge.reset(rollout_name(slo, now), now);
  if (!take_up(one)) note(one, now);
}

// That the veto began was said when it did.
void CanaryAnalysis::adopt(Case& one, const Verdict& veto) {
  one.judge.restore(veto);
  one.rollout = veto.rollout;
  one.decision = kDecisions[static_cast<size_t>(Decision::Veto)];
  one.had_canary = true;
}

void CanaryAnalysis::put_aside(const Case& one) {
  const auto verdict = one.judge.verdict();
  if (verdict->decision != Decision::Veto) return;
  std::string canary = selector_text(one.slo.canary);
  const auto same = [&](const LatchedVeto& veto) {
    return veto.verdict.slo == one.slo.name && veto.canary == canary;
  };
  if (std::ranges::any_of(aside_, same)) return;
  if (aside_.size() >= kMostAside) aside_.erase(aside_.begin());
  aside_.push_back({std::move(canary), *verdict});
}

bool CanaryAnalysis::take_up(Case& one) {
  const auto veto = std::ranges::find_if(aside_, [&](const LatchedVeto& candidate) {
    return candidate.verdict.slo == one.slo.name &&
           candidate.canary == selector_text(one.slo.canary);
  });
  if (veto == aside_.end()) return false;
  adopt(one, veto->verdict);
  aside_.erase(veto);
  return true;
}

size_t CanaryAnalysis::restore(const std::vector<LatchedVeto>& vetoes) {
  aside_.insert(aside_.end(), vetoes.begin(), vetoes.end());
  size_t restored = 0;
  for (const auto& one : cases_) {
    if (!take_up(*one)) continue;
    ++restored;
    std::erase_if(changes_,
                  [&](const VerdictChange& change) { return change.now->slo == one->slo.name; });
  }
  return restored;
}

void CanaryAnalysis::restore_weights(std::vector<KeptWeight> weights) {
  weights_aside_ = std::move(weights);
  if (weights_aside_.size() > kMostAside) weights_aside_.resize(kMostAside);
}

// Before its first reading: who splits the traffic by it must see no fall. A canary that is another
// begins where every one does.
void CanaryAnalysis::take_up_weight(Case& one) {
  const auto kept = std::ranges::find(weights_aside_, one.slo.name, &KeptWeight::slo);
  if (kept == weights_aside_.end()) return;
  const std::vector<uint64_t> now = one.arms.canary_ids();
  if (now.empty()) return;
  const bool same_rollout =
      one.slo.rollout.empty() ? std::ranges::any_of(now,
                                                    [&](uint64_t id) {
                                                      return std::ranges::find(kept->cgroups, id) !=
                                                             kept->cgroups.end();
                                                    })
                              : one.slo.rollout == kept->rollout;
  if (same_rollout && kept->canary == selector_text(one.slo.canary))
    one.judge.go_on_with(kept->earned);
  weights_aside_.erase(kept);
}

void CanaryAnalysis::tick(const std::vector<Workload>& workloads, TickTime now) {
  if (cases_.empty()) return;
  for (const auto& one : cases_) {
    one->arms.look(workloads, now);
    take_up_weight(*one);
    describe(*one);
  }
  const auto judged = cgroups();
  CgroupCounts counts;
  for (const Workload& workload : workloads) {
    if (!judged.contains(workload.id)) continue;
    ServiceCounts& of = counts[workload.id];
    of.all = workload.service;
    for (const PortShare& share : workload.ports) of.ports.emplace(share.port, share.counts);
  }
  for (const auto& one : cases_) observe(*one, counts, now);
}

void CanaryAnalysis::describe(Case& one) const {
  one.status =
      std::make_shared<const SloStatus>(SloStatus{.slo = one.slo,
                                                  .objectives = names_of(one.judge.hypotheses()),
                                                  .canary = one.arms.canary(),
                                                  .baseline = one.arms.baseline(),
                                                  .notes = notes_of(one.slo, pods_known_)});
}

void CanaryAnalysis::read(const CgroupCounts& counts, TickTime now) {
  for (const auto& one : cases_) observe(*one, counts, now);
}

void CanaryAnalysis::observe(Case& one, const CgroupCounts& counts, TickTime now) {
  const Observation seen = one.arms.read(counts, now);
  if (peers_known_) keep_lendable(one, seen);
  one.judge.observe(seen);
  end_empty(one, seen.canary.cgroups, now);
  note(one, now);
}

void CanaryAnalysis::end_empty(Case& one, size_t canary_cgroups, TickTime now) {
  if (canary_cgroups > 0) {
    one.empty_since.reset();
    one.had_canary = true;
    return;
  }
  if (!one.slo.rollout.empty()) return;  // it ends when there is another revision
  if (!one.empty_since) one.empty_since = now.monotonic;
  if (!one.had_canary || now.monotonic - *one.empty_since < kRolloutEnds) return;
  one.had_canary = false;
  one.arms.begin_rollout(now);
  one.judge.reset(reset_name(one.slo, now), now);
}

void CanaryAnalysis::note(Case& one, TickTime now) {
  const auto verdict = one.judge.verdict();
  const std::string decision(kDecisions[static_cast<size_t>(verdict->decision)]);
  const bool began = one.rollout != verdict->rollout;
  // Who states a bound on what cannot be known has to hear of it, though it was hold before; once.
  const bool blind = verdict->reason == Reason::OutcomesUnknown;
  const bool blinded = blind && (began || !one.blind);
  if (!began && decision == one.decision && !blinded) return;
  one.blind = blinded || (one.blind && !began);
  changes_.push_back({now.system, began ? "" : one.decision, verdict});
  one.decision = decision;
  one.rollout = verdict->rollout;
}

void CanaryAnalysis::know_peers(bool known) {
  peers_known_ = known;
  for (const auto& one : cases_) one->judge.know_peers(known);
  if (!known) lendable_.clear();
}

CanaryAnalysis::Case* CanaryAnalysis::find(std::string_view slo) const {
  const auto found =
      std::ranges::find_if(cases_, [slo](const auto& one) { return one->slo.name == slo; });
  return found == cases_.end() ? nullptr : found->get();
}

std::vector<LentQuestion> CanaryAnalysis::wanted() const {
  std::vector<LentQuestion> questions;
  for (const auto& one : cases_)
    if (one->judge.wants_lenders()) questions.push_back(one->question);
  return questions;
}

std::vector<LentQuestion> CanaryAnalysis::wanted_evidence() const {
  std::vector<LentQuestion> questions;
  for (const auto& one : cases_)
    if (peers_known_ && !one->slo.rollout.empty() && !one->arms.canary().empty())
      questions.push_back(one->question);
  return questions;
}

void CanaryAnalysis::set_canary_nodes(std::string_view slo, const std::vector<std::string>& nodes) {
  if (Case* one = find(slo)) one->judge.set_canary_nodes(nodes);
}

void CanaryAnalysis::ask_lender(std::string_view slo, const std::string& lender, TickTime now) {
  if (Case* one = find(slo)) one->judge.ask(lender, now);
}

void CanaryAnalysis::lend(const LentQuestion& question, const std::string& lender,
                          LentAnswer answer, TickTime now) {
  Case* one = find(question.slo);
  if (one && one->question == question) one->judge.lend(lender, std::move(answer), now);
}

void CanaryAnalysis::drop_lender(std::string_view slo, const std::string& lender) {
  if (Case* one = find(slo)) one->judge.drop_lender(lender);
}

// Of a rollout that this node has not heard of yet its baseline's requests are the same.
LentAnswer::State CanaryAnalysis::matches(const LentQuestion& question) const {
  const Case* one = find(question.slo);
  if (!one) return LentAnswer::State::NoSuchSlo;
  return one->slo.baseline && one->question.baseline == question.baseline
             ? LentAnswer::State::Lends
             : LentAnswer::State::OtherQuestion;
}

void CanaryAnalysis::keep_lendable(Case& one, const Observation& seen) {
  const auto before = std::exchange(one.read_at, seen.now.monotonic);
  if (seen.baseline[0].cgroups + seen.baseline[1].cgroups == 0) return;
  lendable_.emplace_back(
      one.question, LentReading{.number = ++one.readings,
                                .lasted = seen.now.monotonic - before.value_or(seen.now.monotonic),
                                .halves = seen.baseline});
  // Nobody takes them: what is not taken soon is too old for anyone.
  if (lendable_.size() > kMostLendable * cases_.size()) lendable_.erase(lendable_.begin());
}

std::vector<std::pair<LentQuestion, LentReading>> CanaryAnalysis::take_lendable() {
  return std::exchange(lendable_, {});
}

std::optional<LentEvidence> CanaryAnalysis::evidence_of(std::string_view slo) const {
  const Case* one = find(slo);
  return one ? one->judge.evidence() : std::nullopt;
}

std::unordered_set<uint64_t> CanaryAnalysis::cgroups() const {
  std::unordered_set<uint64_t> ids;
  for (const auto& one : cases_)
    for (const uint64_t id : one->arms.cgroups()) ids.insert(id);
  return ids;
}

Result<void> CanaryAnalysis::reset(std::string_view slo, TickTime now) {
  for (const auto& one : cases_) {
    if (one->slo.name != slo) continue;
    one->arms.begin_rollout(now);
    one->judge.reset(reset_name(one->slo, now), now);
    std::erase_if(aside_, [&](const LatchedVeto& veto) { return veto.verdict.slo == slo; });
    std::erase_if(weights_aside_, [&](const KeptWeight& kept) { return kept.slo == slo; });
    note(*one, now);
    return {};
  }
  return fail(fmt::format("no SLO is named {}", slo), "slogate slos lists them");
}

std::shared_ptr<const Verdicts> CanaryAnalysis::verdicts() const {
  auto all = std::make_shared<Verdicts>();
  for (const auto& one : cases_) {
    all->slos.push_back(one->status);
    all->list.push_back(one->judge.verdict());
  }
  all->problems = problems_;
  return all;
}

std::vector<LatchedVeto> CanaryAnalysis::vetoes() const {
  std::vector<LatchedVeto> vetoes = aside_;
  for (const auto& one : cases_)
    if (const auto verdict = one->judge.verdict(); verdict->decision == Decision::Veto)
      vetoes.push_back({selector_text(one->slo.canary), *verdict});
  return vetoes;
}

// Those that are not where every weight begins. Of a veto there is none to keep.
std::set<std::string> CanaryAnalysis::without_baseline() const {
  std::set<std::string> slos;
  for (const auto& one : cases_)
    if (one->judge.lacks_baseline()) slos.insert(one->slo.name);
  return slos;
}

std::vector<KeptWeight> CanaryAnalysis::weights() const {
  std::vector<KeptWeight> weights = weights_aside_;
  for (const auto& one : cases_) {
    const Judge::Earned earned = one->judge.earned();
    if (earned.percent <= one->slo.weight.from || one->judge.verdict()->decision == Decision::Veto)
      continue;
    weights.push_back({.slo = one->slo.name,
                       .canary = selector_text(one->slo.canary),
                       .rollout = one->slo.rollout,
                       .cgroups = one->arms.canary_ids(),
                       .earned = earned});
  }
  return weights;
}

}  // namespace slogate
