// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/run.h"

#include <cerrno>
#include <cstdio>

namespace slogate::cli {

Outcome<Report> guarded(const std::function<Outcome<Report>()>& command) {
  try {
    return command();
  } catch (const Json::exception& error) {
    return fail(
        kFailed,
        fmt::format("the agent's answer is not what was expected: {}", printable(error.what())),
        "are agent and slogate of the same version?");
  } catch (const std::exception& error) {
    return fail(kFailed, error.what());
  }
}

std::string to_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Outcome<Report> show(const Fetch& fetch, const std::string& target, const Output& output,
                     const std::function<std::string(const Json&, const Style&)>& render) {
  const auto answer = fetch(target);
  if (!answer) return std::unexpected(answer.error());
  return Report{output.json ? to_line(*answer) : render(*answer, output.style)};
}

int finish(const Outcome<Report>& outcome) {
  if (!outcome) {
    fmt::print(stderr, "slogate: {}\n", outcome.error().error.line());
    return outcome.error().exit;
  }
  fmt::print(stderr, "{}", outcome->warnings);
  fmt::print("{}", outcome->text);
  if (std::fflush(stdout) == 0) return outcome->exit;
  fmt::print(stderr, "slogate: {}\n", system_error("cannot write", errno).line());
  return kFailed;
}

}  // namespace slogate::cli
