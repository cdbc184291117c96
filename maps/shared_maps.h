// SPDX-License-Identifier: Apache-2.0
// The maps that all programs share: what bpf/maps.h declares is the list of them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "maps/error.h"
#include "maps/fd.h"
#include "maps/pins.h"

namespace slogate {

using MapFds = std::map<std::string, Fd, std::less<>>;

// The one that describes the others. It is pinned last, so a set of pins without it was never
// finished.
inline constexpr std::string_view kSchemaName = "slogate_schema";

// Takes no privilege.
Result<std::vector<std::string>> shared_map_names();

// New ones, all of them.
Result<MapFds> make_maps();

// Those of the directory, all of them; fails when one is missing or is another map than ours.
Result<MapFds> pinned_maps(const PinDir& pins);

// Pins those that have lost their pin.
Result<void> keep_map_pins(const MapFds& maps, const PinDir& pins);

}  // namespace slogate
