// SPDX-License-Identifier: Apache-2.0
#include "agent/kubernetes/access.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace slogate {
namespace {

// Where the DaemonSet mounts the token for other agents.
constexpr const char* kPeerToken = "/var/run/secrets/slogate/token";
constexpr const char* kServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";

Result<void> check_readable(const std::string& path) {
  if (::access(path.c_str(), R_OK) == 0) return {};
  Error error = system_error(fmt::format("cannot read {}", path), errno);
  error.remedy = "give the pod a serviceAccountName and automountServiceAccountToken: true";
  return fail(std::move(error));
}

// An address of IPv6 is set apart from the port by brackets.
std::string to_server(const std::string& host, const std::string& port) {
  const bool ipv6 = host.find(':') != std::string::npos && !host.starts_with('[');
  return ipv6 ? fmt::format("https://[{}]:{}", host, port)
              : fmt::format("https://{}:{}", host, port);
}

}  // namespace

Result<std::optional<KubernetesAccess>> access_of(const PodEnvironment& environment) {
  const std::string host = environment.variable("KUBERNETES_SERVICE_HOST");
  if (host.empty()) return std::nullopt;
  const std::string port = environment.variable("KUBERNETES_SERVICE_PORT");
  if (port.empty())
    return fail("KUBERNETES_SERVICE_HOST is set and KUBERNETES_SERVICE_PORT is not",
                "the kubelet sets both");
  KubernetesAccess access{to_server(host, port), environment.directory + "/token",
                          environment.directory + "/ca.crt", environment.variable("NODE_NAME")};
  if (::access(environment.peer_token.c_str(), R_OK) == 0)
    access.peer_token_file = environment.peer_token;
  if (access.node.empty())
    return fail("NODE_NAME is not set, so this node's pods can't be told from others",
                "set it in the manifest from fieldPath: spec.nodeName");
  for (const std::string& file : {access.token_file, access.ca_file})
    if (auto readable = check_readable(file); !readable) return fail(readable.error());
  return access;
}

Result<std::optional<KubernetesAccess>> access_of_pod() {
  return access_of({[](const char* name) {
                      const char* value = std::getenv(name);
                      return std::string(value ? value : "");
                    },
                    kServiceAccount, kPeerToken});
}

}  // namespace slogate
