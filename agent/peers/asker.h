// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "agent/peers/status.h"
#include "agent/peers/wire.h"

namespace slogate {

// Where an agent listens, and what people call it.
struct Candidate {
  std::string address;  // "10.0.0.7:9938"
  std::string name;     // of its node; the address where it has none

  auto operator<=>(const Candidate&) const = default;
};

// Whom to ask for one SLO: those on whose nodes the baseline runs, of which some are chosen, and
// those with canaries of the same rollout, which are asked for their evidence.
struct Candidates {
  std::vector<Candidate> lenders, witnesses;

  bool operator==(const Candidates&) const = default;
};

// What comes of asking, for the judge.
struct Lent {
  enum class What { Asked, Answered, Dropped };
  What what = What::Asked;
  LentQuestion question;
  std::string lender;      // the candidate's name
  LentAnswer answer = {};  // where it answered
};

// Whom to ask, when, and whom no longer: a state machine that knows sockets, time and chance only
// by what it is told. Nothing a peer does makes anything worse than its being dropped: an SLO
// without lenders holds.
class Asker {
 public:
  using Time = std::chrono::nanoseconds;  // of CLOCK_MONOTONIC
  // How many of an SLO's candidates are asked, at most.
  static constexpr size_t kLenders = 8, kMostLenders = 64;
  // Of the nodes with canaries; their evidence is one number each.
  static constexpr size_t kWitnesses = 32;
  static constexpr auto kAskInterval = std::chrono::milliseconds{250};
  // How long an answer may take, and a lender have nothing new.
  static constexpr auto kSlow = std::chrono::seconds{2}, kSilent = std::chrono::seconds{3};

  explicit Asker(uint64_t seed) : random_(seed) {}

  void set_lenders(size_t most) { lenders_ = most; }
  // Whom to ask for every SLO, of the configuration, and for some of them.
  void set_peers(std::vector<Candidate> peers, Time now);
  void set_candidates(std::map<std::string, Candidates> by_slo, Time now);
  // What the judge wants to know now: of whose baselines, and of which rollouts the evidence. What
  // it stops wanting is asked for a while longer, as it may want it again at the next look.
  void want(const std::vector<LentQuestion>& baselines, const std::vector<LentQuestion>& rollouts,
            Time now);

  // What became of connections and asks.
  void opened(const std::string& address, Time now);
  void closed(const std::string& address, std::string reason, Time now);
  void is_self(const std::string& address, Time now);
  // An error for an answer that nobody asked for: then the peer is to be closed.
  Result<void> answered(const std::string& address, Answer answer, Time now);

  // What is to be done now; to be called every kAskInterval.
  struct Work {
    std::vector<std::string> connect, disconnect;
    std::map<std::string, std::vector<Ask>> asks;  // by address
  };
  [[nodiscard]] Work step(Time now);

  // What came since the last call.
  [[nodiscard]] std::vector<Lent> take() { return std::exchange(lent_, {}); }
  // Of those that were ever chosen.
  [[nodiscard]] std::vector<PeerStatus> status(Time now) const;

 private:
  // Not to be asked before `until`; longer with each time.
  struct Rest {
    unsigned times = 0;
    Time until{0};
    std::string shown = {};  // by this name the judge shows until then that it refused
  };
  struct Peer {
    enum class State { Away, Connecting, Open };
    State state = State::Away;
    std::string name;
    Time since{0};      // of the state
    Time last_used{0};  // when a case last needed it
    Time last_answer{0};
    Rest rest;
    bool self = false, hang_up = false;
    std::string reason;
    // Of those that were dropped an answer may still come.
    std::set<uint64_t> asks;
  };
  struct Member {
    std::string name;
    bool witness = false;  // asked for its evidence alone
    uint64_t cursor = 0;
    uint64_t ask = 0;  // the one that is open; 0 for none
    Time asked{0}, joined{0}, useful{0};
    bool lends = false;
  };
  using Members = std::map<std::string, Member>;  // by address
  struct Case {
    LentQuestion question;
    std::string baseline;  // baseline_digest()
    // When they were last wanted; nothing for never.
    std::optional<Time> baseline_wanted, evidence_wanted;
    Time next_fill{0};
    Members members;
    std::map<std::string, Rest> resting;
  };

  [[nodiscard]] static std::string state_of(const Peer& peer, Time now);
  [[nodiscard]] Candidates candidates_of(const std::string& slo) const;
  void drop_unlisted(Time now);
  void rest(Rest& of, Time least, Time now);
  Members::iterator drop(Case& one, Members::iterator at, const std::string& reason);
  void drop_members(const std::string& address, const std::string& reason);
  void drop_useless(Case& one, Time now);
  void hang_up(const std::string& address, const std::string& reason, Time now);
  Case& case_of(const LentQuestion& question);
  static bool is_wanted(const std::optional<Time>& last, Time now);
  void drop_all(Case& one, const std::string& reason, std::optional<bool> witnesses = {});
  void refused(Case& one, Members::iterator at, std::string_view reason, Time now);
  void fill(Case& one, Time now);
  void fill_lenders(Case& one, const std::vector<Candidate>& candidates, Time now);
  void forget_refusals(Case& one, Time now);
  [[nodiscard]] bool may_join(const Case& one, const Candidate& candidate, Time now) const;
  void join(Case& one, const Candidate& candidate, bool witness, Time now);
  void ask(Case& one, Work& work, Time now);
  void connect(Work& work, Time now);
  Result<void> take_answer(Case& one, Members::iterator at, LentAnswer answer, Time now);

  std::mt19937_64 random_;
  size_t lenders_ = kLenders;
  std::vector<Candidate> peers_;
  std::map<std::string, Candidates> by_slo_;
  std::map<std::string, Peer> known_;  // by address; those that were ever chosen
  std::map<std::string, Case> cases_;  // by SLO
  size_t connections_ = 0;             // peers that are not away
  uint64_t next_ask_ = 0;
  std::vector<Lent> lent_;
};

}  // namespace slogate
