// SPDX-License-Identifier: Apache-2.0
// What is wrong with the API server, since when, and how long to leave it alone.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "agent/kubernetes/api.h"

namespace slogate {

struct Failure {
  std::string what;   // "the API server is away"
  std::string cause;  // "Connection refused"
  bool forbidden = false;
};

// What a call that is not good() says; `verb` and `resource` as RBAC names them.
[[nodiscard]] Failure to_failure(const ApiAnswer& answer, std::string_view verb,
                                 std::string_view resource);
// Of an answer that is no answer to what was asked.
[[nodiscard]] Failure garbage(std::string cause);

class Trouble {
 public:
  // Keeps the time of the first failure until well(). What is not `shown` is not text() yet.
  void failed(const Failure& failure, WallTime now, bool shown = true);
  void well();
  // "the API server is away since 2006-01-02T15:04:05Z: Connection refused", "" when all is well.
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::optional<WallTime> since_;
  std::string text_;
};

inline constexpr std::chrono::milliseconds kFirstDelay{500};
inline constexpr std::chrono::milliseconds kLongestDelay{30'000};

// Doubles from kFirstDelay to kLongestDelay. The upper half is chance, or the agents of a fleet,
// which lose an API server in the same moment, would all come back in the same moment.
class Backoff {
 public:
  explicit Backoff(std::function<double()> random) : random_(std::move(random)) {}
  // After `answer`, which failed: longer where the server asks for it, and the longest at once
  // where it is a matter of RBAC.
  std::chrono::milliseconds next(const ApiAnswer& answer = {});
  void reset() { failures_ = 0; }
  [[nodiscard]] unsigned failures() const { return failures_; }

 private:
  std::function<double()> random_;
  unsigned failures_ = 0;
};

}  // namespace slogate
