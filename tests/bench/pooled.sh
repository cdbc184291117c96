#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/pooled.sh [--runs N] [--only PART OF A NAME]
#
# How long after 20 canary pods turned worse than 200 stable ones the fleet's pooled rules veto them
# at an interval of 5 s, and how often they veto canaries that are no worse: their arithmetic on
# synthetic traffic, N runs for the latter (default 5000) and a tenth for the rest. Leaves
# build/bench/pooled.json; needs `tools/build release`, but neither root nor a Prometheus.
set -euo pipefail
# shellcheck source=../../tools/lib.sh
. "$(dirname "$0")/../../tools/lib.sh"

runs=5000 only=
while (($#)); do
  case $1 in
    --runs) runs=$2 ;;
    --only) only=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done

program=$root/build/release/bench_pooled
[ -x "$program" ] || die "run \`tools/build release\` first"
mkdir -p "$root/build/bench"
"$program" "$runs" "$(nproc)" "$only" | tee "$root/build/bench/pooled.jsonl" | jq -r '
  [.experiment, "\(.runs) runs of \(.minutes) min", "\(.vetoed) vetoed",
   "median \(.median_seconds // "-") p90 \(.p90_seconds // "-") s"] | join("  ")'
jq -s '{experiments: .}' "$root/build/bench/pooled.jsonl" >"$root/build/bench/pooled.json"
rm "$root/build/bench/pooled.jsonl"
