// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/flag.h"

namespace slogate::support {

// Why a command came to its end.
enum class Ended { kDone, kSignal, kMaxSeconds };

// What every command has: its time, its end, its signals and its last line.
class Run {
 public:
  // Blocks SIGTERM, SIGINT and SIGUSR1 in this thread and those it starts from now on, and ignores
  // SIGPIPE. `stop` is raised after `longest` at the latest.
  explicit Run(std::chrono::seconds longest);

  // Raised by whoever has reason to end the run.
  Flag stop;
  // Raised by SIGUSR1.
  Flag start;

  // Returns when `stop` is raised, after raising it for a signal or the time's sake.
  Ended wait();

  // Prints a line at once, also into a pipe.
  static void say(const std::string& line);

  // The one JSON line: the command, why it ended, how long it took, and `facts`.
  void report(const std::string& command, Ended ended, const nlohmann::ordered_json& facts) const;

 private:
  Clock::time_point begin_ = Clock::now();
  Deadline end_;
  Fd signals_;
};

// Runs a parsed command and returns the exit code.
using Command = std::function<Result<void>(Run&)>;

// Each adds its subcommand to `app`, which sets `chosen` when it is the one asked for.
void add_serve(CLI::App& app, Command& chosen);
void add_handoff(CLI::App& app, Command& chosen);
void add_drive(CLI::App& app, Command& chosen);
void add_connect(CLI::App& app, Command& chosen);
void add_idle(CLI::App& app, Command& chosen);
void add_churn(CLI::App& app, Command& chosen);
void add_spread(CLI::App& app, Command& chosen);

// Sends one request of the default size over a connection and waits for its answer; whether both
// came through.
bool ask_once(int fd, uint64_t id);

// An option whose text `parse` turns into a Result.
template <typename T, typename Parse>
CLI::Option* add_parsed(CLI::App& app, const std::string& name, T& to, Parse parse,
                        const std::string& help) {
  const auto set = [&to, parse](const std::string& text) {
    auto value = parse(text);
    if (!value) throw CLI::ValidationError(value.error().line());
    to = *std::move(value);
  };
  return app.add_option_function<std::string>(name, set, help);
}

}  // namespace slogate::support
