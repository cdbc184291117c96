// SPDX-License-Identifier: Apache-2.0
#include "agent/enforce/breaker.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "agent/base/figures.h"
#include "agent/base/log.h"

namespace slogate {
namespace {

std::string why_shared(uint64_t number, uint64_t own, const std::set<uint64_t>& of_others) {
  if (number == own) return "is in the network namespace of the node, which is never refused";
  if (of_others.contains(number)) return "shares its network namespace with the baseline";
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
  if (lists == lists_) return;
  std::set<Exempt> exempt;
  for (const auto& [list, ranges] : lists)
    for (const AddressRange& range : ranges) exempt.emplace(list, range);
  const auto done = gates_.set_exempt(exempt);
  if (done) lists_ = std::move(lists);
  log_change("breaker: exempt addresses", done ? "" : done.error().line());
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

void Breaker::look(const std::vector<BreakerWish>& wishes, TickTime now) {
  std::set<std::string_view> asked;
  for (const BreakerWish& wish : wishes) {
    asked.insert(wish.slo);
    Case& one = cases_[wish.slo];
    one.status.slo = wish.slo;
    if (wish.exempt.empty())
      one.list = 0;
    else if (one.list == 0)
      one.list = ++last_list_;
  }
  // Before anything is refused.
  keep_lists(wishes);
  for (auto one = cases_.begin(); one != cases_.end();) {
    if (asked.contains(one->first)) {
      ++one;
      continue;
    }
    while (!one->second.gates.empty()) stop(one->second, one->second.gates.begin()->first);
    if (one->second.status.open) say(one->second, false, now);
    one = cases_.erase(one);
  }
  for (const BreakerWish& wish : wishes) follow(cases_.at(wish.slo), wish, now);
}

std::map<uint64_t, std::string> Breaker::place(const BreakerWish& wish, bool wanted,
                                               std::string& note) const {
  std::set<uint64_t> of_others;
  for (const uint64_t cgroup : wish.others)
    if (const uint64_t number = namespaces_.of(cgroup); number != 0) of_others.insert(number);
  std::map<uint64_t, std::string> places;
  for (const BreakerTarget& target : wish.canary) {
    const uint64_t number = namespaces_.of(target.cgroup);
    if (number == 0 && !(wanted && target.chosen)) continue;
    const std::string why = number == 0 ? "has had no connection that tells its network namespace"
                                        : why_shared(number, own_netns_, of_others);
    if (!why.empty() && note.empty()) note = fmt::format("{} {}", target.name, why);
    if (why.empty() && wanted && target.chosen) places.emplace(number, target.name);
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
  one.rollout = wish.said.rollout;
  one.max = wish.said.max;
  BreakerStatus& status = one.status;
  const bool wanted = one.term.look(wish.said, now);
  status.note = one.term.why();
  const auto places = place(wish, wanted, status.note);
  if (status.note.empty() && wanted) status.note = wish.spared;
  status.by_hand = one.term.is_by_hand();
  status.dry_run = wish.dry_run;
  open_gates(one, wish, places);
  const bool open = !one.gates.empty();
  if (open)
    status.until = now.system + std::chrono::duration_cast<std::chrono::system_clock::duration>(
                                    *one.term.until() - now.monotonic);
  if (open != status.open) say(one, open, now);
}

void Breaker::open_gates(Case& one, const BreakerWish& wish,
                         const std::map<uint64_t, std::string>& places) {
  for (auto gate = one.gates.begin(); gate != one.gates.end();) {
    const uint64_t number = (gate++)->first;
    if (!places.contains(number)) stop(one, number);
  }
  one.status.targets.clear();
  const GateRule rule{.ports = wish.ports, .list = one.list, .dry_run = wish.dry_run};
  for (const auto& [number, name] : places) {
    const auto known = one.gates.find(number);
    if (known == one.gates.end() || known->second != rule) {
      auto netns = open_netns(options_.directories, number);
      Result<void> done =
          netns ? gates_.refuse(number, netns->get(), wish.slo, rule) : fail(netns.error());
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
    status.since = now.system;
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
  found->second.term.open_by_hand(now, found->second.max);
  return {};
}

Result<void> Breaker::close(std::string_view slo) {
  const auto found = cases_.find(slo);
  if (found == cases_.end())
    return fail(fmt::format("SLO {} enforces nothing", slo), "docs/enforcement.md says how it may");
  found->second.term.close_by_hand();
  return {};
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
