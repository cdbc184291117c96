// SPDX-License-Identifier: Apache-2.0
// The owner of the BPF maps: makes or takes them up, and hands out the parts that read and change
// them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "maps/control.h"
#include "maps/error.h"
#include "maps/index.h"
#include "maps/inheritance.h"
#include "maps/map_status.h"
#include "maps/pins.h"
#include "maps/resizer.h"
#include "maps/slab.h"

namespace slogate {

// Rules for sockets of servers, no two with the same key.
using ClassRules = std::vector<std::pair<slogate_class_key, slogate_class_rule>>;

// All maps of the agent. What exists is whole: open() gives maps that are ready for the programs.
class Maps {
 public:
  // `pins`: where they outlive the agent, null for nowhere; must outlive the Maps. Needs CAP_BPF.
  static Result<Maps> open(const PinDir* pins = nullptr);

  [[nodiscard]] Origin origin() const;
  // The descriptor of a map by its name, -1 when there is none of that name.
  [[nodiscard]] int fd(std::string_view name) const;

  // The slots, the hash from owner to slot, their sizes, and what is said to the programs.
  [[nodiscard]] Slab& slab();
  [[nodiscard]] const Slab& slab() const;
  [[nodiscard]] const Index& index() const;
  [[nodiscard]] Resizer& resizer();
  [[nodiscard]] const Resizer& resizer() const;
  [[nodiscard]] Control& control();
  [[nodiscard]] const Control& control() const;

  // Pins again what somebody removed from the pin directory.
  Result<void> keep_pins();

  // From this moment on the programs of `epoch` count, and are described by `hash`.
  Result<void> activate(uint32_t epoch, uint64_t hash);
  // Hash of the programs that were activated last, 0 for none.
  [[nodiscard]] uint64_t programs_hash() const;

  // Cgroups whose samples found no slot, with how many there were.
  [[nodiscard]] std::vector<std::pair<uint64_t, uint64_t>> left_out() const;
  // How many places to listen are known; see struct slogate_listener.
  [[nodiscard]] size_t listeners() const;
  [[nodiscard]] slogate_runs runs() const;  // summed over the lines
  // Replaces the rules that give a server socket its class; at most SLOGATE_CLASS_RULES.
  Result<void> set_class_rules(const ClassRules& rules);
  // Replaces the node's own addresses; at most SLOGATE_NODE_ADDRESSES are kept.
  Result<void> set_node_addresses(const std::vector<slogate_address>& addresses);
  // How many sockets are remembered, and how many of these have news: only an iterator can tell.
  struct Sockets {
    uint64_t remembered = 0, with_news = 0, on_roll = 0;
  };
  [[nodiscard]] std::vector<MapStatus> status(Sockets sockets) const;

 private:
  // At a fixed address: slab and index refer to each other and to the shared memory.
  struct Parts;
  struct PartsDeleter {
    void operator()(Parts* parts) const;
  };
  explicit Maps(std::unique_ptr<Parts, PartsDeleter> parts) : parts_(std::move(parts)) {}
  static Result<Maps> build(const Inheritance& left, const PinDir* pins);

  std::unique_ptr<Parts, PartsDeleter> parts_;
};

}  // namespace slogate
