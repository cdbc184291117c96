#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Helm chart, as far as it can be judged without helm, which cannot be had here: with its values put in
# as text it makes what the overlays make, and its schema refuses what it should.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

deployed=$root/daemonset
chart=$deployed/chart
need_schemas
cp "$root/tests/kubernetes"/{chart,schema}.mjs "$work"
cd "$work"
# rendered VALUES OVERLAY: the chart's objects are those of the overlay, less the namespace's.
rendered() {
  kubectl kustomize "$deployed/overlays/$2" | awk -v RS='---\n' -v ORS='---\n' '!/kind: (Namespace|Secret)/' >"$2.yaml"
  node chart.mjs text "$chart" "$1" >chart.yaml || fail "the chart's templates"
  node chart.mjs same chart.yaml "$2.yaml" >compared || fail "with $1 the chart makes other objects than overlays/$2"
  node schema.mjs chart.yaml >schemas || fail "an object of the chart does not fit its schema: $(cat schemas)"
}
rendered '{}' plain
grep -q DaemonSet compared || fail "no DaemonSet was compared: $(cat compared)"
passed "by default the chart makes what overlays/plain makes"
rendered '{"scrape": "podMonitor", "rules": true}' prometheus-operator
grep -q 'PodMonitor.*PrometheusRule\|PrometheusRule.*PodMonitor' compared || fail "not all was compared: $(cat compared)"
rendered '{"scrape": "podMonitor", "rules": true, "podMonitor": {"nativeHistograms": true}}' prometheus-operator-native
passed "with a PodMonitor and rules it makes what the overlays of the Prometheus Operator make"

# Its Secret is the user's, so it has no hash in its name.
make_components_overlay
deployed=$work/daemonset
kubectl kustomize "$deployed/overlays/all" | grep 'secretName: slogate-peers-' >/dev/null || fail "the overlay has no Secret"
sed -i 's/files: \[key=peer.key\]/&\n    options: { disableNameSuffixHash: true }/' "$deployed/components/fleet/kustomization.yaml"
rendered '{"peers": {"enabled": true}, "ownPods": true, "enforce": {"enabled": true}}' all
grep -q '/run/netns' chart.yaml || fail "it does not show the namespaces of pods"
for object in 'ClusterRole slogate-peers' 'ValidatingAdmissionPolicy slogate-own-pods'; do
  grep -q "$object" compared || fail "not all was compared: $(cat compared)"
done
passed "with peers, what refusing takes and the policy for own pods it makes what the components make"

# What no overlay has.
others='{"scrape": "none", "nodeSelector": {"pool": "web"}, "imagePullSecrets": [{"name": "registry"}],
  "config": {"slos": [{"name": "web", "canary": {"cgroup": "/web"}, "objectives": [{"signal": "errors", "max_ratio": "1%"}]}]},
  "tolerations": [], "seccompProfile": {"type": "Unconfined"}, "maxUnavailable": 1}'
node chart.mjs text "$chart" "$others" >chart.yaml
node schema.mjs chart.yaml >schemas || fail "with other values: $(cat schemas)"
for text in 'pool: web' 'name: registry' 'type: Unconfined' 'maxUnavailable: 1 ' 'name: web'; do
  grep -q -- "$text" chart.yaml || fail "it does not say $text"
done
! grep -q 'prometheus.io/scrape\|tolerations' chart.yaml || fail "it says what it was not asked to"
passed "every other value comes through"

while IFS='|' read -r values text; do
  expect_exit 1 node chart.mjs text "$chart" "$values"
  [[ $output == *"$text"* ]] || fail "of $values it is said: $output"
done <<'END'
{"imagee": {}}|must NOT have additional properties
{"image": {"tag": 1}}|tag must be string
{"scrape": "both"}|scrape must be equal to one of the allowed values
{"config": {"listen": "0.0.0.0:9000"}}|listen must match pattern
{"config": {"outcomes": true}}|outcomes must be equal to one of the allowed values
{"seccompProfile": {"type": "None"}}|seccompProfile/type must be equal
{"maxUnavailable": "some"}|maxUnavailable must match pattern
{"rules": "yes"}|rules must be boolean
{"peers": {"enabled": "yes"}}|peers/enabled must be boolean
{"ownPods": 1}|ownPods must be boolean
{"enforce": true}|enforce must be object
END
passed "its schema refuses what cannot be meant"

# That a template beyond the forms, which nobody here can judge, is found; and a difference is.
cp -rL "$chart" copy
say 'kind: {{ include "name" . }}' >copy/templates/more.yaml
expect_exit 1 node chart.mjs text copy
[[ $output == *"of no known form"* ]] || fail "$output"
rm copy/templates/more.yaml
sed -i 's/PERFMON/SYS_ADMIN/' copy/templates/daemonset.yaml
node chart.mjs text copy >chart.yaml
expect_exit 1 node chart.mjs same chart.yaml plain.yaml
[[ $output == *"different: DaemonSet slogate"* ]] || fail "$output"
passed "a template that cannot be judged is found, and so is a difference"
