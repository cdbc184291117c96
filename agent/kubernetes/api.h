// SPDX-License-Identifier: Apache-2.0
// What the parts of the client need of the world: calls to the API server, time and chance. Tests
// hand in their own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace slogate {

using SteadyTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;

// One moment on both clocks: the steady one for what is due, the other for what people read.
struct Instant {
  SteadyTime steady;
  WallTime wall;
};

// Nothing is due.
inline constexpr SteadyTime kNever = SteadyTime::max();

struct ApiCall {
  std::string method = "GET";
  std::string target;  // path and query, escaped
  std::string body = {}, content_type = {};
  std::chrono::seconds limit{60};  // for the whole of it
  bool watch = false;              // the answer is lines, handed over as they come
};

struct ApiAnswer {
  enum class End {
    Whole,
    Away,     // the connection failed or broke
    Garbage,  // we broke it off: more than any sensible answer has
    Unasked,  // it was not even sent
  };
  End end = End::Whole;
  int status = 0;          // of HTTP; 0 where it did not come so far
  std::string body = {};   // "" of a watch
  std::string error = {};  // where it is not whole: printable, and the same for the same cause
  std::optional<std::chrono::seconds> retry_after = {};

  [[nodiscard]] bool good() const { return end == End::Whole && status >= 200 && status < 300; }
};

// Called on the client's thread, and never from within start(). Either may start and cancel calls.
struct ApiHandlers {
  std::function<void(const ApiAnswer&)> done;    // once, unless the call is cancelled
  std::function<void(std::string_view)> line{};  // of a watch
  std::function<void()> opened{};                // a watch was answered with 200
};

class ApiCaller {
 public:
  using Id = uint64_t;
  ApiCaller() = default;
  ApiCaller(const ApiCaller&) = delete;
  ApiCaller& operator=(const ApiCaller&) = delete;
  virtual ~ApiCaller() = default;

  virtual Id start(ApiCall call, ApiHandlers handlers) = 0;
  // No handler of it is called any more. Does nothing when it is over.
  virtual void cancel(Id id) = 0;
};

struct World {
  ApiCaller* caller;
  std::function<Instant()> clock;
  std::function<double()> random;  // 0 <= x < 1
};

}  // namespace slogate
