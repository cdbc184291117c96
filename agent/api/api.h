// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "agent/http/http_message.h"
#include "agent/snapshot.h"
#include "maps/contents.h"

namespace slogate {

// What a request may do beyond reading the snapshot. A change answers with a sentence about what
// was done.
struct ApiActions {
  // Null where nothing may be changed, as over TCP.
  std::function<Result<std::string>(const std::string& map, size_t entries)> resize;
  std::function<Result<std::string>(const std::string& slo)> reset;
  // Opens or closes the breaker of an SLO; for root alone.
  std::function<Result<std::string>(const std::string& slo, bool open)> breaker = {};
  // The snapshot as it is at a later moment, for answers that go on; null where none does.
  std::function<std::shared_ptr<const Snapshot>()> latest;
  // What lies in a map. Null over TCP, too: it costs more than a view of the snapshot.
  std::function<Result<MapContents>(const std::string& map)> contents;
  // Who may change something besides root.
  std::vector<uid_t> admins;
};

// The API of docs/api.md as a function of values. A path that is not known is 404, never 200: one
// rollout controller reads any 200 as "roll back". What changes something needs root, or one
// of the admins, at the other end. Statuses of errors: 400, 403, 404, 405.
[[nodiscard]] HttpResponse answer(const HttpRequest& request, const Snapshot& snapshot,
                                  const ApiActions& actions = {});

}  // namespace slogate
