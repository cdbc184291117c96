#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The manifests, as far as they can be judged without a cluster: a real API server takes them and
# keeps every field, the service account may do what the agent does and nothing more, and custom
# resources fit the schemas of their projects.
set -euo pipefail
# ctest: kubernetes 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

here=$root/tests/kubernetes
deployed=$root/daemonset
need_schemas

# ---- what can be said of the files alone ----

awk -f "$deployed/prometheus/rule.awk" "$deployed/prometheus/rules.yaml" |
  cmp - "$deployed/overlays/prometheus-operator/prometheus-rule.yaml" ||
  fail "prometheus-rule.yaml is not what rule.awk makes"
render() { kubectl kustomize "$deployed/$1" >"$work/$(basename "$1").yaml"; }
render base || skip "this kubectl's kustomize is too old: 1.21 or later is needed"
for overlay in "$deployed"/overlays/*/; do
  render "overlays/$(basename "$overlay")" || fail "$overlay cannot be rendered"
done

make_components_overlay
kubectl kustomize "$work/daemonset/overlays/all" >"$work/all.yaml" || fail "the components cannot be rendered"
"$programs/slogate-agent" --check --config "$deployed/components/fleet/slogate.yaml" ||
  fail "the agent does not take the configuration of components/fleet"

cp "$here"/{schema,policy}.mjs "$work"
check_schemas() { (cd "$work" && node schema.mjs "$@"); }
check_schemas "$work"/{plain,prometheus-operator,prometheus-operator-native,all}.yaml "$deployed"/{argo,flagger}/*.yaml ||
  fail "a manifest does not fit its schema"
# That a mistake is found at all.
sed 's/jobLabel:/jobLabels:/' "$work/prometheus-operator.yaml" >"$work/misspelt.yaml"
expect_exit 1 check_schemas "$work/misspelt.yaml"
[[ $output == *jobLabels* ]] || fail "a misspelt field is not named: $output"

passed "the manifests fit the schemas of their projects"

(cd "$work" && node policy.mjs all.yaml) || fail "the policy of components/own-pods says something else"
# That a rule which is not there is missed.
sed 's/== variables.node$/!= ""/' "$work/all.yaml" >"$work/lax.yaml"
expect_exit 1 env -C "$work" node policy.mjs lax.yaml
[[ $output == *"a pod of another node"* ]] || fail "a policy that lets through other nodes' pods: $output"
passed "the policy lets an agent write its conditions of its node's pods, and nothing else"

# ---- a real API server ----

need_kubernetes
make_certificates
start_etcd
# As in a cluster: with the admission of service accounts.
apiserver_arguments=("--authorization-mode=Node,RBAC")
start_apiserver
write_kubeconfig

kubectl apply -k "$deployed/base"
kubectl apply --dry-run=server -k "$deployed/overlays/plain" >/dev/null
# Without the kinds that this server does not know.
awk -v RS='---\n' -v ORS='---\n' '!/apiVersion: monitoring.coreos.com/' \
  "$work/prometheus-operator.yaml" | kubectl apply --dry-run=server -f - >/dev/null

# This server knows no policy of that kind.
awk -v RS='---\n' -v ORS='---\n' '!/kind: ValidatingAdmission/' "$work/all.yaml" | kubectl apply -f - >/dev/null

# What the server does not know it leaves out without a word, so each of our values must be there.
kubectl apply --dry-run=client -o json -f <(awk -v RS='---\n' -v ORS='---\n' '!/kind: ValidatingAdmission/' "$work/all.yaml") >"$work/ours.json"
kubectl get -o json -f <(jq '.items[]' "$work/ours.json") >"$work/theirs.json"
lost=$(jq -rn --slurpfile ours "$work/ours.json" --slurpfile theirs "$work/theirs.json" '
  def key: .kind + "/" + .metadata.name;
  ($theirs[0].items | map({(key): .}) | add) as $kept
  | $ours[0].items[] | . as $object | $kept[key] as $its
  | paths(scalars) | . as $path
  | select(($object | getpath($path)) != ($its | getpath($path)))
  | "\($object | key): \($path | map(tostring) | join("."))"' |
  grep -v 'last-applied-configuration' || true)
[ -z "$lost" ] || fail "the API server does not keep $lost"
passed "an API server takes the manifests, and keeps every field"

# A pod of the DaemonSet as its controller would make it. There is no controller here that would give
# the service account its token.
jq '.items[] | select(.kind == "DaemonSet")
  | .spec.template + {apiVersion: "v1", kind: "Pod"} | .metadata += {name: "it", namespace: "slogate-system"}
  | .spec.automountServiceAccountToken = false' "$work/ours.json" |
  kubectl create --dry-run=server -o json -f - >"$work/pod.json"
[ "$(jq .spec.priority "$work/pod.json")" -gt 1000000000 ] || fail "the pod has no priority"
passed "a pod of the DaemonSet is admitted, with its priority"

# What agents show each other, as the kubelet would ask for it: the server knows whose it is, and takes
# it for nothing itself.
token_for() {
  kube POST /api/v1/namespaces/slogate-system/serviceaccounts/slogate/token \
    "{\"spec\": {\"audiences\": [\"$1\"], \"expirationSeconds\": 600}}" | jq -r .status.token
}
agent_token=$(token_for https://kubernetes.invalid)
peer_token=$(token_for slogate)
review() { # TOKEN
  admin_token=$agent_token kube POST /apis/authentication.k8s.io/v1/tokenreviews \
    "$(jq -nc --arg token "$1" '{spec: {token: $token, audiences: ["slogate"]}}')" | jq -c .status
}
[ "$(review "$peer_token" | jq -r '"\(.authenticated) \(.user.username) \(.audiences[0])"')" = \
  "true system:serviceaccount:slogate-system:slogate slogate" ] || fail "of an agent's token it is said: $(review "$peer_token")"
[ "$(review "$agent_token" | jq .authenticated)" != true ] || fail "a token for the API server is good for agents, too"
! admin_token=$peer_token kube GET /api/v1/pods >"$work/answer" 2>&1 || fail "a token for agents is good for the API server, too"
passed "a token that agents show each other is known as theirs, and good for nothing else"

# What docs/security.md says of pods' status: labels come along.
kubectl create namespace shop >/dev/null

# docs/quickstart.md, as far as it goes without a node: its file, and its lines that roll out.
kubectl apply -f "$root/docs/quickstart/web.yaml" >"$work/answer" 2>&1 || fail "docs/quickstart/web.yaml: $(cat "$work/answer")"
mapfile -t rolls < <(grep '^kubectl -n shop patch' "$root/docs/quickstart.md")
[ ${#rolls[@]} -eq 2 ] || fail "docs/quickstart.md rolls out ${#rolls[@]} versions, not a bad and a good one"
eval "${rolls[0]}" >/dev/null
volumes() { kubectl -n shop get deployment web -o 'jsonpath={.spec.template.spec.volumes[*].configMap.name}'; }
[ "$(volumes)" = web-bad ] || fail "the bad version of docs/quickstart.md has the volumes $(volumes)"
eval "${rolls[1]}" >/dev/null
kubectl -n shop get deployments -o json | slogate rules --workloads - --interval 30s >"$work/rules" ||
  fail "the SLO of docs/quickstart/web.yaml is not understood"
grep -q 'shop\.web' "$work/rules" || fail "no rules for the SLO of docs/quickstart/web.yaml"
kubectl -n shop delete deployments,services --all >/dev/null
passed "an API server takes the files and the versions of docs/quickstart.md"
kubectl -n shop create serviceaccount default >/dev/null # no controller makes it here
kubectl -n shop run it --image=none --labels=app=it --overrides='{"spec": {"automountServiceAccountToken": false}}' >/dev/null
admin_token=$agent_token kube PATCH /api/v1/namespaces/shop/pods/it/status '{"metadata": {"labels": {"app": "other"}}}' \
  application/merge-patch+json >"$work/answer"
[ "$(kubectl -n shop get pod it -o 'jsonpath={.metadata.labels.app}')" = other ] ||
  fail "a pod's labels are not written with its status: docs/security.md says so, and the policy need not"
passed "without the policy labels can be written with a status, as docs/security.md has it"

may() { kubectl auth can-i --as=system:serviceaccount:slogate-system:slogate "$@"; }
rights=0
while read -r expected verb what; do
  # shellcheck disable=SC2086 # a resource and options
  answer=$(may "$verb" $what 2>/dev/null || true)
  [ "$answer" = "$expected" ] || fail "whether the agent may $verb $what: $answer, not $expected"
  ((rights += 1))
done <<'END'
yes get pods -A
yes list pods -A
yes watch pods -A
yes patch pods --subresource=status -A
yes create events -A
yes patch events -A
yes get deployments.apps -A
yes list deployments.apps -A
yes watch deployments.apps -A
yes get replicasets.apps -A
yes list replicasets.apps -A
yes watch replicasets.apps -A
no get secrets -A
no get secrets -n slogate-system
no list configmaps -n slogate-system
no patch pods -A
no update pods --subresource=status -A
no create pods -n slogate-system
no delete pods -A
no create pods --subresource=exec -A
no create pods --subresource=eviction -A
no patch replicasets.apps -A
no patch deployments.apps -A
no get statefulsets.apps -A
no delete events -A
no list nodes
no create serviceaccounts --subresource=token -n slogate-system
yes create tokenreviews.authentication.k8s.io
no create subjectaccessreviews.authorization.k8s.io
END
# Of kinds that the server does not have kubectl can't ask.
may_with_rollouts() {
  kube POST /apis/authorization.k8s.io/v1/subjectaccessreviews "$(jq -nc --arg verb "$1" '{spec: {
    user: "system:serviceaccount:slogate-system:slogate",
    resourceAttributes: {group: "argoproj.io", resource: "rollouts", verb: $verb}}}')" | jq .status.allowed
}
[ "$(may_with_rollouts list) $(may_with_rollouts watch) $(may_with_rollouts patch)" = "true true false" ] ||
  fail "of Argo's Rollouts it may list, watch, patch: $(may_with_rollouts list) $(may_with_rollouts watch) $(may_with_rollouts patch)"
((rights += 3))
passed "of $rights rights the agent has those it needs"
