#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/lending.sh [--seconds N]
#
# What a lender pays for one and ten askers of one and ten SLOs with 1,000 requests a second each: CPU of
# its thread as a share of a core, and bytes a second of each pair, over N seconds (default 60). Leaves
# build/bench/lending.json; needs `tools/build release`, but neither root nor a kernel.
set -euo pipefail
# shellcheck source=../../tools/lib.sh
. "$(dirname "$0")/../../tools/lib.sh"

seconds=60
while (($#)); do
  case $1 in
    --seconds) seconds=$2 ;;
    *) usage_error "$(help_text)" ;;
  esac
  shift 2
done

program=$root/build/release/bench_lending
[ -x "$program" ] || die "run \`tools/build release\` first"
mkdir -p "$root/build/bench"
for askers in 1 10; do
  for slos in 1 10; do "$program" "$askers" "$slos" "$seconds"; done
done | tee "$root/build/bench/lending.jsonl" | jq -r '
  "\(.askers) askers, \(.slos) SLOs: \(.lender_cpu_ratio * 1e5 | round / 1e3) % of a core, " +
  "\(.bytes_a_second_to_asker) B/s to and \(.bytes_a_second_to_lender) B/s from each asker"'
jq -s --argjson cpus "$(nproc)" '{cpus: $cpus, lending: .}' "$root/build/bench/lending.jsonl" \
  >"$root/build/bench/lending.json"
rm "$root/build/bench/lending.jsonl"
