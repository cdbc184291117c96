#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/budget.sh [--ratio R] [--minutes N]
#
# What the agent leaves out to keep its CPU budget: redis at saturation for N minutes (default 12), under
# an agent that may take R of the node (default 0.005). A row for each step it takes: what it and its
# programs took, the share of the connections it watched, and what redis answered. Leaves
# build/bench/budget.json; needs root and `tools/build release`.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

ratio=0.005 minutes=12
while (($#)); do
  case $1 in
    --ratio) ratio=$2 ;;
    --minutes) minutes=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
need_root
need_cgroup2

port=$(free_port 26000)
run_in_cgroup "$(make_cgroup redis)" redis-server --port "$port" --bind 127.0.0.1 --save "" >"$work/redis.log" 2>&1 &
track $!
wait_until 10 port_is_taken "$port" || fail "redis does not answer: $(cat "$work/redis.log")"
printf 'cpu_ratio: %s\n' "$ratio" >"$work/slogate.yaml"
start_agent --config "$work/slogate.yaml"
timeout $((minutes * 60)) redis-benchmark -p "$port" -t get -n 2000000000 -c 50 --csv >/dev/null 2>&1 &
track $!

answered() { redis-cli -p "$port" info stats | tr -d '\r' | awk -F: '/^total_commands_processed/ { print $2 }'; }
counted() { api "/v1/cgroups?match=$cgroup_prefix/redis" | jq '.[0].signals.request.count // 0'; }
window=10
for ((i = 0; i < minutes * 60 / window - 1; i++)); do
  before=$(answered) seen=$(counted)
  sleep "$window"
  api /v1/status | jq -c --argjson asked $(($(answered) - before)) --argjson seen $(($(counted) - seen)) \
    --argjson seconds "$window" \
    '.cpu + {requests_per_second: ($asked / $seconds | round), counted: ($seen / $asked)}'
done >"$work/windows"
stop_agent

mkdir -p "$root/build/bench"
jq -s --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --argjson ratio "$ratio" --argjson minutes "$minutes" '
  def median: sort | .[length / 2 | floor];
  {$kernel, $cpus, $ratio, $minutes, steps: (group_by(.step) | map({step: .[0].step, seconds: (length * '"$window"'),
    agent: (map(.agent) | median), programs: (map(.programs) | median), watched: .[0].watched, off: .[0].off,
    counted: (map(.counted) | median), requests_per_second: (map(.requests_per_second) | median)}))}' \
  "$work/windows" >"$root/build/bench/budget.json"
jq -r 'def percent: . * 10000 | round / 100;
  "STEP\tSECONDS\tAGENT, % OF THE NODE\tPROGRAMS, %\tWATCHED, %\tCOUNTED, %\tREDIS, REQUESTS/S",
  (.steps[] | "\(.step)\t\(.seconds)\t\(.agent | percent)\t\(.programs | percent)\t\(.watched | percent)\t\(.counted | percent)\t\(.requests_per_second)")' \
  "$root/build/bench/budget.json" | column -t -s $'\t'
