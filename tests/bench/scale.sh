#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/scale.sh [--rounds N] [--pairs N] [--connections N]
#
# How the cost grows:
#   cores        ns of a program's run while one CPU has traffic, while two have it in a cgroup each, and
#                while both have it in the same one, so that they write the same counts; redis and its
#                client on the same CPU, by the kernel's own statistics, in turn in each of N rounds
#   connections  CPU time of a connection that is made and closed, both ends, and how many a second one
#                client makes one after the other, without programs and with ours, in pairs
#   sockets      a tick of the agent and its CPU and memory while none, a quarter and all of N (100,000)
#                connections are open and idle, both ends on this node, without a CPU budget
# Leaves build/bench/scale.json; needs root, 4 GB, a quiet machine and `tools/build release`.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

rounds=10 pairs=10 connections=100000
while (($#)); do
  case $1 in
    --rounds) rounds=$2 ;;
    --pairs) pairs=$2 ;;
    --connections) connections=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
need_root
need_cgroup2
(($(nproc) > 1)) || skip "one CPU has nothing to share"
requests=50000 made=10000
running=()
started_subject() {
  start_subject "$1"
  track "$started"
}

# ---- cores ----

# redis_on CPU CGROUP: sets $redis_port.
redis_on() {
  redis_port=$(free_port $((26000 + $1 * 100)))
  run_in_cgroup "$(make_cgroup "$2")" taskset -c "$1" redis-server --port "$redis_port" --bind 127.0.0.1 \
    --save '' >/dev/null &
  track $!
  wait_until 10 port_is_taken "$redis_port" || fail "redis-server does not start"
}
redis_on 0 apart-0 && ports=("$redis_port")
redis_on 1 apart-1 && ports+=("$redis_port")
redis_on 0 shared && shared_ports=("$redis_port")
redis_on 1 shared && shared_ports+=("$redis_port")
# load CPU PORT CGROUP
load() {
  run_in_cgroup "$cgroup_dir/$3" taskset -c "$1" redis-benchmark -p "$2" -n "$requests" -c 20 -t get --csv \
    >/dev/null 2>&1
}
traffic() {
  local one=0
  case $1 in
    one) load 0 "${ports[0]}" apart-0 ;;
    apart) (load 0 "${ports[0]}" apart-0) & one=$! && load 1 "${ports[1]}" apart-1 && wait "$one" ;;
    shared) (load 0 "${shared_ports[0]}" shared) & one=$! && load 1 "${shared_ports[1]}" shared && wait "$one" ;;
  esac
}
# measure_cores ROUND SUBJECT HOW: a line for each program that ran.
measure_cores() {
  local before after
  before=$(programs "$started")
  traffic "$3"
  after=$(programs "$started")
  jq -nc --argjson round "$1" --arg subject "$2" --arg how "$3" --argjson before "$before" --argjson after "$after" '
    INDEX($before[]; .id) as $old | $after[] | $old["\(.id)"] as $b
    | {$round, $subject, $how, hook: .name | sub("^(empty|hash)_"; ""), runs: (.runs - $b.runs), ns: (.ns - $b.ns)}
    | select(.runs > 1000)' >>"$work/cores"
}
start_subject stats
stats=$started
for ((round = 1; round <= rounds; round++)); do
  for subject in empty slogate hash; do
    started_subject "$subject"
    traffic shared # its maps are warm then
    traffic apart
    for how in one apart shared; do
      measure_cores "$round" "$subject" "$how"
      progress "cores: round $round of $rounds: $subject $how"
    done
    stop "$started"
  done
done
stop "$stats"

# ---- connections ----

port=$(free_port 27000)
"$programs/slogate-load" --max-seconds 3600 serve --port "$port" --backlog 4096 >"$work/server" &
server=$!
track "$server"
wait_until 10 grep -qs ready "$work/server" || fail "the server does not start"
# connect: {"per_s": ..., "cpu_ns": ...} of each.
connect() {
  local before after begin
  before=$(cpu_ns "$server")
  begin=$(now_ms)
  timed "$programs/slogate-load" connect --port "$port" --count "$made" >/dev/null
  begin=$(($(now_ms) - begin))
  after=$(cpu_ns "$server")
  say "{\"per_s\": $((made * 1000 / begin)), \"cpu_ns\": $(((after - before + $(timed_ns)) / made))}"
}
: >"$work/pairs"
for ((pair = 1; pair <= pairs; pair++)); do
  first=$((pair % 2))
  ((first)) || without=$(connect)
  started_subject slogate
  connect >/dev/null
  with=$(connect)
  stop "$started"
  ((!first)) || without=$(connect)
  say "{\"without\": $without, \"with\": $with}" >>"$work/pairs"
  progress "connections: pair $pair of $pairs"
done
stop_process "$server"

# ---- sockets ----

printf 'cpu_ratio: 1\n' >"$work/slogate.yaml"
start_agent --config "$work/slogate.yaml"
idle_pids=()
# open N: connections, in servers and clients of at most 12,500.
open() {
  local remaining=$1 one
  while ((remaining > 0)); do
    one=$((remaining < 12500 ? remaining : 12500))
    remaining=$((remaining - one))
    : >"$work/many" && : >"$work/idle"
    run_in_cgroup "$(make_cgroup many)" "$programs/slogate-load" --max-seconds 3600 serve --port 0 --backlog 4096 >"$work/many" &
    idle_pids+=("$!")
    wait_until 10 grep -q '^ready ' "$work/many" || fail "a server is not ready"
    run_in_cgroup "$(make_cgroup idle)" "$programs/slogate-load" --max-seconds 3600 idle --count "$one" \
      --port "$(awk '/^ready/ { print $2 }' "$work/many")" >"$work/idle" &
    idle_pids+=("$!")
    track "${idle_pids[@]: -2}"
    wait_until 60 grep -qx "ready $one" "$work/idle" || fail "not all are connected: $(cat "$work/idle")"
  done
}
# measure_sockets CONNECTIONS
measure_sockets() {
  local before window ticks=()
  sleep 5
  before=$(cpu_ns "$agent_pid")
  for ((window = 0; window < 20; window++)); do
    sleep 1
    ticks+=("$(api /v1/status | jq .tick_seconds)")
  done
  jq -nc --argjson connections "$1" --argjson cpu $(($(cpu_ns "$agent_pid") - before)) \
    --argjson resident_mib "$(resident_mib "$agent_pid")" \
    --argjson maps "$(api /v1/maps | jq 'map(.bytes) | add')" \
    --argjson tick "$(printf '%s\n' "${ticks[@]}" | median)" \
    '{$connections, cpu_percent: ($cpu / 20e7), tick_ms: ($tick * 1000), $resident_mib, maps_mib: ($maps / 1048576)}' \
    >>"$work/sockets"
}
: >"$work/sockets"
measure_sockets 0
open $((connections / 4))
measure_sockets $((connections / 4))
open $((connections - connections / 4))
measure_sockets "$connections"
stop_process "${idle_pids[@]}"
stop_agent

mkdir -p "$root/build/bench"
jq -n -L "$here" --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --slurpfile cores "$work/cores" \
  --slurpfile pairs "$work/pairs" --slurpfile sockets "$work/sockets" 'include "stats";
  # ns of all runs by those of one hook, of which redis has as many as requests.
  [$cores | group_by(.round, .subject, .how)[] | {round: .[0].round, subject: .[0].subject, how: .[0].how,
     ns: (map(.ns / .runs) | add)}] as $sums
  | (INDEX($sums[]; "\(.round) \(.subject) \(.how)")) as $by
  | {benchmark: "scale", $kernel, $cpus,
     cores: [$sums | group_by(.subject, .how)[] | {subject: .[0].subject, how: .[0].how, programs_ns: (map(.ns) | spread),
       above_one_cpu_ns: (map(.ns - $by["\(.round) \(.subject) one"].ns) | spread)}],
     connections: {without_per_s: ($pairs | map(.without.per_s) | quantile(0.5)),
       lost_percent: ($pairs | map(100 * (1 - .with.per_s / .without.per_s)) | spread),
       without_cpu_ns: ($pairs | map(.without.cpu_ns) | quantile(0.5)),
       more_cpu_ns: ($pairs | map(.with.cpu_ns - .without.cpu_ns) | spread),
       more_cpu_percent: ($pairs | map(100 * (.with.cpu_ns / .without.cpu_ns - 1)) | spread)},
     $sockets, samples: {$cores, $pairs}}' >"$root/build/bench/scale.json"
jq -r 'def r: round; def tenths: . * 10 | round / 10;
  "PROGRAMS\tTRAFFIC ON\tNS OF ALL, MEDIAN\tMORE THAN ON ONE CPU (QUARTILES)",
  (.cores[] | "\(.subject)\t\({one: "one CPU", apart: "two, a cgroup each", shared: "two, the same cgroup"}[.how])\t\(.programs_ns.median | r)\t\(.above_one_cpu_ns | "\(.median | r) (\(.q1 | r) to \(.q3 | r))")"),
  "\nCONNECTIONS\tA SECOND WITHOUT\tFEWER\tCPU NS WITHOUT\tMORE",
  (.connections | "\t\(.without_per_s | r)\t\(.lost_percent | "\(.median | tenths) % (\(.q1 | tenths) to \(.q3 | tenths))")\t\(.without_cpu_ns | r)\t\(.more_cpu_ns.median | r) (\(.more_cpu_percent | "\(.median | tenths) %, \(.q1 | tenths) to \(.q3 | tenths)"))"),
  "\nOPEN CONNECTIONS\tTICK, MS\tAGENT, % OF A CPU\tRSS, MIB\tMAPS, MIB",
  (.sockets[] | "\(.connections)\t\(.tick_ms | tenths)\t\(.cpu_percent * 100 | r / 100)\t\(.resident_mib | tenths)\t\(.maps_mib | tenths)")' \
  "$root/build/bench/scale.json" | column -t -s $'\t' -L
