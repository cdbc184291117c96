// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/base/log.h"
#include "agent/base/tick_time.h"
#include "agent/base/units.h"
#include "agent/kubernetes/text.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

constexpr size_t kMostCalls = 4;  // at once
constexpr auto kLetterLife = 1min;
// Of events that may be said again, and for how long after the last time.
constexpr size_t kMostSeries = 1'000;
constexpr auto kSeriesLife = 2h;
// How long a watch may take to tell of a condition that was written, before it is written again.
constexpr auto kBelieved = 30s;
constexpr std::chrono::seconds kWriteLimit{20};
// The API server refuses longer ones.
constexpr size_t kLongestEventMessage = 1024;
constexpr size_t kLongestConditionMessage = 32'768;

constexpr int kUnauthorized = 401;
constexpr int kForbidden = 403;
constexpr int kNotFound = 404;
constexpr int kConflict = 409;
constexpr int kInvalid = 422;
constexpr int kTooManyRequests = 429;

// Of the server, and not of this one object.
bool concerns_all(const ApiAnswer& answer) {
  return answer.end != ApiAnswer::End::Whole || answer.status == kUnauthorized ||
         answer.status == kForbidden || answer.status == kTooManyRequests || answer.status == 503;
}

bool may_pass(const ApiAnswer& answer) {
  return answer.end != ApiAnswer::End::Whole || answer.status == kUnauthorized ||
         answer.status == kTooManyRequests || answer.status >= 500;
}

// A pod of the same name, but another one: a field that can't change to older servers (1.20), a
// precondition to newer ones. A conflict of versions is something else: another try may go better.
bool is_another_pod(const ApiAnswer& answer) {
  if (answer.status != kConflict && answer.status != kInvalid) return false;
  const std::string message = parse_status(answer.body).message;
  return message.find(answer.status == kConflict ? "UID" : "metadata.uid") != std::string::npos;
}

std::string to_text(const ApiJson& json) {
  return json.dump(-1, ' ', false, ApiJson::error_handler_t::replace);
}

std::string pods_path(const std::string& namespace_) {
  return fmt::format("/api/v1/namespaces/{}/pods", url_escape(namespace_));
}

// The uid makes the server refuse when the name belongs to another pod by now. Merged by type, so
// conditions of others and, without a new one, the time of the last change stay as they are.
std::string patch(const PodCondition& condition, bool changes, int64_t generation, WallTime now) {
  ApiJson one = {{"type", kConditionType},
                 {"status", condition.status ? "True" : "False"},
                 {"reason", condition.reason},
                 {"message", cut_text(condition.message, kLongestConditionMessage)}};
  if (changes) one["lastTransitionTime"] = to_rfc3339(now);
  // Servers before 1.33 count no generations of pods.
  if (generation > 0) one["observedGeneration"] = generation;
  return to_text({{"metadata", {{"uid", condition.uid}}},
                  {"status", {{"conditions", ApiJson::array({std::move(one)})}}}});
}

std::string series_key(const PodEvent& event) {
  return fmt::format("{}/{}/{}", event.uid, event.reason, event.message);
}

std::string event_text(const PodEvent& event, const std::string& node, WallTime first,
                       WallTime last, uint64_t count) {
  return to_text(
      {{"apiVersion", "v1"},
       {"kind", "Event"},
       {"metadata", {{"generateName", event.name + "."}, {"namespace", event.namespace_}}},
       {"involvedObject",
        {{"apiVersion", "v1"},
         {"kind", "Pod"},
         {"namespace", event.namespace_},
         {"name", event.name},
         {"uid", event.uid}}},
       {"type", event.warning ? "Warning" : "Normal"},
       {"reason", event.reason},
       {"message", cut_text(event.message, kLongestEventMessage)},
       {"firstTimestamp", to_rfc3339(first)},
       {"lastTimestamp", to_rfc3339(last)},
       {"count", count},
       {"source", {{"component", "slogate-agent"}, {"host", node}}},
       {"reportingComponent", "slogate-agent"},
       {"reportingInstance", node}});
}

}  // namespace

Writer::~Writer() {
  for (const auto& [uid, job] : jobs_)
    if (job.call) world_.caller->cancel(*job.call);
  for (const Letter& letter : letters_)
    if (letter.call) world_.caller->cancel(*letter.call);
}

size_t Writer::under_way() const {
  const auto busy = [](const auto& one) { return one.call.has_value(); };
  return static_cast<size_t>(
      std::count_if(jobs_.begin(), jobs_.end(),
                    [](const auto& pair) { return pair.second.call.has_value(); }) +
      std::count_if(letters_.begin(), letters_.end(), busy));
}

SteadyTime Writer::step() {
  const SteadyTime conditions = step_conditions();
  return std::min(conditions, step_events());
}

// ---- conditions ----

// What is known of a pod that stays goes on: its write under way, how often it failed.
void Writer::set_conditions(std::vector<PodCondition> conditions) {
  std::map<std::string, Job> jobs;
  for (PodCondition& condition : conditions) {
    const std::string uid = condition.uid;
    auto known = jobs_.extract(uid);
    if (known) {
      if (known.mapped().wanted != condition && !known.mapped().over) {
        known.mapped().due = SteadyTime::min();
        known.mapped().backoff.reset();
      }
      known.mapped().wanted = std::move(condition);
      jobs.insert(std::move(known));
    } else {
      jobs.emplace(uid, Job(std::move(condition), world_.random));
    }
  }
  // What is left is not wanted any more; a write that is on its way can't be called back.
  for (const auto& [uid, job] : jobs_)
    if (job.call) world_.caller->cancel(*job.call);
  jobs_ = std::move(jobs);
  if (jobs_.empty()) conditions_trouble_.well();
}

bool Writer::needs_write(const Job& job, const Pod& pod) const {
  const PodCondition& wanted = job.wanted;
  if (job.over || pod.gone) return false;
  // Only of a server that keeps what we say of generations: others leave it out for ever.
  const bool outdated = pod.condition_generation > 0 && pod.condition_generation < pod.generation;
  if (!outdated && pod.condition == wanted.status && pod.condition_reason == wanted.reason &&
      pod.condition_message == wanted.message)
    return false;
  const bool believed = job.written == wanted && world_.clock().steady - job.written_at < kBelieved;
  return !believed;
}

SteadyTime Writer::step_conditions() {
  const SteadyTime now = world_.clock().steady;
  size_t busy = under_way();
  SteadyTime next = kNever;
  for (auto& [uid, job] : jobs_) {
    if (job.call) continue;
    const auto pod = pods_.find(uid);
    if (!pod) continue;  // not yet, or no more
    if (!needs_write(job, *pod)) {
      // The condition that is not there yet may never come.
      if (job.written == job.wanted && now - job.written_at < kBelieved)
        next = std::min(next, job.written_at + kBelieved);
      continue;
    }
    const SteadyTime due = std::max(job.due, paused_until_);
    if (now < due) {
      next = std::min(next, due);
    } else if (busy < kMostCalls) {
      ++busy;
      write(job, *pod);
    }
  }
  return next;
}

void Writer::write(Job& job, const Pod& pod) {
  const PodCondition& wanted = job.wanted;
  const Instant now = world_.clock();
  const bool fresh = job.written && now.steady - job.written_at < kBelieved;
  const std::optional<bool> before = fresh ? std::optional(job.written->status) : pod.condition;
  ApiCall call{
      .method = "PATCH",
      .target = fmt::format("{}/{}/status", pods_path(wanted.namespace_), url_escape(wanted.name)),
      .body = patch(wanted, before != wanted.status, pod.generation, now.wall),
      .content_type = "application/strategic-merge-patch+json",
      .limit = kWriteLimit};
  job.call = world_.caller->start(
      std::move(call),
      {.done = [this, wanted](const ApiAnswer& answer) { written(wanted.uid, wanted, answer); }});
}

void Writer::written(const std::string& uid, const PodCondition& condition,
                     const ApiAnswer& answer) {
  const auto found = jobs_.find(uid);
  if (found == jobs_.end()) return;
  Job& job = found->second;
  job.call.reset();
  if (!answer.good()) return write_failed(job, answer);
  job.written = condition;
  job.written_at = world_.clock().steady;
  job.backoff.reset();
  pause_.reset();
  paused_until_ = SteadyTime::min();
  conditions_trouble_.well();
}

void Writer::write_failed(Job& job, const ApiAnswer& answer) {
  if (answer.status == kNotFound || is_another_pod(answer)) {
    job.over = true;
    return;
  }
  const Instant now = world_.clock();
  job.due = now.steady + job.backoff.next(answer);
  // The calls beside this one fail for the same reason: one failure, one step of the pause.
  if (concerns_all(answer) && now.steady >= paused_until_)
    paused_until_ = now.steady + pause_.next(answer);
  const Failure failure = to_failure(answer, "patch", "pods/status");
  // Nor are the lists worth a line for one failure that the next attempt makes good.
  conditions_trouble_.failed(failure, now.wall, failure.forbidden || job.backoff.failures() > 1);
}

// ---- events ----

void Writer::post(std::vector<PodEvent> events, size_t dropped) {
  const Instant now = world_.clock();
  forget_series();
  for (PodEvent& event : events) {
    if (letters_.size() >= kMostWaitingEvents) {
      ++dropped;
      continue;
    }
    letters_.push_back({.event = std::move(event),
                        .since = now,
                        .backoff = Backoff(world_.random),
                        .number = next_number_++});
  }
  if (dropped > 0)
    log_line(
        fmt::format("kubernetes: {} events dropped: {} others wait", dropped, kMostWaitingEvents));
}

SteadyTime Writer::step_events() {
  const SteadyTime now = world_.clock().steady;
  while (!letters_.empty() && now - letters_.front().since.steady >= kLetterLife)
    drop(letters_.begin(), "not written within a minute");
  size_t busy = under_way();
  SteadyTime next = letters_.empty() ? kNever : letters_.front().since.steady + kLetterLife;
  for (Letter& letter : letters_) {
    if (letter.call) continue;
    if (now < letter.due) {
      next = std::min(next, letter.due);
    } else if (busy < kMostCalls) {
      ++busy;
      send(letter);
    }
  }
  return next;
}

// The server keeps a changed event for as long as a new one, so what is said again lives on as one
// with a count.
ApiCall Writer::call_for(const Letter& letter) const {
  const std::string path =
      fmt::format("/api/v1/namespaces/{}/events", url_escape(letter.event.namespace_));
  const WallTime last = letter.since.wall;
  const auto series = series_.find(series_key(letter.event));
  if (series == series_.end() || letter.anew) {
    const bool again = series != series_.end();
    return {.method = "POST",
            .target = path,
            .body = event_text(letter.event, node_, again ? series->second.first : last, last,
                               again ? series->second.count + 1 : 1),
            .content_type = "application/json",
            .limit = kWriteLimit};
  }
  return {
      .method = "PATCH",
      .target = fmt::format("{}/{}", path, url_escape(series->second.name)),
      .body = to_text({{"count", series->second.count + 1}, {"lastTimestamp", to_rfc3339(last)}}),
      .content_type = "application/strategic-merge-patch+json",
      .limit = kWriteLimit};
}

void Writer::send(Letter& letter) {
  letter.call = world_.caller->start(
      call_for(letter),
      {.done = [this, number = letter.number](const ApiAnswer& answer) { sent(number, answer); }});
}

void Writer::keep_series(const Letter& letter, const ApiAnswer& answer) {
  const auto event = parse_object(answer.body);
  std::string name = event ? name_of(*event) : "";
  if (name.empty()) return;
  if (series_.size() >= kMostSeries) return;
  Series& series = series_.try_emplace(series_key(letter.event), Series{.first = letter.since.wall})
                       .first->second;
  series.name = std::move(name);
  series.last = letter.since.steady;
  ++series.count;
}

void Writer::forget_series() {
  const SteadyTime now = world_.clock().steady;
  std::erase_if(series_, [now](const auto& pair) { return now - pair.second.last >= kSeriesLife; });
}

void Writer::sent(uint64_t number, const ApiAnswer& answer) {
  const auto letter = std::find_if(letters_.begin(), letters_.end(),
                                   [number](const Letter& one) { return one.number == number; });
  if (letter == letters_.end()) return;
  letter->call.reset();
  if (answer.good()) {
    keep_series(*letter, answer);
    letters_.erase(letter);
    events_trouble_.well();
    return;
  }
  const Instant now = world_.clock();
  const bool known = series_.contains(series_key(letter->event));
  if (known && !letter->anew && (answer.status == kNotFound || answer.status == kForbidden)) {
    letter->anew = true;
    return;
  }
  const Failure failure = to_failure(answer, "create", "events");
  if (may_pass(answer)) {
    letter->due = now.steady + letter->backoff.next(answer);
    events_trouble_.failed(failure, now.wall, letter->backoff.failures() > 1);
    return;
  }
  events_trouble_.failed(failure, now.wall);
  letters_.erase(letter);  // the trouble is in the log
}

void Writer::drop(std::deque<Letter>::iterator letter, const std::string& why) {
  if (letter->call) world_.caller->cancel(*letter->call);
  log_line(fmt::format("kubernetes: event {} of pod {}/{} dropped: {}",
                       for_log(letter->event.reason), for_log(letter->event.namespace_),
                       for_log(letter->event.name), why));
  letters_.erase(letter);
}

}  // namespace slogate
