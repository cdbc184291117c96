#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/agent.sh [--cgroups N] [--windows N] [--seconds N]
#
# What the agent itself costs, its programs left out (`tools/bench event`): CPU idle, with N active
# cgroups (default 1,000), and with 20 of these in SLOs, as medians of so many windows of so many
# seconds each; memory; time from its start to the first sample; and how long a gate and a verdict
# take to answer meanwhile. Agent and programs together on a node with 1,000 requests a second, both
# ends of them; the kernel times the programs, which is in their time.
# Leaves build/bench/agent.json; needs root and `tools/build release`.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cgroups=1000 windows=10 seconds=5
while (($#)); do
  case $1 in
    --cgroups) cgroups=$2 ;;
    --windows) windows=$2 ;;
    --seconds) seconds=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
need_root
need_cgroup2

agent_ns() { cpu_ns "$agent_pid"; }
programs_ns() { programs "$agent_pid" | jq -s 'map(.[].ns) | add'; }
# grown FUNCTION...: by how much each number grows in a window; a line for each window.
grown() {
  local window function before after
  for ((window = 0; window < windows; window++)); do
    before=() after=()
    for function; do before+=("$("$function")"); done
    sleep "$seconds"
    for function; do after+=($(($("$function") - before[${#after[@]}]))); done
    say "${after[*]}"
  done
}
percent() { median | awk -v seconds="$seconds" '{ print $1 / seconds / 1e7 }'; }
# cpu_percent: of one CPU, the median of the windows.
cpu_percent() { grown agent_ns | percent; }
maps_mib() { api /v1/maps | jq 'map(.bytes) | add / 1048576'; }
seen() { [ "$(api "/v1/cgroups?match=$cgroup_prefix/$1" 2>/dev/null | jq "[.[].signals.$2.count // 0] | add // 0")" -ge "$3" ]; }
# p99_us PATH: of answers to one client that asks 200 times a second, as wrk would otherwise take a
# CPU from the agent, of which a node has more.
printf 'function delay() return 5 end\n' >"$work/paced.lua"
p99_us() {
  wrk --threads 1 --connections 1 --duration 20s --script "$work/paced.lua" --latency "http://$controllers$1" |
    awk '$1 == "99%" { print $2 }' |
    awk '/us$/ { print $1 + 0 } /ms$/ { print ($1 + 0) * 1000 } /[0-9]s$/ && !/[mu]s$/ { print ($1 + 0) * 1e6 }'
}

controllers=127.0.0.1:$(free_port 25000)
# With room for ten thousand cgroups, and without a CPU budget.
cat >"$work/slogate.yaml" <<END
cpu_ratio: 1
maps: { memory_ratio: 0.02 }
api_listen: $controllers
END
start_agent --config "$work/slogate.yaml"
say "idle"
sleep 5
idle=$(cpu_percent) idle_mib=$(resident_mib "$agent_pid") idle_maps=$(maps_mib)
stop_agent

start_arm node --service constant:0ms
running=()
start_subject stats
stats=$started
track "$stats"
start_agent --config "$work/slogate.yaml"
wait_until 20 seen node request 5000 || fail "the node's requests are not seen"
say "1,000 requests a second"
grown agent_ns programs_ns >"$work/node"
node_agent=$(cut -d ' ' -f 1 "$work/node" | percent) node_programs=$(cut -d ' ' -f 2 "$work/node" | percent)
node_mib=$(resident_mib "$agent_pid")
stop_agent
stop_arm
stop_process "$stats"

port=$(free_port 26000)
run_in_cgroup "$(make_cgroup server)" "$programs/slogate-load" --max-seconds 1800 serve --port "$port" --backlog 4096 \
  --service constant:0ms >"$work/server" &
track $!
wait_until 10 grep -qs ready "$work/server" || fail "the server does not start"
"$programs/slogate-load" --max-seconds 1800 spread --port "$port" --parent "$(make_cgroup many)" \
  --cgroups "$cgroups" >"$work/many" &
many=$!
track "$many"
wait_until 60 grep -qs ready "$work/many" || fail "not all cgroups have a connection"

for _ in 1 2 3 4 5; do
  begin=$(date +%s%3N)
  start_agent --config "$work/slogate.yaml"
  until seen server request 1; do sleep 0.01; done
  say $(($(date +%s%3N) - begin)) >>"$work/starts"
  stop_agent
done
first=$(median <"$work/starts")

start_agent --config "$work/slogate.yaml"
wait_until 60 seen "many/*" client_request $((5 * cgroups)) || fail "the cgroups are not all seen"
say "$cgroups cgroups"
active=$(cpu_percent) active_mib=$(resident_mib "$agent_pid") active_maps=$(maps_mib)

{
  printf 'slos:\n'
  for ((i = 0; i < 20; i += 2)); do
    printf '  - { name: slo-%d, canary: { cgroup: "%s/many/c%d" }, baseline: { cgroup: "%s/many/c%d" }, warmup: 0s }\n' \
      "$i" "$cgroup_prefix" "$i" "$cgroup_prefix" $((i + 1))
  done
} >>"$work/slogate.yaml"
kill -HUP "$agent_pid"
judges() { [ "$(api /v1/verdicts | jq length)" -eq 10 ]; }
wait_until 10 judges || fail "the SLOs are not judged"
say "20 of them in SLOs"
judged=$(cpu_percent)
verdict=$(p99_us /v1/verdicts/slo-0) gate=$(p99_us /v1/gate/slo-0)
stop_agent
stop_process "$many"

mkdir -p "$root/build/bench"
jq -n --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --argjson cgroups "$cgroups" \
  --argjson windows "$windows" --argjson seconds "$seconds" --argjson idle "$idle" \
  --argjson active "$active" --argjson judged "$judged" --argjson idle_mib "$idle_mib" \
  --argjson active_mib "$active_mib" --argjson idle_maps "$idle_maps" --argjson active_maps "$active_maps" \
  --argjson node_agent "$node_agent" --argjson node_programs "$node_programs" --argjson node_mib "$node_mib" \
  --argjson first "$first" --argjson verdict "$verdict" --argjson gate "$gate" \
  '{$kernel, $cpus, $cgroups, $windows, $seconds,
    cpu_percent: {$idle, $active, $judged}, resident_mib: {idle: $idle_mib, active: $active_mib},
    maps_mib: {idle: $idle_maps, active: $active_maps}, first_sample_ms: $first,
    p99_us: {$verdict, $gate},
    node: {requests_per_s: 1000, cpu_percent: {agent: $node_agent, programs: $node_programs}, resident_mib: $node_mib}}' >"$root/build/bench/agent.json"
jq -r 'def hundredths: . * 100 | round / 100;
  "CPU       idle \(.cpu_percent.idle | hundredths) %, \(.cgroups) cgroups \(.cpu_percent.active | hundredths) %, 20 of them in SLOs \(.cpu_percent.judged | hundredths) % of one CPU (medians of \(.windows) windows of \(.seconds) s)",
  "node      1,000 requests a second, both ends: agent \(.node.cpu_percent.agent | hundredths) % and programs \(.node.cpu_percent.programs | hundredths) % of one CPU, \(.node.resident_mib | hundredths) MiB",
  "memory    idle \(.resident_mib.idle | hundredths) MiB, \(.cgroups) cgroups \(.resident_mib.active | hundredths) MiB; maps \(.maps_mib.idle | hundredths) and \(.maps_mib.active | hundredths) MiB",
  "start     first sample after \(.first_sample_ms) ms",
  "answers   p99 of a verdict \(.p99_us.verdict) us, of a gate \(.p99_us.gate) us"' "$root/build/bench/agent.json"
