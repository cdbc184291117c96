# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A workload `web` in namespace shop of a real API server that has neither controllers nor kubelets: its
# ReplicaSets and pods have the status that a test writes.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Returns when the API server is ready and the agents' service account is there, as our manifests have it.
make_shop() {
  need_root
  need_cgroup2
  need_kubernetes
  command -v kubectl >/dev/null || skip "kubectl is not installed: tools/deps kubernetes"
  make_certificates
  start_etcd
  start_apiserver
  write_kubeconfig
  say "the API server is ready"
  kubectl create namespace shop >"$work/kubectl.log"
  kubectl create namespace slogate-system >>"$work/kubectl.log"
  local role
  for role in base components/fleet; do
    sed 's/^metadata:$/&\n  namespace: slogate-system/' "$root/daemonset/$role/rbac.yaml" | kubectl apply -f - >>"$work/kubectl.log"
  done
  agent_token https://kubernetes.invalid >"$work/token"
}
# agent_token AUDIENCE: as the kubelet would give it to an agent.
agent_token() {
  kube POST /api/v1/namespaces/slogate-system/serviceaccounts/slogate/token \
    "{\"spec\": {\"audiences\": [\"$1\"], \"expirationSeconds\": 3600}}" | jq -r .status.token
}

# The SLO of the templates, and the uid of the Deployment that owns the ReplicaSets.
objectives=""
owner=""
id_of() { printf '%s' "$1" | sha256sum | cut -c 1-64; } # a container's, made of its name
uid_of() { kubectl -n shop get "$1" -o 'jsonpath={.metadata.uid}'; }
# replica_set NAME NUMBER PODS READY
replica_set() {
  jq -n --arg name "$1" --arg number "$2" --arg owner "$owner" --arg objectives "$objectives" '{app: "web", "pod-template-hash": $name} as $labels |
    {"slogate.io/slo": $objectives, "slogate.io/warmup": "0s"} as $ours | {
    apiVersion: "apps/v1", kind: "ReplicaSet",
    metadata: {name: $name, namespace: "shop", labels: $labels,
      annotations: {"deployment.kubernetes.io/revision": $number},
      ownerReferences: [{apiVersion: "apps/v1", kind: "Deployment", name: "web", controller: true,
        uid: $owner}]},
    spec: {replicas: 1, selector: {matchLabels: $labels},
      template: {metadata: {labels: $labels, annotations: $ours},
        spec: {containers: [{name: "app", image: "none"}]}}}}' | kubectl apply -f - >>"$work/kubectl.log"
  status_of "$1" "$3" "$4"
}
# deployment NAME REPLICAS: prints its uid. No controller makes anything of it.
deployment() {
  jq -n --arg name "$1" --argjson replicas "$2" '{app: "web"} as $labels | {apiVersion: "apps/v1", kind: "Deployment",
    metadata: {name: $name, namespace: "shop"},
    spec: {replicas: $replicas, selector: {matchLabels: $labels}, template: {metadata: {labels: $labels},
      spec: {containers: [{name: "app", image: "none"}]}}}}' | kubectl create -o 'jsonpath={.metadata.uid}' -f -
}
status_of() {
  kube PATCH "/apis/apps/v1/namespaces/shop/replicasets/$1/status" \
    "{\"status\": {\"replicas\": $2, \"readyReplicas\": $3, \"availableReplicas\": $3}}" application/merge-patch+json >"$work/answer"
}
# pod REPLICA-SET [NUMBER [NODE-NUMBER]]: of that name and number, on worker-1; its container has run for
# a moment. Node worker-N has the address 127.0.0.N.
pod() {
  local name=$1-${2-1} number=${3-1}
  kubectl -n shop get replicaset "$1" -o json | jq --arg name "$name" --arg node "worker-$number" '{
    apiVersion: "v1", kind: "Pod",
    metadata: (.spec.template.metadata + {name: $name, namespace: "shop",
      ownerReferences: [{apiVersion: "apps/v1", kind: "ReplicaSet", name: .metadata.name,
        uid: .metadata.uid, controller: true}]}),
    spec: (.spec.template.spec + {nodeName: $node, readinessGates: [{conditionType: "slogate.io/slo"}]})
  }' | kubectl apply -f - >>"$work/kubectl.log"
  kube PATCH "/api/v1/namespaces/shop/pods/$name/status" "$(jq -n --arg id "$(id_of "$name")" --arg ip "127.0.0.$number" '{status: {
    phase: "Running", hostIP: $ip, conditions: [{type: "Ready", status: "True"}, {type: "ContainersReady", status: "True"}],
    containerStatuses: [{name: "app", image: "none", imageID: "", ready: true, restartCount: 0,
      containerID: "containerd://\($id)"}]}}')" application/strategic-merge-patch+json >"$work/answer"
}
# cgroup_of POD: where a runtime would put its container.
cgroup_of() { say "kubepods/burstable/pod$(uid_of "pod/$1")/$(id_of "$1")"; }
condition() { # POD FIELD
  kubectl -n shop get pod "$1" -o json |
    jq -r "[.status.conditions[]? | select(.type == \"slogate.io/slo\")][0].$2"
}
message_has() { [[ $(condition "$1" message) == *"$2"* ]]; }
condition_is() { [ "$(condition "$1" status) $(condition "$1" reason)" = "$2" ]; }
expect_condition() { # SECONDS POD "STATUS REASON"
  wait_until "$1" condition_is "$2" "$3" ||
    fail "the condition of $2 is $(condition "$2" status) $(condition "$2" reason), not $3"
}
