// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/base/latest.h"
#include "agent/base/work_queue.h"
#include "agent/canary/analysis.h"
#include "agent/canary/state_dir.h"
#include "agent/config/class_rules.h"
#include "agent/config/config.h"
#include "agent/enforce/breaker.h"
#include "agent/events.h"
#include "agent/kubernetes/peer_search.h"
#include "agent/kubernetes/pod_slos.h"
#include "agent/kubernetes/readiness.h"
#include "agent/measure/budget.h"
#include "agent/measure/cgroup_names.h"
#include "agent/measure/collector.h"
#include "agent/measure/pod_names.h"
#include "agent/measure/probes.h"
#include "agent/measure/sizer.h"
#include "agent/peers/peers.h"
#include "maps/contents.h"
#include "maps/maps.h"
#include "maps/owner_events.h"
#include "maps/pins.h"

namespace slogate {

// The measuring half of the agent: maps, programs and the collector, at one place in memory. All of
// it belongs to the thread that ticks. Other threads may call snapshot(), which returns a value,
// and resize(), reset() and contents(), which hand their work to that thread and wait.
class Agent {
 public:
  struct Options {
    std::string cgroup_root;
    std::string pin_dir;    // "" for none
    std::string state_dir;  // where vetoes are kept; used as soon as there are SLOs
    Outcomes outcomes = Outcomes::All;
    AgentStatus about;
    KernelFeatures features;
    LiveConfig config;
    // The slots that a share of the node's memory holds, by what this host is and allows now.
    std::function<size_t(double memory_ratio)> ceiling;
    // Whether a tick may go on while the kernel waits for running programs; see Maps.
    bool wait_on_threads = false;
    // Called with every tick's snapshot before it is published, on the thread that ticks.
    std::function<void(const Snapshot&, TickTime)> on_tick = {};
    // Called with each configuration that has taken effect, the first one included, for parts that
    // the agent does not know; on the thread that ticks.
    std::function<void(const LiveConfig&)> on_apply = {};
    // Takes what is to be said of pods, on the thread that ticks; null without Kubernetes.
    std::function<void(PodWrites)> on_pod_writes = {};
    std::string node = {};  // our name there
    // By whom readings are lent and asked for; it outlives the agent. Null where nobody is.
    Peers* peers = nullptr;
    EnforceConfig enforce = {};
    // Takes which nodes to look for on Kubernetes, on the thread that ticks; their agents listen at
    // `peer_port`, as this one does. Null where nobody could be asked there.
    std::function<void(std::vector<PeerSearch>)> on_peer_search = {};
    uint16_t peer_port = 0;
  };
  static Result<std::unique_ptr<Agent>> start(Options options);
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Reads everything and publishes a new snapshot.
  void tick(TickTime now);
  // Between two ticks: judges what the cgroups of SLOs did, and publishes that.
  void judge(TickTime now);
  // Whether there is anything to judge between two ticks.
  [[nodiscard]] bool judges() const { return !analysis_.empty(); }
  // New owners were announced: learns their names and keeps ahead of them.
  void on_owner_events(TickTime now);
  // The API server has told something new: names pods, takes up their SLOs, answers their gates.
  void on_cluster(std::shared_ptr<const Cluster> cluster, TickTime now);
  // The one place where a configuration takes effect, at the start and on SIGHUP. Where it fails,
  // everything is as it was.
  Result<void> apply(LiveConfig config);

  [[nodiscard]] int owner_events_fd() const { return events_->poll_fd(); }
  [[nodiscard]] WorkQueue& work_queue() { return work_queue_; }
  [[nodiscard]] Origin origin() const { return maps_->origin(); }

  // From any thread. Never null once the first tick was made.
  [[nodiscard]] std::shared_ptr<const Snapshot> snapshot() const { return snapshot_.load(); }
  // From any thread but the one that ticks: changes a map's size by hand and says what became of
  // it.
  WorkQueue::Outcome resize(const std::string& map, size_t entries);
  // Likewise: begins a new rollout of an SLO.
  WorkQueue::Outcome reset(const std::string& slo);
  // Likewise: opens or closes the breaker of an SLO by hand.
  WorkQueue::Outcome set_breaker(const std::string& slo, bool open);
  // Likewise: what lies in a map, with the paths of its cgroups. The one view that is not of the
  // snapshot, since nobody else needs so much of every tick.
  Result<MapContents> contents(const std::string& map);

 private:
  Agent(WorkQueue work_queue, std::string cgroup_root);
  Result<void> open(Options options);
  WorkQueue::Outcome resize_now(const std::string& map, size_t entries);
  Result<MapContents> contents_now(const std::string& map);
  Result<MapContents> sockets_now();
  WorkQueue::Outcome reset_now(const std::string& slo);
  WorkQueue::Outcome set_breaker_now(const std::string& slo, bool open);
  void make_breaker();
  [[nodiscard]] std::vector<BreakerWish> breaker_wishes(const std::vector<Workload>& workloads,
                                                        TickTime now);
  void enforce(const std::vector<Workload>& workloads, TickTime now);
  [[nodiscard]] std::map<std::string, std::string> refused_pods() const;
  void refresh_node_addresses(TickTime now);
  void choose_answers();
  void keep_pins(TickTime now);
  void look_at_heap(TickTime now);
  [[nodiscard]] CpuStatus keep_budget(const Snapshot& seen, TickTime now);
  [[nodiscard]] bool leaves_out_optional() const;
  [[nodiscard]] Vetoes vetoes() const;
  // Canaries of which nobody can know what they answer.
  [[nodiscard]] Vetoes blind() const;
  [[nodiscard]] Holds holds() const;
  [[nodiscard]] PodSlos slos_of_cluster() const;
  Result<void> set_slos(PodSlos of_pods, TickTime now);
  void open_state();
  void restore_vetoes();
  void restore_weights();
  void save();
  Result<void> save_weights();
  Result<void> save_closed();
  void restore_closed();
  void write_pods(TickTime now);
  [[nodiscard]] KubernetesStatus kubernetes_status() const;
  bool publish(std::shared_ptr<Snapshot> snapshot);
  void keep(const std::vector<VerdictChange>& changes);
  void hear_peers(TickTime now);
  void tell_peers();
  void search_peers(const Wanted& wanted);
  void hand_candidates();

  WorkQueue work_queue_;
  CgroupNames names_;
  PodNames pods_;
  // In the order in which they need each other.
  std::optional<PinDir> pins_;
  std::optional<Maps> maps_;
  std::optional<OwnerEvents> events_;
  std::optional<Probes> probes_;
  std::optional<Sizer> sizer_;
  std::optional<Collector> collector_;
  Budget budget_;
  uint32_t watched_one_in_ = 1;  // one connection in so many is watched since the last tick
  ProgramCost program_cost_;
  std::function<void(const Snapshot&, TickTime)> on_tick_;
  std::chrono::nanoseconds next_addresses_{0}, next_pins_{0}, next_heap_{0};
  HeapStatus heap_;
  // What the configuration says, and what pods do.
  LiveConfig config_;
  std::function<size_t(double)> ceiling_;
  std::function<void(const LiveConfig&)> on_apply_;
  std::shared_ptr<const Cluster> cluster_;  // null without Kubernetes
  PodSlos pod_slos_;
  Readiness readiness_;
  std::function<void(PodWrites)> on_pod_writes_;
  std::string node_;
  Peers* peers_ = nullptr;
  std::function<void(std::vector<PeerSearch>)> on_peer_search_;
  uint16_t peer_port_ = 0;
  CanaryAnalysis analysis_;
  EnforceConfig enforce_;
  std::unique_ptr<Breaker> breaker_;  // null where nothing enforces, or it could not be made
  std::string breaker_problem_;       // why it could not be
  std::optional<std::chrono::nanoseconds> trouble_since_;  // of what the API server tells
  std::string cgroup_root_;
  std::set<std::pair<std::string, std::string>> restored_vetoes_;  // SLO and rollout
  EventBook event_book_;
  std::string state_path_;
  Outcomes outcomes_ = Outcomes::All;
  std::optional<StateDir> state_;
  bool restored_ = false;  // what was in it has been read
  // What is not on the disk yet.
  bool vetoes_unsaved_ = false;
  std::vector<KeptWeight> weights_saved_;   // what is on the disk
  std::vector<ClosedByHand> closed_saved_;  // likewise
  std::string boot_;                        // tells this one from others; "" where nobody says
  std::deque<VerdictChange> changes_unsaved_;
  std::deque<BreakerChange> breaker_unsaved_;
  Latest<Snapshot> snapshot_;
};

// Removes everything an agent left in a pin directory; nothing there is success.
Result<void> unpin_all(const std::string& pin_dir);

// CLOCK_REALTIME and CLOCK_MONOTONIC.
[[nodiscard]] TickTime now();

}  // namespace slogate
