// SPDX-License-Identifier: Apache-2.0
// From the API server's JSON to values. Any shape of JSON is taken: what has the wrong type counts
// as missing. Texts that are no JSON, or nested deeper or larger than objects of Kubernetes can be,
// are errors.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/kubernetes/cluster.h"
#include "agent/kubernetes/token.h"
#include "maps/error.h"

namespace slogate {

// Not the ordered_json of our own answers: that one looks for a key in all others.
using ApiJson = nlohmann::json;

// One page of a list; its objects were handed over one by one.
struct ListPage {
  std::string resource_version;
  std::string next;  // where the list goes on, "" at its end
};
using TakeObject = std::function<Result<void>(const ApiJson&)>;
// `take` may have been called before an error is found.
[[nodiscard]] Result<ListPage> parse_list(std::string_view text, const TakeObject& take);

// Hands over the elements of a list as kubectl prints it, or the one object that there is.
[[nodiscard]] Result<void> parse_manifest(std::string_view text, const TakeObject& take);

struct WatchEvent {
  enum class Type { Changed, Deleted, Bookmark, Error, Unknown };
  Type type = Type::Unknown;
  ApiJson object;
};
[[nodiscard]] Result<WatchEvent> parse_event(std::string_view line);

// What the API server says of a call that failed; all empty where it is something else.
struct ApiStatus {
  int64_t code = 0;
  std::string reason, message;
};
[[nodiscard]] ApiStatus to_status(const ApiJson& object);
[[nodiscard]] ApiStatus parse_status(std::string_view text);

[[nodiscard]] Result<ApiJson> parse_object(std::string_view text);

[[nodiscard]] std::string resource_version_of(const ApiJson& object);
[[nodiscard]] std::string name_of(const ApiJson& object);
[[nodiscard]] std::string uid_of(const ApiJson& object);

// Nothing where uid, namespace or name is missing.
[[nodiscard]] std::optional<Pod> to_pod(const ApiJson& object);

struct ReplicaSet {
  std::string namespace_;
  OwnerReference owner;
  // What its siblings have in common, as the API takes it in ?labelSelector=, not escaped.
  std::string selector;
  Revision revision;
};
[[nodiscard]] std::optional<ReplicaSet> to_replica_set(const ApiJson& object);

// What a Deployment or Rollout says of how many of its pods have to serve, with the defaults and
// the rounding of their controllers: nothing where it has no spec.
[[nodiscard]] std::optional<Capacity> to_capacity(const ApiJson& object);

// What the API server says of a token; all empty where it is something else.
struct TokenReview {
  bool authenticated = false;
  std::string user;
  std::vector<std::string> audiences;
};
[[nodiscard]] TokenReview to_token_review(const ApiJson& object);
[[nodiscard]] TokenClaims to_token_claims(const ApiJson& claims);

// On which node a pod is, and at which address that node is reached.
struct PodPlace {
  std::string node, address;
  bool ready = false, leaving = false;
};
[[nodiscard]] PodPlace to_pod_place(const ApiJson& object);

// Whatever makes pods of a template.
struct WorkloadTemplate {
  std::string kind, namespace_, name;
  std::map<std::string, std::string> annotations;  // ours, of its template, without the prefix
};
// Nothing where there is no template, or one of these is missing.
[[nodiscard]] std::optional<WorkloadTemplate> to_workload_template(const ApiJson& object);

}  // namespace slogate
