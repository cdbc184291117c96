// SPDX-License-Identifier: Apache-2.0
// The agent's client of Kubernetes without the agent, for tests/kubernetes/client.sh: prints a line
// of JSON for each cluster, and takes a line of JSON for each order:
//   {"conditions": [{"uid", "namespace", "name", "status", "reason", "message"}]}
//   {"event": {"uid", "namespace", "name", "warning", "reason", "message"}}
//   {"follow": [UID]}    of ReplicaSets
// An empty line ends it.
// usage: slogate-kubernetes-watch SERVER TOKEN_FILE CA_FILE NODE
#include <fmt/format.h>

#include <condition_variable>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "agent/kubernetes/client.h"

namespace slogate {
namespace {

using Json = nlohmann::json;

Json to_json(const Pod& pod) {
  Json json = {{"uid", pod.uid},
               {"namespace", pod.namespace_},
               {"name", pod.name},
               {"labels", pod.labels},
               {"annotations", pod.annotations},
               {"owner", pod.owner.uid},
               {"containers", pod.containers},
               {"gated", pod.gated},
               {"ready", pod.ready},
               {"leaving", pod.leaving},
               {"gone", pod.gone},
               {"message", pod.condition_message},
               {"reason", pod.condition_reason}};
  json["condition"] = pod.condition ? Json(*pod.condition) : Json();
  return json;
}

Json to_json(const Deployment& deployment) {
  Json revisions = Json::array();
  for (const Revision& one : deployment.revisions)
    revisions.push_back({{"uid", one.uid},
                         {"name", one.name},
                         {"hash", one.hash},
                         {"number", one.number},
                         {"pods", one.pods},
                         {"ready", one.ready},
                         {"annotations", one.annotations}});
  return {{"kind", deployment.kind}, {"name", deployment.name}, {"revisions", revisions}};
}

Json to_json(const Cluster& cluster) {
  Json json = {{"synced", cluster.synced},
               {"trouble", cluster.trouble},
               {"write_trouble", cluster.write_trouble},
               {"pods", Json::array()},
               {"deployments", Json::object()},
               {"deployment_of", cluster.deployment_of}};
  for (const auto& [uid, pods] : cluster.revision_pods)
    for (const RevisionPod& pod : *pods)
      json["revision_pods"][uid].push_back(
          {{"name", pod.name}, {"created", pod.created}, {"able", pod.able}});
  for (const auto& [uid, capacity] : cluster.capacities)
    json["capacities"][uid] = capacity ? Json{{"replicas", capacity->replicas},
                                              {"max_unavailable", capacity->max_unavailable}}
                                       : Json();
  for (const auto& pod : cluster.pods) json["pods"].push_back(to_json(*pod));
  for (const auto& [uid, deployment] : cluster.deployments)
    json["deployments"][uid] = to_json(*deployment);
  return json;
}

void print(const Cluster& cluster) {
  fmt::print("{}\n", to_json(cluster).dump());
  std::fflush(stdout);
}

void obey(KubernetesClient& client, const Json& order) {
  if (order.contains("conditions")) {
    std::vector<PodCondition> conditions;
    for (const Json& one : order["conditions"])
      conditions.push_back({one.at("uid"), one.at("namespace"), one.at("name"), one.at("status"),
                            one.at("reason"), one.at("message")});
    client.set_conditions(std::move(conditions));
  }
  if (order.contains("follow")) client.follow(order["follow"].get<std::set<std::string>>());
  if (order.contains("event")) {
    const Json& one = order["event"];
    client.post({one.at("uid"), one.at("namespace"), one.at("name"), one.at("warning"),
                 one.at("reason"), one.at("message")});
  }
}

int run(char** argv) {
  std::mutex mutex;
  KubernetesClient* client = nullptr;  // the first change may come before start() has returned
  const auto show = [&] {
    const std::lock_guard lock(mutex);
    if (client) print(*client->cluster());
  };
  auto started = KubernetesClient::start({argv[1], argv[2], argv[3], argv[4]}, show);
  if (!started) {
    fmt::print(stderr, "{}\n", started.error().line());
    return 1;
  }
  {
    const std::lock_guard lock(mutex);
    client = started->get();
    print(*client->cluster());
  }
  for (std::string line; std::getline(std::cin, line) && !line.empty();)
    obey(*client, Json::parse(line));
  {
    const std::lock_guard lock(mutex);
    client = nullptr;
  }
  return 0;
}

}  // namespace
}  // namespace slogate

int main(int argc, char** argv) {
  if (argc != 5) return 64;
  return slogate::run(argv);
}
