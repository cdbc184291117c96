// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/peer_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/kubernetes/parse.h"
#include "agent/kubernetes/text.h"

namespace slogate {
namespace {

constexpr std::chrono::seconds kListLimit{30};
// A rollout has two or three revisions with pods.
constexpr size_t kMostRevisions = 16;

std::string selector_of(const PodSelector& pods) {
  std::string text;
  for (const auto& [key, value] : pods.labels)
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", key, value);
  return text;
}

// The hashes of those of a Deployment's revisions that have pods.
std::string selector_of(const RevisionSelector& revisions, const Deployment& deployment) {
  std::vector<std::string> hashes;
  for (const Revision& one : deployment.revisions) {
    const bool meant =
        std::ranges::find(revisions.replica_sets, one.uid) != revisions.replica_sets.end();
    if (meant && one.pods > 0 && !one.hash.empty()) hashes.push_back(one.hash);
  }
  if (hashes.empty()) return "";
  std::ranges::sort(hashes);
  if (hashes.size() > kMostRevisions) hashes.resize(kMostRevisions);
  return fmt::format("{} in ({})", hash_label(deployment), fmt::join(hashes, ","));
}

const Deployment* deployment_of(const Cluster& cluster, const RevisionSelector& revisions) {
  for (const std::string& uid : revisions.replica_sets) {
    const auto found = cluster.deployment_of.find(uid);
    if (found != cluster.deployment_of.end()) return cluster.deployments.at(found->second).get();
  }
  return nullptr;
}

// Where one arm's pods are, as far as labels tell.
struct Place {
  std::string namespace_, selector;
};
Place place_of(const Cluster& cluster, const Selector& arm) {
  if (const auto* pods = std::get_if<PodSelector>(&arm))
    return {pods->namespace_, selector_of(*pods)};
  const auto* revisions = std::get_if<RevisionSelector>(&arm);
  if (revisions == nullptr) return {};
  const Deployment* deployment = deployment_of(cluster, *revisions);
  if (deployment == nullptr) return {};
  return {deployment->namespace_, selector_of(*revisions, *deployment)};
}

// One entry a node, by name.
std::vector<PeerNode> sorted(std::vector<PeerNode> nodes) {
  std::ranges::sort(nodes);
  const auto repeated = std::ranges::unique(nodes, {}, &PeerNode::node);
  nodes.erase(repeated.begin(), repeated.end());
  return nodes;
}

}  // namespace

std::vector<PeerSearch> peer_searches(const Cluster& cluster, const std::vector<Slo>& slos,
                                      const PeerWishes& wishes) {
  std::vector<PeerSearch> searches;
  for (const Slo& slo : slos) {
    Place lenders, canaries;
    if (wishes.lenders.contains(slo.name) && slo.baseline)
      lenders = place_of(cluster, *slo.baseline);
    if (wishes.witnesses.contains(slo.name)) canaries = place_of(cluster, slo.canary);
    // Arms in two namespaces are nothing that a rollout makes.
    if (!lenders.selector.empty() && canaries.namespace_ != lenders.namespace_) canaries = {};
    if (lenders.selector.empty() && canaries.selector.empty()) continue;
    searches.push_back({slo.name,
                        lenders.selector.empty() ? canaries.namespace_ : lenders.namespace_,
                        lenders.selector, canaries.selector});
  }
  return searches;
}

PeerFinder::~PeerFinder() {
  for (auto& [slo, found] : found_) stop(found);
}

void PeerFinder::stop(Found& found) {
  if (found.call) world_.caller->cancel(*found.call);
  found.call.reset();
}

// What is known of one that goes on being searched for stays; one that is about other pods now is
// listed at once.
void PeerFinder::search(std::vector<PeerSearch> searches) {
  std::map<std::string, Found> next;
  for (PeerSearch& search : searches) {
    if (next.size() >= kMostSearches) break;
    auto known = found_.extract(search.slo);
    if (!known) {
      std::string slo = search.slo;
      next.emplace(std::move(slo), Found(std::move(search), world_.random));
      continue;
    }
    Found& found = known.mapped();
    if (found.search != search) {
      stop(found);
      found.search = std::move(search);
      found.due = SteadyTime::min();
      found.interval = kFirstInterval;
    }
    next.insert(std::move(known));
  }
  for (auto& [slo, found] : found_) stop(found);
  found_ = std::move(next);
  if (found_.empty()) trouble_.well();
}

SteadyTime PeerFinder::step() {
  const SteadyTime now = world_.clock().steady;
  SteadyTime next = kNever;
  for (auto& [slo, found] : found_) {
    if (found.call) continue;
    if (now < found.due) {
      next = std::min(next, found.due);
      continue;
    }
    found.next = {};
    list(found, found.search.lenders.empty() ? Arm::Witnesses : Arm::Lenders);
  }
  return next;
}

// Of the newest state, since a list from the server's cache knows no limit before 1.34: a page, and
// not all of a workload of thousands.
void PeerFinder::list(Found& found, Arm arm) {
  const std::string& selector = arm == Arm::Lenders ? found.search.lenders : found.search.witnesses;
  if (selector.empty()) return complete(found);
  found.call = world_.caller->start(
      {.target = fmt::format("/api/v1/namespaces/{}/pods?labelSelector={}&limit={}",
                             url_escape(found.search.namespace_), url_escape(selector), kPage),
       .limit = kListLimit},
      {.done = [this, slo = found.search.slo, arm](const ApiAnswer& answer) {
        listed(slo, arm, answer);
      }});
}

void PeerFinder::listed(const std::string& slo, Arm arm, const ApiAnswer& answer) {
  const auto at = found_.find(slo);
  if (at == found_.end()) return;
  Found& found = at->second;
  found.call.reset();
  if (!answer.good()) return failed(found, to_failure(answer, "list", "pods"), answer);
  std::vector<PeerNode> nodes;
  const auto page = parse_list(answer.body, [&](const ApiJson& object) -> Result<void> {
    PodPlace place = to_pod_place(object);
    // A canary that was turned away has its evidence all the same.
    const bool useful = !place.leaving && (place.ready || arm == Arm::Witnesses);
    if (useful && !place.node.empty() && !place.address.empty() && place.node != own_node_)
      nodes.push_back({std::move(place.node), std::move(place.address)});
    return {};
  });
  if (!page) return failed(found, garbage("list pods: " + for_log(page.error().message)), answer);
  if (arm == Arm::Witnesses) {
    found.next.witnesses = sorted(std::move(nodes));
    return complete(found);
  }
  found.next.lenders = sorted(std::move(nodes));
  list(found, Arm::Witnesses);
}

void PeerFinder::failed(Found& found, const Failure& failure, const ApiAnswer& answer) {
  const Instant now = world_.clock();
  found.due = now.steady + found.backoff.next(answer);
  trouble_.failed(failure, now.wall, failure.forbidden || found.backoff.failures() > 1);
}

// The upper half of the interval is chance: all askers of a rollout began at about the same moment.
void PeerFinder::complete(Found& found) {
  found.backoff.reset();
  trouble_.well();
  if (!found.nodes || *found.nodes != found.next)
    found.nodes = std::make_shared<const PeerNodes>(std::move(found.next));
  const auto chance = std::chrono::milliseconds(
      static_cast<int64_t>(static_cast<double>(found.interval.count()) / 2 * world_.random()));
  found.due = world_.clock().steady + found.interval - chance;
  found.interval = std::min<std::chrono::milliseconds>(found.interval * 2, kLongestInterval);
}

void PeerFinder::add_to(Cluster& cluster) const {
  for (const auto& [slo, found] : found_)
    if (found.nodes) cluster.peers.emplace(slo, found.nodes);
}

}  // namespace slogate
