// SPDX-License-Identifier: Apache-2.0
#include "agent/canary/fleet.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "agent/base/figures.h"
#include "agent/canary/shares.h"

namespace slogate {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

// What is known of the canary without any baseline: no lender changes it.
bool is_about_canary(Reason reason) {
  return reason == Reason::NoCanary || reason == Reason::SamplesLost ||
         reason == Reason::WarmingUp || reason == Reason::Restarting ||
         reason == Reason::OutcomesUnknown;
}

// Counts that are not what they seem are no evidence.
bool is_doubtful(Reason reason) {
  return reason == Reason::SamplesLost || reason == Reason::Multiplexed ||
         reason == Reason::BaselineUnstable;
}

bool has_enough(const Verdict& verdict) {
  return verdict.samples.canary >= kLeastSamples && verdict.blocks >= kLeastBlocks;
}

// How far a pass has come beside one lender; reasons that time alone does not mend are farther.
double progress(const Verdict& verdict) {
  constexpr double kFar = 1e6, kFew = 1e3;
  if (verdict.reason != Reason::InsufficientSamples) return -kFar;
  if (!has_enough(verdict)) return static_cast<double>(verdict.samples.canary) - kFew;
  double least = kProofThreshold;
  for (const ObjectiveVerdict& objective : verdict.objectives)
    if (objective.needed) least = std::min(least, objective.log_proof);
  return least;
}

std::string nodes_text(size_t count) {
  return fmt::format("{} node{}", count, count == 1 ? "" : "s");
}

}  // namespace

Fleet::Fleet(const Slo& slo, std::string rollout, TickTime now)
    : slo_(slo), own_(slo, rollout, now) {
  spread_.begin(std::move(rollout));
}

void Fleet::reset(std::string rollout, TickTime now) {
  own_.reset(rollout, now);
  own_.set_share(1);
  first_ = First::Open;
  left_ = false;
  members_ = 1;
  for (auto& [node, lender] : lenders_)
    if (lender.judge()) lender.begin(rollout, members_++, now);
  spread_.begin(std::move(rollout));
  evidence_.reset();
}

void Fleet::restore(Verdict veto) {
  spread_.begin(veto.rollout);
  own_.restore(std::move(veto));
}

void Fleet::set_pass_within(std::chrono::nanoseconds pass_within) {
  slo_.pass_within = pass_within;
  own_.set_pass_within(pass_within);
  for (auto& [node, lender] : lenders_) lender.set_pass_within(pass_within);
}

void Fleet::set_weight_steps(const WeightSteps& steps) {
  slo_.weight = steps;
  own_.set_weight_steps(steps);
  for (auto& [node, lender] : lenders_) lender.set_weight_steps(steps);
}

// ---- who is asked ----

void Fleet::know_peers(bool known) {
  peers_known_ = known;
  if (known) return;
  wants_ = false;
  clear_lenders();
}

void Fleet::note_need(const Observation& seen) {
  const auto now = seen.now.monotonic;
  const size_t cgroups = seen.baseline[0].cgroups + seen.baseline[1].cgroups;
  const bool warming =
      cgroups != 0 && seen.baseline[0].warming + seen.baseline[1].warming == cgroups;
  const bool needed = slo_.baseline && seen.canary.cgroups != 0 && !own_.has_baseline() && !warming;
  if (needed) needed_at_ = now;
  wants_ = peers_known_ && needed_at_ && now - *needed_at_ < kNeedEnds;
  if (!wants_) clear_lenders();
}

void Fleet::ask(const std::string& node, TickTime now) {
  if (wants_ && lenders_.size() < kMostLenders) lenders_.try_emplace(node, slo_, now);
}

void Fleet::lend(const std::string& node, LentAnswer answer, TickTime now) {
  if (answer.evidence) spread_.hear(node, *answer.evidence);
  const auto found = lenders_.find(node);
  if (found == lenders_.end()) return;
  Lender& lender = found->second;
  const bool compared = lender.judge() && lender.judge()->blocks() > 0;
  switch (lender.hear(std::move(answer), own_.verdict()->rollout, now)) {
    case Lender::Heard::Nothing:
    case Lender::Heard::Next:
      break;
    case Lender::Heard::Refused:
      leave(lender);
      break;
    case Lender::Heard::Anew:
      left_ = left_ || compared;
      lender.set_member(members_++);
      break;
  }
}

void Fleet::drop_lender(const std::string& node) {
  const auto found = lenders_.find(node);
  if (found == lenders_.end()) return;
  leave(found->second);
  lenders_.erase(found);
}

// Who was never compared with the canary takes no evidence along.
void Fleet::leave(Lender& lender) {
  left_ = left_ || (lender.judge() && lender.judge()->blocks() > 0);
  lender.forget();
}

void Fleet::clear_lenders() {
  for (auto& [node, lender] : lenders_) leave(lender);
  lenders_.clear();
}

// ---- what is found beside them ----

// Who is judged by what is decided before there is evidence, and by who is there, not by how the
// canary does. Where peers became known after that, a rollout may spend a tenth of alpha more.
void Fleet::decide_first(const Observation& seen) {
  if (first_ != First::Open || !peers_known_ || seen.canary.cgroups <= seen.canary.warming) return;
  const bool own = own_.blocks() > 0 || seen.baseline[0].cgroups + seen.baseline[1].cgroups != 0;
  first_ = own ? First::Own : First::Lenders;
  own_.set_share(own ? kFirstShare : kLaterShare * part_of_member(0));
}

double Fleet::share_of(const Lender& lender) const {
  return first_ == First::Lenders && !left_ ? kFirstShare
                                            : kLaterShare * part_of_member(lender.member());
}

std::vector<const Fleet::Member*> Fleet::members() const {
  std::vector<const Member*> found;
  for (const Member& one : lenders_)
    if (one.second.judge()) found.push_back(&one);
  return found;
}

// Those whose word is waited for; there are some where there are members.
std::vector<const Fleet::Member*> Fleet::seniors(std::chrono::nanoseconds now) const {
  std::vector<const Member*> found = members();
  if (found.empty()) return found;
  const auto joined = [](const Member* one) { return one->second.joined(); };
  const auto first = joined(*std::ranges::min_element(found, {}, joined));
  std::erase_if(found, [&](const Member* one) {
    return joined(one) - first > kTogether && now - joined(one) < kNewcomer;
  });
  return found;
}

void Fleet::observe_lenders(const Observation& seen) {
  for (auto& [node, lender] : lenders_)
    if (lender.is_gone(seen.now.monotonic)) leave(lender);
  for (auto& [node, lender] : lenders_) {
    if (!lender.judge()) continue;
    lender.judge()->go_on_with_weight_of(own_);
    lender.observe(seen, share_of(lender));
  }
}

void Fleet::observe(const Observation& seen) {
  const auto now = seen.now.monotonic;
  decide_first(seen);
  own_.take(seen);
  note_need(seen);
  observe_lenders(seen);
  Verdict all = own_.draft(seen);
  const std::vector<const Member*> lending = seniors(now);
  if (wants_ && !own_.has_baseline()) {
    if (!lending.empty()) {
      count_blocks(lending);
      look_ahead_beside(*find_hindrance(lending));
      all = judge_beside(lending, std::move(all), now);
    } else if (all.reason == Reason::NoBaseline) {
      all.message += asked_text();
    }
    all.lenders = statuses(now);
  }
  note_evidence(lending, all, seen);
  if (all.decision != Decision::Veto && seen.canary.cgroups != 0) spread(all);
  own_.settle(std::move(all), seen.now);
}

// A step of the weight takes blocks beside each of them.
void Fleet::count_blocks(const std::vector<const Member*>& members) {
  if (!std::ranges::all_of(members, [](const Member* one) { return one->second.has_new_block(); }))
    return;
  own_.count_answered_block();
  for (auto& [node, lender] : lenders_)
    if (lender.judge()) lender.count_blocks();
}

// That costs more than all the rest, and is told of one alone.
void Fleet::look_ahead_beside(const Member& one) {
  for (auto& [node, lender] : lenders_)
    if (lender.judge()) lender.judge()->set_looks_ahead(node == one.first);
}

bool Fleet::is_vetoed(const std::vector<const Member*>& members,
                      std::chrono::nanoseconds now) const {
  return std::ranges::all_of(members, [now](const Member* one) {
    return !one->second.is_silent(now) &&
           one->second.judge()->verdict()->decision == Decision::Veto;
  });
}

// What was shown beside one that has become silent stays shown.
bool Fleet::is_passed(const std::vector<const Member*>& members,
                      std::chrono::nanoseconds now) const {
  const auto passes = [](const Member* one) {
    return one->second.judge()->verdict()->decision == Decision::Pass;
  };
  const auto is_heard = [now](const Member* one) { return !one->second.is_silent(now); };
  return std::ranges::all_of(members, passes) && std::ranges::any_of(members, is_heard);
}

// The lender beside which the pass has the longest way to go.
const Fleet::Member* Fleet::find_hindrance(const std::vector<const Member*>& members) {
  const auto come = [](const Member* one) {
    const Verdict& verdict = *one->second.judge()->verdict();
    return verdict.decision == Decision::Pass ? kInfinite : progress(verdict);
  };
  return *std::ranges::min_element(members, {}, come);
}

Verdict Fleet::judge_beside(const std::vector<const Member*>& members, Verdict own,
                            std::chrono::nanoseconds now) const {
  const auto compare = [](const Member* one) { return one->second.judge()->log_e(); };
  const auto is_alone = [](const Member* one) { return !one->second.judge()->has_baseline(); };
  if (own.decision == Decision::Veto) return own;
  if (is_vetoed(members, now))
    return compose(members, **std::ranges::min_element(members, {}, compare), own);
  if (is_about_canary(own.reason)) return own;
  // All the traffic is the canary's, and no baseline is left anywhere.
  if (own.decision == Decision::Pass && std::ranges::all_of(members, is_alone)) return own;
  const Member& worst = *find_hindrance(members);
  Verdict all = compose(members, worst, own);
  if (is_passed(members, now)) return all;
  if (all.decision == Decision::Hold && !worst.second.is_silent(now)) return all;
  // It is worse beside this one, if not beside all, or this one is silent.
  all.decision = Decision::Hold;
  all.reason = Reason::InsufficientSamples;
  all.message = fmt::format(
      "{}{}",
      worst.second.is_silent(now)
          ? fmt::format("{} lends its baseline, and has been silent for a while", worst.first)
          : fmt::format(
                "worse than beside the baseline of {}, but not beside all: nodes may differ",
                worst.first),
      asked_text());
  return all;
}

// What is said beside one lender, with what holds for all.
Verdict Fleet::compose(const std::vector<const Member*>& members, const Member& of,
                       const Verdict& own) const {
  Verdict all = *of.second.judge()->verdict();
  all.samples.baseline = 0;
  for (const Member* one : members) {
    all.log_e = std::min(all.log_e, one->second.judge()->log_e());
    all.samples.baseline += one->second.judge()->verdict()->samples.baseline;
  }
  for (size_t i = 0; i < all.objectives.size(); ++i)
    all.objectives[i].components = own.objectives[i].components;
  all.message += fmt::format("; beside the baseline of {}{}", of.first, asked_text());
  return all;
}

std::string Fleet::asked_text() const {
  if (lenders_.empty()) return "; no other node that has some is known";
  const size_t lending = members().size();
  if (lending == 0)
    return fmt::format("; {} asked, none has lent a baseline yet", nodes_text(lenders_.size()));
  return fmt::format(", {} of {} asked lend{} one", lending, nodes_text(lenders_.size()),
                     lending == 1 ? "s" : "");
}

std::vector<LenderStatus> Fleet::statuses(std::chrono::nanoseconds now) const {
  std::vector<LenderStatus> all;
  for (const auto& [node, lender] : lenders_) {
    LenderStatus& status = all.emplace_back(node, lender.state(now));
    if (!lender.judge()) continue;
    const Verdict& verdict = *lender.judge()->verdict();
    status.samples = verdict.samples.baseline;
    status.decision = verdict.decision;
    status.log_e = verdict.log_e;
  }
  return all;
}

// ---- what other canary nodes found ----

// What could be no veto here is none elsewhere.
void Fleet::note_evidence(const std::vector<const Member*>& members, const Verdict& all,
                          const Observation& seen) {
  if (seen.canary.cgroups == 0 || all.blocks_against == 0) return;
  const bool trusted = !is_doubtful(all.reason) && all.samples.canary >= kLeastSamples &&
                       all.blocks_against >= kLeastBlocks &&
                       std::ranges::none_of(members, [](const Member* one) {
                         return is_doubtful(one->second.judge()->verdict()->reason);
                       });
  evidence_ = {.rollout = own_.verdict()->rollout,
               .log_e = trusted ? all.log_e : std::min(0.0, all.log_e),
               .samples = all.samples.canary};
}

void Fleet::spread(Verdict& all) const {
  const auto found = spread_.find(evidence_ ? evidence_->log_e : -kInfinite, all.threshold);
  if (!found) return;
  all.decision = Decision::Veto;
  all.reason = Reason::RegressedElsewhere;
  all.log_e = found->log_e;
  all.message = fmt::format(
      "worse on the rollout's {} together{}; {}", nodes_text(found->nodes),
      found->worse.empty() ? "" : fmt::format(", above all on {}", fmt::join(found->worse, ", ")),
      odds_text(found->log_e));
}

}  // namespace slogate
