#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 once a second under load: counting goes on without the agent, and the sum is exact.
# SLOGATE_KILLS: how many times (default 8).
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
need_root
need_cgroup2
need_bpffs

kills=${SLOGATE_KILLS:-8}
pins=/sys/fs/bpf/slogate-e2e-$$
on_exit "cleanup; '$programs/slogate-agent' --unpin --pin-dir '$pins'"
server=$(make_cgroup server)
client=$(make_cgroup client)

start_agent --pin-dir "$pins"
port=$(free_port 26000)
run_in_cgroup "$server" redis-server --port "$port" --bind 127.0.0.1 --save "" >"$work/redis.log" 2>&1 &
track $!
redis_answers() { redis-cli -p "$port" ping >/dev/null 2>&1; }
wait_until 10 redis_answers || fail "redis does not answer: $(cat "$work/redis.log")"

requests=$((kills * 20000))
requests_of() {
  api "/v1/cgroups?match=$cgroup_prefix/$1" | jq "[.[].signals.$2.count // 0] | add // 0"
}
sleep 1.2 # a tick, so that the ping is in it
before=$(requests_of server request)
run_in_cgroup "$client" redis-benchmark -p "$port" -t get -n "$requests" -c 20 --csv \
  >"$work/benchmark" 2>&1 &
load=$!
track "$load"
for ((i = 0; i < kills; i++)); do
  sleep 1
  kill -KILL "$agent_pid"
  wait "$agent_pid" 2>/dev/null || true
  sleep 0.2
  start_agent --pin-dir "$pins"
  grep -q "counting went on" "$work/agent.log" || fail "the pinned maps were not taken up"
done
wait "$load" || fail "redis-benchmark failed: $(cat "$work/benchmark")"
sleep 1.2

# redis-benchmark asks for the configuration first, once or twice.
seen=$(($(requests_of server request) - before))
asked=$(requests_of client client_request)
((seen >= requests && seen <= requests + 4)) ||
  fail "$requests requests were made, the server's cgroup has $seen"
[ "$asked" -eq "$seen" ] || fail "the client's cgroup has $asked requests, the server's $seen"
lost=$(api /v1/status | jq '[.lost[]] | add')
[ "$lost" -eq 0 ] || fail "lost: $(api /v1/status | jq -c .lost)"
passed "$requests requests over $kills kills are counted exactly"

# A second agent stays out.
expect_exit 1 "$programs/slogate-agent" --socket "$work/second.sock" --listen "" --pin-dir "$pins"
[[ $output == *"in use by another agent"* ]] || fail "a second agent is told: $output"
passed "a second agent stays out"
stop_agent
[ -e "$pins/slogate_slab" ] || fail "SIGTERM removed the pins"
"$programs/slogate-agent" --unpin --pin-dir "$pins"
[ ! -e "$pins" ] || fail "--unpin left $(ls "$pins")"
passed "the pins stay with SIGTERM, and leave with --unpin"
