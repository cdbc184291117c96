// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/doctor.h"

#include <algorithm>

namespace slogate::cli {
namespace {

std::string_view colour_of(FindingState state) {
  switch (state) {
    case FindingState::Ok:
      return kGreen;
    case FindingState::Degraded:
      return kYellow;
    case FindingState::Missing:
      break;
  }
  return kRed;
}

size_t count_of(const std::vector<Finding>& findings, FindingState state) {
  return static_cast<size_t>(
      std::count_if(findings.begin(), findings.end(),
                    [&](const Finding& finding) { return finding.state == state; }));
}

Finding inspect_agent(const Fetch& fetch) {
  const auto status = fetch("/v1/status");
  if (!status)
    return {.name = "agent",
            .state = FindingState::Degraded,
            .detail = status.error().error.message,
            .remedy = status.error().error.remedy};
  // Whatever it says, doctor goes on.
  const Json version = status->is_object() ? status->value("version", Json()) : Json();
  return {.name = "agent",
          .detail = version.is_string()
                        ? fmt::format("slogate {} answers", version.get<std::string>())
                        : "something answers that does not tell its version"};
}

Json to_json(const std::vector<Finding>& findings) {
  Json list = Json::array();
  for (const Finding& finding : findings)
    list.push_back({{"name", finding.name},
                    {"state", to_text(finding.state)},
                    {"detail", finding.detail},
                    {"remedy", finding.remedy}});
  return {{"usable", count_of(findings, FindingState::Missing) == 0},
          {"findings", std::move(list)}};
}

std::string summary(const std::vector<Finding>& findings, const Style& style) {
  const size_t missing = count_of(findings, FindingState::Missing);
  const size_t degraded = count_of(findings, FindingState::Degraded);
  if (missing != 0)
    return paint(fmt::format("This host cannot run slogate: {} missing.", missing), kRed, style);
  if (degraded != 0)
    return paint(fmt::format("This host can run slogate: {} degraded.", degraded), kYellow, style);
  return paint("This host can run slogate.", kGreen, style);
}

}  // namespace

std::string render_doctor(const std::vector<Finding>& findings, const Style& style) {
  constexpr size_t state_width = 8;
  size_t name_width = 0;
  for (const Finding& finding : findings)
    name_width = std::max(name_width, columns_of(finding.name));
  std::string text;
  for (const Finding& finding : findings) {
    const std::string state = pad(to_text(finding.state), state_width, false);
    text += fmt::format("{}  {}  {}\n", paint(state, colour_of(finding.state), style),
                        pad(finding.name, name_width, false), printable(finding.detail));
    if (!finding.remedy.empty())
      text += fmt::format("{:{}}  -> {}\n", "", state_width, printable(finding.remedy));
  }
  return text + "\n" + summary(findings, style) + "\n";
}

Outcome<Report> show_doctor(std::vector<Finding> findings, const Fetch& fetch,
                            const Output& output) {
  findings.push_back(inspect_agent(fetch));
  const bool usable = count_of(findings, FindingState::Missing) == 0;
  return Report{output.json ? to_line(to_json(findings)) : render_doctor(findings, output.style),
                usable ? kOk : kFailed};
}

}  // namespace slogate::cli
