// SPDX-License-Identifier: Apache-2.0
// Keeps what stands in a sink equal to one list of the API server: list, then watch, and again.
#pragma once

#include <optional>
#include <string>

#include "agent/kubernetes/api.h"
#include "agent/kubernetes/parse.h"
#include "agent/kubernetes/trouble.h"

namespace slogate {

// Where the objects go. What is staged counts only with commit(): a list that breaks off, or turns
// out to be none, changes nothing.
class ReflectorSink {
 public:
  ReflectorSink() = default;
  ReflectorSink(const ReflectorSink&) = delete;
  ReflectorSink& operator=(const ReflectorSink&) = delete;
  virtual ~ReflectorSink() = default;

  virtual void begin() = 0;  // drops what was staged before
  virtual Result<void> stage(const ApiJson& object) = 0;
  virtual void commit() = 0;  // what was staged since begin() is all there is
  virtual void change(const ApiJson& object) = 0;
  virtual void remove(const ApiJson& object) = 0;
};

// A state machine without sockets. An API server that is away, or sends garbage, leaves the sink as
// it is; then this is text in problem().
class Reflector {
 public:
  struct Settings {
    std::string path;      // /api/v1/pods
    std::string selector;  // fieldSelector=..., escaped
    std::string resource;  // for people: "pods"
  };
  Reflector(World world, Settings settings, ReflectorSink& sink);
  Reflector(const Reflector&) = delete;
  Reflector& operator=(const Reflector&) = delete;
  ~Reflector();

  // Starts what is due; returns when to call again, at the latest.
  SteadyTime step();
  [[nodiscard]] const std::string& problem() const { return trouble_.text(); }

 private:
  void list();
  void watch();
  [[nodiscard]] std::string list_target() const;
  void listed(const ApiAnswer& answer);
  void list_failed(const ApiAnswer& answer);
  void take_page(const ApiAnswer& answer);
  void line(std::string_view text);
  void error_event(const ApiStatus& status);
  void watch_ended(const ApiAnswer& answer);
  SteadyTime await_opening(SteadyTime now);
  void list_anew();
  void failed(const Failure& failure, const ApiAnswer& answer = {});
  void stop();

  World world_;
  Settings settings_;
  ReflectorSink& sink_;
  Backoff backoff_;
  Trouble trouble_;
  SteadyTime due_ = SteadyTime::min();
  std::optional<ApiCaller::Id> call_;
  SteadyTime watched_ = {};           // when the watch was asked for
  std::optional<SteadyTime> opened_;  // since when it is answered
  std::string resource_version_;      // as of which the sink is right; "" before the first list
  bool current_ = false;              // a watch can go on from there
  bool synced_ = false;               // there was a complete list
  bool from_store_ = false;           // the server's cache does not know our version
  std::string next_page_;
  unsigned pages_ = 0;
};

}  // namespace slogate
