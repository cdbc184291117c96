#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The breaker on a real cluster of one node, with our manifests: nginx in pods, which clients in another pod
# ask over new connections, 300 a second each. A new revision serves well and then answers 500 to everything:
# how long from its first bad answer to its last new connection, with slogate.io/enforce and without it.
set -euo pipefail
# ctest: cluster 1800
# shellcheck source=cluster.sh
. "$(dirname "$0")/cluster.sh"
for program in nginx busybox nsenter; do
  command -v "$program" >/dev/null || skip "$program is not installed"
done

drills=${SLOGATE_DRILLS:-3}
watched=${SLOGATE_WATCHED:-60} # seconds of the baseline before the first of them
good=${SLOGATE_GOOD:-20}       # of a canary that answers well

socket=/run/slogate/agent.sock
verdict() { slogate -o json verdict shop.web | jq -r "$1"; }

import_nginx() {
  mkdir -p "$work/image/root/etc"
  say 'root:x:0:0:root:/:/bin/sh' >"$work/image/root/etc/passwd"
  nginx_in "$work/image/root/srv" "
    log_format plain '\$msec \$connection_requests \$status';
    access_log /dev/stdout plain; keepalive_timeout 0;
    server { listen 8080; location / { if (-f /tmp/bad) { return 500 \"bad\n\"; } return 200 \"well\n\"; } }" >"$work/answer"
  sed -i "s|$work/image/root||; /access_log off;/d" "$work/image/root/srv/nginx.conf"
  import_programs slogate.test/nginx:1 '{"Entrypoint": ["/bin/nginx", "-p", "/srv", "-e", "stderr", "-c", "/srv/nginx.conf"]}' \
    "$(command -v nginx)" "$(command -v busybox)"
}

# web REVISION [ANNOTATION]: of one pod, beside which a new one comes.
web() {
  kubectl apply -f - >>"$work/kubectl.log" <<END_YAML
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  replicas: 1
  minReadySeconds: 3600
  progressDeadlineSeconds: 7200
  selector: { matchLabels: { app: web } }
  strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }
  template:
    metadata:
      labels: { app: web }
      annotations:
        slogate.io/slo: "errors < baseline + 0.5%"
        slogate.io/warmup: 2s
        revision: "$1"
        ${2-}
    spec:
      terminationGracePeriodSeconds: 0
      readinessGates: [{ conditionType: slogate.io/slo }]
      containers:
        - name: app
          image: slogate.test/nginx:1
          imagePullPolicy: Never
          ports: [{ containerPort: 8080 }]
          livenessProbe: { httpGet: { path: /, port: 8080 }, initialDelaySeconds: 3600 }
          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1, timeoutSeconds: 1, failureThreshold: 3 }
END_YAML
}
# of_pod REVISION FILTER: of its one pod.
of_pod() { kubectl -n shop get pods -l app=web -o json | jq -r ".items[] | select(.metadata.annotations.revision == \"$1\") | $2"; }
is_ready() { [ "$(of_pod "$1" '.status.conditions[] | select(.type == "Ready").status')" = True ]; }
# Without a route of its own to the Service's proxy: who is no longer Ready is asked no more.
ask() { # REVISION
  local ip
  ip=$(of_pod "$1" .status.podIP)
  nsenter "--net=/proc/$asker/ns/net" curl --silent --output /dev/null --rate 1080000/h "http://$ip:8080/[1-10000000]" &
  asking=$!
  track "$asking"
}

start_cluster
import_image "$root/build/image/slogate.tar"
import_nginx
cp -rL "$root/daemonset" "$work/daemonset"
mkdir "$work/daemonset/overlays/enforcing"
say 'enforce: { mode: refuse }' | cat "$root/daemonset/base/slogate.yaml" - >"$work/daemonset/overlays/enforcing/slogate.yaml"
cat >"$work/daemonset/overlays/enforcing/kustomization.yaml" <<'END'
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: slogate-system
resources: [../plain]
components: [../../components/enforce]
configMapGenerator:
  - { name: slogate, behavior: replace, files: [slogate.yaml] }
END
kubectl create namespace shop >"$work/kubectl.log"
kubectl apply -k "$work/daemonset/overlays/enforcing" >>"$work/kubectl.log"
knows_pods() { api /v1/status 2>/dev/null | jq -e '.kubernetes.synced and .kubernetes.trouble == ""' >"$work/answer"; }
wait_until 60 knows_pods || fail "the agent does not know its pods: $(kubectl -n slogate-system logs daemonset/slogate | tail -n 5)"
[ "$(api /v1/status | jq '[.notes[] | select(test("breaker"; "i"))] | length')" = 0 ] || fail "the breaker: $(api /v1/status | jq -c .notes)"
kubectl -n shop run asker --image=slogate.test/nginx:1 --image-pull-policy=Never >>"$work/kubectl.log"
asker_of() { asker=$(pgrep -o -x nginx); }
wait_until 60 asker_of || fail "the clients' pod does not start: $(kubectl -n shop describe pod asker | tail -n 10)"
web 0
wait_until 60 is_ready 0 || fail "the first revision is not Ready: $(kubectl -n shop describe pods | tail -n 20)"
ask 0
passed "the first revision serves"
sleep "$watched"

# drill REVISION [ANNOTATION]: sets $span, in ms from the first bad answer to the last new connection, and
# $reached, how many requests failed there.
drill() {
  local canary
  web "$@"
  wait_until 60 is_ready "$1" || fail "revision $1 is not Ready: $(kubectl -n shop describe pods | tail -n 20)"
  ask "$1"
  canary=$asking
  sleep "$good"
  local pod
  pod=$(of_pod "$1" .metadata.name)
  kubectl -n shop exec "$pod" -- busybox touch /tmp/bad
  is_not_ready() { ! is_ready "$1"; }
  wait_until 120 is_not_ready "$1" || fail "revision $1 is not turned away: $(slogate verdict shop.web)"
  stop_process "$canary"
  kubectl -n shop logs "$pod" | awk '$3 == 500' >"$work/failed"
  reached=$(wc -l <"$work/failed")
  span=$(awk 'NR == 1 { first = $1 } END { printf "%d", ($1 - first) * 1000 }' "$work/failed")
  message=$(of_pod "$1" '.status.conditions[] | select(.type == "slogate.io/slo").message')
  restarts=$(of_pod "$1" '.status.containerStatuses[0].restartCount')
  [ "$restarts" = 0 ] || fail "the kubelet started the canary $restarts times again"
  # Back to the revision that serves.
  web 0
  is_alone() { [ "$(kubectl -n shop get pods -l app=web -o name | wc -l)" = 1 ]; }
  wait_until 60 is_alone || fail "the revision is not undone: $(kubectl -n shop get pods)"
}
# drills_of NAME [ANNOTATION]: sets $spans and $median.
drills_of() {
  local i spans=
  for ((i = 1; i <= drills; i++)); do
    drill "$1-$i" "${@:2}"
    say "$1: $span ms from the first bad answer to the last new connection; $reached requests failed there; $message"
    spans+="$span"$'\n'
  done
  median=$(printf '%s' "$spans" | median)
}
drills_of plain
without=$median
drills_of enforced 'slogate.io/enforce: refuse'
[[ $message == *"new connections to it are refused"* ]] || fail "the pod's condition does not say so: $message"
is_ready 0 || fail "the revision that serves is not Ready any more"
passed "median of $drills: $median ms with the breaker, $without ms without it"
(($(awk -v a="$median" -v b="$without" 'BEGIN { print a < b }'))) || fail "the breaker does not help"

# Undone with the rollout, it is closed.
slogate slos | grep -i breaker || true
closed() { [ "$(api /v1/verdicts/shop.web | jq -r .breaker.state)" != open ]; }
wait_until 20 closed || fail "the breaker is still open: $(slogate verdict shop.web)"
passed "the breaker is closed when the rollout has ended"
