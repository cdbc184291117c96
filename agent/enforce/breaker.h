// SPDX-License-Identifier: Apache-2.0
// The breaker: opens and closes gates as the SLOs ask for it.
#pragma once

#include <linux/types.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/enforce/breaker_term.h"
#include "agent/enforce/breakers.h"
#include "agent/enforce/gates.h"
#include "agent/enforce/namespaces.h"
#include "maps/abi.h"

namespace slogate {

// One cgroup of the canary.
struct BreakerTarget {
  uint64_t cgroup = 0;
  std::string name;    // of its pod, or its path
  std::string path;    // of the cgroup, below the root of Options
  bool chosen = true;  // its connections are refused while the breaker is open
};

// What one SLO asks for at one moment.
struct BreakerWish {
  std::string slo;
  BreakerCase said;
  std::vector<uint16_t> ports;  // empty: every one
  bool dry_run = false;
  std::vector<AddressRange> exempt = {};
  std::vector<BreakerTarget> canary = {};
  std::set<uint64_t> others = {};  // cgroups of the baseline, which must not be hit
  std::string spared = {};         // why not all of the canary are chosen; "" for nothing
  std::string hint = {};           // what there is to know while it is open; "" for nothing
  // Who came after the veto may be another version, and is not refused.
  bool spares_newcomers = false;
  // Whether there are no two in one namespace unless they are in the node's, as pods are.
  bool apart = false;
};

// All of it belongs to one thread.
class Breaker {
 public:
  struct Options {
    std::vector<AddressRange> exempt = {};  // of all SLOs
    int sockets = -1;                       // the map of those that are remembered
    std::string cgroup_root = {};           // where paths of cgroups begin
    std::vector<std::string> directories = {netns_directories().begin(), netns_directories().end()};
  };
  // Loads its programs: takes CAP_BPF and CAP_PERFMON, where all that follows takes CAP_BPF alone.
  static Result<std::unique_ptr<Breaker>> make(Options options);

  // Whose connections are never refused: the kubelet's above all. None at all are not believed, and
  // before there are any nothing is refused.
  void set_node_addresses(const std::vector<slogate_address>& addresses);
  // Learns where canaries are, before there is a veto. Once a tick.
  void learn(const std::vector<BreakerWish>& wishes, TickTime now);
  // Opens and closes. An SLO that asks for nothing any more is forgotten.
  void look(const std::vector<BreakerWish>& wishes, TickTime now);

  // By hand, of an SLO of the last look; takes effect with the next one.
  Result<void> open(std::string_view slo, TickTime now);
  // Takes back an open() that did not open it: it would later, when nobody expects it.
  void undo_open(std::string_view slo);
  Result<void> close(std::string_view slo);

  // What has to survive the agent, by SLO, and what an agent before this one kept.
  [[nodiscard]] std::vector<ClosedByHand> closed_by_hand() const;
  void restore(const std::vector<ClosedByHand>& closed);

  [[nodiscard]] std::shared_ptr<const Breakers> status() const;
  std::vector<BreakerChange> take_changes() { return std::exchange(changes_, {}); }

 private:
  struct Case {
    BreakerTerm term;
    BreakerTerm before_hand = {};                    // before it was opened by hand
    std::optional<std::set<uint64_t>> accused = {};  // cgroups that were there at the veto
    BreakerStatus status;
    std::string rollout;
    std::chrono::nanoseconds max{0};
    uint32_t list = 0;                        // of its own exempt addresses, 0 for none
    std::map<uint64_t, GateRule> gates = {};  // those that are open, by namespace
    BreakerCounts closed = {};                // of those that were
  };
  Breaker(Options options, Namespaces namespaces, Gates gates);
  void forget(const std::vector<BreakerWish>& wishes, TickTime now);
  void keep_lists(const std::vector<BreakerWish>& wishes);
  // The namespaces to refuse in, and why not in others.
  std::map<uint64_t, std::string> place(const Case& one, const BreakerWish& wish, bool wanted,
                                        std::string& note) const;
  [[nodiscard]] std::string why_not(const Case& one, const BreakerWish& wish,
                                    const BreakerTarget& target, uint64_t number,
                                    const std::set<uint64_t>& of_others) const;
  [[nodiscard]] bool is_there(const BreakerTarget& target) const;
  void follow(Case& one, const BreakerWish& wish, TickTime now);
  void open_gates(Case& one, const BreakerWish& wish, const std::map<uint64_t, std::string>& places,
                  TickTime now);
  void stop(Case& one, uint64_t number);
  void say(Case& one, bool open, TickTime now);

  Options options_;
  uint64_t own_netns_ = 0;
  Namespaces namespaces_;
  Gates gates_;
  std::vector<AddressRange> node_;
  std::map<uint32_t, std::vector<AddressRange>> lists_;  // of exempt addresses, as they are set
  uint32_t last_list_ = 0;
  std::string exempt_problem_;  // why not all addresses are exempt that should be
  std::map<std::string, BreakerTerm, std::less<>> terms_;  // of SLOs that may come back
  std::map<std::string, Case, std::less<>> cases_;
  std::vector<BreakerChange> changes_;
};

}  // namespace slogate
