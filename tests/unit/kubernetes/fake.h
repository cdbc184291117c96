// SPDX-License-Identifier: Apache-2.0
// An API server's side of the client's calls, and a clock, both in the hands of a test.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "agent/kubernetes/api.h"

namespace slogate {

class FakeApi : public ApiCaller {
 public:
  struct Pending {
    ApiCall call;
    ApiHandlers handlers;
  };

  Id start(ApiCall call, ApiHandlers handlers) override {
    targets.push_back(call.target);
    pending.emplace(++last_, Pending{std::move(call), std::move(handlers)});
    return last_;
  }
  void cancel(Id id) override { pending.erase(id); }

  // What a part of the client takes for the world. No chance: delays are the longest ones.
  World world() {
    return {this, [this] { return now; }, [] { return 0.0; }};
  }
  void pass(std::chrono::milliseconds time) {
    now.steady += time;
    now.wall += time;
  }

  // The call under way whose target contains `part`; there must be one.
  Id find(std::string_view part) const {
    for (const auto& [id, one] : pending)
      if (one.call.target.find(part) != std::string::npos) return id;
    ADD_FAILURE() << "no call of " << part;
    return 0;
  }
  const ApiCall& call(std::string_view part) { return pending[find(part)].call; }
  void answer(std::string_view part, ApiAnswer answer) {
    auto one = pending.extract(find(part));
    if (one && one.mapped().handlers.done) one.mapped().handlers.done(answer);
  }
  void answer(std::string_view part, int status, const nlohmann::json& body) {
    answer(part, ApiAnswer{.status = status, .body = body.dump()});
  }
  void open(std::string_view part) { pending[find(part)].handlers.opened(); }
  // A copy of the handler: the call may be cancelled by it.
  void line(std::string_view part, const std::string& text) {
    const auto handler = pending[find(part)].handlers.line;
    if (handler) handler(text);
  }
  void line(std::string_view part, const nlohmann::json& event) { line(part, event.dump()); }

  std::map<Id, Pending> pending;
  std::vector<std::string> targets;  // of all calls ever
  // 2026-01-02T03:04:05Z
  Instant now{SteadyTime(std::chrono::hours(1)), WallTime(std::chrono::seconds(1'767'323'045))};

 private:
  Id last_ = 0;
};

}  // namespace slogate
