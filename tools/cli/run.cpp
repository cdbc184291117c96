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

void say_aside(std::string_view text) {
  (void)std::fwrite(text.data(), 1, text.size(), stderr);
  (void)std::fflush(stderr);
}

int finish(const Outcome<Report>& outcome) {
  if (!outcome) {
    say_aside(fmt::format("slogate: {}\n", outcome.error().error.line()));
    return outcome.error().exit;
  }
  say_aside(outcome->warnings);
  const std::string& text = outcome->text;
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (written && std::fflush(stdout) == 0) return outcome->exit;
  say_aside(fmt::format("slogate: {}\n", system_error("cannot write", errno).line()));
  return outcome->exit_is_answer ? outcome->exit : kFailed;
}

}  // namespace slogate::cli
