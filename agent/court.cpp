// SPDX-License-Identifier: Apache-2.0
#include "agent/court.h"

#include <fmt/chrono.h>

#include <algorithm>

namespace slogate {
namespace {

// A rollout of cgroups has no name of its own: when it began tells it from others.
std::string rollout_name(TickTime now) {
  return fmt::format("{:%FT%T}Z", std::chrono::floor<std::chrono::milliseconds>(now.system));
}

std::vector<std::string> names_of(const std::vector<Claim>& claims) {
  std::vector<std::string> names;
  names.reserve(claims.size());
  for (const Claim& claim : claims) names.push_back(claim.name);
  return names;
}

std::string text_of(const std::optional<Selector>& selector) {
  return selector ? selector_text(*selector) : "";
}

bool same_question(const Slo& a, const Slo& b) {
  return text_of(a.baseline) == text_of(b.baseline) && a.alpha == b.alpha && a.warmup == b.warmup &&
         a.port == b.port && a.objectives == b.objectives;
}

bool same_canary(const Slo& a, const Slo& b) {
  return a.name == b.name && selector_text(a.canary) == selector_text(b.canary);
}

std::vector<std::string> notes_of(const Slo& slo) {
  std::vector<std::string> notes;
  if (slo.container) notes.push_back("containers are not told apart yet: name their cgroups");
  if (std::holds_alternative<PodSelector>(slo.canary) ||
      (slo.baseline && std::holds_alternative<PodSelector>(*slo.baseline)))
    notes.push_back("pods cannot be selected yet: select their cgroups");
  return notes;
}

}  // namespace

void Court::set_slos(const std::vector<Slo>& slos, TickTime now) {
  std::vector<std::unique_ptr<Case>> before = std::exchange(cases_, {});
  for (const Slo& slo : slos) {
    const auto old = std::ranges::find_if(
        before, [&](const auto& one) { return one && same_canary(one->slo, slo); });
    if (old != before.end() && same_question((*old)->slo, slo)) {
      cases_.push_back(std::move(*old));
      continue;
    }
    auto& fresh = cases_.emplace_back(std::make_unique<Case>(slo, rollout_name(now), now));
    // A bound that is loosened does not lift a veto: reset() does.
    if (old != before.end())
      if (const auto verdict = (*old)->judge.verdict(); verdict->decision == Decision::Veto) {
        fresh->judge.restore(*verdict);
        fresh->had_canary = true;
      }
    note(*fresh, now);
  }
}

size_t Court::restore(const std::vector<LatchedVeto>& vetoes) {
  size_t restored = 0;
  for (const LatchedVeto& veto : vetoes)
    for (const auto& one : cases_)
      if (one->slo.name == veto.verdict.slo && selector_text(one->slo.canary) == veto.canary) {
        one->judge.restore(veto.verdict);
        one->rollout = veto.verdict.rollout;
        one->decision = kDecisions[static_cast<size_t>(Decision::Veto)];
        one->had_canary = true;
        ++restored;
      }
  // That they began was said when they did.
  std::erase_if(changes_, [&](const VerdictChange& change) {
    return std::ranges::any_of(
        vetoes, [&](const LatchedVeto& veto) { return veto.verdict.slo == change.now->slo; });
  });
  return restored;
}

void Court::tick(const std::vector<Workload>& workloads, TickTime now) {
  if (cases_.empty()) return;
  CgroupCounts counts;
  for (const Workload& workload : workloads) {
    ServiceCounts& of = counts[workload.id];
    of.all = workload.service;
    for (const PortShare& share : workload.ports) of.ports.emplace(share.port, share.counts);
  }
  for (const auto& one : cases_) {
    one->arms.look(workloads, now);
    observe(*one, counts, now);
  }
}

void Court::read(const CgroupCounts& counts, TickTime now) {
  for (const auto& one : cases_) observe(*one, counts, now);
}

void Court::observe(Case& one, const CgroupCounts& counts, TickTime now) {
  const Observation seen = one.arms.read(counts, now);
  one.judge.observe(seen);
  end_empty(one, seen.canary.cgroups, now);
  note(one, now);
}

void Court::end_empty(Case& one, size_t canary_cgroups, TickTime now) {
  if (canary_cgroups > 0) {
    one.empty_since.reset();
    one.had_canary = true;
    return;
  }
  if (!one.empty_since) one.empty_since = now.monotonic;
  if (!one.had_canary || now.monotonic - *one.empty_since < kRolloutEnds) return;
  one.had_canary = false;
  one.judge.reset(rollout_name(now), now);
}

void Court::note(Case& one, TickTime now) {
  const auto verdict = one.judge.verdict();
  const std::string decision(kDecisions[static_cast<size_t>(verdict->decision)]);
  const bool began = one.rollout != verdict->rollout;
  if (!began && decision == one.decision) return;
  changes_.push_back({now.system, began ? "" : one.decision, verdict});
  one.decision = decision;
  one.rollout = verdict->rollout;
}

std::unordered_set<uint64_t> Court::cgroups() const {
  std::unordered_set<uint64_t> ids;
  for (const auto& one : cases_)
    for (const uint64_t id : one->arms.cgroups()) ids.insert(id);
  return ids;
}

Result<void> Court::reset(std::string_view slo, TickTime now) {
  for (const auto& one : cases_) {
    if (one->slo.name != slo) continue;
    one->judge.reset(rollout_name(now), now);
    note(*one, now);
    return {};
  }
  return fail(fmt::format("no SLO is named {}", slo), "slogate slos lists them");
}

std::shared_ptr<const Verdicts> Court::verdicts() const {
  auto all = std::make_shared<Verdicts>();
  for (const auto& one : cases_) {
    all->slos.push_back({.slo = one->slo,
                         .objectives = names_of(one->judge.claims()),
                         .canary = one->arms.canary(),
                         .baseline = one->arms.baseline(),
                         .notes = notes_of(one->slo)});
    all->list.push_back(one->judge.verdict());
  }
  return all;
}

std::vector<LatchedVeto> Court::vetoes() const {
  std::vector<LatchedVeto> vetoes;
  for (const auto& one : cases_)
    if (const auto verdict = one->judge.verdict(); verdict->decision == Decision::Veto)
      vetoes.push_back({selector_text(one->slo.canary), *verdict});
  return vetoes;
}

}  // namespace slogate
