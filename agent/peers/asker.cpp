// SPDX-License-Identifier: Apache-2.0
#include "agent/peers/asker.h"

#include <algorithm>

namespace slogate {
namespace {

using namespace std::chrono_literals;
using Time = Asker::Time;

// How long one that failed is left alone: twice as long with each time, half of it to one and a
// half times it at random, so that agents that lost a peer together don't come back together.
constexpr Time kShortRest = 1s, kLongRest = 5min;
// One that means something else may be waiting for its new configuration.
constexpr Time kOtherRest = 10s;
// A connection that held so long ends what was held against its peer.
constexpr Time kGood = 60s;
// A judge that has a baseline of its own again may lose it with the next look.
constexpr Time kStillWanted = 10s;
constexpr Time kIdle = 30s;
constexpr Time kForgotten = 10min;
constexpr Time kFillInterval = 1s;
// Connections of one agent, whatever its SLOs; beyond it SLOs share those that are there.
constexpr size_t kMostConnections = 128;
// Late answers of one peer; a peer that owes more is closed by its slowness.
constexpr size_t kMostAsks = 4096;
static_assert(Asker::kSlow < Asker::kSilent);

bool lists(const std::vector<Candidate>& candidates, const std::string& address) {
  return std::ranges::find(candidates, address, &Candidate::address) != candidates.end();
}

// Whether anything of the baseline runs there.
bool has_baseline(const LentAnswer& answer) {
  return std::ranges::any_of(answer.readings, [](const LentReading& reading) {
    return reading.halves[0].cgroups + reading.halves[1].cgroups > 0;
  });
}

// Why such an answer ends the asking; "" for one that lends.
std::string_view refusal_of(LentAnswer::State state) {
  switch (state) {
    case LentAnswer::State::Lends:
      return "";
    case LentAnswer::State::NoSuchSlo:
      return "it has no SLO of that name";
    case LentAnswer::State::OtherQuestion:
      return "its SLO of that name has another baseline";
  }
  return "";
}

}  // namespace

// ---- what it is told ----

void Asker::set_peers(std::vector<Candidate> peers, Time now) {
  peers_ = std::move(peers);
  drop_unlisted(now);
}

void Asker::set_candidates(std::map<std::string, Candidates> by_slo, Time now) {
  by_slo_ = std::move(by_slo);
  drop_unlisted(now);
}

Candidates Asker::candidates_of(const std::string& slo) const {
  const auto own = by_slo_.find(slo);
  Candidates all = own == by_slo_.end() ? Candidates{} : own->second;
  all.lenders.insert(all.lenders.end(), peers_.begin(), peers_.end());
  return all;
}

void Asker::drop_unlisted(Time now) {
  for (auto& [slo, one] : cases_) {
    const Candidates candidates = candidates_of(slo);
    for (auto at = one.members.begin(); at != one.members.end();) {
      const auto& list = at->second.witness ? candidates.witnesses : candidates.lenders;
      at = lists(list, at->first) ? std::next(at) : drop(one, at, "it is no longer listed");
    }
    one.next_fill = now;
  }
}

Asker::Case& Asker::case_of(const LentQuestion& question) {
  Case& one = cases_[question.slo];
  if (one.baseline.empty() || one.question.baseline != question.baseline) {
    drop_all(one, "another baseline is asked for");
    one.baseline = baseline_digest(question);
    one.resting.clear();
  }
  one.question = question;
  return one;
}

void Asker::want(const std::vector<LentQuestion>& baselines,
                 const std::vector<LentQuestion>& rollouts, Time now) {
  for (const LentQuestion& question : baselines) case_of(question).baseline_wanted = now;
  for (const LentQuestion& question : rollouts) case_of(question).evidence_wanted = now;
}

bool Asker::is_wanted(const std::optional<Time>& last, Time now) {
  return last && now - *last <= kStillWanted;
}

// All of them, or those that are witnesses or are not.
void Asker::drop_all(Case& one, const std::string& reason, std::optional<bool> witnesses) {
  for (auto at = one.members.begin(); at != one.members.end();)
    at = witnesses && at->second.witness != *witnesses ? std::next(at) : drop(one, at, reason);
}

void Asker::opened(const std::string& address, Time now) {
  Peer& peer = known_[address];
  peer.state = Peer::State::Open;
  peer.since = peer.last_used = now;
  peer.reason.clear();
  for (auto& [slo, one] : cases_)
    if (const auto at = one.members.find(address); at != one.members.end()) at->second.useful = now;
}

void Asker::closed(const std::string& address, std::string reason, Time now) {
  Peer& peer = known_[address];
  if (peer.state != Peer::State::Away) --connections_;
  if (peer.state == Peer::State::Open && now - peer.since > kGood) peer.rest.times = 0;
  peer.state = Peer::State::Away;
  peer.since = now;
  peer.asks.clear();
  drop_members(address, reason);
  peer.reason = std::move(reason);
  rest(peer.rest, kShortRest, now);
}

void Asker::is_self(const std::string& address, Time now) {
  closed(address, "", now);
  known_[address].self = true;
}

void Asker::rest(Rest& of, Time least, Time now) {
  const Time full = std::min(kLongRest, least * (1 << std::min(of.times, 10U)));
  ++of.times;
  const double share = std::uniform_real_distribution(0.5, 1.5)(random_);
  of.until = now + std::chrono::duration_cast<Time>(full * share);
}

Asker::Members::iterator Asker::drop(Case& one, Members::iterator at, const std::string& reason) {
  if (!at->second.witness) lent_.push_back({Lent::What::Dropped, one.question, at->second.name});
  if (!reason.empty()) known_[at->first].reason = reason;
  return one.members.erase(at);
}

void Asker::drop_members(const std::string& address, const std::string& reason) {
  for (auto& [slo, one] : cases_)
    if (const auto at = one.members.find(address); at != one.members.end()) drop(one, at, reason);
}

// ---- answers ----

Result<void> Asker::answered(const std::string& address, Answer answer, Time now) {
  Peer& peer = known_[address];
  if (peer.asks.erase(answer.id) == 0) return fail("it answers what it was not asked");
  peer.last_answer = now;
  for (auto& [slo, one] : cases_) {
    const auto at = one.members.find(address);
    if (at == one.members.end() || at->second.ask != answer.id) continue;
    return take_answer(one, at, std::move(answer.answer), now);
  }
  return {};  // of a lender that was dropped meanwhile
}

Result<void> Asker::take_answer(Case& one, Members::iterator at, LentAnswer answer, Time now) {
  Member& member = at->second;
  member.ask = 0;
  const uint64_t cursor = member.cursor;
  const bool first = cursor == 0;
  if (!answer.readings.empty()) {
    if (answer.readings.front().number <= cursor) return fail("it repeats readings");
    member.cursor = answer.readings.back().number;
  }
  // The judge would have to hold for as long as it remembers the gap.
  const bool fell_behind =
      !first && !answer.readings.empty() && answer.readings.front().number > cursor + 1;
  if (member.witness || has_baseline(answer)) member.useful = now;
  if (member.witness) {
    // Where nothing was judged yet there is nothing to say, and soon may be.
    answer.readings.clear();
    if (answer.evidence)
      lent_.push_back({Lent::What::Answered, one.question, member.name, std::move(answer)});
    return {};
  }
  const std::string_view refusal = refusal_of(answer.state);
  member.lends = refusal.empty();
  lent_.push_back({Lent::What::Answered, one.question, member.name, std::move(answer)});
  if (!refusal.empty()) {
    refused(one, at, refusal, now);
  } else if (fell_behind) {
    rest(one.resting[at->first], kShortRest, now);
    drop(one, at, "readings of it were lost");
  }
  return {};
}

// The judge goes on showing some of those, as people look for the reason why nobody lends.
void Asker::refused(Case& one, Members::iterator at, std::string_view reason, Time now) {
  Rest& resting = one.resting[at->first];
  rest(resting, kOtherRest, now);
  known_[at->first].reason = reason;
  const auto shown = std::ranges::count_if(
      one.resting, [](const auto& entry) { return !entry.second.shown.empty(); });
  if (static_cast<size_t>(shown) >= lenders_) {
    drop(one, at, "");
    return;
  }
  resting.shown = at->second.name;
  one.members.erase(at);
}

void Asker::forget_refusals(Case& one, Time now) {
  for (auto& [address, resting] : one.resting)
    if (!resting.shown.empty() && now >= resting.until)
      lent_.push_back({Lent::What::Dropped, one.question, std::exchange(resting.shown, "")});
}

// ---- what is to be done ----

Asker::Work Asker::step(Time now) {
  Work work;
  for (auto at = cases_.begin(); at != cases_.end();) {
    Case& one = at->second;
    const bool baseline = is_wanted(one.baseline_wanted, now);
    const bool evidence = is_wanted(one.evidence_wanted, now);
    if (!baseline) drop_all(one, "", false);
    if (!evidence) drop_all(one, "", true);
    drop_useless(one, now);
    forget_refusals(one, now);
    fill(one, now);
    at = baseline || evidence ? std::next(at) : cases_.erase(at);
  }
  connect(work, now);
  for (auto& [slo, one] : cases_) ask(one, work, now);
  return work;
}

void Asker::drop_useless(Case& one, Time now) {
  std::vector<std::string> slow;
  for (auto at = one.members.begin(); at != one.members.end();) {
    const auto& [address, member] = *at;
    const bool open = known_[address].state == Peer::State::Open;
    if (open && member.ask != 0 && now - member.asked > kSlow) slow.push_back(address);
    if (open && now - member.joined > kGood) one.resting.erase(address);
    if (!open || now - member.useful <= kSilent) {
      ++at;
      continue;
    }
    rest(one.resting[address], kShortRest, now);
    at = drop(one, at, "nothing of the baseline was read there for 3 s");
  }
  // Answers come in the order of the asks, so it is slow for every SLO.
  for (const std::string& address : slow) hang_up(address, "it has not answered for 2 s", now);
}

void Asker::hang_up(const std::string& address, const std::string& reason, Time now) {
  Peer& peer = known_[address];
  drop_members(address, reason);
  peer.reason = reason;
  peer.hang_up = true;
  rest(peer.rest, kShortRest, now);
}

void Asker::fill(Case& one, Time now) {
  if (now < one.next_fill) return;
  one.next_fill = now + kFillInterval;
  const Candidates candidates = candidates_of(one.question.slo);
  if (is_wanted(one.baseline_wanted, now)) fill_lenders(one, candidates.lenders, now);
  if (!is_wanted(one.evidence_wanted, now)) return;
  auto witnesses =
      std::ranges::count_if(one.members, [](const auto& entry) { return entry.second.witness; });
  for (const Candidate& witness : candidates.witnesses)
    if (static_cast<size_t>(witnesses) < kWitnesses && may_join(one, witness, now)) {
      join(one, witness, true, now);
      ++witnesses;
    }
}

void Asker::fill_lenders(Case& one, const std::vector<Candidate>& candidates, Time now) {
  auto lenders = static_cast<size_t>(
      std::ranges::count_if(one.members, [](const auto& entry) { return !entry.second.witness; }));
  if (lenders >= lenders_) return;
  std::vector<const Candidate*> free;
  for (const Candidate& candidate : candidates) {
    // One that is asked for its evidence may become a lender, and says both.
    const auto at = one.members.find(candidate.address);
    const bool witness = at != one.members.end() && at->second.witness;
    if (witness || may_join(one, candidate, now)) free.push_back(&candidate);
  }
  for (; lenders < lenders_ && !free.empty(); ++lenders) {
    const size_t chosen = std::uniform_int_distribution<size_t>(0, free.size() - 1)(random_);
    join(one, *free[chosen], false, now);
    std::swap(free[chosen], free.back());
    free.pop_back();
  }
}

bool Asker::may_join(const Case& one, const Candidate& candidate, Time now) const {
  if (one.members.contains(candidate.address)) return false;
  if (const auto rest = one.resting.find(candidate.address);
      rest != one.resting.end() && now < rest->second.until)
    return false;
  const auto known = known_.find(candidate.address);
  const bool away = known == known_.end() || known->second.state == Peer::State::Away;
  if (away && connections_ >= kMostConnections) return false;
  if (known == known_.end()) return true;
  return !known->second.self && now >= known->second.rest.until;
}

void Asker::join(Case& one, const Candidate& candidate, bool witness, Time now) {
  Peer& peer = known_[candidate.address];
  peer.name = candidate.name;
  peer.last_used = now;
  one.members[candidate.address] = {
      .name = candidate.name, .witness = witness, .joined = now, .useful = now};
  if (!witness) lent_.push_back({Lent::What::Asked, one.question, candidate.name});
}

void Asker::connect(Work& work, Time now) {
  std::set<std::string_view> used;
  for (const auto& [slo, one] : cases_)
    for (const auto& [address, member] : one.members) used.insert(address);
  for (auto at = known_.begin(); at != known_.end();) {
    auto& [address, peer] = *at;
    const bool needed = used.contains(address);
    const bool away = peer.state == Peer::State::Away;
    if (needed) peer.last_used = now;
    if (needed && away && connections_ < kMostConnections) {
      peer.state = Peer::State::Connecting;
      peer.since = now;
      ++connections_;
      work.connect.push_back(address);
    }
    if (!away && (peer.hang_up || (!needed && now - peer.last_used > kIdle))) {
      peer.state = Peer::State::Away;
      peer.since = now;
      peer.asks.clear();
      --connections_;
      work.disconnect.push_back(address);
    }
    peer.hang_up = false;
    const bool forgotten = away && !needed && !peer.self && now - peer.last_used > kForgotten;
    at = forgotten ? known_.erase(at) : std::next(at);
  }
}

void Asker::ask(Case& one, Work& work, Time now) {
  // Called at every interval, which a busy machine stretches: never wait for a whole one more.
  constexpr auto nearly = kAskInterval * 3 / 4;
  for (auto& [address, member] : one.members) {
    Peer& peer = known_[address];
    if (peer.state != Peer::State::Open || member.ask != 0 || now - member.asked < nearly ||
        peer.asks.size() >= kMostAsks)
      continue;
    member.ask = ++next_ask_;
    member.asked = now;
    peer.asks.insert(member.ask);
    work.asks[address].push_back({.id = member.ask,
                                  .slo = one.question.slo,
                                  .baseline = one.baseline,
                                  .rollout = one.question.rollout,
                                  .cursor = member.witness ? kNoReadings : member.cursor});
  }
}

std::string Asker::state_of(const Peer& peer, Time now) {
  if (peer.self) return "self";
  if (peer.state == Peer::State::Open) return "open";
  if (peer.state == Peer::State::Connecting) return "connecting";
  return now < peer.rest.until ? "resting" : "away";
}

std::vector<PeerStatus> Asker::status(Time now) const {
  std::map<std::string_view, std::vector<std::string>> lends;
  for (const auto& [slo, one] : cases_)
    for (const auto& [address, member] : one.members)
      if (member.lends) lends[address].push_back(slo);
  std::vector<PeerStatus> all;
  for (const auto& [address, peer] : known_) {
    PeerStatus status{
        .address = address, .name = peer.name, .state = state_of(peer, now), .reason = peer.reason};
    if (const auto at = lends.find(address); at != lends.end()) status.lends = at->second;
    if (peer.last_answer != Time{0}) status.age = now - peer.last_answer;
    all.push_back(std::move(status));
  }
  return all;
}

}  // namespace slogate
