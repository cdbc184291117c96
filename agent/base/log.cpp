// SPDX-License-Identifier: Apache-2.0
#include "agent/base/log.h"

#include <fmt/format.h>

#include <cstdio>
#include <mutex>

namespace slogate {
namespace {

struct Known {
  std::mutex mutex;
  CurrentProblems problems;
};

Known& known() {
  static Known known;
  return known;
}

}  // namespace

void log_line(std::string_view message) {
  fmt::print(stderr, "slogate-agent: {}\n", message);
}

void log_change(std::string_view subject, std::string_view problem) {
  auto& [mutex, problems] = known();
  const std::lock_guard lock(mutex);
  const auto found = problems.find(subject);
  const std::string_view before = found == problems.end() ? "" : std::string_view(found->second);
  if (before == problem) return;
  if (problem.empty())
    log_line(fmt::format("{}: well again", subject));
  else
    log_line(fmt::format("{}: {}", subject, problem));
  problems[std::string(subject)] = problem;
}

CurrentProblems current_problems() {
  const std::lock_guard lock(known().mutex);
  return known().problems;
}

}  // namespace slogate
