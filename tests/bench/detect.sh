#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/detect.sh [--rounds N] [--seconds N]
#
# How soon a bad canary is seen, by a node's agent and by what most teams have: a Prometheus that reads the
# same agent every 15 s and compares p99 over the last minute by a threshold, which is the increase that
# slogate allows a canary, too; and that with `for: 30s`. Beside both the least that any test
# needs which is wrong as seldom as alpha says: ln(1 / alpha) / KL(canary | baseline) requests, from what
# the agent counted of both. In each round all canaries begin anew, at a moment of their own between two
# scrapes, one server each with 1,000 requests a second, for N seconds; two more are as good as their
# baseline, one of them with 20 requests a second. A baseline is two servers with half of that each. Leaves build/bench/detect.json; needs root, a quiet
# machine and `tools/build release`.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

rounds=10 seconds=90
while (($#)); do
  case $1 in
    --rounds) rounds=$2 ;;
    --seconds) seconds=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
need_root
need_cgroup2
command -v prometheus >/dev/null || die "prometheus is not installed: tools/deps test"
alpha=0.001 stretch=1.19 # 2 ^ (2 / 8), the edges of buckets rounded down

good=lognormal:2:0.5
slow_tail >"$work/tail"
# NAME|WHAT|BASELINE|RATE OF EACH OF 10 CONNECTIONS|SERVE ARGUMENTS
kinds=(
  "x2|all quantiles x 2|stable|100|--service lognormal:4:0.5"
  "tail|slowest 2 % x 2.5|stable|100|--service list:$work/tail"
  "x4|all quantiles x 4|stable|100|--service lognormal:8:0.5"
  "same|none|stable|100|--service $good"
  "rare|none, 20 requests a second|rare-stable|2|--service $good"
)
# 5,000 requests a second may be more than the CPU budget allows on two CPUs.
{
  printf 'cpu_ratio: 1\nslos:\n'
  for kind in "${kinds[@]}"; do
    IFS='|' read -r name _ baseline _ _ <<<"$kind"
    printf '  - name: %s\n    canary: { cgroup: "%s/%s-*/**" }\n    baseline: { cgroup: "%s/%s/**" }\n' \
      "$name" "$cgroup_prefix" "$name-canary" "$cgroup_prefix" "$baseline"
    printf '    alpha: %s\n    warmup: 0s\n' "$alpha"
  done
} >"$work/slogate.yaml"
start_agent --config "$work/slogate.yaml"

# ---- the threshold ----

# p99 CGROUPS [LABEL]: of all together, or of each value of the label.
p99() {
  printf 'histogram_quantile(0.99, sum by (%s) (rate(slogate_request_duration_seconds{role="server",cgroup=~"%s"}[1m])))' \
    "${2-}" "$1"
}
{
  printf 'groups:\n  - name: threshold\n    rules:\n'
  for kind in "${kinds[@]}"; do
    IFS='|' read -r name _ baseline _ _ <<<"$kind"
    for hold in 0s 30s; do
      printf '      - alert: slow\n        for: %s\n        labels: { hold: %s }\n        expr: |-\n          %s\n' \
        "$hold" "$hold" "$(p99 "$cgroup_prefix/$name-canary-.*" cgroup) > $stretch * scalar($(p99 "$cgroup_prefix/$baseline/.*"))"
    done
  done
} >"$work/rules.yaml"
cat >"$work/prometheus.yml" <<END
global: { scrape_interval: 15s, evaluation_interval: 15s }
rule_files: ["$work/rules.yaml"]
scrape_configs: [{ job_name: slogate, static_configs: [{ targets: ["$metrics"] }] }]
END
address=127.0.0.1:$(free_port $((20000 + RANDOM % 10000)))
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
  --web.listen-address="$address" --enable-feature=native-histograms >"$work/prometheus.log" 2>&1 &
track $!
wait_until 20 curl --silent --fail --output "$work/ready" "http://$address/-/ready" ||
  fail "prometheus does not start: $(tail -n 3 "$work/prometheus.log")"

# ---- rounds ----

for one in a b; do
  arm_rate=50 start_arm "stable/$one" --service "$good"
  arm_rate=1 start_arm "rare-stable/$one" --service "$good"
done
say "the baselines alone for 65 s"
sleep 65

# What was seen first of each canary: NAME veto|0s|30s MS SAMPLES.
look() {
  local now
  now=$(now_ms)
  api /v1/verdicts | jq -r --argjson now "$now" '.[] | select(.verdict == "veto")
    | "\(.slo) veto \($now) \(.samples.canary)"'
  curl --silent "http://$address/api/v1/alerts" | jq -r --argjson now "$now" --arg round "-canary-$1" '
    .data.alerts[] | select(.state == "firing" and (.labels.cgroup | endswith($round)))
    | "\(.labels.cgroup | capture("/(?<name>[a-z0-9]+)-canary-[0-9]+$").name) \(.labels.hold) \($now) 0"'
}
round() {
  local kind name what rate arguments now samples arms=() deadline
  declare -A begun=() seen=()
  sleep $((RANDOM % 15)).$((RANDOM % 10))
  for kind in "${kinds[@]}"; do
    IFS='|' read -r name _ _ rate arguments <<<"$kind"
    # shellcheck disable=SC2086 # words
    arm_rate=$rate start_arm "$name-canary-$1" $arguments
    begun[$name]=$(now_ms)
    arms+=("$driver" "$arm")
    slogate reset "$name" >/dev/null
  done
  deadline=$((SECONDS + seconds))
  while ((SECONDS < deadline)); do
    while read -r name what now samples; do
      [ -z "${seen[$name.$what]-}" ] || continue
      seen[$name.$what]=1
      jq -nc --argjson round "$1" --arg name "$name" --arg by "$what" --argjson ms $((now - begun[$name])) \
        --argjson samples "$samples" '$ARGS.named' >>"$work/seen"
    done < <(look "$1")
    sleep 0.1
  done
  if (($1 == rounds)); then
    for kind in stable "${kinds[@]%%|*}"; do keep_histogram "$kind" "$1"; done
  fi
  stop_process "${arms[@]}"
  remove_cgroup "$cgroup_dir"/*-canary-"$1" || fail "cannot remove the canaries' cgroups"
}
keep_histogram() {
  local path=$cgroup_prefix/$1/a id
  [ "$1" = stable ] || path=$cgroup_prefix/$1-canary-$2
  id=$(api "/v1/cgroups?match=$path" | jq '.[0].id')
  api "/v1/cgroups/$id/histograms" | jq -c --arg name "$1" '{name: $name, counts: [.signals.request[].count]}' \
    >>"$work/histograms"
}
: >"$work/seen"
for ((round = 1; round <= rounds; round++)); do
  say "round $round of $rounds"
  round "$round"
done
stop_agent

mkdir -p "$root/build/bench"
for kind in "${kinds[@]}"; do
  IFS='|' read -r name what _ rate _ <<<"$kind"
  jq -nc --arg name "$name" --arg what "$what" --argjson rate $((rate * 10)) '$ARGS.named'
done | jq -s -L "$root/tests/bench" --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --argjson alpha "$alpha" \
  --argjson rounds "$rounds" --argjson seconds "$seconds" --slurpfile seen "$work/seen" \
  --slurpfile histograms "$work/histograms" 'include "stats";
  def shares: (map(. + 0.5) | add) as $all | map((. + 0.5) / $all);
  ($histograms | INDEX(.name) | map_values(.counts | shares)) as $p
  | def limit($name): -($alpha | log) / ([$p[$name], $p.stable] | transpose | map(.[0] * ((.[0] / .[1]) | log)) | add);
  def times($name; $by): [$seen[] | select(.name == $name and .by == $by)];
  {benchmark: "detect", $kernel, $cpus, $alpha, $rounds, $seconds, canaries: map(. as $kind | . + {
     limit_requests: (if .what | startswith("none") then null else limit(.name) end),
     by: (["veto", "0s", "30s"] | map({key: ., value: (times($kind.name; .) | {seen: length,
       ms: (if length > 0 then map(.ms) | spread else null end),
       requests: (if length > 0 then map(.samples) | spread else null end)})}) | from_entries)}),
   seen: $seen}' >"$root/build/bench/detect.json"
jq -r 'def s($of): if $of.ms then "\($of.ms.median / 100 | round / 10) s (\($of.ms.max / 100 | round / 10)), \($of.seen)" else "\($of.seen)" end;
  "WORSE\tLIMIT, REQUESTS\tSLOGATE, MEDIAN (MOST), ROUNDS\tREQUESTS\tTHRESHOLD\tTHRESHOLD FOR 30 S",
  (.canaries[] | "\(.what)\t\(.limit_requests // 0 | ceil)\t\(s(.by.veto))\t\(.by.veto.requests.median // "-")\t\(s(.by["0s"]))\t\(s(.by["30s"]))")' \
  "$root/build/bench/detect.json" | column -t -s $'\t'
