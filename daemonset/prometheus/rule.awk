# SPDX-License-Identifier: Apache-2.0
# rules.yaml as the Prometheus Operator takes it:
#   awk -f daemonset/prometheus/rule.awk daemonset/prometheus/rules.yaml \
#     > daemonset/overlays/prometheus-operator/prometheus-rule.yaml
NR == 1 {
  print
  print "# Made by daemonset/prometheus/rule.awk from rules.yaml; change that instead."
  print "apiVersion: monitoring.coreos.com/v1"
  print "kind: PrometheusRule"
  print "metadata:"
  print "  name: slogate"
  print "  labels: { app.kubernetes.io/name: slogate }"
  print "spec:"
}
NR == 1 || /^#/ { next }
{ print ($0 == "" ? "" : "  " $0) }
