// SPDX-License-Identifier: Apache-2.0
// slogate-load: real traffic whose every request is accounted for.
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstdio>

#include "tests/support/load/command.h"

namespace slogate::support {
namespace {

void allow_many_files() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int run_program(int argc, char** argv) {
  CLI::App app("Real traffic whose every request is accounted for.", "slogate-load");
  app.require_subcommand(1);
  app.fallthrough();
  int max_seconds = 120;
  app.add_option("--max-seconds", max_seconds, "ends after this many seconds in any case")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  Command chosen;
  for (const auto add :
       {add_serve, add_drive, add_connect, add_idle, add_handoff, add_churn, add_spread})
    add(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  // Timers of 1 ns slack instead of 50 us.
  ::prctl(PR_SET_TIMERSLACK, 1);
  allow_many_files();
  Run run{std::chrono::seconds(max_seconds)};
  const auto done = chosen(run);
  if (done) return 0;
  fmt::print(stderr, "slogate-load: {}\n", done.error().line());
  return 1;
}

}  // namespace
}  // namespace slogate::support

int main(int argc, char** argv) {
  return slogate::support::run_program(argc, argv);
}
