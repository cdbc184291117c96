// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "agent/http_message.h"
#include "agent/snapshot.h"

namespace slogate {

// The API of docs/api.md as a function of values. A path that is not known is 404, never 200: one
// rollout controller reads any 200 as "roll back". Statuses of errors: 400, 404, 405.
[[nodiscard]] HttpResponse answer(const HttpRequest& request, const Snapshot& snapshot);

}  // namespace slogate
