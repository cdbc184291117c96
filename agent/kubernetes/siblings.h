// SPDX-License-Identifier: Apache-2.0
// What an agent has to know beyond its node before it turns a pod away: the other pods of that
// revision, and how many its Deployment can do without.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "agent/kubernetes/reflector.h"
#include "agent/kubernetes/workloads.h"

namespace slogate {

// All pods of one revision, on whatever node.
class PodsOfRevision : public ReflectorSink {
 public:
  PodsOfRevision(World world, const Deployment& deployment, const Revision& revision);

  void begin() override { staged_.clear(); }
  Result<void> stage(const ApiJson& object) override;
  void commit() override;
  void change(const ApiJson& object) override;
  void remove(const ApiJson& object) override;

  SteadyTime step() { return reflector_.step(); }
  [[nodiscard]] const std::string& problem() const { return reflector_.problem(); }
  // By uid; null until they were listed.
  [[nodiscard]] const std::shared_ptr<const RevisionPods>& pods() const { return published_; }

 private:
  void publish();

  std::string revision_;                              // its uid
  std::map<std::string, RevisionPod> pods_, staged_;  // by uid
  std::shared_ptr<const RevisionPods> published_;
  Reflector reflector_;
};

// What one Deployment or Rollout says of its capacity.
class CapacityOf : public ReflectorSink {
 public:
  CapacityOf(World world, const Deployment& deployment);

  void begin() override { staged_.reset(); }
  Result<void> stage(const ApiJson& object) override;
  void commit() override;
  void change(const ApiJson& object) override;
  void remove(const ApiJson& object) override;

  SteadyTime step() { return reflector_.step(); }
  [[nodiscard]] const std::string& problem() const { return reflector_.problem(); }
  // Whether it was read, or cannot be. Rights to read Argo's Rollouts are not everybody's.
  [[nodiscard]] bool known() const { return listed_ || !problem().empty(); }
  [[nodiscard]] bool listed() const { return listed_; }
  [[nodiscard]] const std::optional<Capacity>& capacity() const { return capacity_; }

 private:
  std::string owner_;  // its uid
  std::optional<Capacity> capacity_, staged_;
  bool listed_ = false;
  Reflector reflector_;
};

// Follows both for the revisions that are asked for. Each takes two watches, whose cost grows with
// the revision and not with the cluster.
class Siblings {
 public:
  Siblings(World world, const Workloads& workloads)
      : world_(std::move(world)), workloads_(workloads) {}

  // Of ReplicaSets, by uid: those and no others from now on.
  void follow(std::set<std::string> replica_sets);
  // Starts what is due; returns when to call again, at the latest.
  SteadyTime step();
  void add_to(Cluster& cluster) const;
  [[nodiscard]] std::string problem() const;
  // Why what add_to() adds may be out of date; "" while it is not. What nobody could ever read is
  // not there, and so not out of date.
  [[nodiscard]] std::string stale() const;

 private:
  struct Followed {
    std::string deployment;  // its uid
    std::unique_ptr<PodsOfRevision> pods;
  };
  void begin();
  void drop_unneeded();

  World world_;
  const Workloads& workloads_;
  std::set<std::string> wanted_;
  std::map<std::string, Followed> revisions_;                      // by uid of the ReplicaSet
  std::map<std::string, std::unique_ptr<CapacityOf>> capacities_;  // by uid of the Deployment
};

}  // namespace slogate
