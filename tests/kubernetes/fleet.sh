#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A canary on one node and the stable pods on three others: a real API server without kubelets, and four
# agents on this machine, each of which knows the pods of its own node alone and listens at that node's
# address. They find each other by the API server, know each other by key and token, and a slow canary is
# turned away by what the others lend.
set -euo pipefail
# ctest: kubernetes 600
# shellcheck source=shop.sh
. "$(dirname "$0")/shop.sh"
make_shop

nodes=(1 2 3 4) # the canary is on the first
port=$(free_port $((24000 + RANDOM % 2000)))
openssl rand -hex 32 >"$work/peer.key"
agent_token slogate >"$work/peer-token"
# api_of NODE PATH, verdict_of NODE FIELD
api_of() { socket=$work/agent-$1.sock api "$2"; }
verdict_of() { api_of "$1" /v1/verdicts/shop.web | jq -r ".$2"; }

# run_agent NODE: in the background.
run_agent() {
  cat >"$work/slogate-$1.yaml" <<END_CONFIG
kubernetes: { server: "$server", token_file: $work/token, ca_file: $work/pki/ca.crt, node: worker-$1, peer_token_file: $work/peer-token }
peer_listen: 127.0.0.$1:$port
peer_key_file: $work/peer.key
END_CONFIG
  agent_arguments "$work/agent-$1.sock" "127.0.0.$1:$(free_port $((27000 + 100 * $1 + RANDOM % 90)))" "$work/state-$1" \
    --config "$work/slogate-$1.yaml"
  "$programs/slogate-agent" "${arguments[@]}" >>"$work/agent-$1.log" 2>&1 &
  track $!
}
answers() { api_of "$1" /v1/status >"$work/answer" 2>&1; }

objectives="p99(request) < 500ms; p99(request) < baseline + 5ms"
owner=$(deployment web 3)
replica_set web-old 1 3 3
for node in 2 3 4; do
  pod web-old "$node" "$node"
  start_arm "$(cgroup_of "web-old-$node")" --service lognormal:2:0.5
done
for node in "${nodes[@]}"; do run_agent "$node"; done
for node in "${nodes[@]}"; do wait_until 30 answers "$node" || fail "the agent of worker-$node does not answer"; done
for node in 2 3 4; do expect_condition 20 "web-old-$node" "True NoVeto"; done
passed "four agents run, three of them with stable pods"

replica_set web-new 2 1 1
pod web-new 1 1
expect_condition 20 web-new-1 "True NoVeto"
began=$(now_ms)
start_arm "$(cgroup_of web-new-1)" --service lognormal:8:0.5
lends() { [ "$(api_of 1 /v1/verdicts/shop.web | jq '[.lenders[]? | select(.state == "lends")] | length')" = 3 ]; }
wait_until 30 lends || fail "not all three lend: $(api_of 1 /v1/status | jq -c .peers) $(api_of 1 /v1/verdicts/shop.web)"
passed "all three nodes with stable pods lend, $(($(now_ms) - began)) ms after the canary's first request"
wait_until 60 condition_is web-new-1 "False Vetoed" || fail "the slow canary is not turned away: $(api_of 1 /v1/verdicts/shop.web)"
passed "a canary whose node has no stable pod is turned away, $(($(now_ms) - began)) ms after its first slow request"
[ "$(verdict_of 1 verdict)" = veto ] || fail "its verdict is $(verdict_of 1 verdict)"
for node in 2 3 4; do
  condition_is "web-old-$node" "True NoVeto" || fail "the stable pod of worker-$node is turned away"
done
passed "the stable pods serve on"
