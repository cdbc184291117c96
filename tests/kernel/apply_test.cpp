// SPDX-License-Identifier: Apache-2.0
// A configuration that a running agent takes: each key has its effect, and one that cannot be taken
// has none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <future>

#include "agent/config/config.h"
#include "agent/host/host.h"
#include "tests/kernel/fixture.h"
#include "tests/kernel/tcp.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// An agent, a cgroup with traffic, and all that the keys of a configuration show in.
class Scene {
 public:
  Scene()
      : agent_(*Agent::start({.cgroup_root = find_cgroup2({}).value(),
                              .pin_dir = "",
                              .about = {},
                              .features = features_of(Mode::Locked),
                              .config = test_config(),
                              .ceiling =
                                  [this](double memory_ratio) {
                                    memory_ratio_ = memory_ratio;
                                    return 1000;
                                  },
                              .on_apply =
                                  [this](const LiveConfig& config) {
                                    max_series_ = config.metrics.max_series;
                                    page_ = kPageFor[static_cast<size_t>(config.page)];
                                    peers_ = config.peers.size();
                                    lenders_ = config.lenders;
                                  }})) {
    exchange(both_);
    pass(1s);
  }

  [[nodiscard]] Result<void> apply(const LiveConfig& config) {
    auto done = agent_->apply(config);
    pass(1s);
    return done;
  }

  [[nodiscard]] bool shows(uint64_t cgroup) const {
    const auto snapshot = agent_->snapshot();
    return std::ranges::find(snapshot->workloads, cgroup, &Workload::id) !=
           snapshot->workloads.end();
  }
  [[nodiscard]] std::string cgroups() { return shows(cgroup_.id()) ? "shown" : "hidden"; }
  // The share of the memory, and whether a cgroup that is gone for 30 s is still to be seen.
  [[nodiscard]] std::string maps() {
    uint64_t id = 0;
    {
      const TestCgroup brief;
      id = brief.id();
      exchange(connect_both(brief, brief));
      pass(1s);
      EXPECT_TRUE(shows(id) || cgroups() == "hidden");
    }
    pass(30s);
    return fmt::format("{} {}", memory_ratio_, shows(id) ? "kept" : "forgotten");
  }
  [[nodiscard]] std::string cpu_ratio() {
    return fmt::format("{}", agent_->snapshot()->agent.cpu.budget);
  }
  [[nodiscard]] std::string metrics() { return fmt::format("{}", max_series_); }
  [[nodiscard]] std::string page() { return page_; }
  // What becomes of these is tests/e2e/peers.sh's to see: whom an agent asks takes a canary alone.
  [[nodiscard]] std::string peers() { return fmt::format("{} peers", peers_); }
  [[nodiscard]] std::string lenders() { return fmt::format("{}", lenders_); }
  [[nodiscard]] std::string classes() {
    auto contents =
        std::async(std::launch::async, [this] { return agent_->contents("slogate_classes"); });
    pollfd asked{.fd = agent_->work_queue().poll_fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&asked, 1, 5000), 1);
    agent_->work_queue().work();
    return fmt::format("{} rules", contents.get().value().rows.size());
  }
  [[nodiscard]] std::string slos() {
    return fmt::format("{} SLOs", agent_->snapshot()->verdicts->slos.size());
  }

 private:
  // A tick in each second.
  void pass(std::chrono::seconds time) {
    for (; time > 0s; time -= 1s) {
      time_.system += 1s;
      time_.monotonic += 1s;
      agent_->tick(time_);
    }
  }

  TickTime time_ = now();
  double memory_ratio_ = 0;
  size_t max_series_ = 0;
  std::string page_;
  size_t peers_ = 0, lenders_ = 0;
  std::unique_ptr<Agent> agent_;
  const TestCgroup cgroup_;
  const Connection both_ = connect_both(cgroup_, cgroup_);
};

struct Effect {
  std::string_view key;
  void (*change)(LiveConfig&);
  std::string (Scene::*seen)();
  std::string before, after;
};

const std::vector<Effect>& effects() {
  static const std::vector<Effect> effects = {
      {"cgroups", [](LiveConfig& c) { c.cgroups.exclude = {*Glob::parse("/**")}; }, &Scene::cgroups,
       "shown", "hidden"},
      {"maps", [](LiveConfig& c) { c.maps = {.memory_ratio = 0.1, .grace = 2s}; }, &Scene::maps,
       "0.0025 kept", "0.1 forgotten"},
      {"cpu_ratio", [](LiveConfig& c) { c.cpu_ratio = 0.5; }, &Scene::cpu_ratio, "1", "0.5"},
      {"metrics", [](LiveConfig& c) { c.metrics.max_series = 5000; }, &Scene::metrics, "100000",
       "5000"},
      {"page", [](LiveConfig& c) { c.page = PageFor::On; }, &Scene::page, "local", "on"},
      {"peers", [](LiveConfig& c) { c.peers = {{.host = "127.0.0.1", .port = 1}}; }, &Scene::peers,
       "0 peers", "1 peers"},
      {"lenders", [](LiveConfig& c) { c.lenders = 3; }, &Scene::lenders, "8", "3"},
      {"classes",
       [](LiveConfig& c) {
         c.classes = {{SLOGATE_CLASS_probe, 81, false}};
       },
       &Scene::classes, "0 rules", "1 rules"},
      {"slos",
       [](LiveConfig& c) {
         c.slos.emplace_back().name = "a";
         c.slos[0].canary = std::vector{*Glob::parse("/a")};
       },
       &Scene::slos, "0 SLOs", "1 SLOs"}};
  return effects;
}

TEST(Apply, EachKeyThatNeedsNoRestartHasItsEffectAndLosesItAgain) {
  Scene scene;
  for (const ConfigKey& key : config_keys()) {
    if (key.needs_restart) continue;
    SCOPED_TRACE(key.name);
    const auto effect = std::ranges::find(effects(), key.name, &Effect::key);
    ASSERT_NE(effect, effects().end()) << "what does it do?";
    const auto seen = [&] { return (scene.*effect->seen)(); };
    EXPECT_EQ(seen(), effect->before);
    LiveConfig config = test_config();
    effect->change(config);
    ASSERT_TRUE(scene.apply(config));
    EXPECT_EQ(seen(), effect->after);
    ASSERT_TRUE(scene.apply(test_config()));
    EXPECT_EQ(seen(), effect->before);
  }
}

TEST(Apply, WhatTheKernelRefusesChangesNothing) {
  Scene scene;
  LiveConfig config = test_config();
  for (const Effect& effect : effects()) effect.change(config);
  for (uint16_t port = 1; port <= SLOGATE_CLASS_RULES + 1; ++port)
    config.classes.push_back({SLOGATE_CLASS_probe, port, false});
  EXPECT_FALSE(scene.apply(config));
  for (const Effect& effect : effects())
    EXPECT_EQ((scene.*effect.seen)(), effect.before) << effect.key;
}

}  // namespace
}  // namespace slogate
