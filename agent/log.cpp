// SPDX-License-Identifier: Apache-2.0
#include "agent/log.h"

#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <mutex>
#include <string>

namespace slogate {

void log_line(std::string_view message) {
  fmt::print(stderr, "slogate-agent: {}\n", message);
}

void log_change(std::string_view subject, std::string_view problem) {
  static std::mutex mutex;
  static std::map<std::string, std::string, std::less<>> known;
  const std::lock_guard lock(mutex);
  const auto found = known.find(subject);
  const std::string_view before = found == known.end() ? "" : std::string_view(found->second);
  if (before == problem) return;
  if (problem.empty())
    log_line(fmt::format("{}: well again", subject));
  else
    log_line(fmt::format("{}: {}", subject, problem));
  known[std::string(subject)] = problem;
}

}  // namespace slogate
