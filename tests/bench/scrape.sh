#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/scrape.sh [--workloads N] [--rounds N]
#
# What a scrape costs the agent on a node of N workloads (default 1000) that use every signal and
# counter: bytes and CPU time of each format, as it is and with gzip, as the median of N rounds
# (default 21) in which they take turns; prometheus-cpp's serializer beside ours. Leaves
# build/bench/scrape.json; needs `tools/build release`, but neither root nor a kernel.
set -euo pipefail
# shellcheck source=../../tools/lib.sh
. "$(dirname "$0")/../../tools/lib.sh"

workloads=1000 rounds=21
while (($#)); do
  case $1 in
    --workloads) workloads=$2 ;;
    --rounds) rounds=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done

program=$root/build/release/bench_scrape
[ -x "$program" ] || die "run \`tools/build release\` first"
mkdir -p "$root/build/bench"
"$program" "$workloads" "$rounds" | jq -s --argjson cpus "$(nproc)" '
  {cpus: $cpus, formats: map(select(.format)), ledger_cpu_ms: .[-1].ledger_cpu_ms}' \
  >"$root/build/bench/scrape.json"
jq -r '
  def tenths: . * 10 | round / 10;
  def cost: "\(.bytes / 1e6 | tenths) MB in \(.cpu_ms | tenths) ms";
  (.formats | group_by(.format) | sort_by(-.[0].cpu_ms)[] | sort_by(.gzip)
    | "\(.[0].format): \(.[0] | cost), with gzip \(.[1] | cost)"),
  "ledger: \(.ledger_cpu_ms | tenths) ms of a tick"' "$root/build/bench/scrape.json"
