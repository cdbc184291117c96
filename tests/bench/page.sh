#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/page.sh [--cgroups N] [--rounds N] [--seconds N]
#
# What the page of the node costs with N active cgroups (default 1,000), ten SLOs among them: CPU of the
# agent, a tick and a scrape, while the page is off, on but looked at by nobody, open in one browser and
# in eight, in turn in each of the rounds; medians. Its size, how long it takes to be answered, and with
# Chromium and what tests/e2e/page.sh has installed the first paint.
# Leaves build/bench/page.json; needs root and `tools/build release`.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cgroups=1000 rounds=7 seconds=10
while (($#)); do
  case $1 in
    --cgroups) cgroups=$2 ;;
    --rounds) rounds=$2 ;;
    --seconds) seconds=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
need_root
need_cgroup2

# write_config PAGE
write_config() {
  cat >"$work/slogate.yaml" <<END
cpu_ratio: 1
maps: { memory_ratio: 0.02 }
page: $1
slos:
END
  for ((i = 0; i < 20; i += 2)); do
    printf '  - { name: slo-%d, canary: { cgroup: "%s/many/c%d" }, baseline: { cgroup: "%s/many/c%d" }, warmup: 0s }\n' \
      "$i" "$cgroup_prefix" "$i" "$cgroup_prefix" $((i + 1))
  done >>"$work/slogate.yaml"
}
metric() { curl --silent "http://$address/metrics" | awk -v name="$1" '$1 == name { print $2 }'; }
requests() { curl --silent "http://$address/metrics" | awk -v name="slogate_request_duration_seconds_count" 'index($1, name) == 1 { n += $2 } END { print n }'; }
seen_enough() { [ "$(requests)" -ge $((5 * cgroups)) ]; }

port=$(free_port 26000)
run_in_cgroup "$(make_cgroup server)" "$programs/slogate-load" --max-seconds 3600 serve --port "$port" \
  --backlog 4096 --service constant:0ms >"$work/server" &
track $!
wait_until 10 grep -qs ready "$work/server" || fail "the server does not start"
"$programs/slogate-load" --max-seconds 3600 spread --port "$port" --parent "$(make_cgroup many)" \
  --cgroups "$cgroups" >"$work/many" &
track $!
wait_until 60 grep -qs ready "$work/many" || fail "not all cgroups have a connection"

address=127.0.0.1:$(free_port 27000)
write_config local
start_agent --config "$work/slogate.yaml" --listen "$address"
wait_until 60 seen_enough || fail "the cgroups are not all seen"

# watch N: so many look at the page, in a cgroup that nobody measures anew each round.
watch() {
  local i
  viewers=()
  for ((i = 0; i < $1; i++)); do
    curl --silent --no-buffer --output /dev/null "http://$address/live" &
    viewers+=($!)
    track $!
  done
}

# look WHAT: CPU of the agent in percent of one CPU, ms of a tick, ms of a scrape.
look() {
  local cpu ticks spent scrape
  cpu=$(cpu_ns "$agent_pid") ticks=$(metric slogate_ticks_total) spent=$(metric slogate_tick_seconds_total)
  sleep "$seconds"
  cpu=$(($(cpu_ns "$agent_pid") - cpu))
  ticks=$(awk -v a="$ticks" -v b="$(metric slogate_ticks_total)" 'BEGIN { print b - a }')
  spent=$(awk -v a="$spent" -v b="$(metric slogate_tick_seconds_total)" 'BEGIN { print b - a }')
  scrape=$(for _ in 1 2 3 4 5; do
    curl --silent --output /dev/null --write-out '%{time_total}\n' "http://$address/metrics"
  done | median)
  awk -v what="$1" -v cpu="$cpu" -v seconds="$seconds" -v ticks="$ticks" -v spent="$spent" -v scrape="$scrape" \
    'BEGIN { print what, cpu / seconds / 1e7, 1000 * spent / ticks, 1000 * scrape }' >>"$work/looks"
}
turn() {
  write_config "$1"
  kill -HUP "$agent_pid"
  sleep 2
}
for ((round = 1; round <= rounds; round++)); do
  progress "round $round of $rounds"
  turn off
  look off
  turn local
  look closed
  watch 1
  sleep 1
  look one
  stop_process "${viewers[@]}"
  watch 8
  sleep 1
  look eight
  stop_process "${viewers[@]}"
done
progress ""

curl --silent --output "$work/page" "http://$address/"
bytes=$(stat -c %s "$work/page")
answer=$(for _ in $(seq 21); do curl --silent --output /dev/null --write-out '%{time_total}\n' "http://$address/"; done | median)
paint=null
modules=${XDG_CACHE_HOME:-$HOME/.cache}/slogate/npm-$(sha256sum "$root/tests/e2e/page/package.json" | cut -c 1-12)
if [ -e "$modules/complete" ] && command -v chromium >/dev/null; then
  cp "$root/tests/bench/paint.mjs" "$root/tests/e2e/page/package.json" "$work"
  ln -s "$modules/node_modules" "$work/node_modules"
  paint=$(cd "$work" && node paint.mjs "http://$address/" 11 | median)
fi
stop_agent

# of WHAT COLUMN: the median.
of_looks() { awk -v what="$1" -v column="$2" '$1 == what { print $column }' "$work/looks" | median; }
mkdir -p "$root/build/bench"
for what in off closed one eight; do
  jq -n --arg what "$what" --argjson cpu "$(of_looks "$what" 2)" --argjson tick "$(of_looks "$what" 3)" \
    --argjson scrape "$(of_looks "$what" 4)" '{($what): {cpu_percent: $cpu, tick_ms: $tick, scrape_ms: $scrape}}'
done | jq -s --argjson cgroups "$cgroups" --argjson rounds "$rounds" --argjson seconds "$seconds" \
  --argjson bytes "$bytes" --argjson answer "$answer" --argjson paint "$paint" \
  'add + {$cgroups, $rounds, $seconds, $bytes, answer_ms: ($answer * 1000), first_paint_ms: $paint}' \
  >"$root/build/bench/page.json"
jq -r 'def hundredths: . * 100 | round / 100;
  (["off", "closed", "one", "eight"][] as $what | .[$what] |
    "\($what)\t\(.cpu_percent | hundredths) % of one CPU, tick \(.tick_ms | hundredths) ms, scrape \(.scrape_ms | hundredths) ms"),
  "page\t\(.bytes) bytes, answered in \(.answer_ms | hundredths) ms, first paint \(.first_paint_ms // "not measured") ms (\(.cgroups) cgroups, medians of \(.rounds) rounds of \(.seconds) s)"' \
  "$root/build/bench/page.json"
