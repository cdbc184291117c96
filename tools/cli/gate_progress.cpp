// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/gate_progress.h"

#include <fmt/format.h>

#include "agent/base/figures.h"
#include "agent/base/tick_time.h"
#include "tools/cli/fields.h"
#include "tools/cli/text.h"

namespace slogate::cli {
namespace {

using std::chrono::nanoseconds;

// Without a sample for so long, or two blocks, there is no traffic.
constexpr double kQuiet = 5;  // seconds

std::string text_at(const Json& json, const char* key) {
  return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

// Only what a pass lacks is a matter of traffic.
bool lacks_samples(const Json& verdict) {
  return text_at(verdict, "reason") == "insufficient_samples";
}

// What a line is about: figures in the message change with each answer.
std::string subject_of(const Json& verdict) {
  const auto expected = number_at(verdict, "/expected_seconds");
  size_t proven = 0;
  for (const Json& objective : verdict.value("objectives", Json::array()))
    if (text_at(objective, "state") == "proven") ++proven;
  return fmt::format("{}, {}, {}, {}", text_at(verdict, "verdict"), text_at(verdict, "reason"),
                     expected ? about_text(*expected) : "", proven);
}

}  // namespace

bool GateProgress::lacks_traffic(const Json& verdict, nanoseconds waited) {
  const auto samples = number_at(verdict, "/samples/canary");
  if (samples != samples_) sample_at_ = waited;
  samples_ = samples;
  const double quiet = seconds(waited - sample_at_);
  return quiet >= std::max(kQuiet, 2 * number_at(verdict, "/block_seconds").value_or(0));
}

std::string GateProgress::warn(const Json& verdict, nanoseconds waited, nanoseconds left) {
  const bool quiet = lacks_traffic(verdict, waited);
  const auto expected = number_at(verdict, "/expected_seconds");
  const bool late = expected && *expected > seconds(left);
  if (!lacks_samples(verdict) || !(late || quiet)) {
    // Between the two nothing is said: the expectation moves by chance.
    if (expected && *expected < seconds(left) / 2) warned_ = false;
    return "";
  }
  if (std::exchange(warned_, true)) return "";
  const std::string why =
      quiet ? fmt::format("no request of the canary for {}",
                          duration_text(seconds(waited - sample_at_)))
            : fmt::format("a pass takes {} more at this rate", about_text(*expected));
  return fmt::format(
      "{}: {}, and the timeout is in {}: state absolute objectives, wait longer (--timeout) or add "
      "synthetic load; waiting all the same\n",
      printable(text_at(verdict, "slo")), why, about_text(seconds(left)));
}

std::string GateProgress::look(const Json& verdict, nanoseconds waited, nanoseconds left) {
  const std::string warning = warn(verdict, waited, left);
  std::string subject = subject_of(verdict);
  if (subject == said_ || (said_at_ && waited - *said_at_ < least_)) return warning;
  said_ = std::move(subject);
  said_at_ = waited;
  return fmt::format("{}: {} after {:.0f} s: {}\n", printable(text_at(verdict, "slo")),
                     printable(text_at(verdict, "verdict")), seconds(waited),
                     printable(text_at(verdict, "message"))) +
         warning;
}

}  // namespace slogate::cli
