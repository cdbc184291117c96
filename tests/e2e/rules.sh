#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The rules for Prometheus, as far as promtool can judge them, and that what is generated or named
# beside them is there.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
command -v promtool >/dev/null || skip "promtool is not installed"

deployed=$root/daemonset/prometheus
promtool check rules "$deployed/rules.yaml" "$deployed/workloads.yaml"
promtool test rules "$deployed/rules_test.yaml"
passed "the deployed rules do what their tests say"

cat >"$work/slogate.yaml" <<END
slos:
  - name: demo
    canary: { cgroup: "/demo/canary/**" }
    baseline: { cgroup: ["/demo/st[a-c]ble", "/demo/canary/**"] }
    objectives:
      - { signal: request, quantile: 0.99, max_increase: 50ms }
    warmup: 0s
  - name: bounded
    canary: { cgroup: "/demo/canary/**" }
    objectives:
      - { signal: request, quantile: 0.99, max: 2s }
  - name: pods
    canary: { pods: { namespace: a, labels: { b: c } } }
    baseline: { pods: { namespace: a, labels: { b: d } } }
END
# What `kubectl get deployments -A -o json` prints of these.
cat >"$work/deployments.json" <<'END'
{"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": [
  {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web"},
   "spec": {"template": {"metadata": {"annotations": {
     "slogate.io/slo": "p99(request) < baseline + 50ms", "slogate.io/warmup": "0s"}}}}},
  {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "bad"},
   "spec": {"template": {"metadata": {"annotations": {"slogate.io/slo": "p99 < 1"}}}}}]}
END
rules=(slogate rules --config "$work/slogate.yaml")
"${rules[@]}" --workloads - <"$work/deployments.json" >"$work/slos.yaml" 2>"$work/left-out"
grep -q '^left out: Deployment shop/bad: slogate.io/slo: ' "$work/left-out" ||
  fail "it says nothing of a bad annotation: $(cat "$work/left-out")"
slogate rules --workloads "$work/deployments.json" >"$work/alone.yaml" 2>"$work/left-out"
grep -q 'slo: "shop.web"' "$work/alone.yaml" ||
  fail "there are no rules of workloads alone"
expect_exit 1 slogate rules --workloads "$work/slogate.yaml"
promtool check rules "$work/slos.yaml"
cp "$deployed/rules.yaml" "$root/tests/e2e/pooled_test.yaml" "$work"
promtool test rules "$work/pooled_test.yaml"
passed "the pooled rules do what their tests say, and what is left out of them is said"
expect_exit 64 "${rules[@]}" --interval 10m
printf 'slos: [{ name: x }]\n' >"$work/slogate.yaml"
expect_exit 1 "${rules[@]}"
[[ $output == *slogate.yaml:1:* ]] || fail "a bad configuration is not located: $output"
printf 'slos: []\n' >"$work/slogate.yaml"
"${rules[@]}" >"$work/none.yaml"
promtool check rules "$work/none.yaml"
passed "a bad configuration is located, one without SLOs has rules"

jq -n -f "$deployed/dashboard.jq" | cmp - "$deployed/dashboard.json" ||
  fail "dashboard.json is not what dashboard.jq makes"
passed "the dashboard is what dashboard.jq makes"

# Each alert has a section of the runbook.
while read -r link; do
  grep -qi "^## ${link#docs/runbook.md#}$" "$root/docs/runbook.md" || fail "$link leads nowhere"
done < <(awk '$1 == "runbook_url:" { print $2 }' "$deployed/rules.yaml")
[ "$(grep -c 'alert:' "$deployed/rules.yaml")" = "$(grep -c 'runbook_url:' "$deployed/rules.yaml")" ] ||
  fail "an alert has no runbook"
passed "each alert has a section of the runbook"
