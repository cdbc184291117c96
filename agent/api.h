// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "agent/http_message.h"
#include "agent/snapshot.h"

namespace slogate {

// What a request may change. A sentence about what was done, or why not.
struct ApiActions {
  // Null where nothing may be changed, as over TCP.
  std::function<Result<std::string>(const std::string& map, size_t entries)> resize;
  // Who may besides root.
  std::vector<uid_t> admins;
};

// The API of docs/api.md as a function of values. A path that is not known is 404, never 200: one
// rollout controller reads any 200 as "roll back". What changes something needs root, or one
// of the admins, at the other end. Statuses of errors: 400, 403, 404, 405.
[[nodiscard]] HttpResponse answer(const HttpRequest& request, const Snapshot& snapshot,
                                  const ApiActions& actions = {});

}  // namespace slogate
