// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "maps/maps.h"

struct ring_buffer;

namespace slogate {

// The cgroup's path in an event, "/" for the root; nothing when it did not fit into the event or
// the event makes no sense.
[[nodiscard]] std::optional<std::string> owner_path(const slogate_owner_event& event);

// Reads the ring in which the programs announce which cgroup got a slot, by name.
class OwnerEvents {
 public:
  using Handler = std::function<void(const slogate_owner_event&)>;

  // The handler is called from drain(), on its thread.
  static Result<OwnerEvents> open(const Maps& maps, Handler handler);
  OwnerEvents(OwnerEvents&&) noexcept;
  OwnerEvents& operator=(OwnerEvents&&) = delete;
  ~OwnerEvents();

  // Becomes readable when there is something to drain.
  [[nodiscard]] int poll_fd() const;
  // Hands over everything that is there, without waiting.
  void drain();

 private:
  explicit OwnerEvents(std::unique_ptr<Handler> handler) : handler_(std::move(handler)) {}
  std::unique_ptr<Handler> handler_;  // at a fixed address: libbpf keeps a pointer to it
  ring_buffer* ring_ = nullptr;
};

}  // namespace slogate
