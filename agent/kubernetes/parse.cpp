// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/parse.h"
#include "maps/integer.h"

#include <algorithm>
#include <array>
#include <initializer_list>

namespace slogate {
namespace {

// Deeper than any object we read: a schema in a CustomResourceDefinition would go further.
constexpr int kMostDepth = 64;
// etcd takes objects of 1.5 MB; the largest pods have some thousand values.
constexpr size_t kMostValues = 100'000;
// What one object may have of what we keep. Kubernetes limits labels to 63 characters behind a
// prefix of 253, and all annotations together to 256 KiB.
constexpr size_t kMostEntries = 256;
constexpr size_t kLongestEntry = size_t{256} << 10;
constexpr size_t kLongestName = 512;

// The year 2262, as far as nanoseconds go.
constexpr int64_t kLatestExpiry = 9'000'000'000;
// So that no percentage of it overflows; the API counts in 32 bits.
constexpr uint64_t kMostReplicas = uint64_t{1} << 31;

constexpr std::string_view kPodHash = "pod-template-hash";
constexpr std::string_view kRolloutHash = "rollouts-pod-template-hash";

// ---- text to JSON ----

// Brackets outside of strings: the parser itself would keep a word for each level.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\')
      ++i;
    else if (c == '"')
      quoted = !quoted;
    else if (!quoted && (c == '{' || c == '['))
      ++depth;
    else if (!quoted && (c == '}' || c == ']'))
      --depth;
    if (depth > kMostDepth) return true;
  }
  return false;
}

// Most of an object, and read by nobody here.
bool is_ballast(std::string_view parent, std::string_view key) {
  constexpr auto unread = std::to_array<std::string_view>(
      {"affinity", "containers", "ephemeralContainers", "initContainers", "tolerations",
       "topologySpreadConstraints", "volumes"});
  if (parent == "metadata") return key == "managedFields";
  return parent == "spec" && std::find(unread.begin(), unread.end(), key) != unread.end();
}

// Watches the parser: leaves out ballast and, with `take`, hands over each element of "items" as
// soon as it is complete, so that there is never more than one of them.
class Sieve {
 public:
  using Event = ApiJson::parse_event_t;
  explicit Sieve(const TakeObject* take) : take_(take) {}

  bool operator()(int depth, Event event, ApiJson& value);

  [[nodiscard]] const Result<void>& result() const { return result_; }

 private:
  bool key(size_t depth, const ApiJson& name);
  bool end(int depth, ApiJson& value);
  bool count();

  const TakeObject* take_;
  std::array<std::string, kMostDepth + 2> names_;  // of the keys that lead here
  size_t values_ = 0;                              // of this object
  Result<void> result_;
};

bool Sieve::operator()(int depth, Event event, ApiJson& value) {
  switch (event) {
    case Event::key:
      return key(static_cast<size_t>(depth), value);
    case Event::object_end:
      return end(depth, value);
    case Event::value:
      return count();
    default:
      return true;
  }
}

bool Sieve::count() {
  if (++values_ <= kMostValues) return true;
  result_ = fail(fmt::format("an object has more than {} values", kMostValues));
  return false;
}

bool Sieve::key(size_t depth, const ApiJson& name) {
  if (depth == 0 || depth >= names_.size() || !name.is_string()) return false;
  names_[depth] = name.get_ref<const std::string&>();
  return count() && !is_ballast(names_[depth - 1], names_[depth]);
}

bool Sieve::end(int depth, ApiJson& value) {
  constexpr int depth_of_items = 2;
  if (!take_ || depth != depth_of_items || names_[1] != "items") return true;
  values_ = 0;
  if (result_) result_ = (*take_)(value);
  return false;
}

Result<ApiJson> parse(std::string_view text, const TakeObject* take) {
  if (too_deep(text)) return fail(fmt::format("JSON of more than {} levels", kMostDepth));
  Sieve sieve(take);
  ApiJson json = ApiJson::parse(
      text,
      [&sieve](int depth, Sieve::Event event, ApiJson& value) {
        return sieve(depth, event, value);
      },
      false);
  if (!sieve.result()) return fail(sieve.result().error());
  if (!json.is_object()) return fail("not an object in JSON");
  return json;
}

// ---- members, whatever their type ----

const ApiJson& member(const ApiJson& json, std::string_view name) {
  static const ApiJson none;
  if (!json.is_object()) return none;
  const auto found = json.find(name);
  return found == json.end() ? none : *found;
}

const ApiJson& member(const ApiJson& json, std::initializer_list<std::string_view> path) {
  const ApiJson* at = &json;
  for (const std::string_view name : path) at = &member(*at, name);
  return *at;
}

std::string text_of(const ApiJson& json) {
  return json.is_string() ? json.get<std::string>() : std::string();
}
std::string text_at(const ApiJson& json, std::string_view name) {
  return text_of(member(json, name));
}
// A name, an id: nothing that long is one.
std::string name_at(const ApiJson& json, std::string_view name) {
  std::string text = text_at(json, name);
  return text.size() <= kLongestName ? text : std::string();
}

int64_t integer_of(const ApiJson& json) {
  return json.is_number_integer() ? json.get<int64_t>() : 0;
}
uint64_t count_of(const ApiJson& json) {
  return static_cast<uint64_t>(std::max<int64_t>(integer_of(json), 0));
}
bool is_true(const ApiJson& json) {
  return json.is_boolean() && json.get<bool>();
}

// The elements of an array; none of anything else.
const ApiJson& elements(const ApiJson& json) {
  static const ApiJson none = ApiJson::array();
  return json.is_array() ? json : none;
}

std::vector<std::string> names_of(const ApiJson& json) {
  std::vector<std::string> names;
  for (const ApiJson& one : elements(json))
    if (std::string name = text_of(one); name.size() <= kLongestName && names.size() < kMostEntries)
      names.push_back(std::move(name));
  return names;
}

using Texts = std::map<std::string, std::string>;

// The pairs of texts of an object whose keys begin with `prefix`, without it.
Texts texts(const ApiJson& json, std::string_view prefix, size_t longest) {
  Texts pairs;
  if (!json.is_object()) return pairs;
  for (const auto& [key, value] : json.items()) {
    if (pairs.size() == kMostEntries) break;
    if (!key.starts_with(prefix) || key.size() > kLongestName || !value.is_string()) continue;
    const auto& text = value.get_ref<const std::string&>();
    if (text.size() <= longest) pairs.emplace(key.substr(prefix.size()), text);
  }
  return pairs;
}

Texts our_annotations(const ApiJson& metadata) {
  return texts(member(metadata, "annotations"), kAnnotationPrefix, kLongestEntry);
}

OwnerReference controller_of(const ApiJson& metadata) {
  for (const ApiJson& owner : elements(member(metadata, "ownerReferences")))
    if (is_true(member(owner, "controller")))
      return {name_at(owner, "kind"), name_at(owner, "name"), name_at(owner, "uid")};
  return {};
}

// ---- pods ----

void add_container(Texts& containers, const ApiJson& id, const std::string& name) {
  std::string text = text_of(id);
  if (const size_t scheme = text.find("://"); scheme != std::string::npos)
    text.erase(0, scheme + 3);
  if (!text.empty() && text.size() <= kLongestName && containers.size() < kMostEntries)
    containers.insert_or_assign(std::move(text), name);
}

// A container that was restarted has the id of the run before in its last state.
Texts containers_of(const ApiJson& status) {
  Texts containers;
  for (const std::string_view kind :
       {"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"}) {
    for (const ApiJson& one : elements(member(status, kind))) {
      const std::string name = name_at(one, "name");
      add_container(containers, member(one, {"lastState", "terminated", "containerID"}), name);
      add_container(containers, member(one, {"state", "terminated", "containerID"}), name);
      add_container(containers, member(one, "containerID"), name);
    }
  }
  return containers;
}

std::map<std::string, uint64_t> restarts_of(const ApiJson& status) {
  std::map<std::string, uint64_t> restarts;
  for (const ApiJson& one : elements(member(status, "containerStatuses")))
    if (std::string name = name_at(one, "name"); !name.empty() && restarts.size() < kMostEntries)
      restarts.insert_or_assign(std::move(name), count_of(member(one, "restartCount")));
  return restarts;
}

const ApiJson& condition_of(const ApiJson& status, std::string_view type) {
  static const ApiJson none;
  for (const ApiJson& one : elements(member(status, "conditions")))
    if (text_at(one, "type") == type) return one;
  return none;
}

std::optional<bool> to_bool(const std::string& status) {
  if (status == "True") return true;
  if (status == "False") return false;
  return std::nullopt;
}

bool has_our_gate(const ApiJson& spec) {
  const ApiJson& gates = elements(member(spec, "readinessGates"));
  return std::any_of(gates.begin(), gates.end(), [](const ApiJson& gate) {
    return text_at(gate, "conditionType") == kConditionType;
  });
}

bool is_leaving(const ApiJson& metadata, const ApiJson& status) {
  const std::string phase = text_at(status, "phase");
  return member(metadata, "deletionTimestamp").is_string() || phase == "Succeeded" ||
         phase == "Failed";
}

bool is_so(const ApiJson& status, std::string_view condition) {
  return text_at(condition_of(status, condition), "status") == "True";
}

// Ready says the same of a pod that has no gates.
bool is_able(const ApiJson& status) {
  const bool told = condition_of(status, "ContainersReady").is_object();
  return is_so(status, told ? "ContainersReady" : "Ready");
}

// ---- Deployments and Rollouts ----

// What may be a number, or a text such as "25%" of a whole; 0 for anything else.
struct Share {
  uint64_t count = 0, percent = 0;
};
constexpr Share kQuarter{.percent = 25};

Share share_of(const ApiJson& json, Share missing) {
  if (json.is_null()) return missing;
  if (json.is_number_integer()) return {.count = count_of(json)};
  std::string text = text_of(json);
  if (!text.ends_with('%')) return {};
  text.pop_back();
  constexpr uint64_t most_percent = 1'000;
  return {.percent = std::min(parse_integer<uint64_t>(text, 0).value_or(0), most_percent)};
}

enum class Round { Down, Up };
uint64_t scaled(const Share& share, uint64_t whole, Round round) {
  constexpr uint64_t hundred = 100;
  const uint64_t product = share.percent * whole;
  return share.count + (product + (round == Round::Up ? hundred - 1 : 0)) / hundred;
}

// As the deployment controller resolves them: without a surge and with nothing unavailable no
// rollout could go on, so one may be.
uint64_t max_unavailable(const ApiJson& rolling, uint64_t replicas) {
  const Share down = share_of(member(rolling, "maxUnavailable"), kQuarter);
  const Share up = share_of(member(rolling, "maxSurge"), kQuarter);
  const uint64_t unavailable = scaled(down, replicas, Round::Down);
  if (unavailable == 0 && scaled(up, replicas, Round::Up) == 0)
    return std::min<uint64_t>(replicas, 1);
  return std::min(unavailable, replicas);
}

// ---- ReplicaSets ----

// What tells a ReplicaSet from its siblings.
bool is_hash(std::string_view label) {
  return label == kPodHash || label == kRolloutHash;
}

std::string joined_values(const ApiJson& values) {
  std::string text;
  for (const ApiJson& value : elements(values)) {
    if (!text.empty()) text += ',';
    text += text_of(value);
  }
  return text;
}

// "" for what is no requirement.
std::string requirement(const ApiJson& expression) {
  std::string key = name_at(expression, "key");
  const std::string operation = text_at(expression, "operator");
  if (key.empty() || is_hash(key)) return "";
  if (operation == "Exists") return key;
  if (operation == "DoesNotExist") return "!" + key;
  const std::string values = joined_values(member(expression, "values"));
  if (operation == "In") return fmt::format("{} in ({})", key, values);
  if (operation == "NotIn") return fmt::format("{} notin ({})", key, values);
  return "";
}

std::string shared_selector(const ApiJson& selector) {
  std::string text;
  const auto add = [&text](const std::string& one) {
    if (!one.empty()) text += (text.empty() ? "" : ",") + one;
  };
  for (const auto& [key, value] : texts(member(selector, "matchLabels"), "", kLongestName))
    if (!is_hash(key)) add(fmt::format("{}={}", key, value));
  for (const ApiJson& expression : elements(member(selector, "matchExpressions")))
    add(requirement(expression));
  return text;
}

std::string hash_of(const ApiJson& labels) {
  std::string hash = name_at(labels, kRolloutHash);
  return hash.empty() ? name_at(labels, kPodHash) : hash;
}

// 0 for anything else.
int64_t above_zero(std::string_view text) {
  return parse_integer<int64_t>(text, 1).value_or(0);
}

int64_t number_of(const ApiJson& annotations) {
  for (const std::string_view name :
       {"deployment.kubernetes.io/revision", "rollout.argoproj.io/revision"}) {
    if (const int64_t number = above_zero(text_at(annotations, name)); number != 0) return number;
  }
  return 0;
}

WatchEvent::Type to_type(const std::string& text) {
  using Type = WatchEvent::Type;
  if (text == "ADDED" || text == "MODIFIED") return Type::Changed;
  if (text == "DELETED") return Type::Deleted;
  if (text == "BOOKMARK") return Type::Bookmark;
  if (text == "ERROR") return Type::Error;
  return Type::Unknown;
}

}  // namespace

Result<ApiJson> parse_object(std::string_view text) {
  return parse(text, nullptr);
}

Result<ListPage> parse_list(std::string_view text, const TakeObject& take) {
  const auto json = parse(text, &take);
  if (!json) return fail(json.error());
  // A server writes null for a list without elements; an element that is no object is still there.
  const ApiJson& items = member(*json, "items");
  const bool all_taken = json->contains("items") && (items.is_null() || items.is_array());
  if (!all_taken || !items.empty() || !text_at(*json, "kind").ends_with("List"))
    return fail("not a list of objects");
  const ApiJson& metadata = member(*json, "metadata");
  ListPage page{text_at(metadata, "resourceVersion"), text_at(metadata, "continue")};
  if (page.resource_version.empty()) return fail("a list without a resourceVersion");
  return page;
}

Result<void> parse_manifest(std::string_view text, const TakeObject& take) {
  const auto json = parse(text, &take);
  if (!json) return fail(json.error());
  const std::string kind = text_at(*json, "kind");
  if (kind.empty()) return fail("not an object of Kubernetes");
  if (!kind.ends_with("List")) return take(*json);
  const ApiJson& items = member(*json, "items");
  if (!items.is_array() && !items.is_null()) return fail("a list without items");
  return {};
}

Result<WatchEvent> parse_event(std::string_view line) {
  auto json = parse(line, nullptr);
  if (!json) return fail(json.error());
  if (!member(*json, "type").is_string() || !member(*json, "object").is_object())
    return fail("not an event of a watch");
  return WatchEvent{to_type(text_at(*json, "type")), std::move((*json)["object"])};
}

ApiStatus to_status(const ApiJson& object) {
  if (text_at(object, "kind") != "Status") return {};
  return {integer_of(member(object, "code")), text_at(object, "reason"),
          text_at(object, "message")};
}

ApiStatus parse_status(std::string_view text) {
  const auto json = parse(text, nullptr);
  return json ? to_status(*json) : ApiStatus{};
}

std::string resource_version_of(const ApiJson& object) {
  return name_at(member(object, "metadata"), "resourceVersion");
}

std::string name_of(const ApiJson& object) {
  return name_at(member(object, "metadata"), "name");
}

std::string uid_of(const ApiJson& object) {
  return name_at(member(object, "metadata"), "uid");
}

std::optional<Pod> to_pod(const ApiJson& object) {
  const ApiJson& metadata = member(object, "metadata");
  const ApiJson& status = member(object, "status");
  Pod pod{uid_of(object), name_at(metadata, "namespace"), name_at(metadata, "name")};
  if (pod.uid.empty() || pod.namespace_.empty() || pod.name.empty()) return std::nullopt;
  pod.labels = texts(member(metadata, "labels"), "", kLongestName);
  pod.annotations = our_annotations(metadata);
  pod.owner = controller_of(metadata);
  pod.containers = containers_of(status);
  pod.restarts = restarts_of(status);
  pod.gated = has_our_gate(member(object, "spec"));
  const ApiJson& ours = condition_of(status, kConditionType);
  pod.condition = to_bool(text_at(ours, "status"));
  pod.condition_reason = text_at(ours, "reason");
  pod.condition_message = text_at(ours, "message");
  pod.condition_generation = integer_of(member(ours, "observedGeneration"));
  pod.generation = integer_of(member(metadata, "generation"));
  pod.created = name_at(metadata, "creationTimestamp");
  pod.ready = is_so(status, "Ready");
  pod.able = is_able(status);
  pod.leaving = is_leaving(metadata, status);
  return pod;
}

std::optional<ReplicaSet> to_replica_set(const ApiJson& object) {
  const ApiJson& metadata = member(object, "metadata");
  const ApiJson& spec = member(object, "spec");
  const ApiJson& status = member(object, "status");
  ReplicaSet set;
  set.namespace_ = name_at(metadata, "namespace");
  set.owner = controller_of(metadata);
  set.selector = shared_selector(member(spec, "selector"));
  Revision& revision = set.revision;
  revision.uid = uid_of(object);
  revision.name = name_at(metadata, "name");
  if (revision.uid.empty() || set.namespace_.empty() || revision.name.empty()) return std::nullopt;
  revision.hash = hash_of(member(metadata, "labels"));
  revision.number = number_of(member(metadata, "annotations"));
  revision.pods = count_of(member(status, "replicas"));
  revision.ready = count_of(member(status, "readyReplicas"));
  revision.available = count_of(member(status, "availableReplicas"));
  revision.annotations = our_annotations(member(spec, {"template", "metadata"}));
  return set;
}

std::optional<Capacity> to_capacity(const ApiJson& object) {
  const ApiJson& spec = member(object, "spec");
  const ApiJson& strategy = member(spec, "strategy");
  if (!spec.is_object()) return std::nullopt;
  Capacity capacity;
  if (const ApiJson& replicas = member(spec, "replicas"); !replicas.is_null())
    capacity.replicas = std::min(count_of(replicas), kMostReplicas);
  // Rollouts of Argo have a member for each strategy, Deployments name theirs.
  if (const ApiJson& colours = member(strategy, "blueGreen"); colours.is_object())
    capacity.max_unavailable = std::min(
        scaled(share_of(member(colours, "maxUnavailable"), {}), capacity.replicas, Round::Down),
        capacity.replicas);
  else if (const ApiJson& canary = member(strategy, "canary"); canary.is_object())
    capacity.max_unavailable = max_unavailable(canary, capacity.replicas);
  else if (text_at(strategy, "type") != "Recreate")
    capacity.max_unavailable =
        max_unavailable(member(strategy, "rollingUpdate"), capacity.replicas);
  return capacity;
}

TokenReview to_token_review(const ApiJson& object) {
  const ApiJson& status = member(object, "status");
  return {.authenticated = is_true(member(status, "authenticated")),
          .user = name_at(member(status, "user"), "username"),
          .audiences = names_of(member(status, "audiences"))};
}

TokenClaims to_token_claims(const ApiJson& claims) {
  TokenClaims found{.subject = name_at(claims, "sub"),
                    .audiences = names_of(member(claims, "aud"))};
  if (found.audiences.empty() && member(claims, "aud").is_string())
    found.audiences.push_back(name_at(claims, "aud"));
  found.expires = std::chrono::seconds(
      std::clamp<int64_t>(integer_of(member(claims, "exp")), 0, kLatestExpiry));
  return found;
}

PodPlace to_pod_place(const ApiJson& object) {
  const ApiJson& status = member(object, "status");
  return {.node = name_at(member(object, "spec"), "nodeName"),
          .address = name_at(status, "hostIP"),
          .ready = is_so(status, "Ready"),
          .leaving = is_leaving(member(object, "metadata"), status)};
}

std::optional<WorkloadTemplate> to_workload_template(const ApiJson& object) {
  const ApiJson& metadata = member(object, "metadata");
  const ApiJson& pods = member(object, {"spec", "template"});
  WorkloadTemplate found{text_at(object, "kind"), name_at(metadata, "namespace"),
                         name_at(metadata, "name"), our_annotations(member(pods, "metadata"))};
  if (!pods.is_object() || found.namespace_.empty() || found.name.empty()) return std::nullopt;
  return found;
}

}  // namespace slogate
