#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/e2e/soak.sh [--minutes N]
#
# Two agents under load and churn for an hour, or for N minutes. One is killed or ended every few
# seconds and taken up by the next; the other one lives through it all, and must not grow. Both get
# SIGHUPs and resizes. In the end each has counted exactly what clients and servers say they did.
# Leaves build/bench/soak.json and a table; needs root and `tools/build release`.
set -euo pipefail
# ctest: soak 4500
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

minutes=60
while (($#)); do
  case $1 in
    --minutes) minutes=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
need_root
need_cgroup2
need_bpffs

churn_rate=10 # cgroups a second
pins=/sys/fs/bpf/slogate-e2e-$$
on_exit "cleanup; '$programs/slogate-agent' --unpin --pin-dir '$pins'"
slos_of_arms >"$work/slogate.yaml"
# Room for whoever else makes cgroups on this machine. Without a CPU budget, which on a busy machine would
# have the steady agent watch a share of the connections.
printf 'cpu_ratio: 1\nmaps: { memory_ratio: 0.02, grace: 10s }\n' >>"$work/slogate.yaml"

# ---- agents ----

start_agent --config "$work/slogate.yaml"
steady=$agent_pid steady_socket=$socket steady_metrics=$metrics
track "$steady"
start_killed() {
  start_agent --config "$work/slogate.yaml" --socket "$work/killed.sock" --state-dir "$work/killed" \
    --pin-dir "$pins"
}
start_killed
of_steady() { socket=$steady_socket "$@"; }

# ---- load ----

load=("$programs/slogate-load" --max-seconds $((minutes * 60 + 600)))
redis_port=$(free_port 26000)
run_in_cgroup "$(make_cgroup redis)" redis-server --port "$redis_port" --bind 127.0.0.1 --save "" \
  >"$work/redis.log" 2>&1 &
track $!
# redis CLIENT ARGUMENT...: from the cgroup of redis's clients.
redis_cgroup=$(make_cgroup redis-client)
redis() { run_in_cgroup "$redis_cgroup" "$1" -p "$redis_port" "${@:2}"; }
redis_answers() { redis redis-cli ping >/dev/null 2>&1; }
wait_until 10 redis_answers || fail "redis does not answer: $(cat "$work/redis.log")"

: >"$work/serve"
run_in_cgroup "$(make_cgroup canary)" "${load[@]}" serve --port 0 --service lognormal:2:0.5 \
  >"$work/serve" 2>&1 &
server=$!
track "$server"
wait_until 10 grep -q '^ready ' "$work/serve" || fail "the server is not ready"
port=$(awk '/^ready/ { print $2 }' "$work/serve")
run_in_cgroup "$(make_cgroup driver)" "${load[@]}" drive --port "$port" --connections 10 --think 30ms \
  --duration "$((minutes * 60 + 600))s" >"$work/drive" 2>&1 &
driver=$!
run_in_cgroup "$(make_cgroup churner)" "${load[@]}" churn --port "$port" --parent "$(make_cgroup churn)" \
  --cgroups $((minutes * 60 * churn_rate)) --requests 3 --rate "$churn_rate" >"$work/churn" 2>&1 &
churner=$!
track "$driver" "$churner"
# Bursts of which each is whole.
redis_bursts() {
  while [ ! -e "$work/stop" ]; do
    echo >>"$work/bursts"
    (redis redis-benchmark -t get -n 5000 -c 20 --csv >/dev/null 2>&1) || return
    sleep 1
  done
}
redis_bursts &
bursts=$!
track "$bursts"

# ---- what is measured ----

# seconds, kB of RSS and of it anonymous, descriptors without those of chunks, threads, bytes of maps,
# slots, ticks of CPU, kB of the heap that are in use.
sample() {
  local maps slots fds
  curl --silent --max-time 10 --output /dev/null "http://$steady_metrics/metrics"
  maps=$(of_steady api /v1/maps | jq -r '"\([.[].bytes] | add) \(.[0].capacity)"')
  slots=${maps#* }
  fds=$(find "/proc/$steady/fd" -type l | wc -l)
  # shellcheck disable=SC2046 # two words
  say "$((SECONDS - begin))" $(awk '/^VmRSS|^RssAnon/ { print $2 }' "/proc/$steady/status") \
    $((fds - (slots + 31) / 32)) "$(awk '/^Threads/ { print $2 }' "/proc/$steady/status")" \
    "$maps" "$(awk '{ print $14 + $15 }' "/proc/$steady/stat")" \
    "$(of_steady api /v1/status | jq '.heap.used_bytes / 1024 | floor')" >>"$work/samples"
}
kills=0 ends=0 hangups=0 resizes=0
# One of what happens to agents.
disturb() {
  case $((RANDOM % 10)) in
    [0-3])
      kill -KILL "$agent_pid"
      wait "$agent_pid" 2>/dev/null || true
      kills=$((kills + 1))
      start_killed
      ;;
    [45])
      stop_agent
      ends=$((ends + 1))
      sleep $((RANDOM % 3))
      start_killed
      ;;
    [67])
      for ((i = 0; i < 20; i++)); do kill -HUP "$agent_pid" "$steady"; done
      hangups=$((hangups + 20))
      ;;
    *)
      for one in slogate_slab:$((RANDOM % 2000 + 2500)) slogate_index:$((RANDOM % 8000 + 2000)); do
        slogate maps resize "${one%:*}" --entries "${one#*:}" >/dev/null || true
        of_steady slogate maps resize "${one%:*}" --entries "${one#*:}" >/dev/null || true
        resizes=$((resizes + 2))
      done
      ;;
  esac
}

begin=$SECONDS
until is_gone "$churner" || ((SECONDS - begin > minutes * 60 + 300)); do
  sample
  sleep $((RANDOM % 5 + 2))
  disturb
done

# ---- what came of it ----

touch "$work/stop"
wait "$bursts" || fail "redis-benchmark failed"
wait "$churner" || fail "the churn failed: $(cat "$work/churn")"
kill -TERM "$driver"
wait "$driver" || fail "the driver failed: $(cat "$work/drive")"
kill -TERM "$server"
wait "$server" || fail "the server failed: $(cat "$work/serve")"
seconds=$((SECONDS - begin))
# redis has not counted the question itself yet. Of each burst the first two commands, which ask for its
# configuration, are one request.
commands=$(redis redis-cli info stats | tr -d '\r' | awk -F: '/^total_commands_processed/ { print $2 }')
commands=$((commands + 1 - $(wc -l <"$work/bursts")))
sleep 2 # a tick
sample

answer() { tail -n 1 "$work/$1" | jq ".$2"; }
counted() { api "/v1/cgroups?match=$cgroup_prefix/$1" | jq "[.[].signals.$2.count // 0] | add // 0"; }
# Of the cgroups that are gone and those that are not, whose name an agent that came later does not know;
# on a machine that others use, theirs, too.
churned() {
  { api /v1/cgroups && api /v1/status; } | jq -s --arg match "^$cgroup_prefix/churn/|^$" '
    [.[0][] | select(.path | test($match)) | .signals.client_request.count // 0]
    + [.[1].removed.signals.client_request.count // 0] | add'
}
lost_here() { api "/v1/cgroups?match=$cgroup_prefix/**" | jq '[.[].lost] | add // 0'; }
# what an agent has, to be compared with what was sent.
facts() {
  jq -n --argjson server "$(counted canary request)" --argjson driver "$(counted driver client_request)" \
    --argjson redis "$(counted redis request)" --argjson client "$(counted redis-client client_request)" \
    --argjson churn "$(churned)" --argjson lost "$(api /v1/status | jq '.lost | add')" \
    --argjson lost_here "$(lost_here)" '$ARGS.named'
}
# Kilobytes an hour by which a column of the samples grows, the first quarter left out; least squares.
slope() {
  awk -v column="$1" -v from=$((seconds / 4)) '
    $1 >= from { n++; x += $1; y += $column; xx += $1 * $1; xy += $1 * $column }
    END { d = n * xx - x * x; print d ? (n * xy - x * y) / d * 3600 : 0 }' "$work/samples"
}
# The medians of the second and of the last quarter.
quarter() {
  awk -v from=$((seconds * ($2 - 1) / 4)) -v to=$((seconds * $2 / 4)) -v column="$1" \
    '$1 >= from && ($1 <= to || to == '"$seconds"') { print $column }' "$work/samples" | median
}
mkdir -p "$root/build/bench"
jq -n --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --argjson seconds "$seconds" \
  --argjson kills "$kills" --argjson ends "$ends" --argjson hangups "$hangups" \
  --argjson resizes "$resizes" --argjson cgroups "$(answer churn cgroups)" \
  --argjson sent "{\"driver\": $(answer drive answered), \"churn\": $(answer churn answered),
    \"answered\": $(answer serve answered), \"redis\": $commands}" \
  --argjson steady "$(of_steady facts)" --argjson killed "$(facts)" \
  --argjson samples "$(jq -R 'split(" ") | map(tonumber)' "$work/samples" | jq -cs .)" \
  --argjson heap "[$(quarter 9 2), $(quarter 9 4), $(slope 9)]" \
  --argjson anon "[$(quarter 3 2), $(quarter 3 4), $(slope 3)]" \
  --argjson rss "[$(quarter 2 2), $(quarter 2 4), $(slope 2)]" \
  --argjson fds "[$(quarter 4 2), $(quarter 4 4)]" --argjson threads "[$(quarter 5 2), $(quarter 5 4)]" \
  --argjson maps "[$(quarter 6 2), $(quarter 6 4)]" --argjson hz "$(getconf CLK_TCK)" '
  {$kernel, $cpus, $seconds, $kills, $ends, $hangups, $resizes, $cgroups, $sent, $steady, $killed,
   memory: {heap_kb: {second_quarter: $heap[0], last_quarter: $heap[1], kb_per_hour: $heap[2]},
            anonymous_kb: {second_quarter: $anon[0], last_quarter: $anon[1], kb_per_hour: $anon[2]},
            rss_kb: {second_quarter: $rss[0], last_quarter: $rss[1], kb_per_hour: $rss[2]},
            map_bytes: {second_quarter: $maps[0], last_quarter: $maps[1]}},
   descriptors: {second_quarter: $fds[0], last_quarter: $fds[1]},
   threads: {second_quarter: $threads[0], last_quarter: $threads[1]},
   cpu_percent: (100 * ($samples[-1][7] - $samples[0][7]) / $hz / ($samples[-1][0] - $samples[0][0])),
   sample: ["seconds", "rss_kb", "anonymous_kb", "descriptors", "threads", "map_bytes", "slots", "cpu_ticks", "heap_kb"],
   $samples}' >"$root/build/bench/soak.json"

jq -r '
  def row($what; $sent; $of): "\($what)\t\($sent)\t\(.steady[$of])\t\(.killed[$of])";
  def from_to: "\(.second_quarter)\t\(.last_quarter)";
  "\(.seconds) s: \(.kills) kills, \(.ends) ends, \(.hangups) SIGHUPs, \(.resizes) resizes, \(.cgroups) cgroups made and removed",
  "\nREQUESTS\tSENT\tSTEADY AGENT\tKILLED AGENT",
  row("answered by the server"; .sent.answered; "server"), row("of its steady client"; .sent.driver; "driver"),
  row("of cgroups that went (at least)"; .sent.churn; "churn"), row("answered by redis"; .sent.redis; "redis"),
  row("of its clients"; .sent.redis; "client"), row("lost by our cgroups"; 0; "lost_here"),
  row("lost on this machine"; 0; "lost"),
  "\nTHE STEADY AGENT\t2ND QUARTER\tLAST QUARTER\tPER HOUR",
  "heap in use, kB\t\(.memory.heap_kb | from_to)\t\(.memory.heap_kb.kb_per_hour | round)",
  "anonymous memory, kB\t\(.memory.anonymous_kb | from_to)\t\(.memory.anonymous_kb.kb_per_hour | round)",
  "RSS with maps, kB\t\(.memory.rss_kb | from_to)\t\(.memory.rss_kb.kb_per_hour | round)",
  "maps, bytes\t\(.memory.map_bytes | from_to)", "descriptors\t\(.descriptors | from_to)",
  "threads\t\(.threads | from_to)", "CPU, % of one\t\(.cpu_percent * 100 | round / 100)"' \
  "$root/build/bench/soak.json" | column -t -s $'\t' -L

jq -e '.sent as $sent | [.steady, .killed] | all(.server == $sent.answered and .driver == $sent.driver
    and .churn >= $sent.churn and .redis == $sent.redis and .client == $sent.redis and .lost_here == 0)' \
  "$root/build/bench/soak.json" >/dev/null || fail "the counts are not exact"
passed "what was asked is counted exactly, by the agent that lived and by those that were killed"
# What a minute shows of growth is noise, and so are the megabytes that the allocator keeps free or not.
jq -e '.seconds < 600 or (.memory | (.heap_kb | .last_quarter < 1.05 * .second_quarter + 256)
    and (.anonymous_kb | .last_quarter < 1.05 * .second_quarter + 8192))' \
  "$root/build/bench/soak.json" >/dev/null || fail "the memory grows"
jq -e '(.descriptors | .last_quarter <= .second_quarter + 1) and (.threads | .last_quarter <= .second_quarter + 1)' \
  "$root/build/bench/soak.json" >/dev/null || fail "descriptors or threads grow"
passed "nothing grows"
[ "$(of_steady of bounded verdict)" != veto ] || fail "a good canary was vetoed"
is_running "$steady" || fail "the steady agent ended"
stop_agent
passed "a good canary is not vetoed, and the steady agent ends when asked to"
