#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/lenders.sh [--runs N] [--only PART OF A NAME]
#
# A canary that shares no node with its baseline: how often it is vetoed for its node alone, and how
# soon for its own fault. Synthetic traffic through the code the agent runs, N runs for the first
# question (10,000 where time is no object; default 200). Leaves build/bench/lenders.json; needs
# `tools/build release`, but neither root nor a kernel.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2016 # $kernel is jq's
run_experiments lenders 200 '
  [.experiment, "\(.runs) runs of \(.seconds) s", "vetoed \(.vetoed)", "passed \(.passed)",
   "veto \(.veto_seconds // "-") s (90 %: \(.veto_seconds_p90 // "-"))",
   "pass \(.pass_seconds // "-") s (90 %: \(.pass_seconds_p90 // "-"))",
   "\(.reading_microseconds) us a reading"] | join("  ")' \
  '{kernel: $kernel, cpus: $cpus, experiments: .}' "$@"
