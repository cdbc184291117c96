// SPDX-License-Identifier: Apache-2.0
// The progress that `slogate gate --wait` prints while it waits.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "tools/cli/client.h"

namespace slogate::cli {

// Says one line when something changed, and not more often than `least`; and at once, but once
// alone, that the time that is left will not do.
class GateProgress {
 public:
  explicit GateProgress(std::chrono::nanoseconds least) : least_(least) {}

  // The lines to print now, "" for none: the verdict after `waited`, with `left` of the timeout.
  std::string look(const Json& verdict, std::chrono::nanoseconds waited,
                   std::chrono::nanoseconds left);

 private:
  std::string warn(const Json& verdict, std::chrono::nanoseconds waited,
                   std::chrono::nanoseconds left);
  [[nodiscard]] bool lacks_traffic(const Json& verdict, std::chrono::nanoseconds waited);

  std::chrono::nanoseconds least_;
  std::string said_;  // what the last line was about
  std::optional<std::chrono::nanoseconds> said_at_;
  std::optional<double> samples_;          // of the canary, as of the last change
  std::chrono::nanoseconds sample_at_{0};  // when that was
  bool warned_ = false;
};

}  // namespace slogate::cli
