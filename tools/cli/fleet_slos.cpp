// SPDX-License-Identifier: Apache-2.0
#include "tools/cli/fleet_slos.h"

#include <unistd.h>

#include <algorithm>

#include "agent/kubernetes/annotations.h"
#include "agent/kubernetes/parse.h"
#include "agent/kubernetes/pod_slos.h"
#include "agent/kubernetes/text.h"
#include "maps/file.h"

namespace slogate::cli {
namespace {

// The API server cuts the name that it makes a pod's of, before it adds five characters.
constexpr size_t kLongestPodPrefix = 58;

bool has_revisions(const WorkloadTemplate& workload) {
  return workload.kind == "Deployment" || workload.kind == "Rollout";
}

// Of a Deployment's pods: its name, the hash of their template, and five characters more.
std::string pod_names_of(const std::string& deployment) {
  std::string regex;
  for (const char c : (deployment + "-").substr(0, kLongestPodPrefix))
    regex += c == '.' ? "\\." : std::string(1, c);
  return regex + ".*";
}

// Which pods the arms are at the moment is known to the agents alone.
FleetSlo with_arms(Slo slo, const std::string& namespace_, const std::string& workload) {
  slo.name = pod_slo_name(namespace_, workload);
  slo.canary = TrackSelector{namespace_, workload, "canary"};
  slo.baseline = TrackSelector{namespace_, workload, "stable"};
  return {std::move(slo)};
}

Result<void> add_workload(const WorkloadTemplate& workload, FleetSlos& to) {
  auto annotations = parse_annotations(workload.annotations);
  if (!annotations) return fail(annotations.error());
  if (!*annotations || (*annotations)->track == "stable") return {};
  Slo& slo = (*annotations)->slo;
  if (!(*annotations)->track.empty()) {
    to.slos.push_back(with_arms(std::move(slo), workload.namespace_, (*annotations)->workload));
    return {};
  }
  if (!has_revisions(workload))
    return fail("it has no revisions that tell canary from stable",
                fmt::format("add {0}track and {0}workload", kAnnotationPrefix));
  to.slos.push_back(with_arms(std::move(slo), workload.namespace_, workload.name));
  to.slos.back().pod_names = pod_names_of(workload.name);
  return {};
}

// Of several workloads that are the canary of one SLO the first one counts.
void drop_repeated(FleetSlos& of) {
  const auto name = [](const FleetSlo& one) -> const std::string& { return one.slo.name; };
  std::ranges::stable_sort(of.slos, {}, name);
  const auto again = std::ranges::unique(of.slos, {}, name);
  of.slos.erase(again.begin(), again.end());
}

}  // namespace

Result<FleetSlos> slos_of_workloads(std::string_view json) {
  FleetSlos found;
  const auto take = [&found](const ApiJson& object) -> Result<void> {
    const auto workload = to_workload_template(object);
    if (!workload) return {};
    if (auto done = add_workload(*workload, found); !done)
      found.problems.push_back(
          done.error()
              .within(for_log(
                  fmt::format("{} {}/{}", workload->kind, workload->namespace_, workload->name)))
              .line());
    return {};
  };
  if (auto done = parse_manifest(json, take); !done)
    return fail(done.error().message, "hand over what `kubectl get deployments -A -o json` prints");
  drop_repeated(found);
  return found;
}

Result<FleetSlos> read_workloads(const std::string& path) {
  const auto text = path == "-" ? read_file(STDIN_FILENO) : read_file(path);
  if (!text) return fail(text.error());
  return slos_of_workloads(*text);
}

}  // namespace slogate::cli
