// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/events.h"

#include <sstream>

#include "tools/cli/fields.h"

namespace slogate::cli {
namespace {

constexpr std::chrono::milliseconds kLook{500};

// Events after the last one that was shown. Another agent begins with number 1 again.
class NewEvents {
 public:
  std::string take(const std::string& text, const Output& output) {
    std::string shown, line;
    double highest = 0;
    for (std::istringstream lines(text); std::getline(lines, line);) {
      const Json event = Json::parse(line);
      const double id = number_at(event, "/id").value_or(0);
      highest = std::max(highest, id);
      if (id <= last_) continue;
      shown += output.json ? to_line(event) : render_event(event, output.style);
    }
    if (highest >= last_) {
      last_ = highest;
      return shown;
    }
    last_ = 0;
    return take(text, output);
  }

 private:
  double last_ = 0;
};

}  // namespace

std::string render_event(const Json& event, const Style& style) {
  const auto text = [&event](const char* key) { return printable(event.value(key, "")); };
  const std::string to = text("to"), from = text("from");
  const std::string_view colour = to == "veto" ? kRed : to == "pass" ? kGreen : kYellow;
  const std::string change = from.empty() ? to : from + " -> " + to;
  return fmt::format("{}  {:<8} {}  {}  {}\n", text("time"), text("type"), text("subject"),
                     paint(change, colour, style), text("message"));
}

Outcome<Report> show_events(const FetchText& fetch, bool follow, const Output& output,
                            const std::function<void(std::chrono::milliseconds)>& sleep,
                            const std::function<bool(std::string_view)>& print) {
  NewEvents events;
  for (bool first = true;; first = false) {
    const auto text = fetch("/v1/events");
    if (!text && (first || text.error().exit != kUnreachable)) return std::unexpected(text.error());
    if (text)
      if (const std::string lines = events.take(*text, output); !lines.empty() && !print(lines))
        return Report{};
    if (!follow) return Report{};
    sleep(kLook);
  }
}

}  // namespace slogate::cli
