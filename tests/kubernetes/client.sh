#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent's client against a real API server: pods that come and go, Deployments, conditions,
# events, a token that is rotated, rights that are missing, and a server that is killed meanwhile.
set -euo pipefail
# The first time it builds an API server.
# ctest: kubernetes 1800
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

node="node-a"
churn=100
output=$work/clusters
watch=$programs/slogate-kubernetes-watch
full_rules='[
  {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
  {"apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"]},
  {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
  {"apiGroups": ["apps"], "resources": ["replicasets", "deployments"], "verbs": ["get", "list", "watch"]}]'
reading_pods='[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]'

# seen FILTER: whether it holds of the latest cluster.
seen() { tail -n 1 "$output" | jq -e "$1" >"$work/seen" 2>&1; }
expect() { wait_until "$1" seen "$2" || fail "not within $1 s: $2; but $(tail -n 1 "$output" | cut -c 1-3000)"; }
order() { jq -c . <<<"$1" >&"$orders"; } # on one line

start_watch() {
  : >"$output"
  mkfifo "$work/orders"
  "$watch" "$server" "$work/token" "$work/pki/ca.crt" "$node" \
    <"$work/orders" >"$output" 2>"$work/watch.log" &
  watch_pid=$!
  track "$watch_pid"
  exec {orders}>"$work/orders" # its end is the client's
}

# With a CA of somebody else's the client must not even send its token.
refuses_another_ca() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=other \
    -keyout "$work/other.key" -out "$work/other.crt" >"$work/openssl" 2>&1
  # shellcheck disable=SC2094 # one waits for what the other writes
  { wait_until 10 grep -q certificate "$work/strange" && say ""; } |
    "$watch" "$server" "$work/token" "$work/other.crt" "$node" >"$work/strange" 2>"$work/strange.log"
  tail -n 1 "$work/strange" | jq -e '(.synced | not) and (.trouble | test("away since .*certificate"))' \
    >"$work/seen" || fail "a strange CA: $(cat "$work/strange")"
}

# pod NAME [OWNER]: a pod of our node, as JSON; OWNER is the uid of its ReplicaSet.
pod() {
  jq -nc --arg name "$1" --arg owner "${2-}" --arg node "$node" '{
    metadata: ({name: $name, labels: {app: "web"}} +
      if $owner == "" then {} else {annotations: {"slogate.io/slo": "p99<100ms", other: "x"},
        ownerReferences: [{apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-1", uid: $owner,
          controller: true}]} end),
    spec: {nodeName: $node, readinessGates: [{conditionType: "slogate.io/slo"}],
      containers: [{name: "main", image: "none"}]}}'
}
# running ID: the status a kubelet would write.
running() {
  say "{\"status\":{\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"main\",\"image\":\"none\",\
\"imageID\":\"\",\"ready\":true,\"restartCount\":0,\"containerID\":\"containerd://$1\"}],\
\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}"
}
pods=/api/v1/namespaces/shop/pods
sets=/apis/apps/v1/namespaces/shop/replicasets

# replica_set NAME OWNER REVISION: prints its uid.
replica_set() {
  kube POST "$sets" "$(jq -nc --arg name "$1" --arg owner "$2" --arg revision "$3" '
    {app: "web", "pod-template-hash": $name} as $labels | {
    metadata: {name: $name, labels: $labels,
      annotations: {"deployment.kubernetes.io/revision": $revision},
      ownerReferences: [{apiVersion: "apps/v1", kind: "Deployment", name: "web", uid: $owner,
        controller: true}]},
    spec: {replicas: 1, selector: {matchLabels: $labels},
      template: {metadata: {labels: $labels, annotations: {"slogate.io/slo": $revision}},
        spec: {containers: [{name: "main", image: "none"}]}}}}')" | jq -r .metadata.uid
}

# condition POD: ours, as the API server has it.
condition() {
  kube GET "$pods/$1" | jq -c '.status.conditions // [] | map(select(.type == "slogate.io/slo"))[0]'
}
condition_is() { condition "$1" | jq -e "$2" >"$work/seen"; }
# want POD UID STATUS MESSAGE
want() {
  order "$(jq -nc --arg name "$1" --arg uid "$2" --argjson status "$3" --arg message "$4" '{
    conditions: [{uid: $uid, namespace: "shop", name: $name, status: $status, reason: "Vetoed",
      message: $message}]}')"
}
delete_now='{"gracePeriodSeconds":0}'

# ---- the parts ----

lists_and_follows() {
  expect 20 '.synced and .trouble == "" and (.pods | length == 1)'
  expect 5 '.pods[0] | .name == "first" and .gated and .ready == false and .condition == null'
  kube PATCH "$pods/first/status" "$(running aaa)" application/strategic-merge-patch+json >"$work/answer"
  expect 5 '.pods[0] | .ready and .containers.aaa == "main"'
  # Another node's is not ours.
  kube POST "$pods" "$(pod stranger | jq -c '.spec.nodeName = "node-b"')" >"$work/answer"
}

follows_deployments() {
  local owner=11111111-1111-1111-1111-111111111111 first third
  first=$(replica_set web-1 $owner 1)
  replica_set web-2 $owner 2 >"$work/answer"
  replica_set alike 22222222-2222-2222-2222-222222222222 7 >"$work/answer"
  kube POST "$pods" "$(pod web-1-a "$first")" >"$work/answer"
  expect 10 ".deployments[\"$owner\"].revisions | map(.number) == [1, 2]"
  seen ".deployment_of[\"$first\"] == \"$owner\"" || fail "no Deployment of the ReplicaSet"
  third=$(replica_set web-3 $owner 3)
  expect 5 ".deployments[\"$owner\"].revisions | map(.hash) == [\"web-1\", \"web-2\", \"web-3\"]"
  kube PATCH "$sets/web-3/status" '{"status": {"replicas": 4, "readyReplicas": 2}}' \
    application/strategic-merge-patch+json >"$work/answer"
  expect 5 ".deployments[\"$owner\"].revisions[2] | .uid == \"$third\" and .pods == 4 and .ready == 2
    and .annotations.slo == \"3\""
}

# What a veto needs to know: the revision's pods on every node, and what its Deployment can spare.
follows_siblings() {
  local labels='{"app": "siblings"}' owner set one
  owner=$(kube POST /apis/apps/v1/namespaces/shop/deployments "$(jq -nc --argjson labels "$labels" '{
    metadata: {name: "web"}, spec: {replicas: 10, selector: {matchLabels: $labels},
      template: {metadata: {labels: $labels}, spec: {containers: [{name: "main", image: "none"}]}}}}')" |
    jq -r .metadata.uid)
  set=$(replica_set siblings "$owner" 1)
  for one in here:$node there:node-b; do
    pod "${one%:*}" "$set" | jq -c --arg node "${one#*:}" '.spec.nodeName = $node |
      .metadata.labels["pod-template-hash"] = "siblings" | .metadata.ownerReferences[0].name = "siblings"' >"$work/pod"
    kube POST "$pods" "$(cat "$work/pod")" >"$work/answer"
  done
  order "{\"follow\": [\"$set\"]}"
  expect 10 ".revision_pods[\"$set\"] | map(.name) | sort == [\"here\", \"there\"]"
  expect 5 ".capacities[\"$owner\"] == {replicas: 10, max_unavailable: 2}"
  kube PATCH "$pods/there/status" "$(running id-there | sed 's/"Ready"/"ContainersReady"/')" \
    application/strategic-merge-patch+json >"$work/answer"
  expect 5 ".revision_pods[\"$set\"] | map(select(.able) | .name) == [\"there\"]"
  kube PATCH /apis/apps/v1/namespaces/shop/deployments/web '{"spec": {"strategy": {"rollingUpdate":
    {"maxUnavailable": 4}}}}' application/merge-patch+json >"$work/answer"
  expect 5 ".capacities[\"$owner\"].max_unavailable == 4"
  for one in here there; do kube DELETE "$pods/$one" "$delete_now" >"$work/answer"; done
  expect 5 ".revision_pods[\"$set\"] == null"
  order '{"follow": []}'
  expect 5 ".capacities == null"
  kube DELETE "$sets/siblings" >"$work/answer"
}

writes_conditions() {
  local uid before
  uid=$(kube GET "$pods/first" | jq -r .metadata.uid)
  want first "$uid" false "p99 is too high"
  wait_until 10 condition_is first '.status == "False" and .message == "p99 is too high"' ||
    fail "the condition was not written: $(condition first)"
  expect 5 '.pods | map(select(.name == "first"))[0] | .condition == false and .reason == "Vetoed"'
  # Another message is no transition; other conditions stay.
  before=$(condition first | jq -r .lastTransitionTime)
  sleep 1.1
  want first "$uid" false "p99 is much too high"
  wait_until 10 condition_is first \
    ".message == \"p99 is much too high\" and .lastTransitionTime == \"$before\"" ||
    fail "the message was not written as it should be: $(condition first)"
  want first "$uid" true "well"
  wait_until 10 condition_is first ".status == \"True\" and .lastTransitionTime != \"$before\"" ||
    fail "the transition was not written: $(condition first)"
  kube GET "$pods/first" | jq -e '.status.conditions | any(.type == "Ready")' >"$work/seen" ||
    fail "a condition of the kubelet's is gone"
  expect 5 '.write_trouble == ""'
}

# The server itself says no when the name belongs to another pod: what the client relies on.
refuses_another_uid() {
  local status
  status=$(curl -s -o "$work/answer" -w '%{http_code}' -A "$user_agent" --cacert "$work/pki/ca.crt" -X PATCH \
    -H "Authorization: Bearer $admin_token" -H "Content-Type: application/strategic-merge-patch+json" \
    --data-binary '{"metadata": {"uid": "other"}, "status": {"reason": "x"}}' "$server$pods/first/status")
  # Newer servers say 409.
  [ "$status $(jq '.message | contains("metadata.uid")' "$work/answer")" = "422 true" ] ||
    fail "a patch for another uid got $status: $(cat "$work/answer")"
}

writes_events() {
  local uid
  uid=$(kube GET "$pods/first" | jq -r .metadata.uid)
  order "{\"event\": {\"uid\": \"$uid\", \"namespace\": \"shop\", \"name\": \"first\", \"warning\": true,
    \"reason\": \"SloViolated\", \"message\": \"p99 is 130 ms\"}}"
  wait_until 10 event_is ".involvedObject.uid == \"$uid\" and .type == \"Warning\" and
    .source.host == \"$node\" and .reason == \"SloViolated\" and .message == \"p99 is 130 ms\"" ||
    fail "the event was not written: $(kube GET /api/v1/namespaces/shop/events)"
}
# The same once more is the same event, which counts.
counts_events() {
  local uid
  uid=$(kube GET "$pods/first" | jq -r .metadata.uid)
  order "{\"event\": {\"uid\": \"$uid\", \"namespace\": \"shop\", \"name\": \"first\", \"warning\": true,
    \"reason\": \"SloViolated\", \"message\": \"p99 is 130 ms\"}}"
  wait_until 10 event_is ".count == 2 and .involvedObject.uid == \"$uid\" and .lastTimestamp >= .firstTimestamp" ||
    fail "the event does not count: $(kube GET /api/v1/namespaces/shop/events)"
  [ "$(kube GET /api/v1/namespaces/shop/events | jq '.items | length')" = 1 ] || fail "another event was made"
}
event_is() { kube GET /api/v1/namespaces/shop/events | jq -e ".items[0] | $1" >"$work/seen"; }

# Pods that live for a moment; each must have been seen with its container.
names_short_lived_pods() {
  local wrong
  jq -nc --argjson pod "$(pod x)" --argjson status "$(running x)" --argjson now "$delete_now" \
    --arg pods "$pods" --argjson churn "$churn" 'range($churn) as $i | "job-\($i)" as $name |
    {method: "POST", path: $pods, body: ($pod | .metadata.name = $name)},
    {method: "PATCH", path: "\($pods)/\($name)/status", body:
      ($status | .status.containerStatuses[0].containerID = "containerd://id-\($i)")},
    {method: "DELETE", path: "\($pods)/\($name)", body: $now}' | kube_batch >"$work/answers"
  [ "$(wc -l <"$work/answers")" -eq $((3 * churn)) ] || fail "the churn itself failed"
  expect 10 "[.pods[] | select(.name | startswith(\"job-\")) | select(.gone)] | length == $churn"
  wrong=$(tail -n 1 "$output" | jq -c '[.pods[] | select(.name | startswith("job-")) |
    select(.containers != {(.name | sub("job-"; "id-")): "main"})]')
  [ "$wrong" = "[]" ] || fail "wrong: $wrong"
  say "$churn pods, $(wc -l <"$output") clusters published so far"
}

# While the server is away a pod goes, history is compacted, the token expires and rights are taken.
survives_an_outage() {
  local revision
  kube POST "$pods" "$(pod doomed)" >"$work/answer"
  expect 5 '.pods | any(.name == "doomed" and (.gone | not))'
  allow "$reading_pods"
  kill_apiserver
  expect 10 '.trouble | test("^the API server is away since 20.*: cannot connect: Connection refused$")'
  seen ".synced and (.pods | length == 3) and (.deployments | length == 1)" ||
    fail "something was forgotten"
  etcd_control del /registry/pods/shop/doomed >"$work/answer"
  revision=$(etcd_control put slogate-test x -w json | jq .header.revision)
  etcd_control compact "$revision" >"$work/answer"
  cp "$work/token" "$work/token.good"
  say "not-a-token" >"$work/token"

  start_apiserver
  say "the API server is back"
  expect 30 ".trouble | startswith(\"the API server does not accept the agent's token since 20\")"
  seen ".pods | length == 3" || fail "something was forgotten"
  new_token second >"$work/token.new" && mv "$work/token.new" "$work/token"
  expect 40 '.pods | any(.name == "doomed" and .gone)'
  passed "the new token is in use, and the lost event made good"
  expect 10 '.trouble | startswith("RBAC does not allow the agent to watch replicasets in namespace shop since")'
  seen '(.deployments | length == 1)' || fail "the Deployment was forgotten"
  kube POST "$pods" "$(pod after)" >"$work/answer"
  expect 5 '.pods | any(.name == "after")'
}

# Whose calls were forbidden waits for half a minute at most: the churn goes on meanwhile.
says_what_rbac_forbids() {
  local uid
  uid=$(kube GET "$pods/after" | jq -r .metadata.uid)
  want after "$uid" true "well"
  expect 10 '.write_trouble | startswith("RBAC does not allow the agent to patch pods/status since")'
  allow "$full_rules"
}
recovers() {
  expect 40 '.trouble == "" and .write_trouble == ""'
  condition_is after '.status == "True"' || fail "the condition was forgotten: $(condition after)"
}

ends_cleanly() {
  local status=0
  say "" >&"$orders"
  wait_until 10 is_gone "$watch_pid" || fail "the client does not end"
  wait "$watch_pid" || status=$?
  [ "$status" -eq 0 ] || fail "the client ended with $status"
  ! grep -qF "$(cut -c 1-40 "$work/token")" "$work/watch.log" || fail "a token in the log"
}

need_kubernetes
make_certificates
start_etcd
start_apiserver
say "the API server is ready"
kube POST /api/v1/namespaces '{"metadata": {"name": "shop"}}' >"$work/answer"
allow "$full_rules"
make_service_account
new_token first >"$work/token"
kube POST "$pods" "$(pod first)" >"$work/answer"
refuses_another_ca
start_watch
lists_and_follows
passed "pods are listed and followed"
follows_deployments
passed "Deployments are followed"
writes_conditions
refuses_another_uid
passed "conditions are written"
writes_events
counts_events
passed "events are written"
survives_an_outage
passed "an outage is survived"
says_what_rbac_forbids
passed "missing rights are named"
names_short_lived_pods
passed "short-lived pods are named"
recovers
passed "the rights are back"
follows_siblings
passed "the pods of a revision are followed on every node, and what its Deployment can spare"
grep -E "^(VmHWM|VmRSS)" "/proc/$watch_pid/status"
ends_cleanly
passed "the client ends when asked to; its log:"
cat "$work/watch.log"
