#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/event.sh [--rounds N] [--pairs N] [--requests N] [--cpus 1|2]
#
# What one event costs: ns per run of our programs (with the signal queue, which nobody else has, and
# without: slogate-request), of an empty program on the same hooks, of
# bpftrace doing the same job and of the hash-map pattern that exporters use, by the kernel's own
# statistics; then the throughput lost at saturation. The job is redis GET over loopback, 50
# connections, server and client on a CPU each, both ends traced; --cpus 1 has both on one, where nothing
# that they share moves between caches. The machine's speed drifts, so
# everything is taken in turn and only ratios of one round are compared. Everything runs
# ahead of what else wants the CPU, but a quiet machine is better. Leaves build/bench/event.json; needs root and `tools/build release`.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

rounds=10 pairs=10 requests=100000 cpus=2
while (($#)); do
  case $1 in
    --rounds) rounds=$2 ;;
    --pairs) pairs=$2 ;;
    --requests) requests=$2 ;;
    --cpus) cpus=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done

[[ $cpus == [12] ]] || usage_error "$(help_text)"
subjects=(empty slogate-request slogate bpftrace hash)
need_tracefs "$0" --rounds "$rounds" --pairs "$pairs" --requests "$requests" --cpus "$cpus"

begin_work
port=$(free_port 7390)
((cpus == 2)) || last_cpu=0

# load REQUESTS: sets $rate to requests per second and $cpu to the CPU time both ends took for one,
# in ns, which is less shaken by what else runs.
load() {
  local before after
  before=$(cpu_ns "$server")
  timed "${ahead[@]}" taskset -c "$last_cpu" redis-benchmark -p "$port" -n "$1" -c 50 -t get --csv >"$work/rate"
  after=$(cpu_ns "$server")
  cpu=$(((after - before + $(timed_ns)) / $1))
  rate=$(awk -F '"' '$2 == "GET" { print $4 }' "$work/rate")
}

# measure_events ROUND SUBJECT: a line for each of its programs that ran.
measure_events() {
  local before after
  start_subject "$2"
  load $((requests / 10)) # its maps are warm then
  before=$(programs "$started")
  load "$requests"
  after=$(programs "$started")
  stop "$started"
  jq -nc --argjson round "$1" --arg subject "$2" --argjson before "$before" --argjson after "$after" '
    INDEX($before[]; .id) as $old | $after[] | $old["\(.id)"] as $b
    | {round: $round, subject: $subject, program: .name, runs: (.runs - $b.runs),
       ns: (.ns - $b.ns), missed: (.missed - $b.missed)} | select(.runs > 0)'
}

loaded() {
  load "$requests"
  say "{\"per_s\": $rate, \"cpu_ns\": $cpu}"
}
# measure_pair PAIR SUBJECT: the load without and with it, the order changing from pair to pair.
measure_pair() {
  local without with first=$((($1 + 1) % 2))
  ((first)) || without=$(loaded)
  start_subject "$2"
  load $((requests / 10))
  with=$(loaded)
  stop "$started"
  ((!first)) || without=$(loaded)
  say "{\"pair\": $1, \"subject\": \"$2\", \"without\": $without, \"with\": $with}"
}

"${ahead[@]}" taskset -c 0 redis-server --port "$port" --bind 127.0.0.1 --save '' >/dev/null &
server=$!
running+=("$server")
wait_until 10 port_is_taken "$port" || die "redis-server does not start"
load "$requests"

start "$root/build/release/bench_subject" stats
stats=$started
for ((round = 1; round <= rounds; round++)); do
  for subject in "${subjects[@]}"; do
    measure_events "$round" "$subject" >>"$work/events"
    progress "round $round of $rounds: $subject"
  done
done
stop "$stats" # it costs every run two reads of the clock

: >"$work/pairs"
for ((pair = 1; pair <= pairs; pair++)); do
  for subject in "${subjects[@]}"; do
    measure_pair "$pair" "$subject" >>"$work/pairs"
    progress "pair $pair of $pairs: $subject"
  done
done
progress ''

mkdir -p "$root/build/bench"
jq -n -L "$here" --argjson requests "$requests" --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --argjson used_cpus "$cpus" \
  --slurpfile events "$work/events" --slurpfile pairs "$work/pairs" \
  -f "$here/event.jq" >"$root/build/bench/event.json"
jq -r -f "$here/event_table.jq" "$root/build/bench/event.json"
