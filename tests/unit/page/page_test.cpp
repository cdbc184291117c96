// SPDX-License-Identifier: Apache-2.0
#include "agent/page/page.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "agent/base/html.h"
#include "agent/host/addresses.h"
#include "tests/support/replay.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kHostile = "/x\"><script>alert(1)</script>&amp;'\xff\x1b[31m\xe2\x80\xae\n";

slogate_address address_of(const std::string& text) {
  sockaddr_in6 v6{.sin6_family = AF_INET6};
  if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1)
    return *to_address(reinterpret_cast<const sockaddr*>(&v6));
  sockaddr_in v4{.sin_family = AF_INET};
  EXPECT_EQ(::inet_pton(AF_INET, text.c_str(), &v4.sin_addr), 1) << text;
  return *to_address(reinterpret_cast<const sockaddr*>(&v4));
}

std::shared_ptr<const Counts> counts_of(uint64_t requests, size_t bucket = 96) {
  Counts counts;
  if (requests != 0) counts.histograms[SLOGATE_SIGNAL_request][bucket] = requests;
  return std::make_shared<const Counts>(counts);
}

Workload workload_of(uint64_t id, std::string path, uint64_t requests) {
  Workload workload{.id = id, .path = std::move(path), .service = counts_of(requests)};
  return workload;
}

// A veto whose canary took twice as long, with everything that a judge says of it.
std::shared_ptr<const Verdict> vetoed() {
  support::Replay replay(support::default_slo(0.001));
  std::mt19937_64 random{1};
  const support::Sampler good{support::lognormal()}, bad{support::scaled(support::lognormal(), 2)};
  const auto draw = [&](const support::Sampler& sampler) {
    Histogram histogram;
    sampler.draw(random, 250, histogram);
    return histogram;
  };
  for (size_t i = 0; i < 280; ++i) replay.step({}, draw(good));
  for (size_t i = 0; i < 40; ++i) replay.step(draw(bad), draw(good));
  EXPECT_EQ(replay.judge().verdict()->decision, Decision::Veto);
  return replay.judge().verdict();
}

Snapshot snapshot_with(std::vector<Workload> workloads) {
  Snapshot snapshot;
  snapshot.agent.version = "0.1.0";
  snapshot.agent.kernel = "6.18.44";
  snapshot.agent.ticks = 1;
  snapshot.workloads = std::move(workloads);
  snapshot.drop_reasons = std::make_shared<const std::vector<std::string>>();
  snapshot.maps = {{"slogate_slab", "array_of_maps", 3, 64, 655360, 1, 2, "no_slot"}};
  snapshot.probes = {
      {.probe = SLOGATE_PROBE_first_read, .reason = "no <such> thing", .degraded = true}};
  return snapshot;
}

void add_verdict(Snapshot& snapshot, const std::shared_ptr<const Verdict>& verdict) {
  auto verdicts = std::make_shared<Verdicts>(*snapshot.verdicts);
  auto status = std::make_shared<SloStatus>();
  status->slo.name = verdict->slo;
  status->canary = {"/demo/canary"};
  verdicts->slos.push_back(status);
  verdicts->list.push_back(verdict);
  snapshot.verdicts = verdicts;
}

// A page and whoever asks for it.
class PageTest : public ::testing::Test {
 protected:
  PageTest() { page_.apply(PageFor::Local); }

  Page& make(bool api_is_open) {
    other_.emplace(options(api_is_open));
    return *other_;
  }
  Page::Options options(bool api_is_open) {
    return {.node = "node-7",
            .api_is_open = api_is_open,
            .latest = [this] { return snapshot_; },
            .addresses =
                [] {
                  return std::vector{address_of("10.1.2.3"), address_of("fd00::3")};
                }};
  }
  static HttpRequest from(const std::string& client, const std::string& path = "/") {
    return {.method = "GET",
            .path = path,
            .query = {},
            .body = "",
            .accept = "",
            .accept_encoding = "",
            .peer = {},
            .client = address_of(client),
            .host = "127.0.0.1:9937"};
  }
  static int status(const std::optional<HttpResponse>& response) {
    return response ? response->status : 0;
  }
  void publish(Snapshot snapshot) {
    snapshot_ = std::make_shared<const Snapshot>(std::move(snapshot));
  }
  // Ticks of a second each, with the snapshot of each.
  template <typename F>
  void pass(Page& page, size_t ticks, const F& snapshot_at) {
    for (size_t i = 0; i < ticks; ++i) {
      publish(snapshot_at(ticks_));
      page.tick(*snapshot_, {.system = {}, .monotonic = std::chrono::seconds(++ticks_)});
    }
  }

  std::shared_ptr<const Snapshot> snapshot_ =
      std::make_shared<const Snapshot>(snapshot_with({workload_of(1, "/demo/canary", 5)}));
  Page page_{options(false)};
  std::optional<Page> other_;
  uint64_t ticks_ = 0;
};

// ---- who gets it ----

TEST_F(PageTest, LocalIsForClientsOnThisNode) {
  for (const char* own : {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3",
                          "::ffff:10.1.2.3", "fd00::3"})
    for (const char* path : {"/", "/live"})
      EXPECT_EQ(status(page_.answer(from(own, path))), 200) << own << path;
  for (const char* other : {"10.1.2.4", "8.8.8.8", "fd00::4", "::", "128.0.0.1"})
    for (const char* path : {"/", "/live"}) {
      const auto refused = page_.answer(from(other, path));
      EXPECT_EQ(status(refused), 403) << other << path;
      EXPECT_THAT(refused->body, HasSubstr("page: on"));
      EXPECT_THAT(refused->body, Not(HasSubstr("demo")));
    }
  HttpRequest unknown = from("127.0.0.1");
  unknown.client.reset();
  EXPECT_EQ(status(page_.answer(unknown)), 403);
}

TEST_F(PageTest, AProxyOnThisNodeIsNotItsClient) {
  HttpRequest request = from("127.0.0.1");
  request.forwarded = true;
  EXPECT_EQ(status(page_.answer(request)), 403);
}

TEST_F(PageTest, ANameThatSomebodyElseChoseIsNotThisNode) {
  for (const char* own : {"", "localhost", "localhost:9937", "127.0.0.1", "10.1.2.3:9937",
                          "[::1]:9937", "[::1]", "node-7:9937", "node-7"}) {
    HttpRequest request = from("127.0.0.1");
    request.host = own;
    EXPECT_EQ(status(page_.answer(request)), 200) << own;
  }
  for (const char* other : {"evil.example", "evil.example:9937", "node-7.evil.example",
                            "127.0.0.1.evil.example:9937", "xnode-7"}) {
    HttpRequest request = from("127.0.0.1");
    request.host = other;
    EXPECT_EQ(status(page_.answer(request)), 403) << other;
  }
}

TEST_F(PageTest, OffIsAsIfThereWereNone) {
  page_.apply(PageFor::Off);
  EXPECT_FALSE(page_.answer(from("127.0.0.1")).has_value());
  EXPECT_FALSE(page_.answer(from("127.0.0.1", "/live")).has_value());
}

TEST_F(PageTest, OtherPathsAreNotIts) {
  for (const char* path : {"/metrics", "/healthz", "/v1/status", "//", "/live/", "/index.html"})
    EXPECT_FALSE(page_.answer(from("127.0.0.1", path)).has_value()) << path;
}

// What only the API tells.
TEST_F(PageTest, OthersSeeEvidenceAndEventsOnlyWhereTheApiIsOpen) {
  Snapshot snapshot = snapshot_with({workload_of(1, "/demo/canary", 5)});
  add_verdict(snapshot, vetoed());
  snapshot.events = std::make_shared<const std::deque<Event>>(
      std::deque<Event>{{.id = 1, .type = "verdict", .message = "it was told"}});
  snapshot.agent.problems = {{"state", "the disk is full"}};
  publish(snapshot);
  const std::vector<std::string> guarded = {"p99 of request: canary", "it was told",
                                            "class=\"chart", "the disk is full",
                                            "no &lt;such&gt; thing"};
  for (const bool api_is_open : {false, true}) {
    Page& page = make(api_is_open);
    page.apply(PageFor::On);
    for (const std::string client : {"8.8.8.8", "127.0.0.1"}) {
      const bool told = api_is_open || client == "127.0.0.1";
      const auto shown = page.answer(from(client));
      const auto live = page.answer(from(client, "/live"));
      ASSERT_TRUE(shown && live);
      const std::string stream = live->more().value();
      for (const std::string& text : guarded)
        for (const std::string* where : {&shown->body, &stream})
          EXPECT_EQ(where->contains(text), told) << text << " for " << client;
      // What /metrics says is for everybody.
      for (const char* text : {"/demo/canary", ">veto<", "slogate_slab"})
        EXPECT_THAT(shown->body, HasSubstr(text));
    }
  }
}

TEST_F(PageTest, WhatIsAskedForInTheWrongWordsIsRefused) {
  const auto with = [](Pairs query) {
    HttpRequest request = from("127.0.0.1");
    request.query = std::move(query);
    return request;
  };
  EXPECT_EQ(status(page_.answer(with({{"sort", "p99"}, {"match", "a b<"}, {"all", "1"}}))), 200);
  EXPECT_EQ(status(page_.answer(with({{"sort", "p98"}}))), 400);
  EXPECT_EQ(status(page_.answer(with({{"all", "yes"}}))), 400);
  EXPECT_EQ(status(page_.answer(with({{"match", std::string(201, 'a')}}))), 400);
  EXPECT_EQ(status(page_.answer(with({{"x", "1"}}))), 400);
  HttpRequest post = from("127.0.0.1");
  post.method = "POST";
  EXPECT_EQ(status(page_.answer(post)), 405);
}

TEST_F(PageTest, BeforeTheFirstTickThereIsNothingToShow) {
  snapshot_ = nullptr;
  EXPECT_EQ(status(page_.answer(from("127.0.0.1"))), 503);
  const auto live = page_.answer(from("127.0.0.1", "/live"));
  ASSERT_EQ(status(live), 200);
  EXPECT_EQ(live->more(), "");
}

// ---- what is in it ----

TEST(Html, NothingOfATextIsMarkup) {
  EXPECT_EQ(escaped("a <b> & \"c\" 'd'"), "a &lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  EXPECT_EQ(escaped("\xc3\xa9\xe2\x86\x92"), "\xc3\xa9\xe2\x86\x92");
  EXPECT_EQ(escaped(""), "");
  const std::string replaced = "\xef\xbf\xbd";
  for (const char* harmful : {"\n", "\r", "\t", "\x1b", "\x7f", "\xc2\x85", "\xe2\x80\xae",
                              "\xe2\x81\xa6", "\xe2\x80\xa8", "\xff", "\xc3"})
    EXPECT_EQ(escaped(harmful), replaced);
}

// Elements that are open where the text ends, or an error.
std::string unbalanced(std::string_view html) {
  static const std::set<std::string_view> empty = {"meta", "link", "input"};
  std::vector<std::string_view> open;
  for (size_t at = html.find('<'); at != std::string_view::npos; at = html.find('<', at + 1)) {
    const std::string_view tag = html.substr(at + 1, html.find('>', at) - at - 1);
    const std::string_view name = tag.substr(0, tag.find_first_of(" />", 1));
    if (tag.starts_with('!')) continue;
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1))
        return fmt::format("</{}> closes {}", tag.substr(1), open.empty() ? "" : open.back());
      open.pop_back();
    } else if (!tag.ends_with('/') && !empty.contains(name)) {
      open.push_back(name);
      if (name == "script" || name == "style") at = html.find(fmt::format("</{}>", name), at) - 1;
    }
  }
  return fmt::format("{}", fmt::join(open, " "));
}

TEST_F(PageTest, NodesThatLendTheirBaselineAreNamed) {
  Snapshot snapshot = snapshot_with({});
  auto verdict = std::make_shared<Verdict>(*vetoed());
  verdict->lenders = {{.node = "node-<8>",
                       .state = LenderState::Lends,
                       .samples = 1200,
                       .decision = Decision::Pass},
                      {.node = "node-9", .state = LenderState::Asked}};
  add_verdict(snapshot, verdict);
  publish(snapshot);
  EXPECT_THAT(page_.answer(from("127.0.0.1"))->body,
              HasSubstr("Baselines of other nodes: node-&lt;8&gt; lends, pass of 1,200 samples · "
                        "node-9 asked</p>"));
}

TEST_F(PageTest, ABreakerIsShownWithWhatItRefuses) {
  Snapshot snapshot = snapshot_with({});
  const auto verdict = vetoed();
  add_verdict(snapshot, verdict);
  auto breakers = std::make_shared<Breakers>();
  breakers->list.push_back({.slo = verdict->slo,
                            .open = true,
                            .targets = {"shop/web-<1>"},
                            .until = std::chrono::system_clock::time_point{std::chrono::hours{12}},
                            .note = "shop/web-2 is spared",
                            .counts = {.refused = 1234}});
  snapshot.breakers = breakers;
  publish(snapshot);
  EXPECT_THAT(page_.answer(from("127.0.0.1"))->body,
              HasSubstr("Breaker: open until 12:00:00 UTC; new connections to shop/web-&lt;1&gt; "
                        "are refused, those that were open go on · 1,234 were refused · "
                        "shop/web-2 is spared</p>"));
}

TEST_F(PageTest, HostileNamesStayText) {
  Snapshot snapshot = snapshot_with({workload_of(1, kHostile, 5)});
  auto verdict = std::make_shared<Verdict>(*vetoed());
  verdict->slo = verdict->message = verdict->rollout = kHostile;
  for (ObjectiveVerdict& objective : verdict->objectives) objective.objective += kHostile;
  add_verdict(snapshot, verdict);
  snapshot.events =
      std::make_shared<const std::deque<Event>>(std::deque<Event>{{.id = 1,
                                                                   .type = kHostile,
                                                                   .subject = kHostile,
                                                                   .from = kHostile,
                                                                   .to = "b",
                                                                   .message = kHostile}});
  snapshot.agent.problems = {{kHostile, kHostile}};
  snapshot.agent.notes = {kHostile};
  snapshot.agent.kernel = kHostile;
  publish(snapshot);
  HttpRequest request = from("127.0.0.1");
  request.query = {{"match", "\"><script>"}};
  for (const Pairs& query : {Pairs{}, Pairs{{"match", "\"><script>"}, {"sort", "name"}}}) {
    request.query = query;
    const std::string html = page_.answer(request)->body;
    EXPECT_THAT(html, Not(HasSubstr("<script>alert")));
    EXPECT_THAT(html, Not(HasSubstr("\"><script>")));
    EXPECT_THAT(html, HasSubstr("&lt;script&gt;"));
    EXPECT_EQ(unbalanced(html), "");
    for (const char* raw : {"\xff", "\x1b", "\xe2\x80\xae"}) EXPECT_THAT(html, Not(HasSubstr(raw)));
  }
  // In the stream a line's end would end a message.
  request.path = "/live";
  request.query = {};
  const std::string stream = page_.answer(request)->more().value();
  EXPECT_THAT(stream, Not(HasSubstr("<script>")));
  for (size_t at = 0; at < stream.size();) {
    const size_t end = stream.find("\n\n", at);
    const std::string event = stream.substr(at, end - at);
    EXPECT_TRUE(event.starts_with("data: ")) << event;
    EXPECT_EQ(event.find('\n'), std::string::npos) << event;
    at = end + 2;
  }
}

TEST_F(PageTest, ItsPolicyLetsItsOwnScriptRunAndNothingElse) {
  const auto shown = page_.answer(from("127.0.0.1"));
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->content_type, "text/html; charset=utf-8");
  const auto header = std::ranges::find(shown->headers, "Content-Security-Policy",
                                        &std::pair<std::string, std::string>::first);
  ASSERT_NE(header, shown->headers.end());
  const std::string& policy = header->second;
  EXPECT_TRUE(policy.starts_with("default-src 'none'; ")) << policy;
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
  EXPECT_THAT(policy, Not(HasSubstr("http")));
  // 32 bytes in base64. That the hashes are right only a browser can say: tests/e2e/page.sh.
  for (const char* kind : {"style-src 'sha256-", "script-src 'sha256-"}) {
    const size_t at = policy.find(kind) + std::string_view(kind).size();
    EXPECT_EQ(policy.find('\'', at) - at, 44u) << policy;
    EXPECT_EQ(policy[at + 43], '=');
  }
  // Nothing is styled or run in an attribute, which the policy would refuse.
  EXPECT_THAT(shown->body, Not(HasSubstr(" style=")));
  EXPECT_THAT(shown->body, Not(HasSubstr(" onclick=")));
  EXPECT_THAT(shown->body, Not(HasSubstr("https://")));
}

TEST_F(PageTest, AVetoIsShownWithWhatItRestsOn) {
  const auto verdict = vetoed();
  ASSERT_NE(verdict->comparison, nullptr);
  pass(page_, 20, [&](uint64_t) {
    Snapshot snapshot = snapshot_with({workload_of(1, "/demo/canary", 5)});
    add_verdict(snapshot, verdict);
    return snapshot;
  });
  const std::string html = page_.answer(from("127.0.0.1"))->body;
  EXPECT_THAT(html, HasSubstr("<span class=\"badge veto\">veto</span>"));
  EXPECT_THAT(html, HasSubstr(escaped(verdict->message)));
  EXPECT_THAT(html, HasSubstr("Distribution of request of late: p99 of the canary"));
  EXPECT_THAT(html, HasSubstr("class=\"canary arm\""));
  EXPECT_THAT(html, HasSubstr("class=\"baseline arm\""));
  EXPECT_THAT(html, HasSubstr("<path class=\"against\" d=\"M"));
  for (const char* level : {">p90<", ">p99<", ">p99.5<", ">p99.9<"})
    EXPECT_THAT(html, HasSubstr(level));
  EXPECT_THAT(html, HasSubstr("<span class=\"key canary\">canary</span></th>"));  // its workload
  EXPECT_EQ(unbalanced(html), "");
}

// ---- what is remembered ----

TEST_F(PageTest, RatesAndQuantilesAreOfTheLastSteps) {
  pass(page_, 11, [](uint64_t tick) {
    return snapshot_with({workload_of(1, "/a", 1000 + tick * 7), workload_of(2, "/b", 3)});
  });
  const std::string html = page_.answer(from("127.0.0.1"))->body;
  EXPECT_THAT(html, HasSubstr("<bdi>/a</bdi></th><td>server</td><td class=\"n\">7</td>"));
  EXPECT_THAT(html, HasSubstr("aria-label=\"at most 7 requests a second\""));
  // What does nothing is shown to who asks for it.
  EXPECT_THAT(html, Not(HasSubstr("<bdi>/b</bdi>")));
  EXPECT_THAT(html, HasSubstr("1 workload; 1 idle for 15 min not shown"));
  for (const Pairs& query : {Pairs{{"all", "1"}}, Pairs{{"match", "b"}}}) {
    HttpRequest request = from("127.0.0.1");
    request.query = query;
    EXPECT_THAT(page_.answer(request)->body,
                HasSubstr("<tr class=\"idle\"><th scope=\"row\"><bdi>/b</bdi>"));
  }
}

TEST_F(PageTest, SortedAndFilteredOverAllWorkloads) {
  std::vector<Workload> many;
  for (uint64_t id = 1; id <= 150; ++id)
    many.push_back(workload_of(id, fmt::format("/w/{:03}", id), id));
  publish(snapshot_with(many));
  const auto rows = [&](Pairs query) {
    HttpRequest request = from("127.0.0.1");
    request.query = std::move(query);
    const std::string html = page_.answer(request)->body;
    size_t n = 0;
    for (size_t at = html.find("<bdi>/w/"); at != std::string::npos;
         at = html.find("<bdi>/w/", at + 1))
      ++n;
    return n;
  };
  EXPECT_EQ(rows({}), kShownWorkloads);
  EXPECT_EQ(rows({{"all", "1"}}), 150u);
  EXPECT_EQ(rows({{"match", "/14"}}), 10u);
  EXPECT_EQ(rows({{"match", "none"}}), 0u);
}

TEST_F(PageTest, LiveTellsWhatChangedAndNothingElse) {
  const auto live = page_.answer(from("127.0.0.1", "/live"));
  ASSERT_TRUE(live);
  EXPECT_EQ(live->content_type, "text/event-stream");
  EXPECT_THAT(live->more().value(), HasSubstr("data: rows <tr"));
  EXPECT_EQ(live->more(), "");
  Snapshot next = *snapshot_;
  ++next.agent.ticks;
  next.agent.now += 1s;
  publish(next);
  const std::string news = live->more().value();
  EXPECT_TRUE(news.starts_with("data: as-of <time")) << news;
  EXPECT_THAT(news, Not(HasSubstr("data: rows")));
  // A verdict that changes between two ticks is told at once, by its event.
  next.events = std::make_shared<const std::deque<Event>>(
      std::deque<Event>{{.id = 1, .type = "verdict", .subject = "demo", .to = "veto"}});
  publish(next);
  EXPECT_THAT(live->more().value(), HasSubstr("data: event-list <li>"));
}

// 1,000 workloads and 20 SLOs, all of them busy.
TEST_F(PageTest, StaysBelow200KiB) {
  const auto verdict = vetoed();
  SharedList<Workload> latest;
  pass(page_, 901, [&](uint64_t tick) {
    std::vector<Workload> workloads;
    if (tick % 5 != 0) {  // nobody looks at them
      Snapshot same = snapshot_with({});
      same.workloads = latest;
      return same;
    }
    for (uint64_t id = 1; id <= 1000; ++id) {
      Counts counts;
      for (size_t bucket = 80; bucket < 110; ++bucket)
        counts.histograms[SLOGATE_SIGNAL_request][bucket] = tick * (id + bucket * tick % 7);
      workloads.push_back(
          {.id = id,
           .path = fmt::format("/kubepods.slice/kubepods-burstable.slice/pod{:036}/container", id),
           .service = std::make_shared<const Counts>(counts)});
    }
    latest = std::move(workloads);
    Snapshot snapshot = snapshot_with({});
    snapshot.workloads = latest;
    for (int i = 0; i < 20; ++i) {
      auto one = std::make_shared<Verdict>(*verdict);
      one->slo = fmt::format("slo-{}", i);
      one->log_e = std::sin(static_cast<double>(tick) / 9 + i) * one->threshold;
      add_verdict(snapshot, one);
    }
    return snapshot;
  });
  const size_t size = page_.answer(from("127.0.0.1"))->body.size();
  EXPECT_LT(size, 200u << 10);
  RecordProperty("bytes", static_cast<int>(size));
}

}  // namespace
}  // namespace slogate
