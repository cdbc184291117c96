#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/idle.sh [--connections N] [--pairs N] [--seconds N] [--before DIR]
#
# What connections that do nothing cost the agent, both ends on this node: a tick and its CPU time while N
# (100,000) are open, without SLOs; with one, so that it reads four times a second; and while so many more
# that it makes 1 % ask once a second. Of the agent of this build, and side by side of the one in DIR: both
# run from before the connections are made and take turns, one stopped while the other is measured for
# SECONDS (20), in pairs whose order changes. All visits of all sockets are in the CPU time, more often than
# an agent makes that is never stopped. Leaves build/bench/idle-N.json; needs root, 2 GB for each 100,000, a
# quiet machine and `tools/build release`.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

connections=100000 pairs=4 seconds=20 before=''
while (($#)); do
  case $1 in
    --connections) connections=$2 ;;
    --pairs) pairs=$2 ;;
    --seconds) seconds=$2 ;;
    --before) before=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
need_root
need_cgroup2

declare -A pid_of
names=(now)
[ -z "$before" ] || names+=(before)

# begin_agent NAME DIR: one with a socket of its own and without pins or budget.
begin_agent() {
  agent_arguments "$work/$1.sock" "127.0.0.1:$(free_port $((20000 + RANDOM % 10000)))" "$work/$1" \
    --config "$work/slogate.yaml"
  "$2/slogate-agent" "${arguments[@]}" >>"$work/$1.log" 2>&1 &
  pid_of[$1]=$!
  track "$!"
  answers() { socket=$work/$1.sock api /v1/status >/dev/null 2>&1; }
  wait_until 150 answers "$1" || fail "the agent does not answer: $(tail -n 1 "$work/$1.log")"
}
# open N COMMAND...: connections of slogate-load with these arguments, at most 12,500 a process.
open() {
  local remaining=$1 one
  while ((remaining > 0)); do
    one=$((remaining < 12500 ? remaining : 12500))
    remaining=$((remaining - one))
    : >"$work/many" && : >"$work/idle"
    run_in_cgroup "$(make_cgroup many)" "$programs/slogate-load" --max-seconds 7200 serve --port 0 --backlog 4096 >"$work/many" &
    track "$!"
    wait_until 10 grep -q '^ready ' "$work/many" || fail "a server is not ready"
    port=$(awk '/^ready/ { print $2 }' "$work/many")
    run_in_cgroup "$(make_cgroup idle)" "$programs/slogate-load" --max-seconds 7200 idle --count "$one" \
      --port "$port" >"$work/idle" &
    track "$!"
    wait_until 120 grep -qx "ready $one" "$work/idle" || fail "not all are connected: $(cat "$work/idle")"
  done
}
# measure CASE PAIR NAME: a line.
measure() {
  local second before_ns pid=${pid_of[$3]} ticks=() tick
  before_ns=$(cpu_ns "$pid")
  kill -CONT "$pid"
  for ((second = 0; second < seconds; second++)); do
    sleep 1
    tick=$(socket=$work/$3.sock api /v1/status | jq .tick_seconds)
    ((second < 3)) || ticks+=("$tick")
  done
  kill -STOP "$pid"
  jq -nc --arg case "$1" --argjson pair "$2" --arg agent "$3" --argjson seconds "$seconds" \
    --argjson ns $(($(cpu_ns "$pid") - before_ns)) --argjson tick "$(printf '%s\n' "${ticks[@]}" | median)" \
    --argjson news "$(kill -CONT "$pid" && socket=$work/$3.sock api /v1/maps | jq 'map(select(.name == "slogate_news").entries) | add // 0')" \
    '{$case, $pair, $agent, tick_ms: ($tick * 1000), cpu_percent: ($ns / $seconds / 1e7), $news}' >>"$work/samples"
  kill -STOP "$pid"
}
# measure_all CASE
measure_all() {
  local pair name order
  for name in "${names[@]}"; do kill -CONT "${pid_of[$name]}"; done
  sleep 8 # what was new is quiet
  for name in "${names[@]}"; do kill -STOP "${pid_of[$name]}"; done
  for ((pair = 1; pair <= pairs; pair++)); do
    order=("${names[@]}")
    ((pair % 2)) || mapfile -t order < <(printf '%s\n' "${names[@]}" | tac)
    for name in "${order[@]}"; do
      measure "$1" "$pair" "$name"
      progress "$1: pair $pair of $pairs: $name"
    done
  done
}

printf 'cpu_ratio: 1\n' >"$work/slogate.yaml"
begin_agent now "$programs"
[ -z "$before" ] || begin_agent before "$before"
: >"$work/samples"
measure_all none
for name in "${names[@]}"; do kill -CONT "${pid_of[$name]}"; done
open "$connections"
measure_all idle
{
  printf 'slos:\n  - { name: idle, canary: { cgroup: "%s/many" }, baseline: { cgroup: "%s/idle" }, warmup: 0s }\n' \
    "$cgroup_prefix" "$cgroup_prefix"
} >>"$work/slogate.yaml"
for name in "${names[@]}"; do kill -CONT "${pid_of[$name]}" && kill -HUP "${pid_of[$name]}"; done
measure_all judged
active=()
for ((left = connections / 100; left > 0; left -= 4000)); do
  run_in_cgroup "$(make_cgroup idle)" "$programs/slogate-load" --max-seconds 7200 drive --port "$port" \
    --connections $((left < 4000 ? left : 4000)) --rate 1 --duration 7200s >"$work/active" 2>&1 &
  active+=("$!")
  track "$!"
done
sleep 2
for pid in "${active[@]}"; do is_running "$pid" || fail "nobody asks: $(cat "$work/active")"; done
measure_all active
for name in "${names[@]}"; do kill -CONT "${pid_of[$name]}"; done
stop_process "${active[@]}"

mkdir -p "$root/build/bench"
jq -n -L "$here" --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --argjson connections "$connections" \
  --argjson pairs "$pairs" --argjson seconds "$seconds" --slurpfile samples "$work/samples" 'include "stats";
  {benchmark: "idle", $kernel, $cpus, $connections, $pairs, $seconds,
   cases: [$samples | group_by(.case)[] | {case: .[0].case,
     agents: [group_by(.agent)[] | {agent: .[0].agent, tick_ms: (map(.tick_ms) | spread),
       cpu_percent: (map(.cpu_percent) | spread), cpu_percent_mean: (map(.cpu_percent) | add / length),
       news: (map(.news) | quantile(0.5))}]}],
   $samples}' >"$root/build/bench/idle-$connections.json"
jq -r 'def hundredths: . * 100 | round / 100;
  "\(.connections) CONNECTIONS\tAGENT\tTICK, MS (QUARTILES)\tCPU, % OF ONE\tMEAN\tSOCKETS VISITED",
  (({none: 0, idle: 1, judged: 2, active: 3}) as $order | .cases | sort_by($order[.case])[]
   | {none: "none open yet", idle: "idle", judged: "idle, an SLO", active: "1 % more ask once a second"}[.case] as $what
   | .agents[] | "\($what)\t\(.agent)\t\(.tick_ms | "\(.median | hundredths) (\(.q1 | hundredths) to \(.q3 | hundredths))")\t\(.cpu_percent | "\(.median | hundredths) (\(.q1 | hundredths) to \(.q3 | hundredths))")\t\(.cpu_percent_mean | hundredths)\t\(.news)")' \
  "$root/build/bench/idle-$connections.json" | column -t -s $'\t' -L
