// SPDX-License-Identifier: Apache-2.0
// Rollout controllers as an HTTP server meets them: a client that behaves as Go's net/http does,
// and what Argo Rollouts (webmetric.go) and Flagger (webhook.go, go-retryablehttp) make of answers.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "tests/support/net.h"

namespace slogate::support {

// What came of one request. `error` is empty where an answer came in full.
struct GoAnswer {
  int status = 0;
  std::string body = {}, error = {};
};

// One connection, kept for the next request as Go's pool does. A request that meets a connection
// which the server closed meanwhile is sent again on a new one, once. Redirects are followed,
// up to ten. The timeout is for all of it.
class GoClient {
 public:
  GoClient(std::string host, uint16_t port, std::chrono::milliseconds timeout)
      : host_(std::move(host)), port_(port), timeout_(timeout) {}

  GoAnswer get(std::string_view target) { return ask("GET", target, ""); }
  GoAnswer post(std::string_view target, std::string_view body) {
    return ask("POST", target, body);
  }
  [[nodiscard]] bool is_connected() const { return fd_.get() >= 0; }
  // Whether the server ends the connection, unasked, within this time.
  bool is_ended_within(std::chrono::milliseconds time);

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  // One answer with its header.
  struct Reply {
    GoAnswer answer;
    std::string location;
    bool stale = false;  // the connection had ended before the first byte of an answer
  };
  GoAnswer ask(std::string_view method, std::string_view target, std::string_view body);
  Reply exchange(const std::string& request, bool may_be_stale, Deadline deadline);
  Reply send_once(const std::string& request, Deadline deadline);
  Reply receive(Deadline deadline);
  std::string connect(Deadline deadline);
  bool fill(Deadline deadline);

  std::string host_;
  uint16_t port_;
  std::chrono::milliseconds timeout_;
  Fd fd_;
  std::string input_, why_;
};

// ---- Argo Rollouts ----

enum class ArgoPhase { Successful, Failed, Inconclusive, Error };
[[nodiscard]] std::string_view name_of(ArgoPhase phase);

// `result == "..."`, where there is such a condition.
struct ArgoConditions {
  std::optional<std::string> success, failure;
};

// One measurement of the `web` provider with `jsonPath: "{$.verdict}"`.
[[nodiscard]] ArgoPhase to_argo_phase(const GoAnswer& answer, const ArgoConditions& conditions);

// ---- Flagger ----

// Whether Flagger takes an answer as a yes.
[[nodiscard]] bool is_yes(const GoAnswer& answer);
// One call of a webhook, with a client of its own whose connection is left idle.
GoAnswer call_webhook(const std::string& host, uint16_t port, std::string_view target,
                      std::string_view body, int retries);

}  // namespace slogate::support
