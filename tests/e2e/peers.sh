#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# ctest: e2e 900
# Agents of four nodes, each with a part of the tree and an API of its own: the canary is on one, its
# baseline on the three others. What is no worse passes, what is slow or fails is vetoed; nodes come and
# go, and some who ask or answer are no agents.
# SLOGATE_ARM_RATE: requests a second of each arm, a tenth of it (default 100).
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2

arm_rate=${SLOGATE_ARM_RATE-100}
nodes=(1 2 3 4)
lenders=(2 3 4)
declare -A agents ports arms drivers

# Somebody who is no agent, at a port that the configuration names.
not_an_agent=$(free_port $((21000 + RANDOM % 2000)))
for node in "${nodes[@]}"; do ports[$node]=$(free_port $((23000 + node * 1000 + RANDOM % 900))); done
openssl rand -hex 32 >"$work/key"
openssl rand -hex 32 >"$work/other-key"

# config_of NODE KEY-FILE: the same SLOs and peers everywhere, itself among them.
config_of() {
  cat <<END
cgroups: { include: ["$cgroup_prefix/n$1/**"] }
peer_listen: 127.0.0.1:${ports[$1]}
peer_key_file: $2
peers: [$(printf '"127.0.0.1:%s", ' "${ports[@]}" "$not_an_agent")]
slos:
  - name: demo
    canary: { cgroup: "$cgroup_prefix/*/canary/**" }
    baseline: { cgroup: "$cgroup_prefix/*/stable/**" }
    warmup: 0s
END
}

# node NODE: whose API the rest of the script asks.
node() { socket=$work/n$1.sock; }
start_node() {
  local port
  config_of "$1" "${2-$work/key}" >"$work/n$1.yaml"
  port=$(free_port $((28000 + RANDOM % 2000)))
  agent_arguments "$work/n$1.sock" "127.0.0.1:$port" "$work/n$1.state" --config "$work/n$1.yaml"
  "$programs/slogate-agent" "${arguments[@]}" >>"$work/agent.log" 2>&1 &
  agents[$1]=$!
  track "$!"
  wait_until 120 api /v1/status >/dev/null 2>&1 || fail "the agent of node $1 does not answer"
}
kill_node() {
  kill -KILL "${agents[$1]}"
  wait "${agents[$1]}" 2>/dev/null || true
}
# arm_of NODE NAME SERVE-ARGUMENT...
arm_of() {
  start_arm "n$1/$2" "${@:3}"
  arms[$1]=$arm
  drivers[$1]=$driver
}
stop_arm_of() { stop_process "${drivers[$1]}" "${arms[$1]}"; }

peers() { api /v1/status | jq -r ".peers.$1"; }
lending() { [ "$(peers 'asked | map(select(.lends == ["demo"])) | length')" -eq "$1" ]; }
why() { peers "asked[] | select(.address == \"127.0.0.1:$1\").reason"; }
reset_demo() { slogate reset demo >/dev/null; }
vetoed() { is demo veto; }
memory() { awk '/^RssAnon/ { print $2 }' "/proc/${agents[$1]}/status"; } # KiB

"$programs/slogate-load" --max-seconds 1800 serve --port "$not_an_agent" >/dev/null 2>&1 &
track "$!"
for node in "${lenders[@]}"; do
  start_node "$node"
  arm_of "$node" stable --service lognormal:2:0.5
done
start_node 1
arm_of 1 canary --service lognormal:2:0.5
node 1
ms_until 60 lending 3 || fail "not all lend after 60 s: $(api /v1/status | jq -c .peers)"
passed "three nodes lend after $took ms"
[ "$(peers "asked[] | select(.address == \"127.0.0.1:${ports[1]}\").state")" = self ] ||
  fail "it does not know itself: $(api /v1/status | jq -c .peers)"
[ -n "$(why "$not_an_agent")" ] || fail "it says nothing of who is no agent"
passed "it does not ask itself, and who is no agent is named: $(why "$not_an_agent")"

# ---- as good as its baseline ----

no_veto_for 60
ms_until 240 is demo pass || fail "what is no worse does not pass: $(of demo message)"
passed "identical arms are not vetoed in a minute, and pass $((took / 1000)) s later"

# ---- who comes and goes ----

node 2
victim=${agents[2]}
kill_node 2
node 1
wait_until 10 lending 2 || fail "a lender that was killed still lends"
sleep 5
! vetoed || fail "vetoed because a lender was killed: $(of demo message)"
start_node 2
node 1
ms_until 90 lending 3 || fail "a lender that came back is not asked: $(api /v1/status | jq -c .peers)"
passed "kill -9 of a lender vetoes nothing; back after $took ms"
is_gone "$victim" || fail "the lender survived"

# ---- who should not ----

before=$(memory 3)
node 3
turned=$(peers turned_away)
node 1
ulimit -n 12000 2>/dev/null || skip "10,000 connections need as many descriptors"
"$programs/hostile" idle 10000 "${ports[3]}" >"$work/crowd" 2>&1 &
crowd=$!
track "$crowd"
wait_until 60 grep -q ready "$work/crowd" || fail "the crowd: $(cat "$work/crowd")"
sleep 10
lending 3 || fail "a crowd at a lender ended lending: $(api /v1/status | jq -c .peers)"
! vetoed || fail "vetoed beside a crowd: $(of demo message)"
(($(memory 3) < before + 32768)) || fail "it grew from $before to $(memory 3) KiB"
stop_process "$crowd"
node 3
(($(peers turned_away) > turned)) || fail "nobody was turned away"
passed "beside 10,000 who say nothing lending goes on: $before KiB before, $(memory 3) KiB then"
kill_node 4
start_node 4 "$work/other-key"
node 1
wait_until 10 lending 2 || fail "another key still lends"
sleep 5
lending 2 || fail "another key lends: $(api /v1/status | jq -c .peers)"
passed "who has another key neither lends nor gets anything: $(why "${ports[4]}")"
kill_node 4
start_node 4
node 1
wait_until 120 lending 3 || fail "the right key does not lend: $(api /v1/status | jq -c .peers)"

# ---- worse ----

stop_arm_of 1
arm_of 1 canary --service lognormal:4:0.5
reset_demo
ms_until 120 vetoed || fail "a canary twice as slow was not vetoed: $(of demo message)"
passed "all quantiles x 2: veto after $took ms: $(of demo message)"
kill_node 1
start_node 1
vetoed || fail "the veto was lost with the agent"
passed "kill -9 of who asks: the veto is there with its first answer"
stop_arm_of 1
arm_rate=$((arm_rate * 3 / 10)) arm_of 1 canary --service lognormal:2:0.5 --error-share 0.05
reset_demo
ms_until 180 vetoed || fail "5 % of the requests fail, and no veto: $(of demo message)"
passed "5 % of $((arm_rate * 3)) requests a second fail: veto after $took ms: $(of demo message)"
