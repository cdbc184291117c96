#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/maps.sh [--cgroups N] [--rate N] [--resizes N] [--pairs N]
#
# What the maps cost and whether they keep every count: memory when idle and per slot; cgroups that are
# made, used by a real connection and removed while a steady load runs; at least so many resizes by hand
# under redis at full speed, with and without in at least so many pairs (redis-benchmark itself asks
# once more each time). Leaves build/bench/maps.json; needs root and `tools/build release`.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

cgroups=10000 rate=1000 resizes=100 pairs=5
while (($#)); do
  case $1 in
    --cgroups) cgroups=$2 ;;
    --rate) rate=$2 ;;
    --resizes) resizes=$2 ;;
    --pairs) pairs=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
need_root
need_cgroup2
# Several seconds after the last of them all cgroups are folded and their memory is given back.
printf 'maps: { memory_ratio: 0.05, grace: 5s }\n' >"$work/slogate.yaml"
start_agent --config "$work/slogate.yaml"

map() { api /v1/maps | jq ".[] | select(.name == \"$1\") | .$2"; }
all_bytes() { api /v1/maps | jq 'map(.bytes) | add'; }
lost() { api /v1/status | jq '.lost | add'; }
resize() { slogate maps resize "$1" --entries "$2" >/dev/null; }
capacity_is() { test "$(map slogate_slab capacity)" "$@"; }
# Requests of one signal in every cgroup, in those that are gone and in what found no slot.
counted() {
  { api /v1/cgroups && api /v1/status; } | jq -s --arg signal "$1" '
    ([.[0][].signals[$signal].count // 0] | add // 0)
    + ([.[1] | .removed, .unattributed | .signals[$signal].count // 0] | add)'
}

# ---- memory ----

sleep 3 # the first cgroups of this machine have their slots
idle_bytes=$(all_bytes)
before=$(map slogate_slab capacity) before_bytes=$idle_bytes
resize slogate_slab 4000
wait_until 30 capacity_is -ge 4000 || fail "the slab does not grow"
slot_bytes=$((($(all_bytes) - before_bytes) / ($(map slogate_slab capacity) - before)))
resize slogate_slab 0

# ---- cgroups that come and go ----

port=$(free_port 26000)
run_in_cgroup "$(make_cgroup server)" "$programs/slogate-load" --max-seconds 600 serve --port "$port" \
  >"$work/server" &
track $!
wait_until 10 grep -qs ready "$work/server" || fail "the server does not start"
begin_client=$(counted client_request) begin_lost=$(lost)
# Those that a cgroup of ours answered.
answered_by() {
  sleep 1.2 # a tick
  api "/v1/cgroups?match=$cgroup_prefix/$1" | jq '[.[].signals.request.count // 0] | add // 0'
}
run_in_cgroup "$(make_cgroup steady)" "$programs/slogate-load" --max-seconds 600 drive --port "$port" \
  --connections 10 --rate 100 --duration 600s >"$work/steady" &
steady=$!
track "$steady"
"$programs/slogate-load" --max-seconds 600 churn --port "$port" --parent "$(make_cgroup churn)" \
  --cgroups "$cgroups" --rate "$rate" >"$work/churn"
largest=$(map slogate_slab capacity)
kill -TERM "$steady"
wait "$steady" || true
answer() { tail -n 1 "$work/$1" | jq ".$2"; }
sent=$(($(answer steady answered) + $(answer churn answered)))
# Ten ticks ask after all of them, then their grace is over, then the memory was not needed for 30 s.
wait_until 120 capacity_is -lt $((before + 500)) || say "the slab is still large"
client_counted=$(($(counted client_request) - begin_client))
server_counted=$(answered_by server)
churn_lost=$(($(lost) - begin_lost))
after=$(map slogate_slab capacity)

# ---- resizes under load ----

redis_port=$(free_port 27000)
run_in_cgroup "$(make_cgroup redis)" redis-server --port "$redis_port" --bind 127.0.0.1 --save "" \
  >"$work/redis.log" &
track $!
wait_until 10 port_is_taken "$redis_port" || fail "redis does not start"
# load: requests per second and p99 in ms of 300,000 requests.
load() {
  redis-benchmark -p "$redis_port" -n 300000 -c 50 -t get --csv 2>/dev/null |
    awk -F '"' '$2 == "GET" { print $4, $14 }'
}
# Until it is stopped: what is asked for while the last change is under way changes nothing.
resize_often() {
  while sleep 0.05; do
    resize slogate_slab $((RANDOM % 2000 + 1000))
    resize slogate_index $((RANDOM % 8000 + 4000))
  done
}
changes() { say $(($(map slogate_slab resizes) + $(map slogate_index resizes))); }
load >/dev/null
begin_redis=$(answered_by redis) begin_changes=$(changes) begin_lost=$(lost)
for ((pair = 0; pair < pairs || $(changes) - begin_changes < resizes; pair++)); do
  ((pair < 10 * pairs)) || fail "too few resizes: $(($(changes) - begin_changes))"
  load >>"$work/without"
  resize_often &
  resizer=$!
  track "$resizer"
  load >>"$work/with"
  stop_process "$resizer"
done
redis_counted=$(($(answered_by redis) - begin_redis))
resize_lost=$(($(lost) - begin_lost))
made=$(($(changes) - begin_changes))

column() { cut -d ' ' -f "$2" "$work/$1" | median; }
mkdir -p "$root/build/bench"
jq -n --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --argjson idle "$idle_bytes" \
  --argjson slot "$slot_bytes" --argjson cgroups "$cgroups" --argjson sent "$sent" \
  --argjson client "$client_counted" --argjson server "$server_counted" --argjson churn_lost "$churn_lost" \
  --argjson failed "$(answer churn failed)" --argjson seconds "$(answer churn seconds)" \
  --argjson before "$before" --argjson largest "$largest" --argjson after "$after" \
  --argjson resizes "$made" --argjson asked $((2 * pair * 300000)) --argjson redis "$redis_counted" \
  --argjson resize_lost "$resize_lost" --argjson rate0 "$(column without 1)" \
  --argjson p99_0 "$(column without 2)" --argjson rate1 "$(column with 1)" \
  --argjson p99_1 "$(column with 2)" '{$kernel, $cpus, memory: {idle_bytes: $idle, bytes_per_slot: $slot},
  churn: {$cgroups, $seconds, $failed, $sent, counted: {$server, $client}, lost: $churn_lost,
          capacity: {$before, $largest, $after}},
  resize: {$resizes, asked: $asked, counted: $redis, lost: $resize_lost,
           without: {per_s: $rate0, p99_ms: $p99_0}, with: {per_s: $rate1, p99_ms: $p99_1}}}' \
  >"$root/build/bench/maps.json"
jq -r '"memory    idle \(.memory.idle_bytes / 1048576 * 100 | round / 100) MiB, \(.memory.bytes_per_slot) bytes per slot, whatever the number of CPUs (here \(.cpus))",
  "churn     \(.churn.cgroups) cgroups in \(.churn.seconds | round) s: \(.churn.sent) requests answered, \(.churn.counted.server) counted for the server, \(.churn.counted.client) for all clients of this machine, \(.churn.lost) lost; slots \(.churn.capacity.before) -> \(.churn.capacity.largest) -> \(.churn.capacity.after)",
  "resizes   \(.resize.resizes) under load: \(.resize.asked) requests asked for, \(.resize.counted) counted, \(.resize.lost) lost",
  "          without: \(.resize.without.per_s) requests/s, p99 \(.resize.without.p99_ms) ms; with: \(.resize.with.per_s) requests/s, p99 \(.resize.with.p99_ms) ms (medians of pairs)"' \
  "$root/build/bench/maps.json"
