// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "agent/kubernetes/pods.h"
#include "agent/kubernetes/reflector.h"

namespace slogate {

// The ReplicaSets of one Deployment.
class Revisions : public ReflectorSink {
 public:
  Revisions(World world, Deployment deployment, const std::string& selector);

  void begin() override { staged_.clear(); }
  Result<void> stage(const ApiJson& object) override;
  void commit() override;
  void change(const ApiJson& object) override;
  void remove(const ApiJson& object) override;

  SteadyTime step() { return reflector_.step(); }
  [[nodiscard]] const std::string& problem() const { return reflector_.problem(); }
  // Null until they were listed.
  [[nodiscard]] const std::shared_ptr<const Deployment>& deployment() const { return deployment_; }
  [[nodiscard]] bool contains(const std::string& uid) const { return revisions_.contains(uid); }

 private:
  void publish();

  Deployment owner_;  // without its revisions
  std::shared_ptr<const Deployment> deployment_;
  std::map<std::string, Revision> revisions_, staged_;  // by uid
  Reflector reflector_;
};

// Finds the Deployments of the pods that have an SLO, and follows their ReplicaSets.
class Workloads {
 public:
  Workloads(World world, const Pods& pods) : world_(std::move(world)), pods_(pods) {}
  Workloads(const Workloads&) = delete;
  Workloads& operator=(const Workloads&) = delete;
  ~Workloads();

  // Starts what is due; returns when to call again, at the latest.
  SteadyTime step();
  void add_to(Cluster& cluster) const;
  [[nodiscard]] std::string problem() const;
  // The Deployment that the ReplicaSet of this uid is a revision of; null while it is not known.
  [[nodiscard]] std::shared_ptr<const Deployment> find(const std::string& replica_set) const;

 private:
  // From a pod's ReplicaSet to its Deployment.
  struct Lookup {
    std::string namespace_, name;
    Backoff backoff;
    std::string deployment = {};  // its uid, "" where there is none
    std::optional<ApiCaller::Id> call = {};
    SteadyTime due = SteadyTime::min();
  };
  struct Tracked {
    std::unique_ptr<Revisions> revisions;
    SteadyTime needed;  // when last
  };
  using Lookups = std::map<std::string, Lookup>;

  void find_needed();
  Tracked* owner_of(const std::string& replica_set);
  void start(const std::string& uid, Lookup& lookup);
  void answered(const std::string& uid, const ApiAnswer& answer);
  void take(Lookup& lookup, const std::string& uid, const ApiJson& object);
  void look_again(Lookup& lookup, std::chrono::milliseconds delay);
  SteadyTime step_lookups();
  SteadyTime step_tracked();

  World world_;
  const Pods& pods_;
  std::optional<uint64_t> seen_;            // the version of the pods that the look-ups are for
  Lookups lookups_;                         // by uid of the ReplicaSet
  std::map<std::string, Tracked> tracked_;  // by uid of the Deployment
  Trouble trouble_;
  std::string too_many_;
};

}  // namespace slogate
