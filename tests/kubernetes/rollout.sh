#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A real cluster of one node, with our manifests. A Deployment whose template has three lines of ours
# rolls to a version that is slow: the rollout stops, old pods go on serving, and the pod says why.
# Undo and a fixed version roll through; what slows every version stops none. The agent has no more
# privileges than it was given, counts go on across an upgrade of it, and no pod's name is ever on the
# counts of another.
# usage: rollout.sh [privileges|bad_version|shared_slowness|dependency|invalid|no_agent|drill|upgrade|names|removal]...
set -euo pipefail
# ctest: cluster 1800
# shellcheck source=cluster.sh
. "$(dirname "$0")/cluster.sh"

pods=${SLOGATE_PODS:-30}

socket=/run/slogate/agent.sock
metrics() { curl -s http://127.0.0.1:9937/metrics; }
verdict() { slogate -o json verdict shop.web | jq -r "$1"; }

# web NAME SERVICE OBJECTIVES REVISION [SLOW-AT]: a Deployment.
web() {
  cat <<END_YAML
apiVersion: apps/v1
kind: Deployment
metadata: { name: $1, namespace: shop }
spec:
  replicas: 3
  minReadySeconds: 20
  selector: { matchLabels: { app: $1 } }
  strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }
  template:
    metadata:
      labels: { app: $1 }
      annotations:
        slogate.io/slo: "$3"
        slogate.io/warmup: 2s
    spec:
      terminationGracePeriodSeconds: 1
      readinessGates: [{ conditionType: slogate.io/slo }]
      containers:
        - name: app
          image: slogate.test/load:1
          imagePullPolicy: Never
          args: [serve, --port, "8080", --host, 0.0.0.0, --service, "$2"${5:+, --slow-at, "$5"}]
          env: [{ name: REVISION, value: "$4" }]
---
apiVersion: v1
kind: Service
metadata: { name: $1, namespace: shop }
spec: { selector: { app: $1 }, ports: [{ port: 8080 }] }
END_YAML
}
deploy() { web "$@" | kubectl apply -f - >>"$work/kubectl.log"; }
rolled_out() { kubectl -n shop rollout status "deployment/$1" --timeout="$2s" >>"$work/kubectl.log" 2>&1; }

# Clients of a Service as a proxy would send them: 200 requests a second to each pod that is Ready.
# Its few pods are in one slice, which has no list of endpoints at first: kubectl's own templates end at that.
follow_endpoints() {
  local -A drivers=()
  local line ip wanted
  kubectl -n shop get endpointslices --selector="kubernetes.io/service-name=$1" --watch --output-watch-events=false \
    -o json | jq -r --unbuffered '[.endpoints[]? | select(.conditions.ready) | .addresses[]] | join(" ")' | while read -r line; do
    for ip in $line; do
      [ -z "${drivers[$ip]-}" ] || continue
      "$programs/slogate-load" --max-seconds 3600 drive --host "$ip" --port 8080 --connections 10 \
        --rate 20 --duration 3600s --answer-timeout 10s >/dev/null 2>&1 &
      drivers[$ip]=$!
      say "$(date +%s%3N) $ip begins" >>"$work/traffic"
    done
    for ip in "${!drivers[@]}"; do
      wanted=" $line "
      [[ $wanted != *" $ip "* ]] || continue
      kill "${drivers[$ip]}" 2>/dev/null || true
      unset "drivers[$ip]"
      say "$(date +%s%3N) $ip ends" >>"$work/traffic"
    done
  done
}

# of_pods NAME FILTER: of the list of its pods.
of_pods() { kubectl -n shop get pods -l "app=$1" -o json | jq -r "$2"; }
is_turned_away='(.metadata.deletionTimestamp == null) and (.status.conditions // [] | any(.type == "slogate.io/slo" and .status == "False"))'
away_of() { of_pods "$1" "[.items[] | select($is_turned_away)] | length"; }
ready_of() {
  of_pods "$1" '[.items[] | select(.metadata.deletionTimestamp == null)
    | select(.status.conditions // [] | any(.type == "Ready" and .status == "True"))] | length'
}
one_is_away() { [ "$(away_of web)" -ge 1 ]; }

good=lognormal:2:0.5 slow=lognormal:8:0.5
slo="p99(request) < 500ms; p99(request) < baseline + 5ms; errors < baseline + 1%"

# The agent by our manifests, and a first version that serves.
set_up() {
  start_cluster
  import_image "$root/build/image/slogate.tar"
  kubectl create namespace shop >"$work/kubectl.log"
  kubectl apply -k "$root/daemonset/overlays/plain" >>"$work/kubectl.log"
  agent_is_ready() {
    [ "$(kubectl -n slogate-system get daemonset slogate -o 'jsonpath={.status.numberReady}')" = 1 ]
  }
  wait_until 60 agent_is_ready || fail "the DaemonSet is not Ready: $(kubectl -n slogate-system describe pods --show-events | tail -n 20)"
  knows_pods() { api /v1/status 2>/dev/null | jq -e '.kubernetes.synced and .kubernetes.trouble == ""' >"$work/answer"; }
  wait_until 20 knows_pods || fail "the agent does not know its pods: $(kubectl -n slogate-system logs daemonset/slogate | tail -n 5)"
  say "the DaemonSet is Ready"
  deploy web "$good" "$slo" 1
  follow_endpoints web &
  track $!
  rolled_out web 120 || fail "the first version does not roll out: $(kubectl -n shop describe pods --show-events | tail -n 30)"
  passed "the first version serves"
}

# What the manifest gives is enough, and no more than it gives is there.
privileges() {
  [ "$(api /v1/status | jq '[.notes[] | select(test("^CAP_|^bpffs"))] | length')" = 0 ] ||
    fail "it lacks $(api /v1/status | jq -c .notes)"
  kubectl -n slogate-system exec daemonset/slogate -- slogate probes >"$work/probes"
  # On a busy machine the kernel, or the budget, leaves out a run.
  ! tail -n +2 "$work/probes" | grep -vE '^$| attached | not needed|^[a-z_]+: | runs were left out ' ||
    fail "not all is attached: $(cat "$work/probes")"
  local status
  status=/proc/$(pgrep -x slogate-agent)/status
  # What it may have at the most are CAP_PERFMON, 38, and CAP_BPF, 39; what it has by now is CAP_BPF.
  [ "$(awk '/^(CapEff|CapBnd|NoNewPrivs|Seccomp):/ { print $2 }' "$status" | xargs)" = \
    "0000008000000000 000000c000000000 1 2" ] ||
    fail "it has other privileges: $(grep -E '^(Cap|NoNew|Seccomp)' "$status")"
  passed "it has CAP_BPF of CAP_BPF and CAP_PERFMON, the runtime's seccomp profile, and all is attached"
}

# A slow version is held, undone and followed by a good one.
bad_version() {
  deploy web "$slow" "$slo" 2
  wait_until 60 one_is_away || fail "the slow version is not turned away: $(verdict . )"
  away_at=$(date +%s%3N)
  pod=$(of_pods web "[.items[] | select($is_turned_away)][0].metadata.name")
  ip=$(of_pods web ".items[] | select(.metadata.name == \"$pod\") | .status.podIP")
  began=$(awk -v ip="$ip" '$2 == ip && $3 == "begins" { print $1; exit }' "$work/traffic")
  passed "the slow version's pod is turned away $((away_at - began)) ms after its first request"
  [ "$(verdict .verdict)" = veto ] || fail "the verdict is $(verdict .verdict)"
  described() { [[ $(kubectl -n shop describe pod "$pod" --show-events) == *SLOVeto* ]]; }
  wait_until 10 described || fail "the pod does not say why: $(kubectl -n shop describe pod "$pod" --show-events | tail -n 15)"
  kubectl -n shop describe pod "$pod" --show-events | grep "SLOVeto"
  sleep 25 # longer than minReadySeconds: a rollout that was not held would have gone on
  [ "$(ready_of web)" -eq 3 ] || fail "$(ready_of web) pods are Ready, not the three of before"
  [ "$(of_pods web '.items | length')" -eq 4 ] || fail "the rollout went on"
  passed "the rollout stands, and the old pods serve"

  kubectl -n shop rollout undo deployment/web >>"$work/kubectl.log"
  rolled_out web 60 || fail "undo does not roll out"
  [ "$(away_of web)" -eq 0 ] || fail "after the undo a pod is still turned away"
  passed "undo rolled out"
  deploy web "$good" "$slo" 3
  rolled_out web 240 || fail "the fixed version does not roll out: $(verdict .)"
  [ "$(away_of web)" -eq 0 ] || fail "a pod of the fixed version was turned away"
  passed "the fixed version rolled out"
}

# Two versions that are slow alike.
shared_slowness() {
  deploy shared "$slow" "p99(request) < 5ms" 1
  follow_endpoints shared &
  track $!
  rolled_out shared 120 || fail "the first version of shared does not roll out"
  deploy shared "$slow" "p99(request) < 5ms" 2
  rolled_out shared 240 || fail "what slows every version stops one: $(slogate verdict shop.shared)"
  [ "$(away_of shared)" -eq 0 ] || fail "what slows every version turned a pod away"
  passed "what slows every version stops none"
}

# What every pod depends on turns slow in the middle of a rollout.
dependency() {
  local turns=$(($(date +%s) + 75))
  deploy dependent "$good" "p99(request) < baseline + 5ms" 1 "$turns:4"
  follow_endpoints dependent &
  track $!
  rolled_out dependent 70 || fail "the first version of dependent does not roll out"
  until (($(date +%s) >= turns - 20)); do sleep 1; done
  deploy dependent "$good" "p99(request) < baseline + 5ms" 2 "$turns:4"
  of_both() { [ "$(of_pods dependent '[.items[].metadata.labels["pod-template-hash"]] | unique | length')" -eq 2 ]; }
  until (($(date +%s) >= turns)); do sleep 1; done
  of_both || fail "the second version was rolled out before what both depend on turned slow"
  rolled_out dependent 240 || fail "what slows every pod stops a rollout: $(slogate verdict shop.dependent)"
  [ "$(away_of dependent)" -eq 0 ] || fail "what slows every pod turned one away"
  passed "what turned slow for every pod stopped none"
}

# A fault on a new revision that is no worse, by tools/drill: it is seen, and the revision is undone.
drill() {
  local table
  table=$(KUBECONFIG="$work/kubeconfig" "$root/tools/drill" --deployment shop/web --after 5 slow 2>&1) || fail "the drill: $table"
  [[ $table =~ slow\ +shop/web,\ by\ kubectl\ +([0-9.]+)\ s\ +([0-9.]+)\ s\ +([0-9.]+)\ s\ +([0-9.]+)\ s ]] ||
    fail "the drill says nothing of veto, gate, readiness and the pod: $table"
  local row=${BASH_REMATCH[0]}
  [ "$(of_pods web '.items | length')" -eq 3 ] || fail "the drill leaves $(of_pods web '.items | length') pods"
  [ "$(of_pods web '[.items[] | select(.metadata.annotations["drill.slogate.io/began"])] | length')" -eq 0 ] || fail "the drill's revision is still there"
  passed "a drill on the Deployment: $row"
}

# Another agent takes over.
upgrade() {
  counted() {
    metrics | awk -v pod="$1" '
      /^slogate_request_duration_seconds_count\{.*role="server"/ && index($0, "pod=\"" pod "\"") { n += $NF }
      END { print n + 0 }'
  }
  survivor=$(of_pods web '.items[0].metadata.name')
  before=$(counted "$survivor")
  [ "$before" -gt 1000 ] || fail "$before requests of $survivor are counted"
  kubectl -n slogate-system patch daemonset slogate --type=json \
    -p '[{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "UPGRADE", "value": "1"}}]' \
    >>"$work/kubectl.log"
  kubectl -n slogate-system rollout status daemonset/slogate --timeout=60s >>"$work/kubectl.log"
  wait_until 20 knows_pods || fail "the new agent does not know its pods"
  named() { [ "$(counted "$survivor")" -ge "$before" ]; }
  wait_until 20 named || { kubectl -n slogate-system logs daemonset/slogate; ls -la /sys/fs/bpf /sys/fs/bpf/slogate; fail "after the upgrade $(counted "$survivor") requests are counted, before it $before"; }
  [[ $(kubectl -n slogate-system logs daemonset/slogate) == *"counting went on"* ]] || fail "the new agent began anew"
  [ "$(kubectl -n slogate-system get pods -o 'jsonpath={.items[0].status.containerStatuses[0].restartCount}')" = 0 ] ||
    fail "the new agent was restarted"
  passed "the agent was replaced: $before requests before, $(counted "$survivor") after"
}

# A pod whose SLO cannot be parsed serves, and says why it is not judged.
invalid() {
  deploy invalid "$good" "p99(requests) < 5ms" 1
  says_why() { [[ $(kubectl -n shop describe pods -l app=invalid --show-events) == *InvalidSLO*"unknown signal"* ]]; }
  wait_until 60 says_why || fail "no event: $(kubectl -n shop describe pods -l app=invalid --show-events | tail -n 12)"
  is_listed() {
    slogate -o json slos | jq -e '.[] | select(.name == "shop.invalid").error | contains("unknown signal")' >"$work/answer"
  }
  wait_until 10 is_listed || fail "no error in /v1/slos: $(slogate slos)"
  rolled_out invalid 60 || fail "an SLO that is wrong keeps pods from serving"
  kubectl -n shop delete deployment,service invalid >>"$work/kubectl.log"
  passed "an SLO that cannot be parsed is said, and the pods serve"
}

# Without an agent pods keep their conditions; new ones wait for it, or for a line of kubectl.
no_agent() {
  kubectl -n slogate-system patch daemonset slogate --type=json \
    -p '[{"op": "add", "path": "/spec/template/spec/nodeSelector", "value": {"nobody": "here"}}]' >>"$work/kubectl.log"
  agent_is_gone() { [ "$(kubectl -n slogate-system get pods -o name | wc -l)" -eq 0 ]; }
  wait_until 30 agent_is_gone || fail "the agent does not go"
  [ "$(ready_of web)" -eq 3 ] || fail "without an agent pods are not Ready any more"
  kubectl -n shop scale deployment/web --replicas=4 >>"$work/kubectl.log"
  waiting='.items[] | select(.status.phase == "Running" and ([.status.conditions[].type] | index("slogate.io/slo") | not)) | .metadata.name'
  one_waits() { [ -n "$(of_pods web "$waiting")" ]; }
  wait_until 30 one_waits || fail "no pod waits for the agent"
  kubectl -n shop patch pod "$(of_pods web "$waiting")" --subresource=status \
    -p '{"status":{"conditions":[{"type":"slogate.io/slo","status":"True"}]}}' >>"$work/kubectl.log"
  four_are_ready() { [ "$(ready_of web)" -eq 4 ]; }
  wait_until 20 four_are_ready || fail "the line of kubectl does not help: $(of_pods web .)"
  kubectl -n slogate-system patch daemonset slogate --type=json \
    -p '[{"op": "remove", "path": "/spec/template/spec/nodeSelector"}]' >>"$work/kubectl.log"
  wait_until 60 agent_is_ready || fail "the agent does not come back"
  wait_until 20 knows_pods || fail "the agent does not know its pods"
  kubectl -n shop scale deployment/web --replicas=3 >>"$work/kubectl.log"
  passed "without an agent pods keep their conditions, and a line of kubectl lets a new one serve"
}

# Pods that live for a moment.
names() {
  # Pod i asks i times, and is gone.
  target=$(of_pods web '.items[0].status.podIP')
  jobs() {
    local i
    for i in $(seq "$pods"); do
      cat <<END_YAML
---
apiVersion: v1
kind: Pod
metadata: { name: job-$i, namespace: shop }
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
    - name: asks
      image: slogate.test/load:1
      imagePullPolicy: Never
      args: [drive, --host, $target, --port, "8080", --connections, "1", --requests, "$i"]
END_YAML
    done
  }
  jobs | kubectl apply -f - >>"$work/kubectl.log"
  ended() { [ "$(kubectl -n shop get pods -o json | jq '[.items[] | select(.status.phase == "Succeeded")] | length')" -eq "$pods" ]; }
  wait_until 240 ended || fail "not all of $pods pods ended: $(kubectl -n shop get pods | tail -n 5)"
  kubectl -n shop delete pods --selector='!app' --grace-period=0 --force >>"$work/kubectl.log" 2>&1
  # A series is there for at least one scrape after its cgroup is gone.
  all_asked() {
    metrics | sed -nE 's/^slogate_request_duration_seconds_count\{.*pod="job-([0-9]+)",role="client"\} (.*)/\1 \2/p' \
      >>"$work/asked"
    [ "$(sort -u "$work/asked" | wc -l)" -ge "$pods" ]
  }
  wait_until 20 all_asked || fail "$(sort -u "$work/asked" | wc -l) of $pods pods are named"
  wrong=$(sort -u "$work/asked" | awk '$1 != $2')
  [ -z "$wrong" ] || fail "counts under the wrong name: $wrong"
  passed "$pods pods that lived for a moment are named, each with its own count"
}

# What docs/install.md says of nodes that the agent has left.
removal() {
  kubectl delete -k "$root/daemonset/overlays/plain" >>"$work/kubectl.log"
  has_left() { ! pgrep -x slogate-agent >"$work/answer"; }
  wait_until 20 has_left || fail "the agent still runs"
  rm -r /sys/fs/bpf/slogate
  passed "the agent has left, and so has what it had pinned"
}

[ $# -gt 0 ] || set -- privileges bad_version shared_slowness dependency invalid no_agent drill upgrade names removal
set_up
for part; do "$part"; done
