// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/kubernetes/client.h"
#include "agent/kubernetes/pods.h"

namespace slogate {

// Events that wait, here and on their way here.
inline constexpr size_t kMostWaitingEvents = 100;

// Makes the conditions of pods what they should be, and writes events.
class Writer {
 public:
  Writer(World world, std::string node, const Pods& pods)
      : world_(std::move(world)), node_(std::move(node)), pods_(pods), pause_(world_.random) {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer();

  void set_conditions(std::vector<PodCondition> conditions);
  // `dropped` others found no room on their way here.
  void post(std::vector<PodEvent> events, size_t dropped);
  // Starts what is due; returns when to call again, at the latest.
  SteadyTime step();
  [[nodiscard]] const std::string& condition_problem() const { return conditions_trouble_.text(); }
  [[nodiscard]] const std::string& event_problem() const { return events_trouble_.text(); }

 private:
  // One pod's condition on its way.
  struct Job {
    explicit Job(PodCondition condition, std::function<double()> random)
        : wanted(std::move(condition)), backoff(std::move(random)) {}
    PodCondition wanted;
    Backoff backoff;
    std::optional<ApiCaller::Id> call = {};
    SteadyTime due = SteadyTime::min();
    // What was written last, and when: the watch says so a moment later only.
    std::optional<PodCondition> written = {};
    SteadyTime written_at = {};
    bool over = false;  // the pod is not that pod any more
  };
  struct Letter {
    PodEvent event;
    Instant since;
    Backoff backoff;
    SteadyTime due = SteadyTime::min();
    std::optional<ApiCaller::Id> call = {};
    uint64_t number = 0;
    bool anew = false;  // the event of before is gone, or may not be changed
  };
  // An event that was written, for when the same is said again: one with a count, and not many.
  struct Series {
    std::string name;
    WallTime first;
    SteadyTime last;
    uint64_t count = 0;
  };

  [[nodiscard]] size_t under_way() const;
  [[nodiscard]] bool needs_write(const Job& job, const Pod& pod) const;
  SteadyTime step_conditions();
  SteadyTime step_events();
  void write(Job& job, const Pod& pod);
  void written(const std::string& uid, const PodCondition& condition, const ApiAnswer& answer);
  void write_failed(Job& job, const ApiAnswer& answer);
  void send(Letter& letter);
  [[nodiscard]] ApiCall call_for(const Letter& letter) const;
  void keep_series(const Letter& letter, const ApiAnswer& answer);
  void forget_series();
  void sent(uint64_t number, const ApiAnswer& answer);
  void drop(std::deque<Letter>::iterator letter, const std::string& why);

  World world_;
  std::string node_;
  const Pods& pods_;
  std::map<std::string, Job> jobs_;  // by uid
  std::deque<Letter> letters_;
  std::map<std::string, Series> series_;  // by pod, reason and message
  uint64_t next_number_ = 0;
  Backoff pause_;
  SteadyTime paused_until_ = SteadyTime::min();
  Trouble conditions_trouble_, events_trouble_;
};

}  // namespace slogate
