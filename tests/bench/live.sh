#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/live.sh [--runs N] [--quiet SECONDS]
#
# Verdicts on the real kernel, two servers in two cgroups at 1,000 requests a second each: how long
# after its start a bad canary is vetoed, in so many runs of each kind; whether identical arms are
# vetoed in so many seconds, or both arms that slow down together; and when a hung canary stops
# passing. Leaves build/bench/live.json; needs root, a quiet machine and `tools/build release`.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

runs=20 quiet=600
while (($#)); do
  case $1 in
    --runs) runs=$2 ;;
    --quiet) quiet=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done
need_root
need_cgroup2

good=lognormal:2:0.5
slow_tail >"$work/tail"
kinds=(
  "all quantiles x 2|--service lognormal:4:0.5"
  "slowest 2 % x 2.5|--service list:$work/tail"
  "all quantiles x 4|--service lognormal:8:0.5"
  "5 % of requests reset|--service $good --error-share 0.05"
)
slos_of_arms >"$work/slogate.yaml"
results=$work/results
: >"$results"
# result WHAT MS SLO: MS is null where nothing happened.
result() {
  jq -nc --arg what "$1" --argjson ms "$2" --argjson block "$(of "$3" block_seconds)" \
    --arg note "$(of "$3" verdict): $(of "$3" message)" \
    '{what: $what, ms: $ms, block_seconds: $block, note: $note}' >>"$results"
}
# watch WHAT SECONDS: a veto would be wrong.
watch() {
  ms_until "$2" is demo veto || took=null
  result "$1" "$took" demo
}

start_agent --config "$work/slogate.yaml"
start_arm stable --service "$good"
stable=("$driver" "$arm")
say "the baseline alone for 65 s"
sleep 65

for ((run = 1; run <= runs; run++)); do
  say "bad canaries, run $run of $runs"
  for kind in "${kinds[@]}"; do
    read -ra arguments <<<"${kind#*|}"
    start_arm canary "${arguments[@]}"
    new_rollout
    ms_until 60 is demo veto || took=null
    result "${kind%|*}" "$took" demo
    stop_arm
  done
done

for ((run = 1; run <= 5; run++)); do
  start_arm canary --service "$good" --hang-after 15000
  new_rollout
  wait_until 14 is bounded pass || fail "a good canary does not pass"
  wait_until 30 hangs canary || fail "the canary does not hang"
  # The oldest request is a second old by now.
  if ms_until 10 not_pass; then took=$((took + 1000)); else took=null; fi
  result "hang: no pass any more" "$took" bounded
  stop_arm
done

start_arm canary --service "$good"
new_rollout
say "identical arms for $quiet s"
watch identical "$quiet"
stop_arm

stop_process "${stable[@]}"
start_arm stable --service "$good" --slow-after 30:3
stable=("$driver" "$arm")
start_arm canary --service "$good" --slow-after 30:3
new_rollout
say "both arms slow down together after 30 s, for 60 s"
watch "shared slowdown" 90
stop_process "${stable[@]}"
stop_arm
stop_agent

mkdir -p "$root/build/bench"
jq -s '
  def median: sort | if length == 0 then null else .[length / 2 | floor] end;
  group_by(.what) | map({
    what: .[0].what, runs: length, vetoed: map(select(.ms != null)) | length,
    median_ms: (map(.ms // 1e9) | median), most_ms: (map(.ms // 1e9) | max),
    block_seconds: (map(.block_seconds) | median), last: .[-1].note})' \
  "$results" | tee "$root/build/bench/live.json" |
  jq -r '.[] | [.what, .runs, .vetoed, .median_ms, .most_ms, .block_seconds] | @tsv' |
  awk -F '\t' 'BEGIN { printf "%-24s %5s %7s %10s %9s %8s\n", "what", "runs", "vetoed", "median ms", "most ms", "block s" }
    { printf "%-24s %5s %7s %10s %9s %8s\n", $1, $2, $3, $4, $5, $6 }'
