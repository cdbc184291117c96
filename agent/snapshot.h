// SPDX-License-Identifier: Apache-2.0
// What one tick saw and what is said of it: an immutable value that every view is a function of.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "agent/canary/verdict.h"
#include "agent/enforce/breakers.h"
#include "agent/event.h"
#include "agent/measure/measurements.h"
#include "agent/peers/status.h"

namespace slogate {

// What is known of the API server, on nodes of Kubernetes.
struct KubernetesStatus {
  std::string node;
  bool synced = false;  // whether this node's pods were ever listed
  std::string
      trouble;      // why what is known, or was said of pods, may be out of date; "" if it isn't
  size_t pods = 0;  // that are there
};

// The measurements, and the views' other sources.
struct Snapshot : Measurements {
  std::optional<KubernetesStatus> kubernetes;
  // Null where this agent neither lends nor asks.
  std::shared_ptr<const PeersStatus> peers;
  // Null where nothing enforces.
  std::shared_ptr<const Breakers> breakers;
  // What is said of the SLOs; newer than the rest between two ticks. Neither is ever null.
  std::shared_ptr<const Verdicts> verdicts = std::make_shared<const Verdicts>();
  std::shared_ptr<const std::deque<Event>> events =
      std::make_shared<const std::deque<Event>>();  // the latest, oldest first
};

}  // namespace slogate
