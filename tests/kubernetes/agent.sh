#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent on a node of Kubernetes, as far as that goes without kubelet and controllers: a real API
# server, pods whose status this script writes, and cgroups where runtimes put them. Names, the SLO
# of an annotation, the condition that holds a rollout and the one that spares the last who serve.
set -euo pipefail
# shellcheck source=shop.sh
. "$(dirname "$0")/shop.sh"
make_shop
objectives="p99(request) < 500ms; p99(request) < baseline + 5ms"
owner=$(deployment web 1)
replica_set web-old 1 1 1
pod web-old
replica_set web-new 2 1 1
pod web-new
cat >"$work/slogate.yaml" <<END_CONFIG
kubernetes: { server: "$server", token_file: $work/token, ca_file: $work/pki/ca.crt, node: worker-1 }
END_CONFIG

# Each where another driver would have it.
slice=kubepods-burstable-pod$(uid_of pod/web-new-1 | tr - _).slice
old=kubepods/burstable/pod$(uid_of pod/web-old-1)/$(id_of web-old-1)
new=kubepods.slice/kubepods-burstable.slice/$slice/cri-containerd-$(id_of web-new-1).scope
start_agent --config "$work/slogate.yaml"
start_arm "$old" --service lognormal:2:0.5
start_arm "$new" --service lognormal:8:0.5
expect_condition 10 web-old-1 "True NoVeto"
passed "the pods have their conditions"
is_named() {
  api /v1/cgroups | jq -e --arg path "$cgroup_prefix/$2" --arg pod "$1" '
    .[] | select(.path == $path) | .pod == {namespace: "shop", name: $pod, container: "app", uid: .pod.uid}' >"$work/answer"
}
wait_until 10 is_named web-old-1 "$old" || fail "web-old-1 is not known by its cgroup: $(api /v1/cgroups)"
wait_until 10 is_named web-new-1 "$new" || fail "web-new-1 is not known by its cgroup: $(api /v1/cgroups)"
curl --silent "http://$metrics/metrics" >"$work/metrics"
grep -q '^slogate_request_duration_seconds_count{container="app",namespace="shop",pod="web-new-1",role="server"}' \
  "$work/metrics" || fail "the metrics have no pod: $(grep '_count{' "$work/metrics")"
! grep -q 'cgroup="[^"]*kubepods' "$work/metrics" || fail "a pod goes by its path"
# What the fleet's rules select an arm by.
for arm in canary:web-new-1 baseline:web-old-1; do
  grep -q "^slogate_slo_workload{arm=\"${arm%:*}\",container=\"app\",namespace=\"shop\",pod=\"${arm#*:}\",slo=\"shop.web\"} 1$" \
    "$work/metrics" || fail "the arms are $(grep slogate_slo_workload "$work/metrics")"
done
passed "the pods are named"

expect_condition 60 web-new-1 "False Vetoed"
[ "$(of shop.web verdict)" = veto ] || fail "the verdict is $(of shop.web verdict)"
[ "$(of shop.web rollout)" = web-new-2 ] || fail "the rollout is $(of shop.web rollout)"
has_event() { [[ $(kubectl -n shop get events) == *SLOVeto*web-new-1* ]]; }
wait_until 10 has_event || fail "no event says why: $(kubectl -n shop get events)"
condition_is web-old-1 "True NoVeto" || fail "the old pod is turned away"
passed "the new pod is turned away: $(condition web-new-1 message)"

status_of web-old 1 0
expect_condition 10 web-new-1 "True Spared"
status_of web-old 1 1
expect_condition 10 web-new-1 "False Vetoed"
# Three wanted: of the two others of its revision, on another node, the older one serves on.
elsewhere() { # NAME
  kubectl -n shop get pod web-new-1 -o json | jq --arg name "$1" '{apiVersion, kind,
    metadata: (.metadata | {namespace, labels, annotations, ownerReferences} + {name: $name}),
    spec: (.spec | {containers, readinessGates} + {nodeName: "worker-2"})}' | kubectl create -f - >>"$work/kubectl.log"
  kube PATCH "/api/v1/namespaces/shop/pods/$1/status" '{"status": {"phase": "Running",
    "conditions": [{"type": "ContainersReady", "status": "True"}]}}' application/strategic-merge-patch+json >"$work/answer"
}
kubectl -n shop patch deployment web -p '{"spec": {"replicas": 2}}' >>"$work/kubectl.log"
expect_condition 10 web-new-1 "True Spared"
[[ $(condition web-new-1 message) == *"shop/web wants 2 of 2 pods available; turned away: none"* ]] ||
  fail "it is spared: $(condition web-new-1 message)"
sleep 1.1 # the API counts in seconds
elsewhere web-new-2
kubectl -n shop patch deployment web -p '{"spec": {"replicas": 1}}' >>"$work/kubectl.log"
expect_condition 10 web-new-1 "False Vetoed"
kubectl -n shop patch deployment web -p '{"spec": {"replicas": 2}}' >>"$work/kubectl.log"
expect_condition 10 web-new-1 "True Spared"
[[ $(condition web-new-1 message) == *"turned away: web-new-2"* ]] || fail "it is spared: $(condition web-new-1 message)"
kubectl -n shop delete deployment web --cascade=background >>"$work/kubectl.log"
wait_until 10 message_has web-new-1 "only the newest is turned away: web-new-2" ||
  fail "without a Deployment: $(condition web-new-1 message)"
kubectl -n shop delete pod web-new-2 --grace-period=0 --force >>"$work/kubectl.log" 2>&1
expect_condition 10 web-new-1 "False Vetoed"
passed "a veto leaves the Deployment what it needs, and turns away the newest"
stop_agent
start_agent --config "$work/slogate.yaml"
is_judged() { [ "$(of shop.web verdict 2>/dev/null)" != null ]; }
wait_until 10 is_judged || fail "the next agent does not know the SLO"
[ "$(of shop.web verdict)" = veto ] || fail "the next agent says $(of shop.web verdict)"
condition_is web-new-1 "False Vetoed" || fail "the next agent lets the new pod serve"
passed "the last who serve are spared, and the veto outlives its agent"

# The same template once more, by an undo and another one: a new number.
kubectl -n shop annotate replicaset web-new deployment.kubernetes.io/revision=4 --overwrite >>"$work/kubectl.log"
expect_condition 10 web-new-1 "True NoVeto"
expect_condition 60 web-new-1 "False Vetoed"
passed "a revision that is rolled out again is judged again"

kill_apiserver
is_away() { api /v1/status | jq -e '.kubernetes.trouble | startswith("the API server is away since")' >"$work/answer"; }
wait_until 20 is_away || fail "the status does not say that the API server is away: $(api /v1/status | jq .kubernetes)"
is_named web-old-1 "$old" || fail "without an API server names are forgotten"
[ "$(of shop.web verdict)" = veto ] || fail "without an API server the veto is forgotten"
stop_agent
passed "without an API server what was known holds"
