// SPDX-License-Identifier: Apache-2.0
#include "agent/page/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "agent/host/addresses.h"
#include "agent/page/assets.h"

namespace slogate {
namespace {

// A longer text is no part of a name.
constexpr size_t kLongestMatch = 200;

// The browser asks again: a viewer that is gone without a word must not stay.
constexpr std::chrono::minutes kLongestView{60};

// The host of "host:port"; of "[::1]:9937" with its brackets.
std::string_view host_of(std::string_view authority) {
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos || (bracket != std::string_view::npos && colon < bracket))
    return authority;
  return authority.substr(0, colon);
}

// A site that somebody visits on this node may call itself by a name of its own that leads here,
// and then read what it gets (DNS rebinding). It cannot choose a name that is an address, or ours.
bool is_own_name(std::string_view authority, std::string_view node) {
  const std::string_view host = host_of(authority);
  if (host.empty() || host == "localhost" || host == node || host.starts_with('[')) return true;
  return host.find_first_not_of("0123456789.") == std::string_view::npos;
}

// A misspelt parameter must not change the answer in silence.
std::optional<PageQuery> parse_query(const Pairs& pairs) {
  PageQuery query;
  for (const auto& [name, value] : pairs) {
    if (name == "match" && value.size() <= kLongestMatch) {
      query.match = value;
    } else if (name == "all" && (value == "0" || value == "1")) {
      query.all = value == "1";
    } else if (name == "sort") {
      const auto* found = std::ranges::find(kPageSorts, value);
      if (found == kPageSorts.end()) return std::nullopt;
      query.sort = static_cast<PageSort>(found - kPageSorts.begin());
    } else {
      return std::nullopt;
    }
  }
  return query;
}

// One event of the stream: the id of an element and what is in it now.
std::string event_of(const PagePart& part) {
  return fmt::format("data: {} {}\n\n", part.id, part.html);
}

// What one viewer has seen.
struct Viewer {
  std::map<std::string_view, size_t> hashes = {};  // of the parts
  uint64_t ticks = 0;
  std::shared_ptr<const void> events = {};

  // Once a tick, and at once when a verdict has changed.
  [[nodiscard]] bool has_news(const Snapshot& now) const {
    return now.agent.ticks != ticks || now.events != events;
  }
  std::string take(const Snapshot& now, const std::vector<PagePart>& parts) {
    ticks = now.agent.ticks;
    events = now.events;
    std::string text;
    for (const PagePart& part : parts) {
      const size_t hash = std::hash<std::string>()(part.html);
      const auto [found, is_new] = hashes.try_emplace(part.id, hash);
      if (!is_new && found->second == hash) continue;
      found->second = hash;
      text += event_of(part);
    }
    return text;
  }
};

}  // namespace

std::string page_policy() {
  return fmt::format(
      "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; "
      "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
      kPageStyleHash, kPageScriptHash);
}

void Page::apply(PageFor page) {
  const std::lock_guard lock(mutex_);
  for_ = page;
  if (page == PageFor::Off) history_ = {};
}

void Page::tick(const Snapshot& snapshot, TickTime now) {
  const std::lock_guard lock(mutex_);
  if (for_ != PageFor::Off) history_.tick(snapshot, now);
}

// A proxy on this node asks for whoever asked it.
bool Page::is_local(const HttpRequest& request) const {
  if (!request.client || request.forwarded || !is_own_name(request.host, options_.node))
    return false;
  if (is_loopback(*request.client)) return true;
  return std::ranges::any_of(options_.addresses(), [&](const slogate_address& own) {
    return is_same(own, *request.client);
  });
}

std::vector<PagePart> Page::parts(const Snapshot& snapshot, const PageQuery& query,
                                  PageSight sight) {
  const PageView view = [&] {
    const std::lock_guard lock(mutex_);
    return look(snapshot, history_, query);
  }();
  return page_parts(snapshot, view, sight);
}

HttpResponse Page::page(const PageQuery& query, PageSight sight) {
  const auto snapshot = options_.latest();
  if (!snapshot) return error_response(503, "the first tick has not been made yet");
  return {.content_type = "text/html; charset=utf-8",
          .body = page_html(*snapshot, parts(*snapshot, query, sight), query, sight, options_.node),
          .headers = {{"Content-Security-Policy", page_policy()},
                      {"Referrer-Policy", "no-referrer"},
                      {"Cross-Origin-Resource-Policy", "same-origin"}}};
}

HttpResponse Page::live(const PageQuery& query, PageSight sight) {
  HttpResponse response{.content_type = "text/event-stream", .body = "retry: 5000\n\n"};
  const auto end = std::chrono::steady_clock::now() + kLongestView;
  response.more = [this, query, sight, end,
                   viewer = Viewer{}]() mutable -> std::optional<std::string> {
    if (std::chrono::steady_clock::now() >= end) return std::nullopt;
    const auto snapshot = options_.latest();
    if (!snapshot || !viewer.has_news(*snapshot)) return "";
    return viewer.take(*snapshot, parts(*snapshot, query, sight));
  };
  return response;
}

std::optional<HttpResponse> Page::answer(const HttpRequest& request) {
  const bool is_live = request.path == "/live";
  if (!is_live && request.path != "/") return std::nullopt;
  const PageFor page_for = [this] {
    const std::lock_guard lock(mutex_);
    return for_;
  }();
  if (page_for == PageFor::Off) return std::nullopt;
  if (request.method != "GET") return method_not_allowed("GET, HEAD");
  const bool local = is_local(request);
  if (page_for == PageFor::Local && !local)
    return error_response(403,
                          "the page is for clients on this node, by its address or its own name; "
                          "page: on in the configuration shows it to everybody");
  const auto query = parse_query(request.query);
  if (!query)
    return error_response(400, "the parameters are sort, match and all, each as the page has them");
  const PageSight sight{.evidence = local || options_.api_is_open};
  return is_live ? live(*query, sight) : page(*query, sight);
}

}  // namespace slogate
