// SPDX-License-Identifier: Apache-2.0
// slogate slos, verdict, gate, reset and breaker.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "tools/cli/run.h"

namespace slogate::cli {

[[nodiscard]] std::string render_slos(const Json& slos, const Style& style);
// A row for each verdict, and below what it says.
[[nodiscard]] std::string render_verdicts(const Json& verdicts, const Style& style);
// One verdict with the evidence for and against each objective.
[[nodiscard]] std::string render_verdict(const Json& verdict, const Style& style);

Outcome<Report> show_slos(const Fetch& fetch, const Output& output);
// `slo` is empty for all. Fails with kUsage when there is no such SLO.
Outcome<Report> show_verdicts(const Fetch& fetch, const std::string& slo, const Output& output);
Outcome<Report> reset_slo(const Fetch& fetch, const Post& post, const std::string& slo,
                          const Output& output);
// Opens the breaker of an SLO by hand, or closes it.
Outcome<Report> set_breaker(const Fetch& fetch, const Post& post, const std::string& slo, bool open,
                            const Output& output);

// What of it is shown, what is not, and what that takes.
[[nodiscard]] std::string render_explanation(const Json& verdict, const Style& style);

struct GateOptions {
  std::string slo;
  bool wait = false;                 // for a pass or a veto
  std::chrono::nanoseconds timeout;  // of the wait
  bool explain = false;              // print what each objective needs
  bool quiet = false;                // say nothing while it waits
  // The least time between two lines of progress.
  std::chrono::nanoseconds pace = std::chrono::seconds(30);
};

// The decision as the exit code: kOk, kVeto or kHold; an agent that does not answer properly is
// kUnreachable, and while waiting it may come back. `sleep` waits, `note` takes lines of progress.
Outcome<Report> pass_gate(const Fetch& fetch, const GateOptions& options, const Output& output,
                          const std::function<void(std::chrono::milliseconds)>& sleep,
                          const std::function<void(std::string_view)>& note);

}  // namespace slogate::cli
