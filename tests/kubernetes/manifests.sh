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

cp "$here/schema.mjs" "$work"
check_schemas() { (cd "$work" && node schema.mjs "$@"); }
check_schemas "$work"/{plain,prometheus-operator,prometheus-operator-native}.yaml "$deployed"/{argo,flagger}/*.yaml ||
  fail "a manifest does not fit its schema"
# That a mistake is found at all.
sed 's/jobLabel:/jobLabels:/' "$work/prometheus-operator.yaml" >"$work/misspelt.yaml"
expect_exit 1 check_schemas "$work/misspelt.yaml"
[[ $output == *jobLabels* ]] || fail "a misspelt field is not named: $output"

passed "the manifests fit the schemas of their projects"

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

# What the server does not know it leaves out without a word, so each of our values must be there.
kubectl apply --dry-run=client -o json -k "$deployed/base" >"$work/ours.json"
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
yes list rollouts.argoproj.io -A
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
no patch rollouts.argoproj.io -A
no list nodes
no create serviceaccounts --subresource=token -n slogate-system
no create subjectaccessreviews.authorization.k8s.io
END
passed "of $rights rights the agent has those it needs"
