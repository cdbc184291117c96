#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/passes.sh [--runs N] [--only PART OF A NAME]
#
# How long a canary that is as good as its baseline waits for its pass, and whether one that is just
# too slow ever gets one: synthetic traffic through the code the agent runs, N runs for the second question
# (5,000 where time is no object; default 1000) and a fiftieth of them for the first. Leaves
# build/bench/passes.json; needs `tools/build release`, but neither root nor a kernel.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2016 # $kernel is jq's
run_experiments passes 1000 '
  [.experiment, "\(.passed) of \(.runs) in \(.seconds) s",
   "median \(.median_seconds // "-") s p90 \(.p90_seconds // "-") s",
   "median \(.median_samples // "-") samples, limit \(.limit // "-"), with tolerance \(.limit_tolerant // "-")",
   "taken back \(.taken_back) times"] | join("  ")' \
  '{kernel: $kernel, cpus: $cpus, experiments: .}' "$@"
