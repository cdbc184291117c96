// SPDX-License-Identifier: Apache-2.0
// Which other nodes have pods of an SLO's arms: whom to ask for what this node lacks.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/config/slo.h"
#include "agent/kubernetes/api.h"
#include "agent/kubernetes/client.h"
#include "agent/kubernetes/cluster.h"
#include "agent/kubernetes/trouble.h"

namespace slogate {

// SLOs, by name, that want readings of their baseline, and those that want evidence on canaries.
// Most canaries have a baseline beside them and want no more than that.
struct PeerWishes {
  std::set<std::string> lenders, witnesses;
};

// None of an SLO whose arms no label tells: cgroups, and tracks, which are annotations.
[[nodiscard]] std::vector<PeerSearch> peer_searches(const Cluster& cluster,
                                                    const std::vector<Slo>& slos,
                                                    const PeerWishes& wishes);

// Lists the pods of both arms, a page of each and again from time to time. A watch would tell each
// asker of every change of every pod of a workload, while eight of its nodes are enough, and one
// that has no such pod any more says so itself when it is asked.
class PeerFinder {
 public:
  // What a page has. Nodes beyond are not asked by anyone: 250 with eight askers or so each do for
  // any rollout.
  static constexpr int kPage = 250;
  // Between two lists, at first; twice as long with each, as a rollout that takes long moves
  // slowly.
  static constexpr std::chrono::seconds kFirstInterval{30}, kLongestInterval{300};
  static constexpr size_t kMostSearches = 64;

  PeerFinder(World world, std::string own_node)
      : world_(std::move(world)), own_node_(std::move(own_node)) {}
  PeerFinder(const PeerFinder&) = delete;
  PeerFinder& operator=(const PeerFinder&) = delete;
  ~PeerFinder();

  // Those and no others from now on.
  void search(std::vector<PeerSearch> searches);
  // Starts what is due; returns when to call again, at the latest.
  SteadyTime step();
  void add_to(Cluster& cluster) const;
  [[nodiscard]] const std::string& problem() const { return trouble_.text(); }

 private:
  enum class Arm { Lenders, Witnesses };
  struct Found {
    explicit Found(PeerSearch of, std::function<double()> random)
        : search(std::move(of)), backoff(std::move(random)) {}
    PeerSearch search;
    Backoff backoff;
    std::optional<ApiCaller::Id> call = {};
    SteadyTime due = SteadyTime::min();
    std::chrono::milliseconds interval = kFirstInterval;
    PeerNodes next = {};  // as far as it is listed
    std::shared_ptr<const PeerNodes> nodes = {};
  };
  void list(Found& found, Arm arm);
  void listed(const std::string& slo, Arm arm, const ApiAnswer& answer);
  void failed(Found& found, const Failure& failure, const ApiAnswer& answer);
  void complete(Found& found);
  void stop(Found& found);

  World world_;
  std::string own_node_;
  std::map<std::string, Found> found_;  // by SLO
  Trouble trouble_;
};

}  // namespace slogate
