// SPDX-License-Identifier: Apache-2.0
// What an API server may say. Each line is the whole answer to a list ("L..."), a line of a watch
// ("W..."), or the end of whatever is under way with a status of HTTP ("E500").
#include <optional>

#include "agent/kubernetes/pods.h"
#include "agent/kubernetes/reflector.h"
#include "maps/integer.h"
#include "tests/fuzz/fuzz.h"

namespace slogate {
namespace {

// At most one call is under way; handlers may start the next one.
class Caller : public ApiCaller {
 public:
  Id start(ApiCall call, ApiHandlers handlers) override {
    fuzz::require(!handlers_, "one call at a time");
    fuzz::require(call.target.find_first_of(" \r\n") == std::string::npos, "targets are escaped");
    watch_ = call.watch;
    handlers_ = std::move(handlers);
    return ++last_;
  }
  void cancel(Id id) override {
    if (id == last_) handlers_.reset();
  }
  void end(const ApiAnswer& answer) {
    if (!handlers_) return;
    const ApiHandlers handlers = *std::exchange(handlers_, std::nullopt);
    handlers.done(answer);
  }
  void line(std::string_view text) {
    if (!handlers_ || !watch_) return;
    const ApiHandlers handlers = *handlers_;  // which the line may end
    handlers.opened();
    handlers.line(text);
  }
  [[nodiscard]] bool lists() const { return handlers_ && !watch_; }

 private:
  std::optional<ApiHandlers> handlers_;
  bool watch_ = false;
  Id last_ = 0;
};

int to_status(std::string_view text) {
  return parse_integer<int>(leading_digits(text)).value_or(0);
}

void say(Caller& caller, std::string_view line) {
  const char what = line.empty() ? 'E' : line[0];
  const std::string_view text = line.substr(line.empty() ? 0 : 1);
  if (what == 'W') return caller.line(text);
  if (what == 'L' && caller.lists()) return caller.end({.status = 200, .body = std::string(text)});
  if (what == 'E') caller.end({.status = to_status(text)});
}

}  // namespace
}  // namespace slogate

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace slogate;
  Caller caller;
  Instant now{SteadyTime(std::chrono::hours(1)), WallTime(std::chrono::seconds(1'767'323'045))};
  const auto clock = [&now] { return now; };
  Pods pods(clock);
  Reflector reflector({&caller, clock, [] { return 0.0; }},
                      {.path = "/api/v1/pods", .selector = "x=y", .resource = "pods"}, pods);
  for (std::string_view rest = fuzz::text(data, size); !rest.empty();) {
    reflector.step();
    say(caller, fuzz::take_line(rest));
    pods.expire();
    now.steady += std::chrono::minutes(3);
    fuzz::require(reflector.problem().find('\n') == std::string::npos, "a problem is one line");
  }
  for (const auto& pod : pods.all()) fuzz::require(!pod->uid.empty(), "a pod has a uid");
  // The object of a line as the other kind of object we follow.
  if (const auto object = parse_object(fuzz::text(data, size))) (void)to_replica_set(*object);
  return 0;
}
