// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/client.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "agent/base/log.h"
#include "agent/host/syscalls.h"
#include "agent/kubernetes/peer_search.h"
#include "agent/kubernetes/pods.h"
#include "agent/kubernetes/reflector.h"
#include "agent/kubernetes/siblings.h"
#include "agent/kubernetes/text.h"
#include "agent/kubernetes/token.h"
#include "agent/kubernetes/token_review.h"
#include "agent/kubernetes/transport.h"
#include "agent/kubernetes/workloads.h"
#include "agent/kubernetes/writer.h"

namespace slogate {
namespace {

using namespace std::chrono_literals;

// A hundred pods that come at once are told in one go: each cluster is a copy of the list of all.
constexpr auto kPublishInterval = 100ms;
// When nothing is due; calls wake the thread.
constexpr std::chrono::milliseconds kLongestWait{5'000};
// After want of memory, if anything.
constexpr auto kPauseAfterException = 1s;

Instant read_clock() {
  return {std::chrono::steady_clock::now(), std::chrono::system_clock::now()};
}

std::function<double()> make_random() {
  return [engine = std::minstd_rand(std::random_device{}())]() mutable {
    return std::uniform_real_distribution<double>(0, 1)(engine);
  };
}

Reflector::Settings settings_for(const std::string& node) {
  return {"/api/v1/pods", "fieldSelector=" + url_escape("spec.nodeName=" + node), "pods"};
}

// Both, where there are two: one may be a matter of RBAC.
std::string join(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty() || a == b) return a.empty() ? b : a;
  return a + "; " + b;
}

bool same(const Cluster& a, const Cluster& b) {
  return a.synced == b.synced && a.trouble == b.trouble && a.stale == b.stale &&
         a.write_trouble == b.write_trouble && a.deployments == b.deployments &&
         a.revision_pods == b.revision_pods && a.capacities == b.capacities && a.peers == b.peers;
}

}  // namespace

class KubernetesClient::Impl {
 public:
  Impl(const KubernetesAccess& access, std::unique_ptr<Transport> transport,
       std::function<void()> on_change);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();

  [[nodiscard]] std::shared_ptr<const Cluster> cluster() const;
  void follow(std::set<std::string> replica_sets);
  void search(std::vector<PeerSearch> searches);
  [[nodiscard]] Result<std::string> own_peer_token() const;
  void check_peer_token(std::string token, TokenVerdict verdict);
  void set_conditions(std::vector<PodCondition> conditions);
  void post(PodEvent event);

 private:
  void run();
  void turn();
  void take_orders();
  SteadyTime publish();
  void log_troubles();
  [[nodiscard]] Cluster without_pods() const;

  const std::unique_ptr<Transport> transport_;
  const std::function<void()> on_change_;
  const World world_;
  Pods pods_;
  Reflector reflector_;
  Workloads workloads_;
  Siblings siblings_;
  const std::string peer_token_file_;
  PeerFinder finder_;
  TokenReviews reviews_;
  Writer writer_;
  SteadyTime published_at_ = SteadyTime::min();
  uint64_t published_pods_ = 0;  // their version

  mutable std::mutex mutex_;  // of what follows
  std::shared_ptr<const Cluster> cluster_ = std::make_shared<const Cluster>();
  std::optional<std::vector<PodCondition>> conditions_;
  std::vector<PeerSearch> searched_for_;
  std::optional<std::vector<PeerSearch>> searches_;
  std::vector<std::pair<std::string, TokenVerdict>> tokens_;
  std::set<std::string> asked_;                    // what follow() said last
  std::optional<std::set<std::string>> followed_;  // if the thread does not know it yet
  std::vector<PodEvent> events_;
  size_t dropped_events_ = 0;

  std::atomic<bool> stop_ = false;
  std::jthread thread_;  // last, so joined first
};

KubernetesClient::Impl::Impl(const KubernetesAccess& access, std::unique_ptr<Transport> transport,
                             std::function<void()> on_change)
    : transport_(std::move(transport)),
      on_change_(std::move(on_change)),
      world_{transport_.get(), &read_clock, make_random()},
      pods_(&read_clock),
      reflector_(world_, settings_for(access.node), pods_),
      workloads_(world_, pods_),
      siblings_(world_, workloads_),
      peer_token_file_(access.peer_token_file),
      finder_(world_, access.node),
      reviews_(world_, [this] { return own_peer_token(); }),
      writer_(world_, access.node, pods_),
      thread_([this] { run(); }) {}

KubernetesClient::Impl::~Impl() {
  stop_ = true;
  transport_->wake();
}

std::shared_ptr<const Cluster> KubernetesClient::Impl::cluster() const {
  const std::lock_guard lock(mutex_);
  return cluster_;
}

// Most often it is the same as before, with every tick: nothing to wake the thread for.
void KubernetesClient::Impl::follow(std::set<std::string> replica_sets) {
  {
    const std::lock_guard lock(mutex_);
    if (asked_ == replica_sets) return;
    asked_ = replica_sets;
    followed_ = std::move(replica_sets);
  }
  transport_->wake();
}

void KubernetesClient::Impl::search(std::vector<PeerSearch> searches) {
  {
    const std::lock_guard lock(mutex_);
    if (searched_for_ == searches) return;
    searched_for_ = searches;
    searches_ = std::move(searches);
  }
  transport_->wake();
}

Result<std::string> KubernetesClient::Impl::own_peer_token() const {
  if (peer_token_file_.empty()) return fail("this agent has no token for others");
  return read_token(peer_token_file_);
}

// What finds no room is refused here, so that a flood stays as small as TokenReviews keeps it.
void KubernetesClient::Impl::check_peer_token(std::string token, TokenVerdict verdict) {
  {
    const std::lock_guard lock(mutex_);
    if (tokens_.size() < TokenReviews::kMostWaiting && token.size() <= kLongestToken) {
      tokens_.emplace_back(std::move(token), std::move(verdict));
      verdict = nullptr;
    }
  }
  if (verdict) return verdict(fail("too many others are asked about"));
  transport_->wake();
}

void KubernetesClient::Impl::set_conditions(std::vector<PodCondition> conditions) {
  {
    const std::lock_guard lock(mutex_);
    conditions_ = std::move(conditions);
  }
  transport_->wake();
}

void KubernetesClient::Impl::post(PodEvent event) {
  {
    const std::lock_guard lock(mutex_);
    if (events_.size() >= kMostWaitingEvents)
      ++dropped_events_;
    else
      events_.push_back(std::move(event));
  }
  transport_->wake();
}

// ---- the client's thread ----

void KubernetesClient::Impl::run() {
  leave_signals_to_main();
  (void)pthread_setname_np(pthread_self(), "kubernetes");
  while (!stop_) {
    try {
      turn();
      log_change("kubernetes", "");
    } catch (const std::exception& exception) {
      // Nothing here is left half changed for ever: what is missing now comes with the next list.
      log_change("kubernetes", for_log(exception.what()));
      std::this_thread::sleep_for(kPauseAfterException);
    }
  }
}

void KubernetesClient::Impl::turn() {
  take_orders();
  SteadyTime due = reflector_.step();
  due = std::min(due, pods_.expire());
  due = std::min(due, workloads_.step());
  due = std::min(due, siblings_.step());
  due = std::min(due, finder_.step());
  due = std::min(due, reviews_.step());
  due = std::min(due, writer_.step());
  log_troubles();
  due = std::min(due, publish());
  const SteadyTime now = world_.clock().steady;
  // Rounded up, or the last millisecond before it is due would spin.
  const auto wait = due == kNever
                        ? kLongestWait
                        : std::chrono::ceil<std::chrono::milliseconds>(std::max(due, now) - now);
  transport_->run(std::min(wait, kLongestWait));
}

void KubernetesClient::Impl::take_orders() {
  std::optional<std::vector<PodCondition>> conditions;
  std::optional<std::set<std::string>> followed;
  std::optional<std::vector<PeerSearch>> searches;
  std::vector<std::pair<std::string, TokenVerdict>> tokens;
  std::vector<PodEvent> events;
  size_t dropped = 0;
  {
    const std::lock_guard lock(mutex_);
    conditions = std::exchange(conditions_, std::nullopt);
    followed = std::exchange(followed_, std::nullopt);
    searches = std::exchange(searches_, std::nullopt);
    tokens = std::exchange(tokens_, {});
    events = std::exchange(events_, {});
    dropped = std::exchange(dropped_events_, 0);
  }
  if (followed) siblings_.follow(std::move(*followed));
  if (searches) finder_.search(std::move(*searches));
  for (auto& [token, verdict] : tokens) reviews_.check(std::move(token), std::move(verdict));
  if (conditions) writer_.set_conditions(std::move(*conditions));
  writer_.post(std::move(events), dropped);
}

void KubernetesClient::Impl::log_troubles() {
  log_change("kubernetes: pods", reflector_.problem());
  log_change("kubernetes: workloads", workloads_.problem());
  log_change("kubernetes: capacity", siblings_.problem());
  log_change("kubernetes: peers", finder_.problem());
  log_change("kubernetes: tokens", reviews_.problem());
  log_change("kubernetes: conditions", writer_.condition_problem());
  log_change("kubernetes: events", writer_.event_problem());
}

Cluster KubernetesClient::Impl::without_pods() const {
  Cluster cluster{.synced = pods_.synced(),
                  .trouble = join(reflector_.problem(), workloads_.problem()),
                  .stale = siblings_.stale(),
                  .write_trouble = join(writer_.condition_problem(), writer_.event_problem())};
  workloads_.add_to(cluster);
  siblings_.add_to(cluster);
  finder_.add_to(cluster);
  return cluster;
}

// Returns when there will be something to publish that must wait now.
SteadyTime KubernetesClient::Impl::publish() {
  Cluster next = without_pods();
  if (published_pods_ == pods_.version() && same(*cluster_, next)) return kNever;
  const SteadyTime now = world_.clock().steady;
  if (published_at_ != SteadyTime::min() && now - published_at_ < kPublishInterval)
    return published_at_ + kPublishInterval;
  published_at_ = now;
  published_pods_ = pods_.version();
  next.pods = pods_.all();
  auto value = std::make_shared<const Cluster>(std::move(next));
  {
    const std::lock_guard lock(mutex_);
    cluster_ = std::move(value);
  }
  if (on_change_) on_change_();
  return kNever;
}

KubernetesClient::KubernetesClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KubernetesClient::~KubernetesClient() = default;

Result<std::unique_ptr<KubernetesClient>> KubernetesClient::start(const KubernetesAccess& access,
                                                                  std::function<void()> on_change) {
  auto transport = Transport::make(access.server, access.token_file, access.ca_file);
  if (!transport) return fail(transport.error());
  if (access.node.empty()) return fail("no node is named, so no pod is ours", "set NODE_NAME");
  try {
    return std::unique_ptr<KubernetesClient>(new KubernetesClient(
        std::make_unique<Impl>(access, std::move(*transport), std::move(on_change))));
  } catch (const std::exception& exception) {
    return fail(fmt::format("cannot start the client of Kubernetes: {}", exception.what()));
  }
}

std::shared_ptr<const Cluster> KubernetesClient::cluster() const {
  return impl_->cluster();
}
void KubernetesClient::follow(std::set<std::string> replica_sets) {
  impl_->follow(std::move(replica_sets));
}
void KubernetesClient::search(std::vector<PeerSearch> searches) {
  impl_->search(std::move(searches));
}
Result<std::string> KubernetesClient::own_peer_token() const {
  return impl_->own_peer_token();
}
void KubernetesClient::check_peer_token(std::string token,
                                        std::function<void(Result<void>)> verdict) {
  impl_->check_peer_token(std::move(token), std::move(verdict));
}
void KubernetesClient::set_conditions(std::vector<PodCondition> conditions) {
  impl_->set_conditions(std::move(conditions));
}
void KubernetesClient::post(PodEvent event) {
  impl_->post(std::move(event));
}

}  // namespace slogate
