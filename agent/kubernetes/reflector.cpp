// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/reflector.h"

#include <fmt/format.h>

#include <utility>

#include "agent/kubernetes/text.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

constexpr int kPageSize = 500;
constexpr std::chrono::seconds kListLimit{120};
// 50,000 objects: no node and no Deployment has a tenth of that.
constexpr unsigned kMostPages = 100;
// A watch of this length was a good one: the next failure is a new one.
constexpr auto kGoodWatch = 10s;
// A watch that lives so long is no accident of a server that is still in trouble.
constexpr auto kSettled = 2s;
// Watches end after 4 to 6 minutes: spread, or those of a fleet would end together for ever.
constexpr std::chrono::seconds kShortestWatch{240};
constexpr double kWatchSpread = 120;
// A server answers a watch at once, also when nothing happens.
constexpr auto kOpensWithin = 30s;
// For an answer that takes its time to end after that.
constexpr std::chrono::seconds kWatchGrace{30};

constexpr int kBadRequest = 400;
constexpr int kGone = 410;
constexpr int kTimeout = 504;  // with a version of the future, as after etcd was restored

bool is_gone(const ApiStatus& status) {
  return status.code == kGone || status.reason == "Expired" || status.reason == "Gone";
}

// The server cannot go on from the version we have.
bool refuses_version(int status) {
  return status == kGone || status == kTimeout || status == kBadRequest;
}

}  // namespace

Reflector::Reflector(World world, Settings settings, ReflectorSink& sink)
    : world_(std::move(world)),
      settings_(std::move(settings)),
      sink_(sink),
      backoff_(world_.random) {}

Reflector::~Reflector() {
  stop();
}

void Reflector::stop() {
  if (call_) world_.caller->cancel(*call_);
  call_.reset();
  opened_.reset();
}

SteadyTime Reflector::step() {
  const SteadyTime now = world_.clock().steady;
  if (opened_ && now - *opened_ >= kSettled)
    trouble_.well();
  else if (opened_)
    return *opened_ + kSettled;
  if (call_) return current_ && !opened_ ? await_opening(now) : kNever;
  if (now < due_) return due_;
  if (!current_) {
    list();
    return kNever;
  }
  watch();
  watched_ = now;
  return now + kOpensWithin;
}

// One that accepts and then says nothing would be believed until the watch is over.
SteadyTime Reflector::await_opening(SteadyTime now) {
  if (now < watched_ + kOpensWithin) return watched_ + kOpensWithin;
  stop();
  const ApiAnswer silence{.end = ApiAnswer::End::Away, .error = "it does not answer in time"};
  failed(to_failure(silence, "watch", settings_.resource), silence);
  return due_;
}

// ---- list ----

// From the server's cache, which finds the pods of a node by an index. A list of the newest state
// makes it read all pods of the cluster from etcd, and when an API server starts again all agents
// list at once. A version without `limit` means "not older than": with one it would mean etcd
// again.
std::string Reflector::list_target() const {
  std::string target = settings_.path + "?" + settings_.selector;
  if (!next_page_.empty())
    return target + fmt::format("&limit={}&continue={}", kPageSize, url_escape(next_page_));
  if (from_store_) return target + fmt::format("&limit={}", kPageSize);
  if (resource_version_.empty())
    return target + fmt::format("&limit={}&resourceVersion=0", kPageSize);
  return target + fmt::format("&resourceVersion={}", url_escape(resource_version_));
}

void Reflector::list() {
  if (next_page_.empty()) {
    pages_ = 0;
    sink_.begin();
  }
  call_ = world_.caller->start({.target = list_target(), .limit = kListLimit},
                               {.done = [this](const ApiAnswer& answer) { listed(answer); }});
}

void Reflector::listed(const ApiAnswer& answer) {
  call_.reset();
  if (!answer.good()) return list_failed(answer);
  take_page(answer);
}

void Reflector::list_failed(const ApiAnswer& answer) {
  if (refuses_version(answer.status)) from_store_ = true;
  list_anew();
  failed(to_failure(answer, "list", settings_.resource), answer);
}

void Reflector::take_page(const ApiAnswer& answer) {
  auto page =
      parse_list(answer.body, [this](const ApiJson& object) { return sink_.stage(object); });
  if (page && !page->next.empty() && ++pages_ == kMostPages)
    page = fail(fmt::format("a list of more than {} pages", kMostPages));
  if (!page) {
    list_anew();
    return failed(
        garbage(fmt::format("list {}: {}", settings_.resource, for_log(page.error().message))));
  }
  next_page_ = std::move(page->next);
  due_ = SteadyTime::min();
  if (!next_page_.empty()) return;
  sink_.commit();
  resource_version_ = std::move(page->resource_version);
  current_ = true;
  synced_ = true;
  from_store_ = false;
}

void Reflector::list_anew() {
  current_ = false;
  next_page_.clear();
}

// ---- watch ----

void Reflector::watch() {
  const auto length =
      kShortestWatch + std::chrono::seconds(static_cast<int64_t>(kWatchSpread * world_.random()));
  ApiCall call{.target = fmt::format("{}?{}&watch=1&allowWatchBookmarks=true&resourceVersion={}"
                                     "&timeoutSeconds={}",
                                     settings_.path, settings_.selector,
                                     url_escape(resource_version_), length.count()),
               .limit = length + kWatchGrace,
               .watch = true};
  call_ = world_.caller->start(std::move(call),
                               {.done = [this](const ApiAnswer& answer) { watch_ended(answer); },
                                .line = [this](std::string_view text) { line(text); },
                                .opened = [this] { opened_ = world_.clock().steady; }});
}

void Reflector::line(std::string_view text) {
  const auto event = parse_event(text);
  if (!event) {
    stop();
    list_anew();
    return failed(
        garbage(fmt::format("watch {}: {}", settings_.resource, for_log(event.error().message))));
  }
  using Type = WatchEvent::Type;
  if (event->type == Type::Error) return error_event(to_status(event->object));
  if (event->type == Type::Changed) sink_.change(event->object);
  if (event->type == Type::Deleted) sink_.remove(event->object);
  if (std::string version = resource_version_of(event->object); !version.empty())
    resource_version_ = std::move(version);
}

// Too old a version is a matter of course: after an outage, or when nothing of ours happened for
// long. Any other error leaves open what was missed.
void Reflector::error_event(const ApiStatus& status) {
  stop();
  list_anew();
  ApiAnswer answer{.status = is_gone(status) ? kGone : static_cast<int>(status.code)};
  failed({fmt::format("the API server ends the watch of {}", settings_.resource),
          for_log(status.message)},
         answer);
}

void Reflector::watch_ended(const ApiAnswer& answer) {
  const SteadyTime now = world_.clock().steady;
  const bool good = opened_ && now - *opened_ >= kGoodWatch;
  call_.reset();
  opened_.reset();
  if (good) backoff_.reset();
  if (answer.good() && good) {
    due_ = SteadyTime::min();
    return;
  }
  if (refuses_version(answer.status) || answer.end == ApiAnswer::End::Garbage) list_anew();
  if (answer.good())
    return failed(
        {fmt::format("the API server ends each watch of {} at once", settings_.resource), ""});
  failed(to_failure(answer, "watch", settings_.resource), answer);
}

// One failure that the next attempt makes good is nobody's business, once there is something known.
void Reflector::failed(const Failure& failure, const ApiAnswer& answer) {
  const Instant now = world_.clock();
  due_ = now.steady + backoff_.next(answer);
  trouble_.failed(failure, now.wall, failure.forbidden || !synced_ || backoff_.failures() > 1);
}

}  // namespace slogate
