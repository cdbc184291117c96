#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/bench/pooled.sh [--runs N] [--only PART OF A NAME]
#
# How long after 20 canary pods turned worse than 200 stable ones the fleet's pooled rules veto them
# at an interval of 5 s, and how often they veto canaries that are no worse: their arithmetic on
# synthetic traffic, N runs for the latter (default 5000) and a tenth for the rest. Leaves
# build/bench/pooled.json; needs `tools/build release`, but neither root nor a Prometheus.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

run_experiments pooled 5000 '
  [.experiment, "\(.runs) runs of \(.minutes) min", "\(.vetoed) vetoed",
   "median \(.median_seconds // "-") p90 \(.p90_seconds // "-") s"] | join("  ")' \
  '{experiments: .}' "$@"
