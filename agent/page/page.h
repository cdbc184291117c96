// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/tick_time.h"
#include "agent/config/config.h"
#include "agent/http/http_message.h"
#include "agent/page/history.h"
#include "agent/page/render.h"
#include "agent/snapshot.h"
#include "maps/abi.h"

namespace slogate {

// So many may watch the page live at once; whoever comes then has it as of now.
inline constexpr size_t kMostViewers = 8;

// Answers GET / with the page of the node, and GET /live with what changes of it, for as long as
// somebody looks. One thread ticks, another one answers; the history, which both need, is under a
// lock that is held while a part of it is copied.
class Page {
 public:
  using Latest = std::function<std::shared_ptr<const Snapshot>()>;

  struct Options {
    std::string node;  // its name
    // Whether the API may be read over TCP: then what it tells is told here as well.
    bool api_is_open = false;
    // The latest snapshot, null before the first; called on the thread that answers.
    Latest latest;
    // This node's addresses.
    std::function<std::vector<slogate_address>()> addresses;
  };
  explicit Page(Options options) : options_(std::move(options)) {}

  // On the thread that ticks, once a tick.
  void tick(const Snapshot& snapshot, TickTime now);
  // On any thread.
  void apply(PageFor page);

  // On the thread that answers. Nothing for a path that is not the page's.
  [[nodiscard]] std::optional<HttpResponse> answer(const HttpRequest& request);

 private:
  // Whether who asks is on this node.
  [[nodiscard]] bool is_local(const HttpRequest& request) const;
  [[nodiscard]] std::vector<PagePart> parts(const Snapshot& snapshot, const PageQuery& query,
                                            PageSight sight);
  [[nodiscard]] HttpResponse page(const PageQuery& query, PageSight sight);
  [[nodiscard]] HttpResponse live(const PageQuery& query, PageSight sight);

  Options options_;
  std::mutex mutex_;
  PageFor for_ = PageFor::Off;
  History history_;
};

// What the page may do in a browser: show itself, and ask the address it came from.
[[nodiscard]] std::string page_policy();

}  // namespace slogate
