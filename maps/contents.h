// SPDX-License-Identifier: Apache-2.0
// What lies in a map, decoded: for people who inspect it, never for a decision.
#pragma once

#include <linux/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "maps/abi.h"
#include "maps/error.h"

namespace slogate {

class Maps;

// A table. Every row has one value for each column; the column "cgroup" always holds an id.
struct MapContents {
  using Value = std::variant<uint64_t, std::string>;
  std::vector<std::string> columns;
  std::vector<std::vector<Value>> rows;
  size_t left_out = 0;  // entries there was no room for here
};

// Rows of one table at the most.
inline constexpr size_t kMaxContents = 10'000;

// The entries of a map of Maps::status(), as they are while it is read; other entries may come and
// go meanwhile. Fails for a map of another name, and for those whose entries cannot be read back
// this way: slogate_events (its entries are consumed as they come), slogate_sockets (they are only
// reached through an iterator, see socket_contents()), slogate_http2 and slogate_news.
[[nodiscard]] Result<MapContents> read_contents(const Maps& maps, std::string_view name);

// One remembered socket for each of `sockets`; `now_ns` is CLOCK_MONOTONIC.
[[nodiscard]] MapContents socket_contents(const Maps& maps,
                                          const std::vector<slogate_inflight>& sockets,
                                          uint64_t now_ns);

}  // namespace slogate
