// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/base/units.h"
#include "agent/config/peers_config.h"
#include "agent/peers/asker.h"
#include "agent/peers/lending.h"
#include "maps/error.h"

namespace slogate {

// Says by `done`, once and from any thread, whether a token is of an agent. Called on the thread of
// Peers, which it must not keep waiting.
using TokenCheck = std::function<void(std::string token, std::function<void(Result<void>)> done)>;
// The token that this agent shows; called on the same thread, for each connection.
using TokenSource = std::function<std::string()>;

struct PeersOptions {
  std::optional<ListenAddress> listen;  // nothing: lends to nobody
  PeerSecurity security;
  // On Kubernetes; then who asks needs no certificate, but a token.
  TokenCheck check_token = {};
  TokenSource own_token = {};
};

// What the judge wants to know: of whose baselines, and of which rollouts the evidence.
struct Wanted {
  std::vector<LentQuestion> baselines, rollouts;

  [[nodiscard]] bool empty() const { return baselines.empty() && rollouts.empty(); }
};

// Lends what this node's baselines did, and asks other nodes for theirs: a thread of its own, which
// the thread that ticks never waits for. Everything but the constructor may be called from there.
class Peers {
 public:
  // Binds the socket and reads the keys, while there are the privileges for it.
  static Result<std::unique_ptr<Peers>> make(PeersOptions options);
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;
  ~Peers();

  // Its thread; after the filter of system calls is there, for it has none of its own.
  void start();

  void lend(Lendable lendable);
  void want(Wanted wanted);
  [[nodiscard]] std::vector<Lent> take();
  // Whom to ask: of the configuration, and by SLO as Kubernetes knows it.
  void set_peers(std::vector<Candidate> peers, size_t lenders);
  void set_candidates(std::map<std::string, Candidates> by_slo);
  // As of the last second; never null.
  [[nodiscard]] std::shared_ptr<const PeersStatus> status() const;
  // The port, for tests that let the kernel choose one; 0 where it does not listen.
  [[nodiscard]] uint16_t port() const;

 private:
  class Impl;
  explicit Peers(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace slogate
