// SPDX-License-Identifier: Apache-2.0
// What is known of a pod, as a value: where its name comes from is the business of kubernetes/.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace slogate {

// "" where there is none: a bare pod, a ReplicaSet without a Deployment.
struct OwnerReference {
  std::string kind, name, uid;

  bool operator==(const OwnerReference&) const = default;
};

// One pod of this node.
struct Pod {
  std::string uid, namespace_, name;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;  // ours, without the prefix
  OwnerReference owner;                            // its controller
  // Ids, without "containerd://", and names of all containers that were ever seen of it: init and
  // ephemeral ones, and those that have been restarted, included.
  std::map<std::string, std::string> containers;
  // How often each container was started again, by name; not of init containers, which may fail
  // until what they wait for is there.
  std::map<std::string, uint64_t> restarts;
  bool gated = false;             // has our readiness gate
  std::optional<bool> condition;  // our condition: True or False; nothing while it has none
  std::string condition_reason, condition_message;
  // Which generation of the pod that condition was written for; 0 where the server keeps none.
  int64_t condition_generation = 0;
  int64_t generation = 0;  // of its spec; 0 where the server does not count them
  std::string created;     // RFC 3339 in UTC, as the API server writes it: sorts as text
  bool ready = false;
  bool able = false;     // its containers are ready: it serves unless a gate says otherwise
  bool leaving = false;  // is being deleted, or has ended
  bool gone = false;     // deleted; kept for a while for the names of its cgroups

  bool operator==(const Pod&) const = default;
};

// The container that a cgroup belongs to. Without a pod it is none, or none that is known yet.
struct PodContainer {
  std::shared_ptr<const Pod> pod;
  std::string container;
  bool pending = false;  // the name is likely to come
};

}  // namespace slogate
