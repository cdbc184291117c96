// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/base/tick_time.h"
#include "agent/kubernetes/client.h"
#include "agent/kubernetes/pod_slos.h"

namespace slogate {

// A pod whose ReplicaSets are not known yet gets its condition after this time: an API server that
// does not tell must not keep a pod from serving.
inline constexpr std::chrono::seconds kRevisionPatience{5};

// Of the rest of a condition's text there is at most one write a pod in this time: it tells how
// long a pass will take, which changes with every answer, and each write is one to the API server.
inline constexpr std::chrono::seconds kLeastBetweenTexts{30};

// An API server keeps an event for an hour by default. What still holds is said again before.
inline constexpr std::chrono::minutes kEventInterval{30};

// Canaries that are held for lack of samples: how many seconds a pass will take, nothing where
// nobody knows.
using Holds = std::map<VetoKey, std::optional<double>>;

// What is said of this node's pods to the API server.
struct PodWrites {
  std::vector<PodCondition> conditions;  // all there should be
  std::vector<PodEvent> events;          // those that are new, or due again
  // Uids of this node's revisions that are vetoed, or that will be refused at once if they are:
  // what has to be known of their other pods.
  std::set<std::string> vetoed;
};

// Holds a rollout without ever causing an outage. A pod with our readiness gate is told True at
// once. It is told False only while all of this is so: its revision is vetoed; a rollout is under
// way, with pods of two revisions or more; another revision of it has Ready pods somewhere in the
// cluster; and its Deployment can do without it, as capacity.h has it. A hold never turns a pod
// away.
class Readiness {
 public:
  // `blind`: canaries that are held because nobody can know what they answer, in the form of
  // vetoes. `refused`: uids of pods whose new connections are refused, or would be, and how that is
  // said.
  [[nodiscard]] PodWrites look(const Cluster& cluster, const PodSlos& slos, const Vetoes& vetoes,
                               const Vetoes& blind, const Holds& holds, TickTime now,
                               const std::map<std::string, std::string>& refused = {});

  // Uids of this node's pods that are turned away, gated or not: one choice for all that is done to
  // them.
  [[nodiscard]] static std::set<std::string> away(const Cluster& cluster, const Vetoes& vetoes);

  // Pods that may be refused are so within a moment, so all there is to know has to be known.
  void set_enforces(bool enforces) { enforces_ = enforces; }

 private:
  // What one pod's Deployment says about it.
  struct Standing {
    bool known = false;  // whether there is anything left to wait for
    bool vetoed = false;
    // Vetoed, but turning it away could be an outage: why, as a part of a sentence.
    std::string spared;
    std::string why;
  };
  // Who is turned away of one vetoed revision.
  struct Sentence {
    bool known = false;         // whether its other pods and its capacity are
    bool has_capacity = false;  // or nobody may read it
    Capacity capacity;
    std::set<std::string> away;  // uids
    std::string names;           // of these
  };
  using Sentences = std::map<std::string, Sentence>;  // by uid of the ReplicaSet
  [[nodiscard]] static Sentence sentence_on(const Cluster& cluster, const Deployment& deployment,
                                            const Revision& revision);
  [[nodiscard]] static Standing standing_of(const Cluster& cluster, const Pod& pod,
                                            const Vetoes& vetoes, Sentences& sentences);
  void add_condition(const Cluster& cluster, const Pod& pod, const Standing& standing,
                     const std::optional<double>* hold, const std::string* refused,
                     PodWrites& writes, TickTime now);
  std::string text_without_veto(const Pod& pod, const std::optional<double>* hold, TickTime now);
  void add_event(const Pod& pod, std::string reason, const std::string& message, PodWrites& writes,
                 TickTime now);

  // What a pod's condition says while nothing speaks against it.
  struct Told {
    std::string text;
    std::optional<double> minutes = {};
    std::chrono::nanoseconds since{0};
  };

  bool enforces_ = false;
  std::map<std::string, Told> told_;                               // by pod
  std::map<std::string, std::chrono::nanoseconds> waiting_since_;  // by pod
  // When each event was posted last, by pod.
  std::map<std::string, std::map<std::string, std::chrono::nanoseconds>> said_;
};

}  // namespace slogate
