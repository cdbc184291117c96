#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/verdict.sh [--runs N] [--only PART OF A NAME]
#
# How often the judge vetoes a canary that is no worse, and how many requests it needs for one that
# is: synthetic traffic through the code the agent runs, N runs for the first question (5,000 where
# time is no object; default 1500) and a fifth of them for the second, and for how the weight moves
# where the traffic follows it (--only weight). Leaves
# build/bench/verdict.json; needs `tools/build release`, but neither root nor a kernel.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2016 # $kernel is jq's
run_experiments verdict 1500 '
  if .weights_by_minute then
    [.experiment, "\(.runs) runs", "vetoed \(.vetoed)", "pass \(.pass_seconds // "-") s", "veto \(.veto_seconds // "-") s",
     "100 % \(.all_seconds // "-") s", "at most \(.highest) % (90 %: \(.highest_p90))", "median by minute \(.weights_by_minute)"]
  else [.experiment, "alpha \(.alpha)", "\(.runs) runs",
   "vetoed \(.share * 10000 | round / 100) % (upper 95 %: \(.upper95 * 10000 | round / 100) %)",
   "median \(.median_requests // "-") p90 \(.p90_requests // "-") requests",
   "blocks of \(.block_seconds) s"] end | join("  ")' \
  '{kernel: $kernel, cpus: $cpus, experiments: .}' "$@"
