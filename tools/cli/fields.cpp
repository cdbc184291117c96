// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/fields.h"

namespace slogate::cli {
namespace {

double sum_of(const Json& json) {
  if (!json.is_object()) return json.get<double>();
  double total = 0;
  for (const Json& part : json) total += sum_of(part);
  return total;
}

void read_signal(CgroupRow& row, const Json& json, const char* role, const std::string& signal) {
  const std::string at = "/signals/" + signal;
  row.role = role;
  row.signal = signal;
  row.requests = number_at(json, at + "/count").value_or(0);  // left out until the first one
  row.p50 = number_at(json, at + "/p50");
  row.p90 = number_at(json, at + "/p90");
  row.p99 = number_at(json, at + "/p99");
  row.p999 = number_at(json, at + "/p999");
  row.inflight = number_at(json, fmt::format("/inflight/{}/requests", role));
  row.oldest = number_at(json, fmt::format("/inflight/{}/oldest_seconds", role));
}

// Of one role, as `errors` of agent/config/judged_ratios.def has it. Nothing where no outcome is
// known: 0 would look like health.
std::optional<double> failed_requests(const Json& json, std::string_view role) {
  double failed = sum_at(json, fmt::format("/counters/unanswered_requests/{}", role)).value_or(0);
  double known = failed;
  const Json::json_pointer answers(fmt::format("/counters/answers/{}", role));
  if (json.contains(answers))
    for (const Json& protocol : json.at(answers)) {
      failed += number_at(protocol, "/server_error").value_or(0);
      known += sum_of(protocol) - number_at(protocol, "/unknown").value_or(0);
    }
  return known > 0 ? std::optional(failed) : std::nullopt;
}

// NAMESPACE/POD/CONTAINER, "" where the cgroup is no pod's.
std::string pod_name(const Json& cgroup) {
  const Json pod = cgroup.value("pod", Json::object());
  if (!pod.is_object() || pod.empty()) return {};
  return fmt::format("{}/{}/{}", pod.value("namespace", ""), pod.value("name", ""),
                     pod.value("container", ""));
}

}  // namespace

std::optional<double> number_at(const Json& json, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  if (!json.contains(at) || json.at(at).is_null()) return std::nullopt;
  return json.at(at).get<double>();
}

std::optional<double> sum_at(const Json& json, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  if (!json.contains(at)) return std::nullopt;
  return sum_of(json.at(at));
}

CgroupRow parse_cgroup(const Json& json) {
  CgroupRow row;
  row.id = json.at("id").get_ref<const Json::number_unsigned_t&>();
  row.path = json.at("path").get<std::string>();
  row.name = pod_name(json);
  if (row.name.empty()) row.name = row.path;
  if (row.name.empty()) row.name = fmt::format("id {}", row.id);
  row.gone = json.value("gone", false);
  // A server that hangs has an open request and no answered one.
  const bool serves = number_at(json, "/signals/request/count").value_or(0) > 0 ||
                      number_at(json, "/inflight/server/requests").value_or(0) > 0;
  const bool asks = number_at(json, "/signals/client_request/count").value_or(0) > 0 ||
                    number_at(json, "/inflight/client/requests").value_or(0) > 0;
  if (serves)
    read_signal(row, json, "server", "request");
  else if (asks)
    read_signal(row, json, "client", "client_request");
  row.connections = sum_at(json, "/counters/connections");
  row.errors = failed_requests(json, row.role.empty() ? "server" : row.role);
  row.connection_errors = sum_at(json, "/counters/connection_errors");
  row.client_gone = sum_at(json, "/counters/client_gone");
  row.retransmits = sum_at(json, "/counters/retransmits");
  row.drops = sum_at(json, "/counters/drops");
  row.lost = number_at(json, "/lost");
  return row;
}

}  // namespace slogate::cli
