// SPDX-License-Identifier: Apache-2.0
#include "maps/owner_events.h"

#include <bpf/libbpf.h>

#include <cerrno>

#include "maps/bpf_map.h"

namespace slogate {
namespace {

int handle(void* handler, void* data, size_t size) {
  if (size >= sizeof(slogate_owner_event))
    (*static_cast<OwnerEvents::Handler*>(handler))(*static_cast<slogate_owner_event*>(data));
  return 0;
}

}  // namespace

std::optional<std::string> owner_path(const slogate_owner_event& event) {
  if (event.truncated != 0 || event.parts > SLOGATE_PATH_DEPTH || event.bytes > sizeof(event.path))
    return std::nullopt;
  if (event.parts == 0) return "/";
  std::string path;
  std::string_view rest(event.path, event.bytes);
  for (uint32_t i = 0; i < event.parts; ++i) {
    const size_t end = rest.find('\0');
    if (end == std::string_view::npos || end == 0) return std::nullopt;
    path.insert(0, fmt::format("/{}", rest.substr(0, end)));  // leaf first
    rest.remove_prefix(end + 1);
  }
  return path;
}

OwnerEvents::OwnerEvents(OwnerEvents&& other) noexcept
    : handler_(std::move(other.handler_)), ring_(std::exchange(other.ring_, nullptr)) {}

OwnerEvents::~OwnerEvents() {
  if (ring_ != nullptr) ring_buffer__free(ring_);
}

Result<OwnerEvents> OwnerEvents::open(const Maps& maps, Handler handler) {
  OwnerEvents events(std::make_unique<Handler>(std::move(handler)));
  events.ring_ =
      ring_buffer__new(maps.fd("slogate_events"), handle, events.handler_.get(), nullptr);
  if (events.ring_ == nullptr) return fail(bpf_error("cannot read the event ring", errno));
  return events;
}

int OwnerEvents::poll_fd() const {
  return ring_buffer__epoll_fd(ring_);
}

void OwnerEvents::drain() {
  ring_buffer__consume(ring_);
}

}  // namespace slogate
