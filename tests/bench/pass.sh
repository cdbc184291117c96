#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/pass.sh [--seconds N] [--rates "R ..."] [--load]
#
# How long a good canary waits for its pass on the real kernel: servers with lognormal service times
# (sigma 1) at some rates, beside a baseline of as many requests in one cgroup and one in two, all at once,
# for at most N seconds; with --load beside a process that keeps every CPU busy. Beside time and samples
# stand how long blocks were, what share of the connections the CPU budget let be watched, and what
# the pass has shown. Leaves build/bench/pass.json; needs root and `tools/build release`.
set -euo pipefail
# shellcheck source=../e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

seconds=360 rates="1000 400 100 20" load=false
while (($#)); do
  case $1 in
    --seconds) seconds=$2 && shift ;;
    --rates) rates=$2 && shift ;;
    --load) load=true ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift
done
need_root
need_cgroup2

# At 100 requests a second on a connection longer ones overlap: 5 % of them of lognormal:5:1 at 40.
service=lognormal:1:1
kinds=()
for rate in $rates; do kinds+=("r$rate-one" "r$rate-two"); done
{
  printf 'slos:\n'
  for kind in "${kinds[@]}"; do
    printf '  - name: %s\n    canary: { cgroup: "%s" }\n    baseline: { cgroup: "%s/**" }\n    warmup: 0s\n' \
      "$kind" "$cgroup_prefix/canary/$kind" "$cgroup_prefix/$kind"
  done
} >"$work/slogate.yaml"
start_agent --config "$work/slogate.yaml"

for rate in $rates; do
  arm_rate=$(awk "BEGIN { print $rate / 10 }") start_arm "r$rate-one/a" --service "$service"
  for one in a b; do
    arm_rate=$(awk "BEGIN { print $rate / 20 }") start_arm "r$rate-two/$one" --service "$service"
  done
done
if $load; then
  for ((cpu = 0; cpu < $(nproc); cpu++)); do
    sh -c 'while :; do :; done' &
    track $!
  done
fi
say "the baselines alone for 125 s"
sleep 125

declare -A begun=() passed=() back=() last=()
for kind in "${kinds[@]}"; do
  rate=${kind#r} && rate=${rate%-*}
  arm_rate=$(awk "BEGIN { print $rate / 10 }") start_arm "canary/$kind" --service "$service"
  begun[$kind]=$(now_ms) back[$kind]=0
  slogate reset "$kind" >/dev/null
done
: >"$work/passes"
deadline=$((SECONDS + seconds))
while ((SECONDS < deadline)); do
  now=$(now_ms)
  api /v1/verdicts >"$work/verdicts"
  while read -r kind verdict; do
    if [ "$verdict" = pass ] && [ -z "${passed[$kind]-}" ]; then
      passed[$kind]=1
      jq -c --arg kind "$kind" --argjson ms $((now - begun[$kind])) '.[] | select(.slo == $kind)
        | {kind: $kind, ms: $ms, samples, block_seconds, watched, message}' "$work/verdicts" >>"$work/passes"
    elif [ "${last[$kind]-}" = pass ] && [ "$verdict" != pass ]; then
      back[$kind]=$((back[$kind] + 1))
    fi
    last[$kind]=$verdict
  done < <(jq -r '.[] | "\(.slo) \(.verdict)"' "$work/verdicts")
  sleep 0.2
done
stop_agent

mkdir -p "$root/build/bench"
for kind in "${kinds[@]}"; do
  jq -nc --arg kind "$kind" --argjson taken_back "${back[$kind]}" '$ARGS.named'
done | jq -s --slurpfile passes "$work/passes" --slurpfile last "$work/verdicts" --argjson load "$load" \
  --arg kernel "$(uname -r)" --argjson cpus "$(nproc)" --argjson seconds "$seconds" '
  ($passes | INDEX(.kind)) as $passes | ($last[0] | INDEX(.slo)) as $last
  | {benchmark: "pass", $kernel, $cpus, $seconds, $load, kinds: map(.kind as $kind | . + {pass: $passes[$kind],
      last: ($last[$kind] | {verdict, reason, message, samples, blocks, block_seconds, watched})})}' \
  >"$root/build/bench/pass.json"
jq -r '"KIND\tPASS AFTER\tSAMPLES\tBLOCKS OF\tWATCHED\tTAKEN BACK\tAT THE END",
  (.kinds[] | "\(.kind)\t\(if .pass then "\(.pass.ms / 100 | round / 10) s" else "-" end)\t\(.pass.samples.canary // "-")\t\((.pass // .last).block_seconds) s\t\((.pass // .last).watched)\t\(.taken_back)\t\(.last.verdict): \((.pass // .last).message)")' \
  "$root/build/bench/pass.json" | column -t -s $'\t'
