// SPDX-License-Identifier: Apache-2.0
#include "agent/enforce/breaker.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <iterator>

#include "agent/base/figures.h"
#include "agent/base/log.h"

namespace slogate {
namespace {

// Of SLOs that are gone: more than a node has.
constexpr size_t kMostTerms = 1000;

std::string why_shared(uint64_t number, uint64_t own, const std::set<uint64_t>& of_others) {
  if (number == own) return "is in the network namespace of the node, which is never refused";
  if (of_others.contains(number)) return "shares its network namespace with the baseline";
  if (of_others.contains(0)) return "is not refused: where the baseline is is not known yet";
  return "";
}

// The first few, for a sentence.
std::string names_of(const std::vector<std::string>& names) {
  constexpr size_t most = 3;
  const size_t shown = std::min(names.size(), most);
  std::string text = fmt::format(
      "{}", fmt::join(names.begin(), std::next(names.begin(), static_cast<long>(shown)), ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

}  // namespace

Breaker::Breaker(Options options, Namespaces namespaces, Gates gates)
    : options_(std::move(options)),
      own_netns_(own_netns()),
      namespaces_(std::move(namespaces)),
      gates_(std::move(gates)) {}

Result<std::unique_ptr<Breaker>> Breaker::make(Options options) {
  if (!is_in_nodes_netns())
    return fail("the agent is not in the network namespace of the node, and cannot tell it apart",
                "run it there: hostNetwork: true");
  if (own_netns() == 0)
    return fail("the network namespace of the node, which must not be refused, is not known",
                "it is read from /proc/self/ns/net");
  auto namespaces = Namespaces::attach(options.sockets);
  if (!namespaces) return fail(namespaces.error());
  auto gates = Gates::load();
  if (!gates) return fail(gates.error());
  return std::unique_ptr<Breaker>(
      new Breaker(std::move(options), std::move(*namespaces), std::move(*gates)));
}

void Breaker::set_node_addresses(const std::vector<slogate_address>& addresses) {
  if (addresses.empty()) return;
  node_.clear();
  for (const slogate_address& one : addresses) {
    AddressRange& range = node_.emplace_back();
    std::ranges::copy(one.bytes, range.address.begin());
  }
}

// A node may have thousands, and they hardly ever change.
void Breaker::keep_lists(const std::vector<BreakerWish>& wishes) {
  std::map<uint32_t, std::vector<AddressRange>> lists = {{0, node_}};
  lists[0].insert(lists[0].end(), options_.exempt.begin(), options_.exempt.end());
  for (const BreakerWish& wish : wishes)
    if (!wish.exempt.empty()) lists[cases_.at(wish.slo).list] = wish.exempt;
  if (lists == lists_ && exempt_problem_.empty()) return;
  std::set<Exempt> exempt;
  for (const auto& [list, ranges] : lists)
    for (const AddressRange& range : ranges) exempt.emplace(list, range);
  const auto done = gates_.set_exempt(exempt);
  if (done) lists_ = std::move(lists);
  exempt_problem_ = done ? "" : done.error().line();
  log_change("breaker: exempt addresses", exempt_problem_);
}

void Breaker::learn(const std::vector<BreakerWish>& wishes, TickTime now) {
  std::set<uint64_t> asked;
  for (const BreakerWish& wish : wishes) {
    for (const BreakerTarget& one : wish.canary) asked.insert(one.cgroup);
    asked.insert(wish.others.begin(), wish.others.end());
  }
  auto done = namespaces_.ask(asked);
  const auto looked = namespaces_.look(now.monotonic);
  if (done) done = looked;
  log_change("breaker: network namespaces", done ? "" : done.error().line());
}

// An SLO that enforces nothing for a moment, as by a change of the configuration that is taken
// back, has had its time in this rollout all the same.
void Breaker::forget(const std::vector<BreakerWish>& wishes, TickTime now) {
  std::set<std::string_view> asked;
  for (const BreakerWish& wish : wishes) asked.insert(wish.slo);
  for (auto one = cases_.begin(); one != cases_.end();) {
    if (asked.contains(one->first)) {
      ++one;
      continue;
    }
    while (!one->second.gates.empty()) stop(one->second, one->second.gates.begin()->first);
    one->second.status.note = "its SLO enforces nothing any more";
    if (one->second.status.open) say(one->second, false, now);
    if (terms_.size() < kMostTerms) terms_.insert_or_assign(one->first, one->second.term);
    one = cases_.erase(one);
  }
}

void Breaker::look(const std::vector<BreakerWish>& wishes, TickTime now) {
  forget(wishes, now);
  for (const BreakerWish& wish : wishes) {
    const bool is_new = !cases_.contains(wish.slo);
    Case& one = cases_[wish.slo];
    if (is_new)
      if (const auto term = terms_.extract(wish.slo)) one.term = term.mapped();
    one.status.slo = wish.slo;
    if (wish.exempt.empty())
      one.list = 0;
    else if (one.list == 0)
      one.list = ++last_list_;
  }
  // Before anything is refused.
  keep_lists(wishes);
  for (const BreakerWish& wish : wishes) follow(cases_.at(wish.slo), wish, now);
}

// Numbers of namespaces are given again, the lowest first: what a cgroup that is gone had may be
// somebody else's by now.
bool Breaker::is_there(const BreakerTarget& target) const {
  struct stat status {};
  return ::stat((options_.cgroup_root + target.path).c_str(), &status) == 0 &&
         status.st_ino == target.cgroup;
}

std::string Breaker::why_not(const Case& one, const BreakerWish& wish, const BreakerTarget& target,
                             uint64_t number, const std::set<uint64_t>& of_others) const {
  if (number == 0) return "has had no connection that tells its network namespace";
  if (std::string why = why_shared(number, own_netns_, of_others); !why.empty()) return why;
  if (wish.spares_newcomers && one.accused && !one.accused->contains(target.cgroup))
    return "came after the veto, and is not refused";
  return "";
}

std::map<uint64_t, std::string> Breaker::place(const Case& one, const BreakerWish& wish,
                                               bool wanted, std::string& note) const {
  std::set<uint64_t> of_others;
  for (const uint64_t cgroup : wish.others)
    if (const uint64_t number = namespaces_.of(cgroup); number != 0 || !wish.apart)
      of_others.insert(number);
  if (!wanted) of_others.erase(0);
  std::map<uint64_t, std::string> places;
  for (const BreakerTarget& target : wish.canary) {
    const uint64_t number = namespaces_.of(target.cgroup);
    if (number == 0 && !(wanted && target.chosen)) continue;
    const std::string why = why_not(one, wish, target, number, of_others);
    if (!why.empty() && note.empty()) note = fmt::format("{} {}", target.name, why);
    if (why.empty() && wanted && target.chosen && is_there(target))
      places.emplace(number, target.name);
  }
  return places;
}

void Breaker::follow(Case& one, const BreakerWish& wish, TickTime now) {
  // What another rollout was refused for says nothing of this one.
  if (one.status.open && one.rollout != wish.said.rollout) {
    while (!one.gates.empty()) stop(one, one.gates.begin()->first);
    one.status.note = "another rollout begins";
    say(one, false, now);
  }
  if (one.rollout != wish.said.rollout) one.accused.reset();
  one.rollout = wish.said.rollout;
  one.max = wish.said.max;
  BreakerStatus& status = one.status;
  BreakerCase said = wish.said;
  if (!exempt_problem_.empty())
    said.must_close = exempt_problem_;
  else if (node_.empty())
    said.must_close = "the node's addresses, which are never refused, are not known";
  const bool wanted = one.term.look(said, now);
  if (!wanted && !said.vetoed) {
    one.accused.reset();
  } else if (!one.accused) {
    one.accused.emplace();
    for (const BreakerTarget& target : wish.canary) one.accused->insert(target.cgroup);
  }
  status.note = one.term.why();
  const auto places = place(one, wish, wanted, status.note);
  if (status.note.empty() && wanted) status.note = wish.spared;
  if (status.note.empty() && !places.empty()) status.note = wish.hint;
  status.by_hand = one.term.is_by_hand();
  const bool was_dry = std::exchange(status.dry_run, wish.dry_run);
  const std::vector<std::string> before = status.targets;
  open_gates(one, wish, places, now);
  const bool open = !one.gates.empty();
  if (open)
    status.until = now.system + std::chrono::duration_cast<std::chrono::system_clock::duration>(
                                    *one.term.until() - now.monotonic);
  const bool changed = open && (was_dry != status.dry_run || before != status.targets);
  if (open != status.open || changed) say(one, open, now);
}

void Breaker::open_gates(Case& one, const BreakerWish& wish,
                         const std::map<uint64_t, std::string>& places, TickTime now) {
  for (auto gate = one.gates.begin(); gate != one.gates.end();) {
    const uint64_t number = (gate++)->first;
    if (!places.contains(number)) stop(one, number);
  }
  one.status.targets.clear();
  const GateRule rule{.ports = wish.ports, .list = one.list, .dry_run = wish.dry_run};
  const std::chrono::nanoseconds until =
      std::min(one.term.until().value_or(now.monotonic), now.monotonic + kRuleLife);
  for (const auto& [number, name] : places) {
    gates_.renew(number, wish.slo, until);
    const auto known = one.gates.find(number);
    if (known == one.gates.end() || known->second != rule) {
      auto netns = open_netns(options_.directories, number);
      Result<void> done =
          netns ? gates_.refuse(number, netns->get(), wish.slo, rule, until) : fail(netns.error());
      if (!done) {
        one.status.note = fmt::format("{}: {}", name, done.error().line());
        if (known != one.gates.end()) stop(one, number);
        continue;
      }
      one.gates[number] = rule;
    }
    one.status.targets.push_back(name);
  }
}

void Breaker::stop(Case& one, uint64_t number) {
  one.closed += gates_.stop(number, one.status.slo);
  one.gates.erase(number);
}

void Breaker::say(Case& one, bool open, TickTime now) {
  BreakerStatus& status = one.status;
  BreakerChange change{
      .time = now.system, .slo = status.slo, .rollout = one.rollout, .open = open, .message = {}};
  if (open) {
    if (!status.open) status.since = now.system;
    change.message = fmt::format("new connections to {} {} for {}, {}", names_of(status.targets),
                                 status.dry_run ? "would be refused" : "are refused",
                                 about_text(seconds(*one.term.until() - now.monotonic)),
                                 status.by_hand ? "by hand" : "as it is vetoed");
  } else {
    change.message = fmt::format("new connections are accepted again{}{}",
                                 status.note.empty() ? "" : ": ", status.note);
    status.since.reset();
    status.until.reset();
    status.targets.clear();
  }
  status.open = open;
  log_line(fmt::format("{}: breaker: {}", status.slo, change.message));
  changes_.push_back(std::move(change));
}

Result<void> Breaker::open(std::string_view slo, TickTime now) {
  const auto found = cases_.find(slo);
  if (found == cases_.end())
    return fail(fmt::format("SLO {} enforces nothing", slo), "docs/enforcement.md says how it may");
  found->second.before_hand = found->second.term;
  found->second.term.open_by_hand(now, found->second.max);
  return {};
}

void Breaker::undo_open(std::string_view slo) {
  const auto found = cases_.find(slo);
  if (found != cases_.end()) found->second.term = found->second.before_hand;
}

Result<void> Breaker::close(std::string_view slo) {
  const auto found = cases_.find(slo);
  if (found == cases_.end())
    return fail(fmt::format("SLO {} enforces nothing", slo), "docs/enforcement.md says how it may");
  found->second.term.close_by_hand();
  return {};
}

std::vector<ClosedByHand> Breaker::closed_by_hand() const {
  std::map<std::string_view, std::string> closed;
  const auto add = [&closed](const std::string& slo, const BreakerTerm& term) {
    if (term.is_closed_by_hand()) closed.emplace(slo, term.rollout());
  };
  for (const auto& [slo, one] : cases_) add(slo, one.term);
  for (const auto& [slo, term] : terms_) add(slo, term);
  std::vector<ClosedByHand> list;
  for (const auto& [slo, rollout] : closed) list.push_back({std::string(slo), rollout});
  return list;
}

void Breaker::restore(const std::vector<ClosedByHand>& closed) {
  for (const ClosedByHand& one : closed)
    if (terms_.size() < kMostTerms && !cases_.contains(one.slo))
      terms_.emplace(one.slo, BreakerTerm::closed_by_hand(one.rollout));
}

std::shared_ptr<const Breakers> Breaker::status() const {
  auto all = std::make_shared<Breakers>();
  for (const auto& [slo, one] : cases_) {
    BreakerStatus& status = all->list.emplace_back(one.status);
    status.counts = one.closed;
    for (const auto& [number, rule] : one.gates) status.counts += gates_.counts(number, slo);
  }
  return all;
}

}  // namespace slogate
