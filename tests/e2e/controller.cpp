// SPDX-License-Identifier: Apache-2.0
// Asks the API as rollout controllers do; tests/e2e/controllers.sh runs it.
//
// controller argo PORT TARGET SUCCESS FAILURE [TIMES]   "" for a condition that is not there.
//   Prints the phase of one measurement a line, 20 ms apart, all with one client.
// controller flagger PORT TARGET BODY [RETRIES]   Prints "yes" or "no", the status and the text.
// controller idle PORT TARGET CONNECTIONS   Asks once on each of so many connections and leaves
//   them idle; then prints how many of 50 newcomers got their answer, the longest wait in ms, and
//   how many of the connections the server had ended 40 s later.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <thread>
#include <vector>

#include "tests/support/controller.h"

namespace slogate::support {
namespace {

using namespace std::chrono_literals;

constexpr const char* kHost = "127.0.0.1";
// Argo Rollouts' and Flagger's own.
constexpr std::chrono::milliseconds kTimeout = 10s;

std::optional<std::string> to_condition(std::string_view text) {
  return text.empty() ? std::nullopt : std::optional(std::string(text));
}

int measure(uint16_t port, std::span<char*> arguments) {
  const ArgoConditions conditions{to_condition(arguments[1]), to_condition(arguments[2])};
  const int times = arguments.size() > 3 ? std::atoi(arguments[3]) : 1;
  GoClient client(kHost, port, kTimeout);
  for (int i = 0; i < times; ++i) {
    if (i > 0) std::this_thread::sleep_for(20ms);
    fmt::print("{}\n", name_of(to_argo_phase(client.get(arguments[0]), conditions)));
  }
  return 0;
}

int call(uint16_t port, std::span<char*> arguments) {
  const int retries = arguments.size() > 2 ? std::atoi(arguments[2]) : 0;
  const GoAnswer answer = call_webhook(kHost, port, arguments[0], arguments[1], retries);
  fmt::print("{} {} {}\n", is_yes(answer) ? "yes" : "no", answer.status,
             answer.error.empty() ? answer.body : answer.error);
  return 0;
}

int leave_idle(uint16_t port, std::span<char*> arguments) {
  const std::string_view target = arguments[0];
  std::vector<GoClient> idle;
  for (int i = 0; i < std::atoi(arguments[1]); ++i)
    idle.emplace_back(kHost, port, kTimeout).get(target);
  int answered = 0;
  std::chrono::milliseconds longest{0};
  for (int i = 0; i < 50; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    answered += GoClient(kHost, port, kTimeout).get(target).status == 200;
    longest = std::max(longest, std::chrono::ceil<std::chrono::milliseconds>(
                                    std::chrono::steady_clock::now() - begin));
  }
  std::this_thread::sleep_for(40s);
  const auto ended =
      std::ranges::count_if(idle, [](GoClient& client) { return client.is_ended_within(0ms); });
  // Each goes on as if nothing had happened.
  const auto again = std::ranges::count_if(
      idle, [&](GoClient& client) { return client.get(target).status == 200; });
  fmt::print("{} {} {} {}\n", answered, longest.count(), ended, again);
  return 0;
}

int run(std::span<char*> arguments) {
  if (arguments.size() >= 4) {
    const std::string_view what = arguments[0];
    const auto port = static_cast<uint16_t>(std::strtoul(arguments[1], nullptr, 10));
    if (what == "argo" && arguments.size() >= 5) return measure(port, arguments.subspan(2));
    if (what == "flagger") return call(port, arguments.subspan(2));
    if (what == "idle") return leave_idle(port, arguments.subspan(2));
  }
  fmt::print(stderr, "usage: see tests/e2e/controller.cpp\n");
  return 64;
}

}  // namespace
}  // namespace slogate::support

int main(int argc, char** argv) {
  return slogate::support::run(std::span(argv, static_cast<size_t>(argc)).subspan(1));
}
