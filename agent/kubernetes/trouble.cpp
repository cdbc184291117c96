// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/trouble.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/base/tick_time.h"
#include "agent/kubernetes/parse.h"
#include "agent/kubernetes/text.h"

namespace slogate {
namespace {

// A server that asks for more patience than this is broken.
constexpr std::chrono::seconds kMostPatience{120};

constexpr int kUnauthorized = 401;
constexpr int kForbidden = 403;

}  // namespace

Failure to_failure(const ApiAnswer& answer, std::string_view verb, std::string_view resource) {
  if (answer.end == ApiAnswer::End::Away) return {"the API server is away", answer.error};
  if (answer.end == ApiAnswer::End::Garbage) return garbage(answer.error);
  if (answer.end == ApiAnswer::End::Unasked) return {"the API server can't be asked", answer.error};
  const ApiStatus status = parse_status(answer.body);
  std::string cause = fmt::format("HTTP {}", answer.status);
  if (!status.message.empty()) cause += fmt::format(", {}", for_log(status.message));
  if (answer.status == kUnauthorized)
    return {"the API server does not accept the agent's token", std::move(cause)};
  if (answer.status == kForbidden)
    return {fmt::format("RBAC does not allow the agent to {} {}", verb, resource), std::move(cause),
            true};
  return {fmt::format("the API server refuses to {} {}", verb, resource), std::move(cause)};
}

Failure garbage(std::string cause) {
  return {"the API server's answers make no sense", std::move(cause)};
}

void Trouble::failed(const Failure& failure, WallTime now, bool shown) {
  if (!since_) since_ = now;
  if (!shown) return;
  text_ = fmt::format("{} since {}", failure.what, to_rfc3339(*since_));
  if (!failure.cause.empty()) text_ += fmt::format(": {}", failure.cause);
}

void Trouble::well() {
  since_.reset();
  text_.clear();
}

std::chrono::milliseconds Backoff::next(const ApiAnswer& answer) {
  constexpr unsigned enough = 6;  // 0.5 s doubled so often is beyond the longest
  auto delay = std::min(kFirstDelay * (1U << std::min(failures_, enough)), kLongestDelay);
  ++failures_;
  if (answer.status == kForbidden) delay = kLongestDelay;
  delay -= std::chrono::milliseconds(
      static_cast<int64_t>(static_cast<double>(delay.count()) / 2 * random_()));
  if (!answer.retry_after) return delay;
  return std::max(delay, std::chrono::milliseconds(std::min(*answer.retry_after, kMostPatience)));
}

}  // namespace slogate
