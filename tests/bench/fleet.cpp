// SPDX-License-Identifier: Apache-2.0
// Stands for the agents of a fleet: /N/metrics, with ?part= as the agents take it, is what the
// exporter says of node N, whose pods answer 50 synthetic requests a second each between two
// scrapes of their part.
//
// SLO `shop.web`: the first kCanaries nodes have one canary each and the next kStables one stable
// pod each; no node has both. GET /slow makes the canaries twice as slow in all quantiles; with
// `hidden` they are not there before it. SLO `paired`: each node has judged a canary of its own
// beside a baseline. GET /expected answers with the evidence of the engine's mixture fed with all
// nodes' sums.
//
// Usage: bench_fleet PORT NODES PODS [hidden]
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "agent/agent.h"
#include "agent/base/log.h"
#include "agent/http/http.h"
#include "exporter/exporter.h"
#include "maps/integer.h"
#include "tests/support/exposition.h"
#include "tests/support/replay.h"

namespace slogate {
namespace {

using support::Sampler;

constexpr size_t kCanaries = 20, kStables = 200;
constexpr double kRequestsPerSecond = 50;

const Sampler& service() {
  static const Sampler sampler(support::lognormal());
  return sampler;
}
const Sampler& slow_service() {
  static const Sampler sampler(support::scaled(support::lognormal(), 2));
  return sampler;
}

// What a node of SLO `paired` came to: a canary that is a little worse, in a few blocks.
Verdict judge_pair(uint64_t seed) {
  static const Sampler worse(support::scaled(support::lognormal(), 1.3));
  constexpr int before = 300, readings = 40;
  Slo slo = support::default_slo(0.001);
  slo.name = "paired";
  support::Replay replay(slo);
  std::mt19937_64 random(seed);
  for (int i = 0; i < before + readings; ++i) {
    Histogram canary{}, stable{};
    service().draw(random, 50, stable);
    if (i >= before) worse.draw(random, 10, canary);
    replay.step(canary, stable);
  }
  return *replay.judge().verdict();
}

// What the fleet has against the canary when all nodes' sums are one: the least weight that any
// node gives a component, and missing weight as evidence of 1.
double pooled_log_e(const std::vector<Verdict>& verdicts) {
  std::vector<double> parts;
  double weights = 0;
  const Verdict& first = verdicts.front();
  for (size_t i = 0; i < first.objectives.size(); ++i)
    for (size_t j = 0; j < first.objectives[i].components.size(); ++j) {
      double sum = 0, weight = 1;
      for (const Verdict& verdict : verdicts) {
        const EvidenceComponent& part = verdict.objectives[i].components[j];
        sum += part.sum;
        weight = std::min(weight, part.mixture_weight);
      }
      parts.push_back(std::log(weight) + sum);
      weights += weight;
    }
  if (weights < 1) parts.push_back(std::log1p(-weights));
  return log_sum_exp(parts);
}

// One container of a pod, as an agent of Kubernetes shows it.
Workload pod_of(const std::string& name, uint64_t id) {
  auto pod = std::make_shared<Pod>();
  pod->namespace_ = "shop";
  pod->name = name;
  Workload workload = support::workload(fmt::format("/kubepods/{}", name), Counts{}, id);
  workload.pod = {.pod = std::move(pod), .container = "app"};
  return workload;
}

// Which of its pods a node says are in an arm; it has nothing to judge by itself.
void add_arms(Verdicts& verdicts, std::vector<std::string> canary,
              std::vector<std::string> stable) {
  SloStatus status;
  status.slo.name = "shop.web";
  status.canary = std::move(canary);
  status.baseline = std::move(stable);
  verdicts.slos.push_back(std::make_shared<const SloStatus>(std::move(status)));
  verdicts.list.push_back(std::make_shared<const Verdict>(Verdict{.slo = "shop.web"}));
}

class Node {
 public:
  Node(size_t number, size_t pods, const Verdict& verdict)
      : verdicts_(std::make_shared<Verdicts>()),
        random_(number + 1),
        last_(pods),
        is_canary_(number < kCanaries),
        has_arm_(number < kCanaries + kStables) {
    verdicts_->slos.push_back(std::make_shared<const SloStatus>());
    verdicts_->list.push_back(std::make_shared<const Verdict>(verdict));
    const bool is_stable = has_arm_ && !is_canary_;
    for (size_t pod = 0; pod < pods; ++pod) {
      const char* workload = pod != 0     ? "other"
                             : is_canary_ ? "web-2"
                             : is_stable  ? "web-1"
                                          : "other";
      rows_.push_back(pod_of(fmt::format("{}-{}-{}", workload, number, pod), pod + 1));
    }
    const std::vector first = {rows_.front().path};
    const std::vector<std::string> none;
    add_arms(*verdicts_, is_canary_ ? first : none, is_stable ? first : none);
    std::ranges::sort(rows_, {}, &Workload::path);
    first_ = static_cast<size_t>(std::ranges::find(rows_, first.front(), &Workload::path) -
                                 rows_.begin());
  }

  HttpResponse answer(const HttpRequest& request, TickTime now, bool slow, bool hidden) {
    const auto wants = [&](std::string_view part) {
      return request.query.empty() || request.query.front().second == part;
    };
    auto snapshot = std::make_shared<Snapshot>(support::full());
    snapshot->workloads.edit().clear();
    for (size_t pod = 0; pod < rows_.size(); ++pod) {
      const bool is_canary = is_canary_ && pod == first_;
      if (is_canary && hidden) continue;
      if (wants(has_arm_ && pod == first_ ? "slos" : "others"))
        work(rows_[pod], since_last(pod, now), is_canary && slow ? slow_service() : service());
      snapshot->workloads.edit().push_back(rows_[pod]);
    }
    snapshot->verdicts = verdicts_;
    exporter_.tick(*snapshot, now);
    HttpRequest scrape = request;
    scrape.path = "/metrics";
    return exporter_.answer(scrape, snapshot);
  }

 private:
  // Seconds, 1 for the first time.
  double since_last(size_t pod, TickTime now) {
    const auto last = std::exchange(last_[pod], now.monotonic);
    return last ? seconds(now.monotonic - *last) : 1;
  }

  void work(Workload& row, double passed, const Sampler& latency) {
    auto counts = std::make_shared<Counts>(*row.service);
    const auto requests = std::poisson_distribution<size_t>(kRequestsPerSecond * passed)(random_);
    latency.draw(random_, requests, counts->histograms[SLOGATE_SIGNAL_request]);
    for (const slogate_signal signal : {SLOGATE_SIGNAL_client_request, SLOGATE_SIGNAL_queue,
                                        SLOGATE_SIGNAL_connect, SLOGATE_SIGNAL_rtt})
      service().draw(random_, requests / 4, counts->histograms[signal]);
    for (const slogate_counter counter :
         {SLOGATE_COUNTER_segments_in, SLOGATE_COUNTER_segments_out,
          SLOGATE_COUNTER_connections_server, SLOGATE_COUNTER_connections_client})
      counts->counters[counter] += requests;
    row.service = std::move(counts);
  }

  std::vector<Workload> rows_;  // by path, as in a snapshot
  size_t first_ = 0;            // which of them is in an arm of `shop.web`, if any is
  std::shared_ptr<Verdicts> verdicts_;
  Exporter exporter_{MetricsSettings{}};
  std::mt19937_64 random_;
  std::vector<std::optional<std::chrono::nanoseconds>> last_;  // when each row worked
  bool is_canary_, has_arm_;
};

class Fleet {
 public:
  Fleet(size_t nodes, size_t pods, bool hidden) : hidden_(hidden) {
    std::vector<Verdict> verdicts;
    for (size_t i = 0; i < nodes; ++i) verdicts.push_back(judge_pair(i + 1));
    expected_ = pooled_log_e(verdicts);
    for (size_t i = 0; i < nodes; ++i)
      nodes_.push_back(std::make_unique<Node>(i, pods, verdicts[i]));
  }

  HttpResponse answer(const HttpRequest& request) {
    if (request.path == "/slow") slow_ = true;
    if (request.path == "/slow" || request.path == "/expected")
      return {.body = fmt::format("{{\"slow\": {}, \"log_e\": {:.12g}}}\n", slow_, expected_)};
    const size_t number =
        parse_integer<size_t>(leading_digits(std::string_view(request.path).substr(1)))
            .value_or(nodes_.size());
    if (number >= nodes_.size() || request.path != fmt::format("/{}/metrics", number))
      return error_response(404, "nodes are at /N/metrics");
    return nodes_[number]->answer(request, now(), slow_, hidden_ && !slow_);
  }

 private:
  std::vector<std::unique_ptr<Node>> nodes_;
  double expected_ = 0;
  bool slow_ = false, hidden_;
};

int serve(uint16_t port, size_t nodes, size_t pods, bool hidden) {
  // Before any other thread, so that all of them leave these signals to us.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  Fleet fleet(nodes, pods, hidden);
  auto socket = listen_tcp("127.0.0.1", port);
  if (!socket) {
    log_line(socket.error().line());
    return 1;
  }
  std::vector<HttpEndpoint> endpoints;
  endpoints.push_back(
      {std::move(*socket), [&fleet](const HttpRequest& r) { return fleet.answer(r); }});
  HttpLimits limits;
  limits.connections = nodes + 16;  // Prometheus keeps one to each target
  const auto server = HttpServer::start(std::move(endpoints), log_line, limits);
  if (!server) {
    log_line(server.error().line());
    return 1;
  }
  fmt::print("ready\n");
  std::fflush(stdout);
  int signal = 0;
  sigwait(&ends, &signal);
  return 0;
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  const size_t port = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 0;
  const size_t nodes = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 500;
  const size_t pods = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 40;
  if (port == 0 || port > 65535 || nodes == 0 || pods == 0) {
    fmt::print(stderr, "usage: bench_fleet PORT NODES PODS [hidden]\n");
    return 64;
  }
  const bool hidden = argc > 4 && std::string_view(argv[4]) == "hidden";
  return slogate::serve(static_cast<uint16_t>(port), nodes, pods, hidden);
}
