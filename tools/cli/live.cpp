// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/live.h"

#include <algorithm>
#include <limits>

#include "tools/cli/terminal.h"
#include "tools/cli/top.h"
#include "tools/cli/top_view.h"

namespace slogate::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kAllRows = std::numeric_limits<size_t>::max();
constexpr milliseconds kTickPoll{100};  // while the agent has not ticked since

size_t rows_that_fit(size_t header) {
  const size_t rows = window_size().value_or(WindowSize{80, 24}).rows;
  return std::max(rows, header + 1) - header;
}
// Before it is known what is said of canaries.
size_t rows_that_may_fit() {
  return rows_that_fit(top_header({}));
}

// What the terminal shows now.
class TopScreen {
 public:
  explicit TopScreen(TopFrame first) : frame_(std::move(first)) { draw(); }

  void update(const Outcome<std::optional<TopFrame>>& polled) {
    note_ = polled ? "" : polled.error().error.line();
    if (polled && *polled) frame_ = **polled;
    draw();
  }

  // Whether it ended because the user wants to leave.
  bool wait(milliseconds timeout) {
    const auto end = steady_clock::now() + timeout;
    for (auto now = steady_clock::now(); now < end; now = steady_clock::now()) {
      const Key key = screen_.wait(std::chrono::ceil<milliseconds>(end - now));
      if (key == Key::Quit) return true;
      if (key == Key::Resized) draw();
    }
    return false;
  }

 private:
  void draw() {
    frame_.rows.resize(std::min(frame_.rows.size(), rows_that_fit(top_header(frame_))));
    screen_.show(render_top(frame_, note_, detect_style()));
  }

  Screen screen_;
  TopFrame frame_;
  std::string note_;
};

}  // namespace

Outcome<Report> print_top(const Fetch& fetch, const TopOptions& options, const Output& output,
                          const std::function<void(milliseconds)>& sleep,
                          const std::function<bool(std::string_view)>& print) {
  TopSampler sampler(fetch);
  milliseconds waited{0};
  for (unsigned shown = 0; !options.frames || shown < *options.frames;) {
    const auto frame = sampler.poll(kAllRows);
    if (!frame) return std::unexpected(frame.error());
    if (!*frame) {
      if (waited >= kPatience)
        return fail(kFailed, "the agent answers but measures nothing new", "see its log");
      waited += kTickPoll;
      sleep(kTickPoll);
      continue;
    }
    waited = {};
    if ((*frame)->seconds) {
      if (!print(output.json ? top_json(**frame) : render_top(**frame, "", output.style))) break;
      if (++shown == options.frames) break;
    }
    sleep(options.interval);
  }
  return Report{};
}

Outcome<Report> watch_top(const Fetch& fetch, const TopOptions& options) {
  TopSampler sampler(fetch);
  auto first = sampler.poll(rows_that_may_fit());
  if (!first) return std::unexpected(first.error());
  TopScreen screen(std::move(**first));
  while (!screen.wait(options.interval)) screen.update(sampler.poll(rows_that_may_fit()));
  return Report{};
}

}  // namespace slogate::cli
