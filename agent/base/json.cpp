// SPDX-License-Identifier: Apache-2.0
#include "agent/base/json.h"

#include <cmath>

namespace slogate {

Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json number(std::optional<double> value) {
  return value ? number(*value) : Json(nullptr);
}

}  // namespace slogate
